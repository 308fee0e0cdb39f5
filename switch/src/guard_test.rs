use proptest::prelude::*;

use super::*;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
const OTHER: [u8; 6] = [0x52, 0x54, 0, 0, 0, 2];

fn guard(addresses: &[&str]) -> Guard {
    let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Guard::new(MacAddr(MAC), &addresses)
}

/// A frame from `source` with `tags` VLAN tags.
fn frame(source: [u8; 6], tags: usize, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &source].concat();
    for tag in 0..tags {
        let outer = if tag + 1 < tags { 0x88a8u16 } else { 0x8100 };
        frame.extend(outer.to_be_bytes());
        frame.extend([0, 7]);
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

fn arp(sender: [u8; 6], address: [u8; 4]) -> Vec<u8> {
    [
        &[0, 1, 8, 0, 6, 4, 0, 1][..],
        &sender,
        &address,
        &[0; 6],
        &[10, 0, 0, 9],
    ]
    .concat()
}

fn ipv4_packet(source: [u8; 4]) -> Vec<u8> {
    [
        &[0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0][..],
        &source,
        &[10, 0, 0, 9],
    ]
    .concat()
}

fn ipv6_packet(source: &str, next: u8, payload: &[u8]) -> Vec<u8> {
    let source: Ipv6Addr = source.parse().unwrap();
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [
        &[0x60, 0, 0, 0][..],
        &len,
        &[next, 255],
        &source.octets(),
        &[0xff; 16],
        payload,
    ]
    .concat()
}

/// A neighbour message: `kind`, filled up to where its options start, and one link-layer option.
fn neighbor(kind: u8, target: &str, option: u8, mac: [u8; 6]) -> Vec<u8> {
    let options = match kind {
        ROUTER_SOLICITATION => 8,
        ROUTER_ADVERTISEMENT => 16,
        REDIRECT => 40,
        _ => 24,
    };
    let mut message = vec![0; options];
    message[0] = kind;
    if options >= 24 {
        let target: Ipv6Addr = target.parse().unwrap();
        message[8..24].copy_from_slice(&target.octets());
    }
    message.extend([option, 1]);
    message.extend(mac);
    message
}

fn extension(next: u8, payload: &[u8]) -> Vec<u8> {
    [&[next, 0, 0, 0, 0, 0, 0, 0][..], payload].concat()
}

#[test]
fn the_source_address_must_be_the_ports_own() {
    let guard = guard(&[]);
    assert!(guard.admits(&frame(MAC, 0, 0x88b5, &[1, 2, 3])));
    assert!(!guard.admits(&frame(OTHER, 0, 0x88b5, &[1, 2, 3])));
    assert!(!guard.admits(&frame(MAC, 0, 0x88b5, &[])[..13]), "runt");
}

#[test]
fn arp_must_name_the_port_as_its_sender() {
    let any = guard(&[]);
    let bound = guard(&["10.0.0.1"]);
    for tags in 0..=2 {
        let send = |sender, address| frame(MAC, tags, ETHERTYPE_ARP, &arp(sender, address));
        assert!(any.admits(&send(MAC, [10, 0, 0, 1])));
        assert!(
            any.admits(&send(MAC, [10, 0, 0, 2])),
            "no list of addresses"
        );
        assert!(!any.admits(&send(OTHER, [10, 0, 0, 1])), "{tags} tags");
        assert!(bound.admits(&send(MAC, [10, 0, 0, 1])));
        assert!(bound.admits(&send(MAC, [0, 0, 0, 0])), "a probe (RFC 5227)");
        assert!(
            !bound.admits(&send(MAC, [10, 0, 0, 2])),
            "the gateway's address"
        );
    }
    let cut = frame(MAC, 0, ETHERTYPE_ARP, &arp(MAC, [10, 0, 0, 1])[..17]);
    assert!(!any.admits(&cut));
    let mut strange = arp(MAC, [10, 0, 0, 1]);
    strange[4] = 8;
    assert!(!any.admits(&frame(MAC, 0, ETHERTYPE_ARP, &strange)));
    assert!(!any.admits(&frame(MAC, 0, ETHERTYPE_RARP, &arp(OTHER, [0; 4]))));
}

#[test]
fn ip_sources_must_be_in_the_list_if_there_is_one() {
    let bound = guard(&["10.0.0.1", "2001:db8::1"]);
    let v4 = |source| frame(MAC, 1, ETHERTYPE_IPV4, &ipv4_packet(source));
    assert!(bound.admits(&v4([10, 0, 0, 1])));
    assert!(bound.admits(&v4([0, 0, 0, 0])), "DHCP");
    assert!(!bound.admits(&v4([10, 0, 0, 2])));
    assert!(guard(&[]).admits(&v4([10, 0, 0, 2])));
    let v6 = |source| frame(MAC, 0, ETHERTYPE_IPV6, &ipv6_packet(source, 17, &[0; 8]));
    assert!(bound.admits(&v6("2001:db8::1")));
    assert!(bound.admits(&v6("fe80::1234")));
    assert!(bound.admits(&v6("::")));
    assert!(!bound.admits(&v6("2001:db8::2")));
}

#[test]
fn neighbour_messages_must_name_the_port() {
    let guard = guard(&["2001:db8::1"]);
    let send = |message: &[u8]| {
        frame(
            MAC,
            0,
            ETHERTYPE_IPV6,
            &ipv6_packet("2001:db8::1", ICMPV6, message),
        )
    };
    let kinds = [
        (ROUTER_SOLICITATION, OPTION_SOURCE_LINK_LAYER),
        (ROUTER_ADVERTISEMENT, OPTION_SOURCE_LINK_LAYER),
        (NEIGHBOR_SOLICITATION, OPTION_SOURCE_LINK_LAYER),
        (NEIGHBOR_ADVERTISEMENT, OPTION_TARGET_LINK_LAYER),
    ];
    for (kind, option) in kinds {
        assert!(
            guard.admits(&send(&neighbor(kind, "2001:db8::1", option, MAC))),
            "{kind}"
        );
        assert!(
            !guard.admits(&send(&neighbor(kind, "2001:db8::1", option, OTHER))),
            "{kind}"
        );
        let cut = neighbor(kind, "2001:db8::1", option, OTHER);
        assert!(
            !guard.admits(&send(&cut[..cut.len() - 1])),
            "{kind}: option cut off"
        );
        let mut endless = neighbor(kind, "2001:db8::1", option, MAC);
        let units = endless.len() - 7;
        endless[units] = 0;
        assert!(
            !guard.admits(&send(&endless)),
            "{kind}: option of no length"
        );
    }
    // It answers for another's address.
    let theft = neighbor(
        NEIGHBOR_ADVERTISEMENT,
        "2001:db8::99",
        OPTION_TARGET_LINK_LAYER,
        MAC,
    );
    assert!(!guard.admits(&send(&theft)));
    // A solicitation asks for another's address: that is what it is for.
    let question = neighbor(
        NEIGHBOR_SOLICITATION,
        "2001:db8::99",
        OPTION_SOURCE_LINK_LAYER,
        MAC,
    );
    assert!(guard.admits(&send(&question)));
    assert!(
        guard.admits(&send(&[128, 0, 0, 0, 0, 0, 0, 0])),
        "echo request"
    );
}

#[test]
fn nothing_hides_a_neighbour_message() {
    let guard = guard(&[]);
    let lie = neighbor(
        NEIGHBOR_ADVERTISEMENT,
        "fe80::1",
        OPTION_TARGET_LINK_LAYER,
        OTHER,
    );
    let send = |next, payload: &[u8]| {
        guard.admits(&frame(
            MAC,
            0,
            ETHERTYPE_IPV6,
            &ipv6_packet("fe80::1", next, payload),
        ))
    };
    let mut behind = extension(ICMPV6, &lie);
    assert!(!send(DESTINATION, &behind));
    for _ in 0..3 {
        behind = extension(DESTINATION, &behind);
        assert!(!send(HOP_BY_HOP, &behind));
    }
    // More extension headers than are followed.
    for _ in 0..5 {
        behind = extension(DESTINATION, &behind);
    }
    assert!(!send(HOP_BY_HOP, &behind));
    // A first fragment; and one of an echo request, which is honest.
    assert!(!send(FRAGMENT, &extension(ICMPV6, &lie)));
    assert!(send(FRAGMENT, &extension(ICMPV6, &[128; 16])));
    assert!(send(FRAGMENT, &extension(17, &[0; 16])));
    // Three tags.
    let truth = frame(MAC, 3, ETHERTYPE_ARP, &arp(MAC, [10, 0, 0, 1]));
    assert!(!guard.admits(&truth));
}

#[test]
fn padding_of_a_short_frame_is_not_read_as_an_option() {
    let guard = guard(&[]);
    let mut solicitation = vec![0; 8];
    solicitation[0] = ROUTER_SOLICITATION;
    let mut padded = frame(
        MAC,
        0,
        ETHERTYPE_IPV6,
        &ipv6_packet("fe80::1", ICMPV6, &solicitation),
    );
    padded.extend([0; 6]);
    assert!(guard.admits(&padded));
}

proptest! {
    /// Nothing makes it panic, and another's source address never passes.
    #[test]
    fn any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..256), ethertype in prop::sample::select(vec![
        ETHERTYPE_IPV4, ETHERTYPE_ARP, ETHERTYPE_RARP, ETHERTYPE_IPV6, 0x8100, 0x88a8,
    ])) {
        let bound = guard(&["10.0.0.1"]);
        if let Some(place) = bytes.get_mut(12..14) {
            place.copy_from_slice(&ethertype.to_be_bytes());
        }
        if let Some(place) = bytes.get_mut(6..12) {
            place.copy_from_slice(&OTHER);
            prop_assert!(!bound.admits(&bytes));
        }
        if let Some(place) = bytes.get_mut(6..12) {
            place.copy_from_slice(&MAC);
        }
        bound.admits(&bytes);
    }
}
