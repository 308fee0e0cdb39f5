use super::*;
use crate::services::dns::message::tests::{answer, edns_query, query};
use crate::services::dns::message::{Header, records};
use crate::services::dns::spec::flag;
use crate::testkit::{FakeHost, Socket};
use crate::{HostError, IncomingError};

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const PORT: PortId = PortId(1);
const BY: Station = Station {
    port: PORT,
    mac: MAC,
};
const FIRST: &str = "192.0.2.1:53";
const SECOND: &str = "192.0.2.2:53";
const STREAM: StreamId = StreamId(5);
const RECORD: (usize, u16, u32, &[u8]) = (0, 1, 300, &[198, 51, 100, 1]);

struct World {
    forwarder: Forwarder,
    host: FakeHost,
    hosts: Hosts,
    now: Duration,
}

impl World {
    fn new() -> Self {
        Self::with(&[FIRST, SECOND], true)
    }

    fn with(servers: &[&str], world: bool) -> Self {
        let zone = Zone::new(
            "internal".parse().ok(),
            vec!["10.0.2.0/24".parse().unwrap()],
            &[],
        );
        let servers: Vec<SocketAddr> = servers.iter().map(|text| text.parse().unwrap()).collect();
        Self {
            forwarder: Forwarder::new(zone, Limits::default(), &servers, world, 42),
            host: FakeHost::default(),
            hosts: Hosts::new(&[], 10),
            now: Duration::from_secs(100),
        }
    }

