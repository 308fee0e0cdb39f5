use super::*;
use crate::services::tftp::directory::File;
use crate::services::tftp::transfer::tests::{Memory, pattern};
use proptest::prelude::*;

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
/// Of the network.
const BY: PortId = PortId(1);

#[derive(Debug)]
struct Tree {
    opened: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl Directory for Tree {
    fn open(&mut self, path: &str) -> Result<Box<dyn File>, OpenError> {
        self.opened.lock().unwrap().push(path.to_owned());
        match path {
            "boot/kernel" => Ok(Box::new(Memory {
                bytes: pattern(1000),
                len: 1000,
            })),
            "secret" => Err(OpenError::Denied),
            _ => Err(OpenError::NotFound),
        }
    }
}

struct World {
    server: Server,
    opened: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
    now: Duration,
}

impl World {
    fn new() -> Self {
        let opened = std::sync::Arc::default();
        let tree = Tree {
            opened: std::sync::Arc::clone(&opened),
        };
        Self {
            server: Server::new(Box::new(tree), 1500, 3),
            opened,
            now: Duration::ZERO,
        }
    }

    fn send(&mut self, ends: Ends, payload: &[u8]) -> Vec<Outgoing> {
        self.send_by(BY, ends, payload)
    }

    fn send_by(&mut self, port: PortId, ends: Ends, payload: &[u8]) -> Vec<Outgoing> {
        let mut out = Vec::new();
        self.server
            .handle(self.now, (port, ends), payload, &mut out);
        out
    }
}

fn ends(guest_port: u16) -> Ends {
    Ends {
        mac: MAC,
        guest: SocketAddr::from(([10, 0, 2, 15], guest_port)),
        local: SocketAddr::from(([10, 0, 2, 2], PORT)),
    }
}

fn request(file: &str) -> Vec<u8> {
    format!("\0\x01{file}\0octet\0").into_bytes()
}

fn error_code(packets: &[Outgoing]) -> Option<u16> {
    match packets {
        [packet] if packet.payload[..2] == [0, 5] => {
            Some(u16::from_be_bytes([packet.payload[2], packet.payload[3]]))
        }
        _ => None,
    }
}

#[test]
fn a_file_is_transferred_from_a_port_of_its_own() {
    let mut world = World::new();
    let first = world.send(ends(4000), &request("/boot//./kernel"));
    assert_eq!(*world.opened.lock().unwrap(), ["boot/kernel"]);
    let transfer = first[0].ends;
    assert!(transfer.local.port() >= FIRST_PORT);
    assert_eq!(transfer.guest, ends(4000).guest);
    assert!(world.server.has(transfer.local.port()));
    let second = world.send(transfer, &[0, 4, 0, 1]);
    assert_eq!(second[0].payload.len(), 4 + 488);
    assert!(world.send(transfer, &[0, 4, 0, 2]).is_empty());
    assert!(!world.server.has(transfer.local.port()), "it is done");
}

#[test]
fn paths_that_lead_out_are_refused_before_anything_is_opened() {
    let mut world = World::new();
    for path in [
        "../etc/passwd",
        "boot/../../x",
        "..",
        "boot\\..\\..\\x",
        "/",
        ".",
        "./",
    ] {
        assert_eq!(
            error_code(&world.send(ends(4000), &request(path))),
            Some(2),
            "{path}"
        );
    }
    assert!(world.opened.lock().unwrap().is_empty());
    world.send(ends(4000), &request("\\boot\\kernel"));
    assert_eq!(
        *world.opened.lock().unwrap(),
        ["boot/kernel"],
        "as Windows writes it"
    );
}

#[test]
fn what_cannot_be_had_is_refused_with_its_reason() {
    let mut world = World::new();
    assert_eq!(
        error_code(&world.send(ends(4000), &request("nothing"))),
        Some(1)
    );
    assert_eq!(
        error_code(&world.send(ends(4000), &request("secret"))),
        Some(2)
    );
    assert_eq!(
        error_code(&world.send(ends(4000), b"\0\x02f\0octet\0")),
        Some(2),
        "read only"
    );
    assert_eq!(
        error_code(&world.send(ends(4000), b"\0\x01f\0netascii\0")),
        Some(4)
    );
    assert_eq!(error_code(&world.send(ends(4000), b"\0\x03junk")), Some(4));
    assert!(
        world.send(ends(4000), b"\0\x05\0\0\0").is_empty(),
        "errors are never answered"
    );
}

#[test]
fn a_stranger_does_not_disturb_a_transfer() {
    let mut world = World::new();
    let transfer = world.send(ends(4000), &request("boot/kernel"))[0].ends;
    let mut stranger = transfer;
    stranger.guest.set_port(4001);
    assert_eq!(error_code(&world.send(stranger, &[0, 4, 0, 1])), Some(5));
    assert!(world.send(stranger, &[0, 5, 0, 0, 0]).is_empty());
    assert_eq!(world.send(transfer, &[0, 4, 0, 1]).len(), 1);
}

#[test]
fn an_error_of_the_client_ends_its_transfer() {
    let mut world = World::new();
    let transfer = world.send(ends(4000), &request("boot/kernel"))[0].ends;
    assert!(world.send(transfer, &[0, 5, 0, 8, 0]).is_empty());
    assert!(world.send(transfer, &[0, 4, 0, 1]).is_empty());
}

#[test]
fn transfers_are_bounded_and_a_repeated_request_counts_once() {
    let mut world = World::new();
    for _ in 0..100 {
        world.send(ends(4000), &request("boot/kernel"));
    }
    assert_eq!(world.server.transfers.len(), 1);
    for last in 1..100 {
        // As many MAC addresses as it likes.
        let mac = MacAddr([2, 0, 0, 0, 1, last]);
        world.send(Ends { mac, ..ends(4000) }, &request("boot/kernel"));
    }
    assert_eq!(world.server.transfers.len(), PER_PORT);
    for other in 10..110 {
        let ends = ends(5000 + other);
        world.send_by(PortId(other), ends, &request("boot/kernel"));
    }
    assert_eq!(world.server.transfers.len(), MAX_TRANSFERS);
    world.server.forget_port(BY, &|_| Some(BY));
    assert_eq!(world.server.transfers.len(), MAX_TRANSFERS - PER_PORT);
    for seconds in 1..10 {
        world.now = Duration::from_secs(seconds);
        world.server.poll(world.now, &mut Vec::new());
    }
    assert!(world.server.transfers.is_empty(), "nobody answered");
}

#[test]
fn a_transfer_goes_with_its_guest() {
    let now = PortId(7);
    for heard in [false, true] {
        let mut world = World::new();
        let transfer = world.send(ends(4000), &request("boot/kernel"))[0].ends;
        if heard {
            assert_eq!(world.send_by(now, transfer, &[0, 4, 0, 1]).len(), 1);
        }
        // One that was heard since is counted there already.
        let place = (!heard).then_some(now);
        world.server.forget_port(BY, &|_| place);
        assert_eq!(world.server.transfers.len(), 1);
        world.server.forget_port(now, &|_| Some(now));
        assert!(world.server.transfers.is_empty());
    }
}

#[test]
fn a_port_has_no_more_transfers_by_guests_that_come_to_it() {
    let mut world = World::new();
    let other = PortId(7);
    let mut first = Vec::new();
    for number in 0..4 {
        first.extend(world.send(ends(4000 + number), &request("boot/kernel")));
        world.send_by(other, ends(5000 + number), &request("boot/kernel"));
    }
    assert_eq!(world.server.transfers.len(), 2 * PER_PORT);
    world.send_by(other, first[0].ends, &[0, 4, 0, 1]);
    assert!(!world.server.has_room(BY));
    let ended: Vec<_> = (world.server.transfers.values())
        .filter(|running| running.port == BY)
        .map(|running| running.ends)
        .collect();
    assert!(!ended.is_empty());
    world.server.forget_port(BY, &|_| Some(other));
    assert_eq!(world.server.transfers.len(), PER_PORT);
    // Their clients are told, once.
    let mut told = Vec::new();
    world.server.poll(world.now, &mut told);
    assert_eq!(told.len(), ended.len());
    for (packet, ends) in told.iter().zip(ended) {
        assert_eq!(packet.ends, ends);
        assert_eq!(error_code(std::slice::from_ref(packet)), Some(0));
    }
    told.clear();
    world.server.poll(world.now, &mut told);
    assert!(told.is_empty());
}

#[test]
fn nobody_is_told_of_a_transfer_whose_guest_is_gone() {
    let mut world = World::new();
    world.send(ends(4000), &request("boot/kernel"));
    world.server.forget_port(BY, &|_| None);
    let mut told = Vec::new();
    assert!(world.server.poll(world.now, &mut told).is_none());
    assert!(told.is_empty());
}

proptest! {
    #[test]
    fn any_packet_is_survived(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
    ) {
        let mut world = World::new();
        let transfer = world.send(ends(4000), &request("boot/kernel"))[0].ends;
        for payload in packets {
            world.send(transfer, &payload);
            world.send(ends(4000), &payload);
            prop_assert!(world.server.transfers.len() <= 2);
        }
    }
}
