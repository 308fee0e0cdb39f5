//! Asking for a guest's MAC address.
use crate::MacAddr;
use crate::bytes::{Writer, set};
use crate::config::link_local;
use crate::env::Env;
use crate::frame::{ETHERTYPE_ARP, IpHeader, Link, Pseudo, emit_ethernet, emit_ip, protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Asks who has an address: by ARP (RFC 826) or by a neighbor solicitation (RFC 4861, 4.3).
pub(crate) fn ask(env: &mut Env<'_>, address: IpAddr) {
    match (address, env.gateway_address(address)) {
        (IpAddr::V4(target), Some(IpAddr::V4(sender))) => ask_arp(env, sender, target),
        (IpAddr::V6(target), Some(_)) => ask_neighbor(env, target),
        _ => {}
    }
}

fn ask_arp(env: &mut Env<'_>, sender: Ipv4Addr, target: Ipv4Addr) {
    let mut request = [0; 28];
    let mut writer = Writer::new(&mut request);
    // Ethernet, IPv4, their address lengths, and "request".
    writer.put(&[0, 1, 8, 0, 6, 4, 0, 1]);
    writer.put(&env.config.mac.0);
    writer.put(&sender.octets());
    writer.put(&[0; 6]);
    writer.put(&target.octets());
    let link = env.link_to(MacAddr([0xff; 6]));
    emit_ethernet(env.out, link, ETHERTYPE_ARP, &request);
}

fn ask_neighbor(env: &mut Env<'_>, target: Ipv6Addr) {
    let source = link_local(env.config.mac);
    // The solicited-node group of the target (RFC 4291, 2.7.1), and its MAC address (RFC 2464, 7).
    let [.., a, b, c] = target.octets();
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    set(&mut group, 13, &[a, b, c]);
    let group = Ipv6Addr::from_octets(group);
    let mut message = [0; 32];
    let mut writer = Writer::new(&mut message);
    writer.put(&[135, 0, 0, 0, 0, 0, 0, 0]);
    writer.put(&target.octets());
    // Source link-layer address.
    writer.put(&[1, 1]);
    writer.put(&env.config.mac.0);
    let pseudo = Pseudo::V6(source, group);
    let checksum = pseudo
        .sum(protocol::ICMPV6, message.len())
        .bytes(&message)
        .checksum();
    set(&mut message, 2, &checksum);
    let header = IpHeader {
        source: source.into(),
        destination: group.into(),
        protocol: protocol::ICMPV6,
        hop_limit: 255,
        traffic_class: 0,
    };
    let link = Link {
        source: env.config.mac,
        destination: MacAddr([0x33, 0x33, 0xff, a, b, c]),
    };
    emit_ip(env.out, link, &header, &message);
}
