use super::*;
use std::time::Duration;

#[test]
fn nets_are_read_and_mistakes_explained() {
    let net: NetConfig = "network=lan,mac=52:54:00:00:00:02,queues=2,mtu=9000,model=virtio"
        .parse()
        .unwrap();
    assert_eq!(net.source, network(false));
    assert_eq!(
        (net.mac, net.queues, net.mtu),
        (Some([0x52, 0x54, 0, 0, 0, 2]), 2, Some(9000))
    );
    assert!(net.link);
    let net: NetConfig = "socket=/s,model=e1000-82545em,link=down".parse().unwrap();
    assert_eq!((net.model, net.link), (NetModel::E1000Server, false));
    assert_eq!(net.poll_idle, Duration::from_micros(50));
    for us in [0, 10_000] {
        let text = format!("network=a,poll_idle_us={us},model=pcnet");
        let net: NetConfig = text.parse().unwrap();
        assert_eq!(net.poll_idle, Duration::from_micros(us));
    }
    let net: NetConfig = "mode=vepa,macvtap=eth0".parse().unwrap();
    let (nic, mode) = ("eth0".into(), control::Mode::Vepa);
    let (vhost, trust) = (false, false);
    let expected = NetSource::Macvtap {
        nic,
        mode,
        vhost,
        trust,
    };
    assert_eq!(net.source, expected);
    for (text, on) in [
        ("macvtap=eth0,vhost=on", (true, false)),
        ("trust=on,macvtap=eth0,vhost=off", (false, true)),
        (
            "macvtap=eth0,model=e1000,vhost=off,trust=off",
            (false, false),
        ),
    ] {
        let net: NetConfig = text.parse().unwrap();
        let NetSource::Macvtap { vhost, trust, .. } = net.source else {
            panic!("{text}");
        };
        assert_eq!((vhost, trust), on, "{text}");
    }
    for (text, expected) in [
        ("", "give network=NAME, socket=PATH or macvtap=NIC"),
        ("network=", "`network` needs a value"),
        (
            "network=a,socket=/b",
            "one of network=NAME, socket=PATH and",
        ),
        ("network=a,vhost=on", "`vhost=` is of macvtap=NIC"),
        ("socket=/a,vhost=off", "`vhost=` is of macvtap=NIC"),
        ("macvtap=a,vhost=auto", "use on or off"),
        ("macvtap=a,vhost=", "`vhost` needs a value"),
        (
            "macvtap=a,vhost=on,model=e1000",
            "`vhost=on` is for model=virtio only",
        ),
        (
            "macvtap=a,trust=on,model=pcnet",
            "`trust=on` is for model=virtio only",
        ),
        (
            "socket=/a,trust=off",
            "`trust=` is of network=NAME and macvtap=NIC",
        ),
        (
            "network=a,trust=on,model=e1000",
            "`trust=on` is for model=virtio only",
        ),
        ("macvtap=a,trust=1", "use on or off"),
        ("network=a,mode=bridge", "`mode=` is of macvtap=NIC"),
        (
            "macvtap=eth0,mode=nat",
            "use bridge, private, vepa or passthru",
        ),
        ("network=a,mac=1:2:3:4:5:6", "six hexadecimal bytes"),
        ("network=a,mac=01:00:5e:00:00:01", "multicast"),
        ("network=a,queues=0", "a number from 1 to 8"),
        ("network=a,mtu=67", "a number from 68 to 65535"),
        ("network=a,model=pcnet32", "pcnet, pcnet-79c973"),
        ("network=a,model=e1000,queues=2", "only model=virtio"),
        (
            "network=a,model=e1000,poll_idle_us=10001",
            "a number from 0 to 10000",
        ),
        ("network=a,poll_idle_us=0", "leave out `poll_idle_us=`"),
        ("network=a,model=foo", "unknown model"),
        ("network=a,link=maybe", "link=up or link=down"),
        ("network=a,colour=red", "unknown key `colour`"),
    ] {
        let error = text.parse::<NetConfig>().unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

fn network(trust: bool) -> NetSource {
    let network = "lan".into();
    NetSource::Network { network, trust }
}

#[test]
fn guests_of_networks_are_trusted_when_that_is_asked_for() {
    for (text, trust) in [
        ("trust=on,network=lan", true),
        ("network=lan,trust=off,model=e1000", false),
    ] {
        let net: NetConfig = text.parse().unwrap();
        assert_eq!(net.source, network(trust), "{text}");
    }
}

#[test]
fn disks_serials_and_sizes_are_read() {
    let disk: DiskConfig = "path=root.img,readonly=on".parse().unwrap();
    assert_eq!(
        disk,
        DiskConfig {
            path: "root.img".into(),
            readonly: true
        }
    );
    assert!(
        "readonly=on"
            .parse::<DiskConfig>()
            .unwrap_err()
            .contains("`path` is missing")
    );
    assert!(
        "path=a,readonly=maybe"
            .parse::<DiskConfig>()
            .unwrap_err()
            .contains("readonly=on")
    );
    assert_eq!(
        "file=/tmp/log".parse(),
        Ok(SerialConfig::File("/tmp/log".into()))
    );
    assert!("tcp".parse::<SerialConfig>().is_err());
    for (text, bytes) in [
        ("512M", 512 << 20),
        ("2G", 2 << 30),
        ("64kib", 64 << 10),
        ("4096", 4096),
    ] {
        assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
    }
    for text in ["", "M", "12X", "-1", "99999999999999G", "1.5G"] {
        assert!(text.parse::<ByteSize>().is_err(), "{text}");
    }
    assert_eq!(ByteSize(512 << 20).to_string(), "512M");
}