    fn play<T>(&mut self, act: impl FnOnce(&mut Forwarder, &mut Scene<'_>) -> T) -> T {
        let mut scene = Scene {
            now: self.now,
            host: &mut self.host,
            hosts: &self.hosts,
        };
        act(&mut self.forwarder, &mut scene)
    }

    fn ask_as(&mut self, mac: MacAddr, message: &[u8]) {
        self.ask_by(PORT, mac, message);
    }

    fn ask_by(&mut self, port: PortId, mac: MacAddr, message: &[u8]) {
        let client = Client::Udp {
            by: Station { port, mac },
            guest: SocketAddr::from(([10, 0, 2, 15], 5000)),
            local: SocketAddr::from(([10, 0, 2, 3], 53)),
        };
        self.play(|forwarder, scene| forwarder.query(scene, client, message));
    }

    fn ask(&mut self, message: &[u8]) {
        self.ask_as(MAC, message);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.play(Forwarder::poll);
    }

    fn event(&mut self, socket: usize) {
        let token = self.host.sockets[socket].token;
        self.play(|forwarder, scene| forwarder.host_event(scene, token));
    }

    /// What a socket of ours asked last, and whom.
    fn asked(&self, socket: usize) -> (Vec<u8>, SocketAddr) {
        let sent = self.host.sockets[socket].sent.last().expect("a question");
        (sent.payload.clone(), sent.to)
    }

    fn arrive(&mut self, socket: usize, from: &str, message: Vec<u8>) {
        let arrived = &mut self.host.sockets[socket].arrived;
        arrived.push_back((from.parse().unwrap(), message));
        self.event(socket);
    }

    /// An upstream server answers what a socket of ours asked last.
    fn answer(&mut self, socket: usize, flags: u16, records: &[(usize, u16, u32, &[u8])]) {
        let (question, to) = self.asked(socket);
        self.arrive(socket, &to.to_string(), answer(&question, flags, records));
    }

    fn replies(&mut self) -> Vec<Vec<u8>> {
        let replies = self.forwarder.take_replies().into_iter();
        replies.map(|reply| reply.payload).collect()
    }

    /// The code of the only reply, and how many answers it has.
    #[track_caller]
    fn reply(&mut self) -> (u16, u16) {
        let replies = self.replies();
        assert_eq!(replies.len(), 1, "{replies:?}");
        let header = Header::parse(&replies[0]).unwrap();
        (header.rcode(), header.counts[1])
    }
}

#[test]
fn a_question_is_passed_on_and_its_answer_kept() {
    let mut world = World::new();
    world.ask(&query(7, "example.com"));
    let (question, to) = world.asked(0);
    assert_eq!(to.to_string(), FIRST);
    assert!(world.replies().is_empty());
    assert_ne!(question[..2], [0, 7], "under an id of its own");
    world.answer(0, 0, &[RECORD]);
    let replies = world.replies();
    assert_eq!(replies[0][..2], [0, 7]);
    assert_eq!(replies[0][replies[0].len() - 4..], [198, 51, 100, 1]);
    assert_eq!(world.host.open_count(), 0);

    world.now += Duration::from_secs(100);
    world.ask(&query(8, "example.com"));
    let replies = world.replies();
    assert_eq!(replies[0][..2], [0, 8]);
    assert_eq!(records(&replies[0]).unwrap()[0].ttl, 200);
    assert_eq!(world.host.sockets.len(), 1, "nobody was asked");
    world.now += Duration::from_secs(200);
    world.ask(&query(9, "example.com"));
    assert_eq!(world.host.sockets.len(), 2, "it is too old now");
}

#[test]
fn ids_and_sockets_are_never_the_same_twice_in_a_row() {
    let mut world = World::new();
    let mut ids = std::collections::BTreeSet::new();
    for number in 0..50 {
        world.ask(&query(7, &format!("host{number}.example")));
        let (question, _) = world.asked(number);
        ids.insert(question[..2].to_vec());
    }
    assert!(ids.len() > 45, "{} of 50", ids.len());
    assert_eq!(world.host.open_count(), 50, "each has a port of its own");
}

#[test]
fn forged_answers_are_passed_over() {
    let mut world = World::new();
    world.ask(&query(7, "example.com"));
    let (question, _) = world.asked(0);
    let good = answer(&question, 0, &[RECORD]);
    let mut wrong_id = good.clone();
    wrong_id[0] ^= 1;
    world.arrive(0, FIRST, wrong_id);
    world.arrive(0, "192.0.2.9:53", good.clone());
    world.arrive(0, "192.0.2.1:54", good.clone());
    let mut other = query(0, "example.org");
    other[..2].copy_from_slice(&question[..2]);
    world.arrive(0, FIRST, answer(&other, 0, &[RECORD]));
    world.arrive(0, FIRST, good[..20].to_vec());
    world.arrive(0, FIRST, Vec::new());
    assert!(world.replies().is_empty());
    world.arrive(0, FIRST, good);
    assert_eq!(world.reply(), (0, 1));
}

#[test]
fn a_silent_server_is_followed_by_the_next_which_is_then_preferred() {
    let mut world = World::new();
    world.ask(&query(7, "example.com"));
    world.pass(Duration::from_millis(1999));
    assert_eq!(world.host.sockets.len(), 1);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.asked(1).1.to_string(), SECOND);
    assert!(world.host.sockets[0].closed);
    world.answer(1, 0, &[RECORD]);
    assert_eq!(world.reply(), (0, 1));
    world.ask(&query(8, "example.org"));
    assert_eq!(world.asked(2).1.to_string(), SECOND);
}

#[test]
fn when_all_servers_are_silent_the_guest_is_told_and_nothing_is_left() {
    let mut world = World::new();
    world.ask(&query(7, "example.com"));
    for _ in 0..4 {
        assert!(world.replies().is_empty());
        world.pass(UDP_TIMEOUT);
    }
    assert_eq!(world.reply(), (rcode::SERVER_FAILURE, 0));
    assert_eq!((world.host.sockets.len(), world.host.open_count()), (4, 0));
    assert!(world.forwarder.pending.is_empty() && world.forwarder.deadlines.is_empty());
    assert!(world.forwarder.per_port.is_empty());
}

