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
    /// The socket.
    pub socket: PathBuf,
    /// QEMU listens on it and the back-end connects; otherwise the back-end listens.
    pub listens: bool,
    /// MAC address.
    pub mac: String,
    /// Queue pairs.
    pub queue_pairs: u32,
    /// The device is one from before virtio 1.0: no VERSION_1, and a short header without MRG_RXBUF.
    pub legacy: bool,
    /// VIRTIO_NET_F_MRG_RXBUF
    pub mergeable: bool,
    /// VIRTIO_F_RING_PACKED
    pub packed: bool,
    /// MTU offered to the guest (VIRTIO_NET_F_MTU).
    pub mtu: u16,
}

/// Where a guest's memory comes from; always shared with the back-end.
#[derive(Debug, Clone)]
pub enum Memory {
    /// An anonymous file, sealed: QEMU's usual way.
    Memfd,
    /// A file in this directory of a hugetlbfs, as libvirt does it.
    File(PathBuf),
}

/// What to boot.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Virtual CPUs.
    pub cpus: u32,
    /// Where its 512 MiB come from.
    pub memory: Memory,
    /// Network devices, `eth0` first.
    pub nics: Vec<Nic>,
    /// Parameters of the guest's init (see `tests/lab/guest/init`), `job=NAME` among them.
    pub job: String,
    /// Further arguments.
    pub more: Vec<String>,
}

impl Machine {
    /// A machine with memory of the usual kind.
    pub fn new(cpus: u32, nics: &[Nic], job: &str) -> Self {
        Self {
            cpus,
            memory: Memory::Memfd,
            nics: nics.to_vec(),
            job: job.to_owned(),
            more: Vec::new(),
        }
    }
}

impl Nic {
    /// A modern device with one queue pair, for a back-end that listens.
    pub fn new(socket: PathBuf, mac: &str) -> Self {
        Self {
            socket,
            listens: false,
            mac: mac.to_owned(),
            queue_pairs: 1,
            legacy: false,
            mergeable: true,
            packed: false,
            mtu: 1500,
        }
    }
}

/// Of the guest's kernel. An emulated CPU on a busy machine loses a tick now and then; one that has its timer set for each tick
/// anew stands still from then on, one whose timer ticks by itself (`highres=off nohz=off`) does not.
pub const KERNEL_PARAMETERS: &str =
    "console=ttyS0 quiet panic=-1 mitigations=off highres=off nohz=off";

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
        Self::start(name, directory, &Machine::new(cpus, nics, job))
    }

    /// Starts a machine.
    #[track_caller]
    pub fn start(name: &str, directory: &Path, machine: &Machine) -> Self {
        let (kernel, initrd) = kernel_and_initrd();
        let mut command = qemu(machine, "");
        command.arg("-kernel").arg(kernel);
        command.arg("-initrd").arg(initrd);
        let job = &machine.job;
        command.args(["-append", &format!("{KERNEL_PARAMETERS} {job}")]);
        command.args(&machine.more);
        Self {
            process: Process::start(name, directory, &mut command),
        }
    }

    /// Starts a machine that has nothing to boot but the network. Its firmware and iPXE, the NIC's, write to the serial console.
    #[track_caller]
    pub fn boot_from_network(name: &str, directory: &Path, nic: &Nic) -> Self {
        let machine = Machine::new(1, std::slice::from_ref(nic), "");
        let mut command = qemu(&machine, ",graphics=off");
        command.args(["-boot", "order=n"]);
        Self {
            process: Process::start(name, directory, &mut command),
        }
    }
}

/// The lab's kernel and initramfs.
#[track_caller]
pub fn kernel_and_initrd() -> (PathBuf, PathBuf) {
    let kernel = kernels::kernel(Ui::new(), Flavour::Cloud).expect("a stock kernel");
    let initrd = guest::build(&kernel, Flavour::Cloud).expect("the guest's initramfs");
    (kernel.image, initrd)
}

/// QEMU with all but what it boots; `more` are further options of its board.
fn qemu(machine: &Machine, more: &str) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    let board = format!("q35,accel=tcg,memory-backend=memory{more}");
    command
        .args(["-nodefaults", "-display", "none", "-monitor", "none"])
        .args(["-no-reboot", "-serial", "stdio", "-cpu", "max"])
        .args(["-m", "512", "-object", &memory_backend(&machine.memory)])
        .args(["-machine", &board])
        .args(["-smp", &machine.cpus.to_string()]);
    for (index, nic) in machine.nics.iter().enumerate() {
        add_nic(&mut command, index, nic);
    }
    command
}

fn memory_backend(memory: &Memory) -> String {
    match memory {
        Memory::Memfd => "memory-backend-memfd,id=memory,size=512M,share=on".to_owned(),
        Memory::File(directory) => format!(
            "memory-backend-file,id=memory,size=512M,share=on,mem-path={}",
            directory.display()
        ),
    }
}

fn add_nic(command: &mut Command, index: usize, nic: &Nic) {
    let pairs = nic.queue_pairs;
    let socket = nic.socket.display();
    let major = machine::qemu_major().unwrap_or(0);
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
    if nic.legacy {
        device.push_str(",disable-modern=on,disable-legacy=off");
    }
    if !nic.mergeable {
        device.push_str(",mrg_rxbuf=off");
    }
    if nic.packed {
        device.push_str(",packed=on");
    }
    if major < 8 {
        say("QEMU before version 8 crashes with MSI-X over vhost-user: using INTx");
        device.push_str(",vectors=0");
    }
    // Comes back when the back-end does.
    let reconnect = match major {
        ..10 => "reconnect=1",
        _ => "reconnect-ms=100",
    };
    let role = if nic.listens { "server=on" } else { reconnect };
    let chardev = format!("socket,id=c{index},path={socket},{role}");
    command.args(["-chardev", &chardev]);
    let netdev = format!("vhost-user,id=n{index},chardev=c{index},queues={pairs}");
    command.args(["-netdev", &netdev]);
    command.args(["-device", &device]);
}
