//! An idle network costs no CPU, and wakes up.
use super::{Net, frame, guest::GuestSpec, introduce, mac};
use std::time::{Duration, Instant};

/// CPU time of the datapath threads of this process that carry `name`, in clock ticks of 10 ms.
fn datapath_ticks(name: &str) -> u64 {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok())
        .filter_map(|stat| {
            // proc(5): "pid (comm) state ..."; utime and stime are fields 14 and 15.
            let (start, rest) = stat.rsplit_once(") ")?;
            let (_, comm) = start.split_once('(')?;
            let fields: Vec<_> = rest.split(' ').collect();
            (comm == name)
                .then(|| fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
        })
        .sum()
}

#[test]
fn idle_network_uses_no_cpu_and_wakes_up() {
    let net = Net::named("idle-net", Duration::from_micros(50));
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    for index in 0..20 {
        net.port(&format!("waiting{index}"), 2);
    }
    introduce(&mut [&mut a.guest, &mut b.guest]);
    let before = datapath_ticks("dp-idle-net");
    let begun = Instant::now();
    // Not a synchronisation: this second of idleness is what is measured.
    std::thread::sleep(Duration::from_secs(1));
    let used = datapath_ticks("dp-idle-net") - before;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert!(used <= 1, "{used} ticks of 10 ms in an idle second");
    for seed in 0..10 {
        let sent = frame(mac(1), mac(0), 100, seed);
        a.guest.send(&sent);
        assert_eq!(b.guest.receive().frame, sent);
        std::thread::sleep(Duration::from_millis(2));
    }
}