#[test]
fn a_server_that_refuses_or_cannot_be_reached_costs_no_time() {
    let mut world = World::new();
    world.ask(&query(7, "example.com"));
    world.host.sockets[0].errors.push_back(IncomingError {
        destination: FIRST.parse().unwrap(),
        offender: None,
        icmp_type: 3,
        icmp_code: 3,
        sequence: None,
        mtu: None,
        quoted: Vec::new(),
    });
    world.event(0);
    assert_eq!(world.asked(1).1.to_string(), SECOND);
    world.answer(1, rcode::SERVER_FAILURE, &[]);
    assert_eq!(world.asked(2).1.to_string(), FIRST);
    world.answer(2, rcode::REFUSED, &[]);
    world.answer(3, rcode::REFUSED, &[]);
    assert_eq!(
        world.reply(),
        (rcode::REFUSED, 0),
        "what they said, when nobody knows better"
    );
    let mut world = World::new();
    world.host.refuse_send = Some(HostError::NetworkUnreachable);
    world.ask(&query(7, "example.com"));
    assert_eq!(world.asked(1).1.to_string(), SECOND);
}

#[test]
fn an_answer_is_found_among_datagrams_that_the_kernel_put_together() {
    let mut world = World::new();
    world.ask(&query(7, "example.com"));
    let (question, to) = world.asked(0);
    let right = answer(&question, 0, &[RECORD]);
    let mut wrong = right.clone();
    wrong[0] ^= 1;
    world.host.sockets[0].segment = Some(u16::try_from(right.len()).unwrap());
    world.arrive(0, &to.to_string(), [wrong, right].concat());
    assert_eq!(world.reply(), (0, 1));
}

#[test]
fn a_question_that_could_not_be_sent_goes_to_the_next_server_at_once() {
    let mut world = World::new();
    world.host.lose = Some(HostError::NetworkUnreachable);
    world.ask(&query(7, "example.com"));
    assert_eq!(world.host.sockets.len(), 1);
    let unsent = world.host.take_unsent().expect("what was lost");
    world.play(|forwarder, scene| forwarder.unsent(scene, unsent.token));
    assert_eq!(world.asked(1).1.to_string(), SECOND);
    world.play(|forwarder, scene| forwarder.unsent(scene, unsent.token));
    assert_eq!(world.host.sockets.len(), 2, "its socket is closed by now");
}

#[test]
fn a_host_out_of_descriptors_fails_the_question_at_once() {
    let mut world = World::new();
    world.host.refuse = Some(HostError::NoResources);
    world.ask(&query(7, "example.com"));
    assert_eq!(world.reply(), (rcode::SERVER_FAILURE, 0));
    let mut world = World::with(&[], true);
    world.ask(&query(7, "example.com"));
    assert_eq!(world.reply(), (rcode::SERVER_FAILURE, 0), "no servers");
}

#[test]
fn late_events_of_closed_sockets_are_nobodys() {
    let mut world = World::new();
    world.ask(&query(7, "example.com"));
    world.pass(UDP_TIMEOUT);
    world.event(0);
    world.answer(1, 0, &[RECORD]);
    world.event(1);
    world.event(0);
    assert_eq!(world.replies().len(), 1);
}

#[test]
fn without_a_world_only_this_network_is_answered_for() {
    let mut world = World::with(&[FIRST], false);
    world.ask(&query(7, "example.com"));
    assert_eq!(world.reply(), (rcode::REFUSED, 0));
    world.ask(&query(7, "nobody.internal"));
    assert_eq!(world.reply(), (rcode::NAME_ERROR, 0));
    assert!(world.host.sockets.is_empty());
}

#[test]
fn malformed_questions_are_answered_as_such_and_answers_not_at_all() {
    let mut world = World::new();
    let mut pointer_loop = query(7, "a");
    pointer_loop.truncate(12);
    pointer_loop.extend([0xc0, 0x0c, 0, 1, 0, 1]);
    for message in [pointer_loop, query(7, "example.com")[..14].to_vec()] {
        world.ask(&message);
        assert_eq!(world.reply(), (rcode::FORMAT_ERROR, 0));
    }
    let mut response = query(7, "example.com");
    response[2] |= 0x80;
    for message in [response, Vec::new(), vec![0; 11]] {
        world.ask(&message);
        assert!(world.replies().is_empty());
    }
}

