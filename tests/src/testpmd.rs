//! DPDK's `dpdk-testpmd` on two virtio-user ports: a driver of rings that is neither ours nor Linux's.
use crate::Process;
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Features and sizes of both ports.
#[derive(Debug, Clone, Copy)]
pub struct VirtioUser {
    /// Entries of each ring.
    pub queue_size: u16,
    /// VIRTIO_NET_F_MRG_RXBUF
    pub mergeable: bool,
    /// VIRTIO_F_IN_ORDER
    pub in_order: bool,
    /// VIRTIO_F_RING_PACKED
    pub packed: bool,
    /// Rings with SIMD instructions; DPDK has it for split rings without the first two, and for packed rings in order.
    pub vectorized: bool,
    /// Queue pairs.
    pub queue_pairs: u16,
    /// Largest frame, without its frame check sequence.
    pub max_frame: u16,
}

/// Forwards every frame from either port to the other, as it is. Needs no hugepages.
#[derive(Debug)]
pub struct Testpmd {
    process: Process,
}

impl Testpmd {
    /// Starts it on two back-ends' sockets.
    pub fn start(directory: &Path, sockets: [&Path; 2], options: VirtioUser) -> Self {
        let mut command = Command::new("dpdk-testpmd");
        // --no-huge: memory is a plain memfd. Both lcores may use any CPU: there may be only one.
        command.args(["--no-huge", "-m", "256", "--iova-mode=va", "--no-pci"]);
        command.args(["--no-shconf", "--no-telemetry", "--lcores=(0,1)@(0-1)"]);
        command.args(["--force-max-simd-bitwidth=512"]);
        for (index, socket) in sockets.iter().enumerate() {
            command.arg(format!(
                "--vdev=net_virtio_user{index},path={},queues={},queue_size={},mrg_rxbuf={},in_order={},packed_vq={},vectorized={}",
                socket.display(),
                options.queue_pairs,
                options.queue_size,
                u8::from(options.mergeable),
                u8::from(options.in_order),
                u8::from(options.packed),
                u8::from(options.vectorized)
            ));
        }
        let pairs = options.queue_pairs;
        command.args(["--", "--forward-mode=io", "--nb-cores=1"]);
        command.args([format!("--rxq={pairs}"), format!("--txq={pairs}")]);
        // More than all rings can hold: both receive and transmit rings keep theirs.
        command.arg("--total-num-mbufs=20000");
        // Without a terminal it runs only as long as it prints.
        command.arg("--stats-period=1");
        if options.mergeable {
            // DEV_TX_OFFLOAD_MULTI_SEGS: frames in several buffers go out as they came in.
            command.args(["--enable-scatter", "--tx-offloads=0x8000"]);
            command.arg(format!("--max-pkt-len={}", options.max_frame + 4));
        }
        Self {
            process: Process::start("testpmd", directory, &mut command),
        }
    }

    /// Ends it and returns how many frames each queue received: one number per port and queue that
    /// had any.
    #[track_caller]
    pub fn stop(&mut self) -> Vec<(String, u64)> {
        self.process.signal(Signal::SIGINT);
        let status = self.process.wait(Duration::from_secs(30));
        assert!(status.success(), "testpmd: {status}");
        received_by_queue(&self.process.log())
    }
}

/// From its last report: a heading `Forward Stats for RX Port= 0/Queue= 1 -> …`, then a line
/// `RX-packets: 7 …`.
fn received_by_queue(log: &str) -> Vec<(String, u64)> {
    let mut lines = log.lines();
    let mut received = Vec::new();
    while let Some(line) = lines.next() {
        let Some((_, heading)) = line.split_once("Forward Stats for RX ") else {
            continue;
        };
        let Some((queue, _)) = heading.split_once(" ->") else {
            continue;
        };
        let count = lines.next().and_then(|line| {
            let (_, count) = line.split_once("RX-packets:")?;
            count.split_whitespace().next()?.parse().ok()
        });
        received.push((queue.to_owned(), count.unwrap_or(0)));
    }
    received
}

#[cfg(test)]
#[path = "testpmd_test.rs"]
mod tests;
