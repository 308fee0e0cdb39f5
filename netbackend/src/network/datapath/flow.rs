//! Which receive queue a flow goes to.

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: [u16; 2] = [0x8100, 0x88a8];
const IP_TCP: u8 = 6;
const IP_UDP: u8 = 17;

/// Hash of the flow of the frame that starts with `head`: the same for all frames of a flow and for
/// both of its directions, so that a guest's threads find both on one queue.
pub(super) fn hash(head: &[u8]) -> u32 {
    mix(ip_key(head).unwrap_or_else(|| address_key(head)))
}

/// Keys are folded by XOR, which makes them symmetric.
fn ip_key(head: &[u8]) -> Option<u64> {
    let mut at = 12;
    let mut ethertype = be16(head, at)?;
    while ETHERTYPE_VLAN.contains(&ethertype) {
        at += 4;
        ethertype = be16(head, at)?;
    }
    let ip = head.get(at + 2..)?;
    match ethertype {
        ETHERTYPE_IPV4 => {
            let addresses = be32(ip, 12)? ^ be32(ip, 16)?;
            let header = usize::from(ip.first()? & 0xf) * 4;
            // Later fragments have no ports, so none of a fragmented datagram's may count.
            let fragment = be16(ip, 6)? & 0x3fff != 0;
            let ports = if fragment {
                0
            } else {
                port_key(*ip.get(9)?, ip.get(header..)?)
            };
            Some(u64::from(addresses) << 16 | u64::from(ports))
        }
        ETHERTYPE_IPV6 => {
            let addresses = (8..40)
                .step_by(4)
                .try_fold(0, |key, at| Some(key ^ be32(ip, at)?))?;
            let ports = port_key(*ip.get(6)?, ip.get(40..)?);
            Some(u64::from(addresses) << 16 | u64::from(ports))
        }
        _ => None,
    }
}

fn port_key(protocol: u8, transport: &[u8]) -> u16 {
    if protocol != IP_TCP && protocol != IP_UDP {
        return 0;
    }
    match (be16(transport, 0), be16(transport, 2)) {
        (Some(source), Some(destination)) => source ^ destination,
        _ => 0,
    }
}

fn address_key(head: &[u8]) -> u64 {
    let half = |at| u64::from(be32(head, at).unwrap_or(0));
    (half(0) << 16 | u64::from(be16(head, 4).unwrap_or(0)))
        ^ (half(6) << 16 | u64::from(be16(head, 10).unwrap_or(0)))
}

/// Finalizer of `MurmurHash3`: every bit of the key reaches the bits that choose the queue.
fn mix(mut key: u64) -> u32 {
    key ^= key >> 33;
    key = key.wrapping_mul(0xff51_afd7_ed55_8ccd);
    key ^= key >> 33;
    key = key.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let [a, b, c, d, ..] = key.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|chunk| u16::from_be_bytes(*chunk))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|chunk| u32::from_be_bytes(*chunk))
}

#[cfg(test)]
#[path = "flow_test.rs"]
mod tests;
