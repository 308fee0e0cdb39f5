use super::*;

#[test]
fn a_resolv_conf_is_read_as_resolvers_do() {
    let text = "# made by hand\n; also a comment\nnameserver 9.9.9.9\n  nameserver\t2620:fe::fe # quad9\n\
                search one.example two.example\ndomain lab.example\noptions edns0 trust-ad\nnameserver nonsense\n\
                nameserver\nnameserver 127.0.0.53\nnameserver 1.1.1.1\n";
    let conf = ResolvConf::parse(text);
    let servers: Vec<_> = conf.servers.iter().map(ToString::to_string).collect();
    assert_eq!(
        servers,
        ["9.9.9.9:53", "[2620:fe::fe]:53", "127.0.0.53:53"],
        "the first three"
    );
    assert_eq!(
        conf.search,
        ["lab.example".parse().unwrap()],
        "the last line counts"
    );
    assert_eq!(ResolvConf::parse(""), ResolvConf::default());
    assert_eq!(ResolvConf::parse("search .\n").search, []);
}

#[test]
fn servers_take_turns_and_the_one_that_answered_is_asked_first() {
    let servers: Vec<SocketAddr> = ["192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"]
        .map(|text| text.parse().unwrap())
        .into();
    let mut upstreams = Upstreams::new(&servers);
    assert_eq!(upstreams.at(0), Some(servers[0]));
    assert_eq!(upstreams.at(4), Some(servers[1]));
    upstreams.prefer(servers[2]);
    assert_eq!(
        (upstreams.at(0), upstreams.at(1)),
        (Some(servers[2]), Some(servers[0]))
    );
    assert_eq!(Upstreams::default().at(0), None);
}