#[test]
fn one_port_cannot_use_up_the_questions_of_others() {
    let mut world = World::new();
    for number in 0..1000_u16 {
        // As many MAC addresses as it likes.
        let [high, low] = number.to_be_bytes();
        let mac = MacAddr([2, 0, 0, 0, high, low]);
        world.ask_as(mac, &query(7, &format!("host{number}.example")));
    }
    assert_eq!(world.host.open_count(), PER_PORT);
    assert_eq!(world.replies().len(), 1000 - PER_PORT);
    for other in 100..150 {
        for number in 0..20 {
            let question = query(7, &format!("host{number}.of{other}.example"));
            world.ask_by(PortId(other), MAC, &question);
        }
    }
    assert_eq!(world.host.open_count(), MAX_PENDING);
    // Of the second thousand only as many go through as the first port has left.
    let passed = u64::try_from(MAX_PENDING).unwrap();
    assert_eq!(world.forwarder.counters().over_quota, 2000 - passed);
}

#[test]
fn questions_of_a_port_that_is_gone_end() {
    let mut world = World::new();
    let gone = PortId(8);
    // One that nobody else asks, and two that it shares, first or second.
    world.ask_by(gone, MAC, &query(1, "alone.example"));
    world.ask_by(gone, MAC, &query(2, "first.example"));
    world.ask(&query(3, "first.example"));
    world.ask(&query(4, "second.example"));
    world.ask_by(gone, MAC, &query(5, "second.example"));
    world
        .forwarder
        .forget_port(&mut world.host, gone, &|_| Some(gone));
    assert!(world.host.sockets[0].closed);
    assert_eq!(world.forwarder.waiting, 2);
    assert_eq!(world.forwarder.per_port, BTreeMap::from([(PORT, 2)]));
    world.answer(1, 0, &[RECORD]);
    world.answer(2, 0, &[RECORD]);
    let ids: Vec<u8> = world.replies().iter().map(|reply| reply[1]).collect();
    assert_eq!(ids, [3, 4]);
    assert_eq!(world.forwarder.waiting, 0);
    assert!(world.forwarder.per_port.is_empty());
}

/// Questions over a stream whose guest is behind a port.
fn ask_over(world: &mut World, port: PortId, names: &[&str]) {
    for name in names {
        let question = query(7, name);
        let mut bytes = vec![0, u8::try_from(question.len()).unwrap()];
        bytes.extend(&question);
        let from = (STREAM, port);
        let taken = world.play(|forwarder, scene| forwarder.stream_input(scene, from, &bytes));
        assert_eq!(taken, bytes.len());
    }
}

#[test]
fn a_stream_and_what_it_asks_count_where_its_guest_is() {
    let mut world = World::new();
    let (second, other) = (PortId(8), PortId(9));
    assert!(world.forwarder.stream_open(world.now, STREAM, BY));
    world.ask_by(other, MAC, &query(1, "shared.example"));
    ask_over(&mut world, PORT, &["own.example", "shared.example"]);
    ask_over(&mut world, second, &["third.example"]);
    assert_eq!(
        world.forwarder.per_port,
        BTreeMap::from([(PORT, 2), (second, 1), (other, 1)])
    );
    // All of its connections are free again where it was.
    for number in 0..16 {
        let stream = StreamId(100 + number);
        assert!(world.forwarder.stream_open(world.now, stream, BY));
    }
    for socket in 0..3 {
        world.answer(socket, 0, &[RECORD]);
    }
    assert_eq!(world.forwarder.waiting, 0);
    assert!(world.forwarder.per_port.is_empty());
}

