//! Several workers: what they have in common, and what stays true while rings and ports come and go.
use super::{
    BROADCAST, Net, frame,
    guest::{Connected, GuestSpec, wait_for},
    mac,
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use vhost::VhostBackend;
use virtqueue::NetHeader;

/// Frames on their way at a time: far less than a receive ring holds.
const WINDOW: u32 = 64;
const FRAMES: u32 = 20_000;

fn two_workers(name: &str) -> Net {
    Net::with_workers(name, Duration::from_micros(50), 2)
}

/// Frame `number` from guest `from` to guest 2; its length and its bytes go by the number.
fn numbered(from: u8, number: u32) -> Vec<u8> {
    let [.., seed] = number.to_be_bytes();
    let mut bytes = frame(mac(2), mac(from), 64 + usize::from(seed) * 5, seed);
    bytes[20..24].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// A guest that sends numbered frames, and what has arrived of them.
struct Sender {
    guest: Connected,
    id: u8,
    sent: u32,
    arrived: u32,
}

impl Sender {
    fn send(&mut self) {
        let burst = (WINDOW - (self.sent - self.arrived)).min(FRAMES - self.sent);
        let frames: Vec<_> = (self.sent..self.sent + burst)
            .map(|number| (NetHeader::default(), numbered(self.id, number)))
            .collect();
        self.guest.guest.send_on(0, &frames);
        self.guest.guest.reap();
        self.sent += burst;
    }

    /// Stops the transmit ring, with frames in it perhaps, and lets it go on.
    fn stop_and_go_on(&mut self) {
        let Connected { guest, frontend } = &mut self.guest;
        let base = frontend.get_vring_base(1).unwrap();
        guest.start_ring(frontend, 1, u16::try_from(base).unwrap());
    }
}

/// Guests and ports that have nothing to do with the frames come and go.
fn churn(net: &Net, done: &AtomicBool) {
    let mut rounds = 0;
    while !done.load(Ordering::Relaxed) || rounds == 0 {
        let mut other = net.guest("other", GuestSpec::default());
        other.guest.send(&frame(mac(9), mac(8), 100, 1));
        other.frontend.get_features().unwrap();
        drop(other);
        assert!(net.network.remove_port("other").unwrap());
        std::fs::remove_file(net.socket("other")).unwrap();
        rounds += 1;
    }
}

#[test]
fn two_workers_feed_one_ring_and_lose_repeat_reorder_and_alter_nothing() {
    let net = two_workers("stress");
    let mut senders = ["a", "b"].map(|name| Sender {
        guest: net.guest(name, GuestSpec::default()),
        id: u8::from(name == "b"),
        sent: 0,
        arrived: 0,
    });
    let mut c = net.guest("c", GuestSpec::default());
    let served_by = ["a", "b"].map(|name| net.network.show(name).unwrap().1[1].worker);
    assert_eq!(served_by, [Some(0), Some(1)]);
    c.guest.send(&frame(BROADCAST, mac(2), 60, 0));
    for sender in &mut senders {
        assert_eq!(sender.guest.guest.receive().frame[6..12], mac(2));
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| churn(&net, &done));
        let mut stops = 0;
        while senders.iter().any(|sender| sender.arrived < FRAMES) {
            for sender in &mut senders {
                sender.send();
                if sender.sent / 1000 > stops {
                    stops += 1;
                    sender.stop_and_go_on();
                }
            }
            take(&mut c, &mut senders);
        }
        done.store(true, Ordering::Relaxed);
    });
    let status = net.status("c");
    assert_eq!(status.counters.rx_dropped, 0);
    assert!(status.counters.rx_frames >= u64::from(2 * FRAMES));
}

