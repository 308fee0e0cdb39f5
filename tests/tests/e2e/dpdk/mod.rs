//! DPDK's virtio-user as front-end: other rings, other habits than Linux and QEMU.
mod stream;

use std::thread;
use std::time::Duration;
use stream::Stream;
use tests::{
    Daemon, Namespace, PacketSocket, Testpmd, VirtioUser, heavy, needs_root, say, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(30);
const QUEUE_PAIRS: u16 = 2;
/// Several times around the largest ring, on either queue and in either direction.
const FRAMES: u64 = 6000;
const MTU: u16 = 9000;
const ETHERNET_HEADER: u16 = 14;

/// Two networks that testpmd joins, with a tap on each:
/// tap `left` - netbackend - testpmd - netbackend - tap `right`.
struct Lab {
    daemon: Daemon,
    left: PacketSocket,
    right: PacketSocket,
    _namespaces: [Namespace; 2],
}

impl Lab {
    fn start() -> Self {
        let namespaces = ["left", "right"].map(Namespace::quiet);
        let config: Vec<String> = ["left", "right"]
            .iter()
            .zip(&namespaces)
            .map(|(network, namespace)| {
                format!(
                    "[networks.{network}]\nmtu = {MTU}\n[networks.{network}.ports.dpdk]\n\
                     [networks.{network}.ports.tap]\nkind = \"tap\"\ninterface = \"eth0\"\nnetns = \"{}\"\n",
                    namespace.name()
                )
            })
            .collect();
        let daemon = Daemon::start(&config.concat());
        let [left, right] = [0, 1].map(|index| PacketSocket::open(&namespaces[index], "eth0"));
        Self {
            daemon,
            left,
            right,
            _namespaces: namespaces,
        }
    }

    /// Frames in both directions at once through testpmd with these options.
    fn check(&self, options: VirtioUser) {
        let directory = self.daemon.directory();
        let sockets = ["left", "right"].map(|network| self.daemon.socket(network, "dpdk"));
        let mut testpmd = Testpmd::start(directory, [&sockets[0], &sockets[1]], options);
        for network in ["left", "right"] {
            self.wait_enabled(network);
        }
        let ports = self.daemon.network("left").ports;
        let port = ports.iter().find(|port| port.name == "dpdk").unwrap();
        let is_packed = port.features.iter().any(|name| name == "ring_packed");
        assert_eq!(is_packed, options.packed, "{:?}", port.features);
        let max_frame = options.max_frame;
        let stream = |from, to| Stream {
            from,
            to,
            max_frame,
        };
        let (there, back) = (stream(1, 2), stream(2, 1));
        there.wait_connected(&self.left, &self.right);
        back.wait_connected(&self.right, &self.left);
        let before = self.dropped();
        let (there, back) = thread::scope(|scope| {
            let there = scope.spawn(|| there.exchange(&self.left, &self.right, FRAMES));
            let back = back.exchange(&self.right, &self.left, FRAMES);
            (there.join().unwrap(), back)
        });
        let networks = ["left", "right"].map(|name| self.daemon.network(name));
        // First, so that its last words are in the log of a failure.
        let queues = testpmd.stop();
        say(&format!("{options:?}: received by {queues:?}"));
        for (direction, result) in [("there", there), ("back", back)] {
            if let Err(error) = result {
                panic!("{direction}: {error}; {networks:#?}");
            }
        }
        let used = queues.iter().filter(|(_, frames)| *frames > 100).count();
        assert_eq!(used, 2 * usize::from(QUEUE_PAIRS), "{queues:?}");
        assert_eq!(self.dropped(), before, "frames dropped, by port");
    }

    /// Until every ring is enabled: DPDK does not wait for that, and what it sends before into a ring
    /// that is still disabled is discarded (vhost-user.rst, "Ring states").
    fn wait_enabled(&self, network: &str) {
        wait_until("all queue pairs", PATIENCE, || {
            let ports = self.daemon.network(network).ports;
            let port = ports.iter().find(|port| port.name == "dpdk")?;
            (port.queue_pairs == QUEUE_PAIRS).then_some(())
        });
    }

    /// How many frames each port has dropped; none may have a fault.
    fn dropped(&self) -> Vec<(String, u64)> {
        let networks = ["left", "right"].map(|network| self.daemon.network(network));
        let ports = networks.into_iter().flat_map(|network| network.ports);
        ports
            .map(|port| {
                assert_eq!(port.counters.faults, 0, "{}: {:?}", port.name, port.fault);
                let dropped = port.counters.tx_dropped + port.counters.rx_dropped;
                (port.name, dropped)
            })
            .collect()
    }
}

#[test]
fn testpmd_virtio_user_every_frame_once_in_order_unchanged() {
    if !needs_root("testpmd_virtio_user_every_frame_once_in_order_unchanged") {
        return;
    }
    let _turn = heavy();
    let lab = Lab::start();
    for queue_size in [256, 1024] {
        for (mergeable, in_order, vectorized) in [
            (true, true, false),
            (true, false, false),
            (false, true, false),
            (false, false, false),
            (false, false, true),
        ] {
            lab.check(VirtioUser {
                queue_size,
                mergeable,
                in_order,
                packed: false,
                vectorized,
                queue_pairs: QUEUE_PAIRS,
                // Without mergeable buffers a frame has to fit into one of DPDK's.
                max_frame: if mergeable { MTU } else { 1500 } + ETHERNET_HEADER,
            });
        }
    }
    assert!(lab.daemon.stop().success());
}
