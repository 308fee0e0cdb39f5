//! QEMU as a vhost-user front-end: a stock kernel under an emulated CPU, on this machine.
use crate::{Process, say};
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::image::guest;
use xtask::machine;
use xtask::setup::kernels::{self, Flavour};
use xtask::ui::Ui;

/// One virtio-net device.
#[derive(Debug, Clone)]
pub struct Nic {
    /// The back-end's socket.
    pub socket: PathBuf,
    /// MAC address.
    pub mac: String,
    /// Queue pairs.
    pub queue_pairs: u32,
    /// MTU offered to the guest (VIRTIO_NET_F_MTU).
    pub mtu: u16,
}

/// A guest with the lab's initramfs.
#[derive(Debug)]
pub struct QemuGuest {
    /// QEMU; its output is the guest's serial console.
    pub process: Process,
}

impl QemuGuest {
    /// Boots a guest that runs `job` (see `tests/lab/guest/init`).
    #[track_caller]
    pub fn boot(name: &str, directory: &Path, cpus: u32, nics: &[Nic], job: &str) -> Self {
        let kernel = kernels::kernel(Ui::new(), Flavour::Cloud).expect("a stock kernel");
        let initrd = guest::build(&kernel).expect("the guest's initramfs");
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args([
                "-nodefaults",
                "-display",
                "none",
                "-monitor",
                "none",
                "-no-reboot",
            ])
            .args(["-serial", "stdio", "-cpu", "max", "-m", "512"])
            .args([
                "-object",
                "memory-backend-memfd,id=memory,size=512M,share=on",
            ])
            .args(["-machine", "q35,accel=tcg,memory-backend=memory"])
            .args(["-smp", &cpus.to_string()]);
        for (index, nic) in nics.iter().enumerate() {
            add_nic(&mut command, index, nic);
        }
        command.arg("-kernel").arg(&kernel.image);
        command.arg("-initrd").arg(initrd);
        command.args([
            "-append",
            &format!("console=ttyS0 quiet panic=-1 mitigations=off {job}"),
        ]);
        Self {
            process: Process::start(name, directory, &mut command),
        }
    }
}

fn add_nic(command: &mut Command, index: usize, nic: &Nic) {
    let pairs = nic.queue_pairs;
    let socket = nic.socket.display();
    // One vector per queue, one for the control queue, one for configuration changes.
    let vectors = 2 * pairs + 2;
    let multi_queue = match pairs {
        1 => String::new(),
        _ => format!(",mq=on,vectors={vectors}"),
    };
    let mut device = format!(
        "virtio-net-pci,netdev=n{index},mac={}{multi_queue}",
        nic.mac
    );
    if machine::qemu_major().is_some_and(|major| major < 8) {
        say("QEMU before version 8 crashes with MSI-X over vhost-user: using INTx");
        device.push_str(",vectors=0");
    }
    command
        .args(["-chardev", &format!("socket,id=c{index},path={socket}")])
        .args([
            "-netdev",
            &format!("vhost-user,id=n{index},chardev=c{index},queues={pairs}"),
        ])
        .args(["-device", &device]);
}
