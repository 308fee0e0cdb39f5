//! "ping" to the gateway.
use crate::bytes::{Sum, set};
use crate::counters::DropReason;
use crate::env::Env;
use crate::frame::{IpHeader, Packet, Pseudo};

/// Echo request (RFC 792)
pub(crate) const ECHO_V4: u8 = 8;
/// Echo request (RFC 4443, 4.1)
pub(crate) const ECHO_V6: u8 = 128;

/// Answers an echo request to the gateway.
pub(crate) fn answer_echo(env: &mut Env<'_>, packet: &Packet<'_>) -> Result<(), DropReason> {
    let (head, rest) = packet
        .payload
        .split_first_chunk::<8>()
        .ok_or(DropReason::Malformed)?;
    let pseudo = Pseudo::new(packet.destination, packet.source).ok_or(DropReason::Malformed)?;
    let mut head = *head;
    let (kind, sum) = if packet.source.is_ipv4() {
        (0, Sum::default())
    } else {
        (129, pseudo.sum(packet.protocol, packet.payload.len()))
    };
    set(&mut head, 0, &[kind, 0, 0, 0]);
    let checksum = sum.bytes(&head).bytes(rest).checksum();
    set(&mut head, 2, &checksum);
    let header = IpHeader {
        source: packet.destination,
        destination: packet.source,
        protocol: packet.protocol,
        hop_limit: 64,
        traffic_class: packet.traffic_class,
    };
    let link = env.link_to(packet.link.source);
    let parts = [&head[..], rest];
    if env.fragmenter.emit(env.out, link, &header, parts) {
        Ok(())
    } else {
        Err(DropReason::NoRoom)
    }
}
