//! Messages by the byte: in pieces, unfinished, with replies that nobody reads; and the device status.
use super::{
    Net, frame,
    guest::{GuestSpec, wait_for},
    introduce, mac,
    raw::{
        self, GET_FEATURES, GET_STATUS, NEED_REPLY, Raw, SET_FEATURES, SET_MEM_TABLE, SET_STATUS,
        SET_VRING_CALL, SET_VRING_ERR, SET_VRING_KICK, SET_VRING_NUM, VERSION, message, words,
    },
};
use control::PortState;
use std::{
    io::Write,
    net::Shutdown,
    os::{fd::AsRawFd, unix::net::UnixStream},
    time::{Duration, Instant},
};
use vhost::{
    VhostBackend,
    vhost_user::{Frontend, VhostUserFrontend},
};

/// The back-end has looked at all that was sent, and waits for more.
fn looked(stream: &UnixStream) {
    let begun = Instant::now();
    // Nothing tells that it has looked: each piece is left alone for a few of its looks.
    while begun.elapsed() < Duration::from_millis(4) {
        std::thread::yield_now();
    }
    assert!(stream.take_error().unwrap().is_none());
}

#[test]
fn message_in_pieces_is_taken_as_one() {
    let net = Net::new();
    let mut stream = Raw::connect(&net.port("a", 1));
    stream.write(&message(GET_FEATURES, VERSION, &[]));
    let offered = stream.reply().unwrap();
    let bytes = message(SET_FEATURES, VERSION, &words(&[offered]));
    for cut in 1..bytes.len() {
        stream.write(&bytes[..cut]);
        looked(&stream.0);
        stream.write(&bytes[cut..]);
        stream.write(&message(GET_FEATURES, VERSION, &[]));
        assert_eq!(stream.reply(), Some(offered), "cut at {cut}");
    }
    for byte in bytes {
        stream.write(&[byte]);
    }
    stream.write(&message(GET_FEATURES, VERSION, &[]));
    assert_eq!(stream.reply(), Some(offered));
}

/// The fds come with the first piece: the rest is a message of the socket of its own.
#[test]
fn memory_table_in_pieces_is_mapped() {
    let net = Net::new();
    let (mut a, mut stream) = raw::attached(&net, "a");
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    let region = a.guest.memory.region();
    let mut payload = Vec::new();
    payload.extend([1u32, 0].iter().flat_map(|word| word.to_ne_bytes()));
    let words = [
        region.guest_phys_addr,
        region.memory_size,
        region.userspace_addr,
        region.mmap_offset,
    ];
    payload.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    let bytes = message(SET_MEM_TABLE, VERSION | NEED_REPLY, &payload);
    for cut in [12, 13, 20, 21, bytes.len() - 1] {
        stream.write_with_fd(&bytes[..cut], region.mmap_handle);
        looked(&stream.0);
        stream.write(&bytes[cut..]);
        assert_eq!(stream.reply(), Some(0), "cut at {cut}");
        let next = frame(mac(0), mac(1), 200, u8::try_from(cut).unwrap());
        b.guest.send(&next);
        assert_eq!(a.guest.receive().frame, next);
    }
}

#[test]
fn unfinished_messages_are_given_up_after_a_while() {
    let net = Net::new();
    let whole = message(SET_VRING_NUM, VERSION, &words(&[256 << 32]));
    let mut streams: Vec<_> = [1, 11, 12, 13, 19]
        .into_iter()
        .map(|cut| {
            let mut stream = Raw::connect(&net.port(&format!("p{cut}"), 1));
            stream.write(&whole[..cut]);
            stream
        })
        .collect();
    streams.iter_mut().for_each(Raw::expect_end);
}

#[test]
fn front_end_that_sends_no_more_is_gone() {
    let net = Net::new();
    let whole = message(SET_VRING_NUM, VERSION, &words(&[256 << 32]));
    for cut in [0, 1, 12, 19] {
        let begun = Instant::now();
        let mut stream = Raw::connect(&net.port(&format!("p{cut}"), 1));
        stream.write(&whole[..cut]);
        stream.0.shutdown(Shutdown::Write).unwrap();
        stream.expect_end();
        assert!(
            begun.elapsed() < Duration::from_secs(4),
            "waited for what cannot come"
        );
    }
}

/// What was sent before the end is still done.
#[test]
fn last_message_before_the_end_is_served() {
    let net = Net::new();
    let mut stream = Raw::connect(&net.port("a", 1));
    stream.write(&message(GET_FEATURES, VERSION, &[]));
    stream.0.shutdown(Shutdown::Write).unwrap();
    assert!(stream.reply().is_some());
    stream.expect_end();
}

