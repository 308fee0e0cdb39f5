use super::*;
use proptest::prelude::*;

#[test]
fn a_prefix_contains_its_own_and_nothing_else() {
    let prefix: Prefix = "10.0.2.7/24".parse().unwrap();
    assert_eq!(prefix.to_string(), "10.0.2.0/24");
    assert!(prefix.contains("10.0.2.255".parse().unwrap()));
    assert!(!prefix.contains("10.0.3.0".parse().unwrap()));
    assert!(!prefix.contains("::ffff:10.0.2.1".parse().unwrap()));
    let all: Prefix = "::/0".parse().unwrap();
    assert!(all.contains("fe80::1".parse().unwrap()));
    assert!(!all.contains("1.2.3.4".parse().unwrap()));
    let one: Prefix = "192.0.2.1".parse().unwrap();
    assert_eq!(one.len(), 32);
}

#[test]
fn what_is_no_prefix_is_refused_by_name() {
    for text in [
        "",
        "10.0.2.0/33",
        "fd00::/129",
        "10.0.2/24",
        "10.0.2.0/",
        "10.0.2.0/-1",
    ] {
        let error = text.parse::<Prefix>().unwrap_err();
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
}

proptest! {
    #[test]
    fn a_prefix_is_read_back_as_it_is_written(bits: u128, v4: bool, len in 0..=128u8) {
        let address: IpAddr = if v4 {
            Ipv4Addr::from_bits((bits >> 96) as u32).into()
        } else {
            Ipv6Addr::from_bits(bits).into()
        };
        let prefix = Prefix::new(address, len);
        prop_assert_eq!(prefix.is_some(), !v4 || len <= 32);
        if let Some(prefix) = prefix {
            prop_assert!(prefix.contains(address));
            prop_assert_eq!(prefix.to_string().parse::<Prefix>(), Ok(prefix));
        }
    }
}
