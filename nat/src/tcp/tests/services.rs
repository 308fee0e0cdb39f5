//! Guests that ask the gateway's own DNS server over TCP.
use crate::testkit::*;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 3)), 53);

/// A question for an IPv4 address, with its length in front.
fn question(id: u8, name: &str) -> Vec<u8> {
    let mut message = vec![0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    let mut framed = vec![0, u8::try_from(message.len()).unwrap()];
    framed.extend(message);
    framed
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

/// Connects; the next number of the server's.
#[track_caller]
fn connect(lab: &mut Lab, guest: SocketAddr) -> u32 {
    lab.tcp_from(guest, DNS, &syn(0));
    let answer = lab.next_tcp().expect("SYN-ACK");
    assert_eq!((answer.flags, answer.ack), ("SA", Some(1)));
    lab.tcp_from(guest, DNS, &ack(1, answer.seq + 1));
    answer.seq + 1
}

fn client(port: u16) -> SocketAddr {
    SocketAddr::new(GUEST.ip(), port)
}

#[test]
fn what_is_known_is_answered_at_once_question_after_question() {
    let mut lab = Lab::new();
    let mut ours = connect(&mut lab, GUEST);
    let mut at = 1;
    for id in 1..5 {
        let asked = question(id, "gateway.internal");
        lab.tcp_from(GUEST, DNS, &data(at, ours, &asked));
        at += length(&asked);
        let answer = lab.next_tcp().expect("no answer without another event");
        assert_eq!((answer.ack, answer.payload[3]), (Some(at), id));
        assert!(answer.payload.ends_with(&[10, 0, 2, 2]));
        ours += length(&answer.payload);
        lab.tcp_from(GUEST, DNS, &ack(at, ours));
        lab.expect_nothing();
    }
}

#[test]
fn questions_that_waited_for_answers_to_be_read_are_answered() {
    let mut lab = Lab::new();
    let mut ours = connect(&mut lab, GUEST);
    let asked = question(1, "gateway.internal");
    let count = 3000;
    let mut at = 1;
    let mut answers = 0;
    // The guest reads nothing until it has sent what it may.
    for _ in 0..count / 30 {
        let burst = asked.repeat(30);
        lab.tcp_from(GUEST, DNS, &data(at, ours, &burst).window(0));
        at += length(&burst);
    }
    for _ in 0..10_000 {
        while let Some(answer) = lab.next_tcp() {
            if answer.seq == ours {
                answers += answer.payload.len();
                ours += length(&answer.payload);
            }
        }
        lab.tcp_from(GUEST, DNS, &ack(at, ours).window(1000));
        if lab.wire.frames.is_empty() {
            break;
        }
    }
    // Each answer is the question, and an address behind it.
    assert_eq!(answers, count * (asked.len() + 16));
}

#[test]
fn a_connection_that_is_closed_does_not_count_any_more() {
    let mut lab = Lab::new();
    for port in 0..50 {
        let guest = client(50_000 + port);
        let ours = connect(&mut lab, guest);
        let asked = question(1, "gateway.internal");
        lab.tcp_from(guest, DNS, &data(1, ours, &asked));
        let answer = lab.next_tcp().unwrap();
        let (at, ours) = (1 + length(&asked), ours + length(&answer.payload));
        lab.tcp_from(guest, DNS, &fin(at, ours));
        let end = lab.next_tcp().expect("its end");
        assert_eq!((end.flags, end.ack), ("FA", Some(at + 1)));
        lab.tcp_from(guest, DNS, &ack(at + 1, ours + 1));
        lab.expect_nothing();
        assert_eq!(lab.gateway.flows(lab.now).count(), 0);
    }
}

#[test]
fn an_answer_for_one_that_is_gone_is_not_anothers() {
    let mut lab = Lab::with(|config| {
        config.services.dns.upstreams = vec![SocketAddr::from(([192, 0, 2, 53], 53))];
    });
    let ours = connect(&mut lab, GUEST);
    lab.tcp_from(GUEST, DNS, &data(1, ours, &question(1, "secret.example")));
    lab.expect(&ack(ours, 1 + length(&question(1, "secret.example"))));
    let last = lab.host().sockets.len() - 1;
    let sent = lab
        .socket(last)
        .sent
        .pop()
        .expect("the question is passed on");
    lab.tcp_from(GUEST, DNS, &rst(1 + length(&question(1, "secret.example"))));
    lab.expect_nothing();
    // Another guest's connection, which gets the place of the first.
    let other = client(50_001);
    let ours = connect(&mut lab, other);
    let mut answer = sent.payload;
    answer[2] |= 0x80;
    lab.socket(last).arrived.push_back((sent.to, answer));
    lab.event(last, READABLE);
    lab.expect_nothing();
    // It is there for its own questions.
    let asked = question(9, "gateway.internal");
    lab.tcp_from(other, DNS, &data(1, ours, &asked));
    assert_eq!(lab.next_tcp().unwrap().payload[3], 9);
}