/// Takes what has arrived: each sender's frames in order, as they were sent.
fn take(receiver: &mut Connected, senders: &mut [Sender; 2]) {
    wait_for("a frame", || {
        let mut any = false;
        while let Some(received) = receiver.guest.poll(0) {
            any = true;
            let bytes = received.frame;
            // Of those who come and go, to nobody: flooded.
            if bytes[6..12] == mac(8) {
                continue;
            }
            let sender = &mut senders[usize::from(bytes[11])];
            assert!(
                bytes == numbered(sender.id, sender.arrived),
                "frame {}",
                sender.arrived
            );
            sender.arrived += 1;
        }
        any || senders.iter().all(|sender| sender.arrived == FRAMES)
    });
}

#[test]
fn a_receive_ring_that_stops_and_starts_is_left_alone_by_both_workers() {
    let net = two_workers("stops");
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    let mut c = net.guest("c", GuestSpec::default());
    c.guest.send(&frame(BROADCAST, mac(2), 60, 0));
    a.guest.receive();
    b.guest.receive();
    let mut expected_drops = 0;
    for seed in 0..20 {
        let base = c.frontend.get_vring_base(0).unwrap();
        // After the reply nothing is written.
        a.guest.send(&frame(mac(2), mac(0), 100, seed));
        b.guest.send(&frame(mac(2), mac(1), 100, seed));
        expected_drops += 2;
        net.wait_for_status("c", "drops", |c| c.counters.rx_dropped == expected_drops);
        assert_eq!(c.guest.poll(0), None);
        c.guest
            .start_ring(&mut c.frontend, 0, u16::try_from(base).unwrap());
        c.frontend.get_features().unwrap();
        for (guest, from) in [(&mut a.guest, 0), (&mut b.guest, 1)] {
            let sent = frame(mac(2), mac(from), 100, seed);
            guest.send(&sent);
            assert_eq!(c.guest.receive().frame, sent);
        }
    }
}

#[test]
fn queues_are_spread_and_shown_with_their_workers() {
    let net = two_workers("spread");
    let spec = GuestSpec {
        pairs: 4,
        queue_size: 64,
        ..GuestSpec::default()
    };
    let _guest = net.guest("a", spec);
    net.wait_for_status("a", "four pairs", |a| a.queue_pairs == 4);
    let queues = net.network.show("a").unwrap().1;
    assert_eq!(queues[1].worker, Some(0));
    assert_eq!(queues[0].worker, None, "all put frames into receive rings");
    let workers = net.network.workers();
    assert_eq!(
        workers.iter().map(|it| it.worker).collect::<Vec<_>>(),
        [0, 1]
    );
    assert!(
        workers
            .iter()
            .all(|it| it.busy_permille <= 1000 && it.cpu.is_none())
    );
}

#[test]
fn a_worker_runs_on_the_cpu_that_it_is_told_and_one_that_is_not_there_is_refused() {
    use super::{Mode, Network, NetworkSpec};
    let spec = |cpu| NetworkSpec {
        name: "pinned".into(),
        mode: Mode::Bridge,
        mtu: 1500,
        ageing: Duration::from_mins(5),
        fdb_capacity_per_port: 64,
        poll_idle: Duration::ZERO,
        workers: 1,
        cpus: vec![cpu],
        require_sealed_memory: false,
        isolate: false,
    };
    let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    let cpu = (0..1024).find(|cpu| allowed.is_set(*cpu).unwrap()).unwrap();
    let network = Network::start(spec(u16::try_from(cpu).unwrap())).unwrap();
    // The thread beside it has its name too, until it runs.
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let mut status =
        tasks.filter_map(|it| std::fs::read_to_string(it.unwrap().path().join("status")).ok());
    let list = format!("Cpus_allowed_list:\t{cpu}\n");
    assert!(
        status.any(|it| it.starts_with("Name:\tdp-pinned\n") && it.contains(&list)),
        "no worker may run on CPU {cpu} only"
    );
    assert_eq!(network.workers()[0].cpu, Some(u16::try_from(cpu).unwrap()));
    let error = Network::start(spec(1023)).unwrap_err();
    assert!(
        format!("{error:#}").contains("run a worker on CPU 1023"),
        "{error:#}"
    );
}
