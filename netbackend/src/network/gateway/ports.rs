//! Which ports the host's kernel gives to sockets that ask for none.
use std::fs;

/// `ip-sysctl.rst` of Linux, ip_local_port_range: of the network namespace that we are in, for IPv4 and IPv6 alike.
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// UDP mappings of all guests together at most: half of these ports stay for the host, and for questions of the DNS forwarder. `None`:
/// the host does not tell.
pub(super) fn most_mappings() -> Option<usize> {
    most(&fs::read_to_string(RANGE).ok()?)
}

fn most(text: &str) -> Option<usize> {
    let mut bounds = text.split_whitespace().map(str::parse::<u16>);
    let (first, last) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    let ports = usize::from(last.checked_sub(first)?) + 1;
    Some((ports / 2).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_range_is_for_guests() {
        assert_eq!(most("32768\t60999\n"), Some(14_116));
        assert_eq!(most("5000 5000"), Some(1));
        assert_eq!(most("1 65535"), Some(32_767));
        for wrong in ["", "1", "2 1", "a b", "1 65536"] {
            assert_eq!(most(wrong), None, "{wrong:?}");
        }
        assert!(most_mappings().is_some());
    }
}
