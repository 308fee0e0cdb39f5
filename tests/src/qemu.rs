//! QEMU guests, emulated on this machine, attached by vhost-user: somebody else's front-end.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};

use crate::{programs, until};

/// One NIC of a QEMU guest.
#[derive(Debug, Clone)]
pub struct Nic {
    /// vhost-user socket of its port.
    pub socket: PathBuf,
    /// Last byte of its MAC address.
    pub mac: u8,
    /// Queue pairs.
    pub queues: u16,
    /// MTU told to the guest.
    pub mtu: u16,
}

impl Nic {
    /// QEMU's options for the NIC with this number.
    fn options(&self, number: usize) -> Vec<String> {
        let Self {
            socket,
            mac,
            queues,
            mtu,
        } = self;
        let multiqueue = if *queues > 1 {
            format!(",mq=on,vectors={}", 2 * queues + 2)
        } else {
            String::new()
        };
        vec![
            "-chardev".into(),
            format!("socket,id=c{number},path={}", socket.display()),
            "-netdev".into(),
            format!("vhost-user,id=n{number},chardev=c{number},queues={queues}"),
            "-device".into(),
            format!(
                "virtio-net-pci,netdev=n{number},mac=52:54:00:e2:e0:{mac:02x},host_mtu={mtu}{multiqueue}"
            ),
        ]
    }
}

/// A running QEMU guest with the lab's kernel and initramfs.
#[derive(Debug)]
pub struct QemuGuest {
    child: Child,
    console: PathBuf,
}

impl QemuGuest {
    /// Boots one. `job` is the part of the kernel command line that tells its init what to do.
    pub fn start(
        dir: &Path,
        name: &str,
        cpus: u8,
        nics: &[Nic],
        job: &str,
    ) -> anyhow::Result<Self> {
        let (kernel, initrd) = programs::guest_image()?;
        let console = dir.join(format!("{name}.console"));
        let errors = File::create(dir.join(format!("{name}.stderr")))?;
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args([
                "-machine",
                "q35,accel=tcg,memory-backend=ram",
                "-cpu",
                "max",
                "-m",
                "512",
            ])
            .args([
                "-smp",
                &cpus.to_string(),
                "-nographic",
                "-nodefaults",
                "-no-reboot",
            ])
            .args(["-object", "memory-backend-memfd,id=ram,size=512M,share=on"])
            .args(["-serial", &format!("file:{}", console.display())])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd)
            .args(["-append", &format!("console=ttyS0 quiet panic=-1 {job}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors);
        for (number, nic) in nics.iter().enumerate() {
            command.args(nic.options(number));
        }
        let child = command.spawn().context("starting qemu-system-x86_64")?;
        Ok(Self { child, console })
    }

    /// The guest's `RESULT` lines so far, without that word.
    pub fn results(&self) -> Vec<String> {
        let console = fs::read(&self.console).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        console
            .lines()
            .filter_map(|line| line.trim().strip_prefix("RESULT "))
            .map(str::to_owned)
            .collect()
    }

    /// Waits for a result that starts with `start`.
    pub fn wait_for(&mut self, start: &str, time: Duration) -> anyhow::Result<String> {
        let mut found = None;
        let mut ended = false;
        until(time, || {
            ended = matches!(self.child.try_wait(), Ok(Some(_)));
            found = self
                .results()
                .into_iter()
                .find(|line| line.starts_with(start));
            found.is_some() || ended
        });
        match found {
            Some(line) => Ok(line),
            None => bail!(
                "no result {start:?} ({}); console:\n{}",
                if ended { "QEMU ended" } else { "time is up" },
                fs::read_to_string(&self.console).unwrap_or_default()
            ),
        }
    }

    /// Waits until it has switched itself off.
    pub fn wait(&mut self, time: Duration) -> bool {
        until(time, || matches!(self.child.try_wait(), Ok(Some(_))))
    }
}

impl Drop for QemuGuest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
