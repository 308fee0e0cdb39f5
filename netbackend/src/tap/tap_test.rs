use super::*;
use nix::sched::{CloneFlags, unshare};
use std::{fs, path::Path, process::Command, thread};

/// A named namespace, removed at the end.
struct Namespace(String);

impl Namespace {
    fn new(name: &str) -> Self {
        let name = format!("nb-tap-{name}-{}", std::process::id());
        run("ip", &["netns", "add", &name]);
        Self(name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        run("ip", &["netns", "del", &self.0]);
    }
}

#[track_caller]
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn spec(interface: &str, netns: Option<&str>) -> TapSpec {
    TapSpec {
        interface: interface.into(),
        netns: netns.map(str::to_owned),
        queues: 1,
        mtu: 9000,
        mac: None,
    }
}

#[test]
fn tap_is_made_in_its_namespace_and_vanishes_with_its_files() {
    let namespace = Namespace::new("made");
    let mac: MacAddr = "52:54:00:00:00:77".parse().unwrap();
    let spec = TapSpec {
        queues: 3,
        mac: Some(mac),
        ..spec("nbt0", Some(&namespace.0))
    };
    let queues = open(&spec).unwrap();
    assert_eq!(queues.len(), 3);
    let shown = run("ip", &["-n", &namespace.0, "-d", "link", "show", "nbt0"]);
    assert!(shown.contains("mtu 9000"), "{shown}");
    assert!(shown.contains(",UP"), "{shown}");
    assert!(shown.contains("52:54:00:00:00:77"), "{shown}");
    assert!(shown.contains("multi_queue"), "{shown}");
    assert!(shown.contains("qlen 4096"), "{shown}");
    assert!(shown.contains("vnet_hdr"), "{shown}");
    // This thread's namespace has none.
    assert!(!Path::new("/sys/class/net/nbt0").exists());
    drop(queues);
    let links = run("ip", &["-n", &namespace.0, "-br", "link"]);
    assert!(!links.contains("nbt0"), "{links}");
}

#[test]
fn missing_namespace_is_named_with_its_remedy() {
    let error = open(&spec("nbt1", Some("nb-no-such-ns"))).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("/run/netns/nb-no-such-ns"), "{text}");
    assert!(text.contains("ip netns add nb-no-such-ns"), "{text}");
}

#[test]
fn second_owner_and_other_interfaces_are_refused() {
    let namespace = Namespace::new("busy");
    let spec = |interface| spec(interface, Some(&namespace.0));
    let _first = open(&spec("nbt2")).unwrap();
    let error = open(&spec("nbt2")).unwrap_err();
    assert!(matches!(error, TapError::InUse(_)), "{error}");
    let error = open(&spec("lo")).unwrap_err();
    assert!(matches!(error, TapError::WrongKind(_)), "{error}");
    assert!(error.to_string().contains("ip link del lo"), "{error}");
}

#[test]
fn missing_capability_is_named() {
    // In a thread: capabilities and namespaces belong to threads.
    let error = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        caps::clear(None, caps::CapSet::Effective).unwrap();
        open(&spec("nbt3", None)).unwrap_err()
    });
    let error = error.join().unwrap();
    assert!(matches!(error, TapError::NotPermitted { .. }), "{error}");
    assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    assert!(fs::exists("/dev/net/tun").unwrap());
}