#[test]
fn replies_that_nobody_reads_end_the_connection() {
    let net = Net::new();
    let (mut a, mut b) = (
        net.guest("a", GuestSpec::default()),
        net.guest("b", GuestSpec::default()),
    );
    introduce(&mut [&mut a.guest, &mut b.guest]);
    let mut stream = Raw::connect(&net.port("deaf", 1));
    let asked = message(GET_FEATURES, VERSION, &[]).repeat(100);
    // Until it takes no more questions, and then until it has hung up.
    while stream.0.write_all(&asked).is_ok() {}
    net.wait_for_status("deaf", "cut off", |port| port.state == PortState::Listening);
    let sent = frame(mac(1), mac(0), 100, 9);
    a.guest.send(&sent);
    assert_eq!(b.guest.receive().frame, sent);
}

#[test]
fn ring_index_that_does_not_fit_its_byte() {
    let net = Net::new();
    for request in [SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR] {
        for high in [1u64 << 9, 1 << 16, 1 << 32, 1 << 63] {
            let (_guest, mut stream) = raw::attached(&net, &format!("p{request}-{high:x}"));
            let bytes = message(request, VERSION, &words(&[high | 0x100]));
            stream.write(&bytes);
            stream.expect_end();
        }
    }
}

/// A look at a message ends behind the piece that came with fds: the index, in the next piece, must not pass as 0.
#[test]
fn ring_index_in_another_piece_than_the_fd() {
    let net = Net::new();
    for request in [SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR] {
        for cut in [6, 12, 16] {
            let (guest, mut stream) = raw::attached(&net, &format!("p{request}-{cut}"));
            let bytes = message(request, VERSION, &words(&[1 << 32]));
            stream.write_with_fd(&bytes[..cut], guest.guest.rings[0].kick.as_raw_fd());
            // The back-end may have hung up already.
            drop(stream.0.write_all(&bytes[cut..]));
            stream.expect_end();
        }
    }
}

/// Crate `vhost` takes the index from the first 8 bytes of any body that has as many.
#[test]
fn ring_index_with_more_behind_it() {
    let net = Net::new();
    for request in [SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR] {
        for index in [0, 1 << 9, 1 << 32] {
            let (_guest, mut stream) = raw::attached(&net, &format!("p{request}-{index:x}"));
            let payload = words(&[index | 0x100, 0]);
            stream.write(&message(request, VERSION, &payload));
            stream.expect_end();
        }
    }
}

#[test]
fn status_is_what_was_set_and_0_stops_the_rings() {
    let net = Net::new();
    let (mut a, mut stream) = raw::attached(&net, "a");
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    let mut set = |value: u64| {
        stream.write(&message(SET_STATUS, VERSION | NEED_REPLY, &words(&[value])));
        let done = stream.reply();
        stream.write(&message(GET_STATUS, VERSION, &[]));
        (done, stream.reply())
    };
    for status in [1, 3, 11, 15] {
        assert_eq!(set(status), (Some(0), Some(status)));
    }
    assert_eq!(net.status("a").state, PortState::Running);
    assert_eq!(set(0), (Some(0), Some(0)));
    assert_eq!(net.status("a").state, PortState::Connected);
    let dropped = net.status("a").counters.rx_dropped;
    b.guest.send(&frame(mac(0), mac(1), 100, 1));
    net.wait_for_status("a", "a drop", |a| a.counters.rx_dropped > dropped);
    assert_eq!(a.guest.poll(0), None);
    // A kick fd starts them again where the used rings are; memory and addresses are known.
    for index in 0..2 {
        let mut used = [0; 2];
        assert!(
            a.guest
                .memory
                .map
                .read(a.guest.rings[index].config.used + 2, &mut used)
        );
        a.guest
            .start_ring(&mut a.frontend, index, u16::from_le_bytes(used));
    }
    let sent = frame(mac(0), mac(1), 100, 2);
    b.guest.send(&sent);
    wait_for("the frame", || {
        a.guest.poll(0).is_some_and(|got| got.frame == sent)
    });
}

#[test]
fn status_that_cannot_be() {
    let net = Net::new();
    let mut stream = Raw::connect(&net.port("a", 1));
    let mut frontend = Frontend::from_stream(stream.0.try_clone().unwrap(), 2);
    frontend.get_features().unwrap();
    let protocol = frontend.get_protocol_features().unwrap();
    frontend.set_protocol_features(protocol).unwrap();
    // FEATURES_OK before there are any: read back, it is not there.
    stream.write(&message(SET_STATUS, VERSION, &words(&[11])));
    stream.write(&message(GET_STATUS, VERSION, &[]));
    assert_eq!(stream.reply(), Some(3));
    for status in [0x10, 0x20, 0x100, 1 << 63] {
        let mut stream = Raw::connect(&net.port(&format!("p{status}"), 1));
        let mut frontend = Frontend::from_stream(stream.0.try_clone().unwrap(), 2);
        frontend.get_features().unwrap();
        let protocol = frontend.get_protocol_features().unwrap();
        frontend.set_protocol_features(protocol).unwrap();
        stream.write(&message(
            SET_STATUS,
            VERSION | NEED_REPLY,
            &words(&[status]),
        ));
        assert_eq!(stream.reply(), Some(1));
        stream.expect_end();
    }
}
