use super::*;
use crate::Addressing;

#[test]
fn the_default_pool_is_qemus() {
    let network = Addressing::default().ipv4.unwrap();
    let pool = ServicesConfig::default().pool4(&network);
    assert_eq!(
        pool,
        Ipv4Addr::new(10, 0, 2, 15)..=Ipv4Addr::new(10, 0, 2, 254)
    );
}

#[test]
fn small_subnets_have_a_pool_too() {
    let network = Ipv4Config {
        subnet: "192.168.7.8/29".parse().unwrap(),
        gateway: Ipv4Addr::new(192, 168, 7, 9),
        dns: Ipv4Addr::new(192, 168, 7, 9),
    };
    let pool = ServicesConfig::default().pool4(&network);
    assert_eq!(
        pool,
        Ipv4Addr::new(192, 168, 7, 9)..=Ipv4Addr::new(192, 168, 7, 14)
    );
}

#[test]
fn without_the_forwarder_guests_are_told_the_upstream_servers_of_the_family() {
    let mut config = ServicesConfig::default();
    let own = IpAddr::from([10, 0, 2, 3]);
    assert_eq!(config.servers(own), [own]);
    config.dns.forwarder = false;
    config.dns.upstreams = vec![
        "9.9.9.9:53".parse().unwrap(),
        "[2620:fe::9]:53".parse().unwrap(),
    ];
    assert_eq!(config.servers(own), [IpAddr::from([9, 9, 9, 9])]);
}

#[test]
fn the_search_list_starts_with_the_guests_own_domain_once() {
    let config = ServicesConfig {
        search: vec!["example.com".parse().unwrap(), "internal".parse().unwrap()],
        ..ServicesConfig::default()
    };
    let list: Vec<_> = config.search_list().iter().map(Name::to_string).collect();
    assert_eq!(list, ["internal", "example.com"]);
}
