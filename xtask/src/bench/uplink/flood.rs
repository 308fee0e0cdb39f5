//! Small frames from the wire by DPDK's testpmd: a system call for each of them, as with iperf3, would be what is measured.
use super::super::{machine_report as report, namespace::Namespace, testpmd};
use anyhow::Result;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a frame without its check sequence.
const SMALL: &str = "60";

/// Frames to `address`, in millions per second, that `arrived` counted.
pub(super) fn flood(
    outside: &Namespace,
    directory: &Path,
    address: &str,
    arrived: impl Fn() -> Result<u64>,
    seconds: u32,
) -> Result<f64> {
    let device = ["net_af_packet0,iface=eth0".to_owned()];
    let mode = [
        "--forward-mode=txonly",
        &format!("--txpkts={SMALL}"),
        &format!("--eth-peer=0,{address}"),
    ];
    let (cpu, _) = report::two_cpus()?;
    let _generator = testpmd::start_in(outside, directory, cpu, &device, &mode)?;
    let (start, before) = (Instant::now(), arrived()?);
    thread::sleep(Duration::from_secs(seconds.into()));
    let (time, after) = (start.elapsed(), arrived()?);
    #[expect(clippy::cast_precision_loss, reason = "frames of seconds fit")]
    Ok((after - before) as f64 / time.as_secs_f64() / 1e6)
}