#[test]
fn who_has_moved_keeps_what_it_asked_when_its_first_port_goes() {
    let mut world = World::new();
    let now = PortId(8);
    assert!(world.forwarder.stream_open(world.now, STREAM, BY));
    ask_over(&mut world, PORT, &["stream.example", "shared.example"]);
    world.ask(&query(1, "datagram.example"));
    // One that is gone with the port.
    let gone = MacAddr([2, 0, 0, 0, 0, 9]);
    world.ask_as(gone, &query(2, "shared.example"));
    world.ask_as(gone, &query(3, "gone.example"));
    world
        .forwarder
        .forget_port(&mut world.host, PORT, &|mac| (mac == MAC).then_some(now));
    assert_eq!(world.forwarder.waiting, 3);
    assert_eq!(world.forwarder.per_port, BTreeMap::from([(now, 3)]));
    assert_eq!(world.host.open_count(), 3);
    for socket in 0..3 {
        world.answer(socket, 0, &[RECORD]);
    }
    assert_eq!(world.replies().len(), 1);
    assert!(world.forwarder.per_port.is_empty());
    // Nothing is waited for, so the stream ends when it asks no more.
    let mut buffer = [0; 1024];
    assert!(world.forwarder.stream_output(STREAM, &mut buffer).unwrap() > 0);
    world.pass(Duration::from_secs(31));
    assert_eq!(world.forwarder.stream_output(STREAM, &mut buffer), None);
}

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let mut world = World::new();
    world.ask(&query(7, "example.com"));
    world.answer(0, flag::TC, &[]);
    assert!(world.host.sockets[0].closed);
    let server = &world.host.sockets[1];
    assert_eq!(server.remote, Some(FIRST.parse().unwrap()));
    world.event(1);
    assert!(world.host.sockets[1].outbox.is_empty(), "not connected yet");
    world.host.sockets[1].connected = Ok(());
    world.host.sockets[1].room = 5;
    world.event(1);
    world.host.sockets[1].room = usize::MAX;
    world.event(1);
    let sent = world.host.sockets[1].outbox.clone();
    assert_eq!(
        usize::from(u16::from_be_bytes([sent[0], sent[1]])),
        sent.len() - 2
    );
    let full = answer(&sent[2..], 0, &[RECORD; 60]);
    let Socket { inbox, .. } = &mut world.host.sockets[1];
    inbox.extend(u16::try_from(full.len()).unwrap().to_be_bytes());
    inbox.extend(&full[..100]);
    world.event(1);
    assert!(world.replies().is_empty());
    world.host.sockets[1].inbox.extend(&full[100..]);
    world.event(1);
    let replies = world.replies();
    assert_ne!(
        Header::parse(&replies[0]).unwrap().flags & flag::TC,
        0,
        "512 octets are too few"
    );
    assert_eq!(world.host.open_count(), 0);
    world.ask(&edns_query(8, "example.com", 1232));
    assert_eq!(
        world.host.sockets.len(),
        3,
        "with DNSSEC it is another question"
    );
}

#[test]
fn a_server_that_breaks_off_over_tcp_is_followed_by_the_next() {
    for inbox in [&[][..], &[0], &[0, 3, 1, 2], &[0, 0], &[0, 4, 1, 2, 3, 4]] {
        let mut world = World::new();
        world.ask(&query(7, "example.com"));
        world.answer(0, flag::TC, &[]);
        world.host.sockets[1].connected = Ok(());
        world.host.sockets[1].inbox.extend(inbox);
        world.host.sockets[1].ended = true;
        world.event(1);
        assert_eq!(world.asked(2).1.to_string(), SECOND, "{inbox:?}");
        assert!(world.host.sockets[1].closed);
    }
    let mut world = World::new();
    world.ask(&query(7, "example.com"));
    world.answer(0, flag::TC, &[]);
    world.host.sockets[1].connected = Err(HostError::Refused);
    world.event(1);
    assert_eq!(world.asked(2).1.to_string(), SECOND);
}

