//! Names over TCP, from the guest to the gateway and from there to a server of the world.
use super::world::{PATIENCE, SERVER4, World, accept, listen, read_all};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, UdpSocket};
use std::thread;
use tests::needs_root;

/// Records of the large answer: more than any datagram of the gateway's takes.
const RECORDS: u16 = 300;
/// Whose it is.
const FAR: &str = "large.example";
const HEADER: usize = 12;
/// The answer was cut short (RFC 1035, 4.1.1).
const TRUNCATED: u8 = 0x02;

/// A question for the address of a name (RFC 1035, 4.1).
fn question(id: u16, name: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    // Recursion desired, one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// An answer to a question of `name`: so many addresses, or none as it does not fit.
fn answer(asked: &[u8], name: &str, records: Option<u16>) -> Vec<u8> {
    // The name has a length in front and a zero behind, type and class follow. What a client says beside its question is left out.
    let mut message = asked[..HEADER + name.len() + 2 + 4].to_vec();
    message[2..4].copy_from_slice(&[0x81, 0x80]);
    message[10..12].fill(0);
    let Some(records) = records else {
        message[2] |= TRUNCATED;
        return message;
    };
    message[6..8].copy_from_slice(&records.to_be_bytes());
    for number in 0..records {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 198, 18]);
        message.extend(number.to_be_bytes());
    }
    message
}

/// A message with its length (RFC 1035, 4.2.2).
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes()[..], message].concat()
}

fn read_message(mut stream: impl Read) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

/// A server that says over UDP that its answer does not fit, and gives it over TCP; once.
fn serve(datagrams: &UdpSocket, connections: &TcpListener, name: &str) {
    let mut asked = [0; 512];
    let (length, from) = datagrams.recv_from(&mut asked).unwrap();
    let truncated = answer(&asked[..length], name, None);
    datagrams.send_to(&truncated, from).unwrap();
    let (mut stream, _) = accept(connections);
    let asked = read_message(&stream);
    let whole = framed(&answer(&asked, name, Some(RECORDS)));
    stream.write_all(&whole).unwrap();
}

#[test]
fn nat_guest_asks_for_names_over_tcp() {
    if !needs_root("nat_guest_asks_for_names_over_tcp") {
        return;
    }
    let world = World::leased("records = { \"www.example.org\" = \"192.0.2.7\" }");
    let at = SocketAddr::new(SERVER4, 53);
    let datagrams = world.server.enter(|| UdpSocket::bind(at)).unwrap();
    datagrams.set_read_timeout(Some(PATIENCE)).unwrap();
    let (connections, _) = listen(&world.server, at);
    let server = thread::spawn(move || serve(&datagrams, &connections, FAR));
    let dns = (Ipv4Addr::new(10, 0, 2, 3), 53).into();
    let mut guest = world.connect(dns).unwrap();
    // In pieces, and the second question before the first is answered (RFC 7766, 6.2.1.1).
    let questions = [
        framed(&question(1, FAR)),
        framed(&question(2, "www.example.org")),
    ]
    .concat();
    for piece in questions.chunks(7) {
        guest.write_all(piece).unwrap();
    }
    // Each as soon as it is known: that of the network itself needs nobody.
    let near = read_message(&guest);
    assert_eq!(
        (&near[..2], &near[near.len() - 4..]),
        (&[0, 2][..], &[192, 0, 2, 7][..])
    );
    let far = read_message(&guest);
    assert_eq!(far[..2], [0, 1]);
    assert_eq!(far[2] & TRUNCATED, 0);
    assert_eq!(far[6..8], RECORDS.to_be_bytes());
    server.join().unwrap();
    // Asked again it comes from the cache; then the guest asks no more, and the connection ends with the answer.
    guest.write_all(&framed(&question(3, FAR))).unwrap();
    guest.shutdown(Shutdown::Write).unwrap();
    let rest = read_all(&guest);
    assert_eq!((&rest[2..4], rest.len()), (&[0, 3][..], far.len() + 2));
    let dns = world.daemon.network("n").nat.unwrap().dns;
    assert_eq!(
        (dns.queries, dns.local, dns.cached, dns.forwarded),
        (3, 1, 1, 2)
    );
}
