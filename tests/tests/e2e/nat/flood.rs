//! One guest floods, another goes on.
use super::world::{PATIENCE, SERVER4, World, accept};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::{Namespace, PacketSocket, needs_root, say, wait_until};

const SYNS: u32 = 100_000;
/// They come evenly in this time, so many at once.
const FLOOD: Duration = Duration::from_secs(2);
const AT_ONCE: u32 = 500;
/// Addresses that the flood comes from, all behind one port.
const STATIONS: u32 = 64;
/// Connections of the other guest.
const STREAMS: usize = 4;
/// Half-open flows that a guest may have, whatever addresses it sends from.
const HALF_OPEN: usize = 2048;
/// What is left of the other guest's rate is to be 90 % and more. A machine with two CPUs shares them between the flood's
/// sender, both guests, the server, the datapath and the gateway, and with who knows whom: there the flood takes CPU time before the
/// gateway sees it. What is told from a gateway that starves its guests is more than this.
const FLOOR: f64 = 0.25;

/// RFC 1071.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let mut sum = 0_u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// A SYN to an address where nobody answers.
fn syn(gateway: [u8; 6], n: u32) -> Vec<u8> {
    let station = u8::try_from(n % STATIONS).unwrap();
    let [.., third, last] = n.to_be_bytes();
    let mut ip = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    ip.extend([10, 0, 2, 100 + station]);
    ip.extend([198, 51, 100, last]);
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum);
    let port = u16::try_from(1024 + n / STATIONS).unwrap().to_be_bytes();
    let mut tcp = vec![port[0], port[1], third, 80];
    tcp.extend(n.to_be_bytes());
    tcp.extend([0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    let sum = checksum(&[&ip[12..20], &[0, 6, 0, 20], &tcp]);
    tcp[16..18].copy_from_slice(&sum);
    let mac = [2, 0, 0, 0, 1, station];
    [&gateway[..], &mac, &[8, 0], &ip, &tcp].concat()
}

/// The gateway's MAC address, as a guest knows it.
fn gateway_of(world: &World) -> [u8; 6] {
    world.guest.run("ping -c 1 -W 20 10.0.2.2");
    let known = world.guest.run("ip neigh show 10.0.2.2 dev eth0");
    let text = String::from_utf8_lossy(&known.stdout).into_owned();
    let mut words = text.split_whitespace().skip_while(|word| *word != "lladdr");
    let mac = words.nth(1).expect("a MAC address");
    let bytes = mac.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().expect("a MAC address");
    bytes.try_into().expect("six bytes")
}

/// Tells those who send to end, also when the test fails: they are waited for.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends until it is told to end; how many bytes.
fn send(mut stream: &TcpStream, ends: &AtomicBool) -> u64 {
    let bytes = vec![7; 1 << 16];
    let mut sent = 0;
    while !ends.load(Ordering::Relaxed) {
        stream.write_all(&bytes).unwrap();
        sent += 1 << 16;
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    sent
}

/// Receives to the end; how many bytes.
fn receive(mut stream: &TcpStream, all: &AtomicU64) -> u64 {
    let mut bytes = vec![0; 1 << 16];
    let mut got = 0;
    loop {
        match stream.read(&mut bytes).unwrap() {
            0 => return got,
            length => {
                got += length as u64;
                all.fetch_add(length as u64, Ordering::Relaxed);
            }
        }
    }
}

/// Bytes per second that came while something was done.
fn rate(all: &AtomicU64, act: impl FnOnce()) -> f64 {
    let (start, before) = (Instant::now(), all.load(Ordering::Relaxed));
    act();
    let came = all.load(Ordering::Relaxed) - before;
    #[expect(clippy::cast_precision_loss, reason = "for a ratio")]
    let came = came as f64;
    came / start.elapsed().as_secs_f64()
}

fn wait(socket: &PacketSocket, until: Instant) {
    while socket.receive(until).is_some() {}
}

fn flood(socket: &PacketSocket, gateway: [u8; 6]) {
    let start = Instant::now();
    for n in 0..SYNS {
        socket.send(&syn(gateway, n));
        if (n + 1) % AT_ONCE == 0 {
            wait(socket, start + FLOOD * (n + 1) / SYNS);
        }
    }
}

#[test]
fn nat_a_flood_of_syns_leaves_another_guest_its_rate() {
    if !needs_root("nat_a_flood_of_syns_leaves_another_guest_its_rate") {
        return;
    }
    let flooder = Namespace::quiet("flooder");
    let world = World::leased(&format!(
        "[networks.n.ports.flooder]\nkind = \"tap\"\ninterface = \"eth0\"\nnetns = \"{}\"",
        flooder.name()
    ));
    flooder.run("ip link set eth0 up");
    // The server takes what is not for it, and says nothing.
    world.host.run("ip route add 198.51.100.0/24 via 192.0.2.2");
    let gateway = gateway_of(&world);
    let socket = PacketSocket::open(&flooder, "eth0");
    let (listener, to) = world.listen(SERVER4);
    let streams: Vec<_> = (0..STREAMS)
        .map(|_| (world.connect(to).unwrap(), accept(&listener).0))
        .collect();
    let (all, ends) = (AtomicU64::new(0), AtomicBool::new(false));
    let (alone, beside) = thread::scope(|scope| {
        let sent: Vec<_> = streams
            .iter()
            .map(|(guest, _)| scope.spawn(|| send(guest, &ends)))
            .collect();
        let got: Vec<_> = streams
            .iter()
            .map(|(_, server)| scope.spawn(|| receive(server, &all)))
            .collect();
        let told = Ends(&ends);
        wait_until("bytes", PATIENCE, || {
            (all.load(Ordering::Relaxed) > 1 << 20).then_some(())
        });
        let alone = rate(&all, || wait(&socket, Instant::now() + FLOOD));
        let beside = rate(&all, || flood(&socket, gateway));
        drop(told);
        for (sent, got) in sent.into_iter().zip(got) {
            assert_eq!(sent.join().unwrap(), got.join().unwrap());
        }
        (alone, beside)
    });
    let flows = world.daemon.client().flows("n").unwrap();
    let flooding = flows
        .iter()
        .filter(|flow| flow.mac.starts_with("02:00:00:00:01"))
        .count();
    assert!(flooding > 0 && flooding <= HALF_OPEN, "{flooding} flows");
    // Another connection is made while they wait.
    let guest = world.connect(to).unwrap();
    (&accept(&listener).0).write_all(b"x").unwrap();
    (&guest).read_exact(&mut [0]).unwrap();
    let ratio = beside / alone;
    say(&format!(
        "nat: a guest has {:.0} % of its {:.0} MB/s beside {SYNS} SYNs of another in {} s, which hold {flooding} flows",
        ratio * 100.0,
        alone / 1e6,
        FLOOD.as_secs()
    ));
    assert!(ratio >= FLOOR, "{ratio:.2} is left");
}