#[test]
fn a_question_that_is_under_way_is_not_asked_again_and_all_get_its_answer() {
    let mut world = World::new();
    let other = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
    world.ask(&query(7, "example.com"));
    let mut capitals = query(8, "example.com");
    capitals[13..20].make_ascii_uppercase();
    world.ask(&capitals);
    world.ask_as(other, &query(9, "example.com"));
    assert_eq!(world.host.sockets.len(), 1, "asked once");
    world.ask(&edns_query(10, "example.com", 1232));
    assert_eq!(world.host.sockets.len(), 2, "another question");
    world.answer(0, 0, &[RECORD]);
    let replies = world.forwarder.take_replies();
    let mut got: Vec<_> = replies
        .iter()
        .map(|reply| (reply.mac, reply.payload[1]))
        .collect();
    got.sort_unstable();
    assert_eq!(got, [(MAC, 7), (MAC, 8), (other, 9)]);
    let capitals = replies.iter().find(|reply| reply.payload[1] == 8).unwrap();
    assert_eq!(&capitals.payload[13..20], b"EXAMPLE");
    world.answer(1, 0, &[RECORD]);
    assert_eq!(world.replies().len(), 1);
    assert!(world.forwarder.per_port.is_empty());
    // No answer is one for all, too.
    world.ask(&query(11, "example.net"));
    world.ask_as(other, &query(12, "example.net"));
    for _ in 0..2 * ROUNDS {
        world.pass(UDP_TIMEOUT);
    }
    assert_eq!(world.replies().len(), 2);
    assert!(world.forwarder.per_port.is_empty());
}

#[test]
fn guests_ask_over_tcp_too_and_get_answers_of_any_size() {
    let mut world = World::new();
    assert!(world.forwarder.stream_open(world.now, STREAM, BY));
    let question = query(7, "example.com");
    let mut bytes = vec![0, u8::try_from(question.len()).unwrap()];
    bytes.extend(&question);
    let taken =
        world.play(|forwarder, scene| forwarder.stream_input(scene, (STREAM, PORT), &bytes));
    assert_eq!(taken, bytes.len());
    world.answer(0, 0, &[RECORD; 60]);
    assert_eq!(world.forwarder.next_ready_stream(), Some(STREAM));
    let mut buffer = vec![0; 4096];
    let len = world.forwarder.stream_output(STREAM, &mut buffer).unwrap();
    assert_eq!(
        usize::from(u16::from_be_bytes([buffer[0], buffer[1]])),
        len - 2
    );
    assert_eq!(records(&buffer[2..len]).unwrap().len(), 60);
    assert!(world.replies().is_empty());
}

#[test]
fn a_guest_that_opens_and_closes_connections_stays_within_its_quota() {
    let mut world = World::new();
    for round in 0..100u32 {
        let stream = StreamId(round.into());
        assert!(world.forwarder.stream_open(world.now, stream, BY));
        for number in 0..10 {
            let question = query(7, &format!("host{round}-{number}.example"));
            let mut bytes = vec![0, u8::try_from(question.len()).unwrap()];
            bytes.extend(&question);
            world.play(|forwarder, scene| forwarder.stream_input(scene, (stream, PORT), &bytes));
        }
        world.forwarder.stream_closed(stream);
    }
    assert_eq!(world.host.open_count(), PER_PORT);
    world.answer(0, 0, &[RECORD]);
    assert_eq!(world.forwarder.next_ready_stream(), None);
}

#[test]
fn other_servers_mean_other_answers() {
    let mut world = World::new();
    world.ask(&query(7, "example.com"));
    world.answer(0, 0, &[RECORD]);
    world
        .forwarder
        .set_upstreams(&["198.51.100.53:53".parse().unwrap()]);
    world.ask(&query(7, "example.com"));
    assert_eq!(world.asked(1).1.to_string(), "198.51.100.53:53");
}
