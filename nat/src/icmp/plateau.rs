//! What MTUs there are, for routers that do not tell theirs (RFC 1191, 7.1).

const PLATEAUS: [u16; 10] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

/// The largest one that is smaller than a packet that did not fit.
pub(super) fn below(packet: u16) -> u16 {
    let smaller = PLATEAUS.into_iter().find(|mtu| *mtu < packet);
    smaller.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn a_packet_of_that_size_is_not_tried_again() {
        for (packet, mtu) in [
            (65_535, 32_000),
            (9000, 8166),
            (1500, 1492),
            (1492, 1006),
            (68, 0),
            (0, 0),
        ] {
            assert_eq!(below(packet), mtu, "{packet}");
        }
    }
}
