use super::*;

const A: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);

fn v4(last: u8) -> IpAddr {
    [10, 0, 2, last].into()
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn found(hosts: &Hosts, now: u64, name: &str) -> Option<Vec<IpAddr>> {
    Some(hosts.addresses(at(now), name)?.collect())
}

#[test]
fn a_name_lives_as_long_as_its_lease() {
    let mut hosts = Hosts::new(&[], 10);
    assert!(hosts.claim(at(0), "web", A, v4(15), at(100)));
    assert_eq!(found(&hosts, 99, "web"), Some(vec![v4(15)]));
    assert_eq!(hosts.name(at(99), v4(15)), Some("web"));
    assert_eq!(found(&hosts, 100, "web"), None);
    assert_eq!(hosts.name(at(100), v4(15)), None);
}

#[test]
fn one_guest_has_its_name_with_both_families() {
    let mut hosts = Hosts::new(&[], 10);
    let v6: IpAddr = "fd00::1000".parse().unwrap();
    assert!(hosts.claim(at(0), "web", A, v4(15), at(100)));
    assert!(hosts.claim(at(0), "web", A, v6, at(100)));
    assert_eq!(found(&hosts, 1, "web"), Some(vec![v6, v4(15)]));
    hosts.release(v4(15));
    assert_eq!(found(&hosts, 1, "web"), Some(vec![v6]));
}

#[test]
fn names_that_mean_something_to_programs_are_no_guests() {
    let mut hosts = Hosts::new(&[], 10);
    for name in ["wpad", "isatap", "localhost"] {
        assert!(!hosts.claim(at(0), name, A, v4(15), at(100)));
        assert_eq!(found(&hosts, 1, name), None);
    }
    let reservation = Reservation {
        mac: A,
        addresses: vec![v4(50)],
        hostname: Some("wpad".to_owned()),
    };
    let mut hosts = Hosts::new(&[reservation], 10);
    assert!(hosts.claim(at(0), "wpad", A, v4(50), at(100)));
    assert!(!hosts.claim(at(0), "wpad", B, v4(51), at(100)));
}

#[test]
fn a_guest_cannot_take_over_the_name_of_another() {
    let mut hosts = Hosts::new(&[], 10);
    assert!(hosts.claim(at(0), "web", A, v4(15), at(100)));
    assert!(!hosts.claim(at(1), "web", B, v4(16), at(100)));
    assert!(!hosts.claim(at(1), "web", B, "fd00::1000".parse().unwrap(), at(100)));
    assert_eq!(found(&hosts, 1, "web"), Some(vec![v4(15)]));
    assert!(
        hosts.claim(at(100), "web", B, v4(16), at(200)),
        "it ran out"
    );
    assert_eq!(found(&hosts, 101, "web"), Some(vec![v4(16)]));
    assert_eq!(hosts.name(at(101), v4(15)), None);
}

#[test]
fn a_reserved_name_is_known_before_its_guest_and_is_nobody_elses() {
    let reservation = Reservation {
        mac: A,
        addresses: vec![v4(50)],
        hostname: Some("db".to_owned()),
    };
    let mut hosts = Hosts::new(&[reservation], 10);
    assert_eq!(found(&hosts, 0, "db"), Some(vec![v4(50)]));
    assert!(!hosts.claim(at(0), "db", B, v4(16), at(100)));
    assert!(hosts.claim(at(0), "db", A, v4(50), at(10)));
    hosts.release(v4(50));
    assert_eq!(found(&hosts, 1000, "db"), Some(vec![v4(50)]));
    assert_eq!(hosts.name(at(1000), v4(50)), Some("db"));
}

#[test]
fn an_address_that_moves_on_leaves_its_old_name() {
    let mut hosts = Hosts::new(&[], 10);
    assert!(hosts.claim(at(0), "old", A, v4(15), at(100)));
    assert!(hosts.claim(at(1), "new", B, v4(15), at(200)));
    assert_eq!(found(&hosts, 2, "old"), None);
    assert_eq!(hosts.name(at(2), v4(15)), Some("new"));
}

#[test]
fn names_are_bounded_and_dead_ones_make_room() {
    let mut hosts = Hosts::new(&[], 4);
    for index in 0..100u8 {
        let claimed = hosts.claim(at(0), &format!("guest{index}"), A, v4(index), at(10));
        assert_eq!(claimed, index < 4, "{index}");
    }
    assert!(hosts.claim(at(10), "late", A, v4(200), at(20)));
    assert_eq!(hosts.names.len(), 1);
    assert_eq!(hosts.by_address.len(), 1);
}

#[test]
fn host_names_are_one_label_of_letters_digits_and_hyphens() {
    assert_eq!(hostname("Web-1.example.com"), Some("web-1".to_owned()));
    let longest = "a".repeat(MAX_HOSTNAME);
    assert_eq!(hostname(&longest), Some(longest.clone()));
    for bad in [
        "",
        ".",
        "-a",
        "a-",
        "a b",
        "ä",
        "a_b",
        "a\0b",
        &format!("{longest}a"),
    ] {
        assert_eq!(hostname(bad), None, "{bad:?}");
    }
}
