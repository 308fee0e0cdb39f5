use super::*;

fn table(text: &str) -> Table {
    text.parse().unwrap()
}

fn applied(state: &State, file: &str) -> Table {
    let mut networks = table(file);
    state.apply(&mut networks);
    networks
}

#[test]
fn changes_are_laid_over_the_file() {
    let mut state = State::default();
    state.remove_network("dmz", true);
    state.add_network("lab", table("mtu = 9000"));
    state.remove_port("lan", "web", true);
    state.add_port("lan", "db", table("queue_pairs = 2"));
    state.add_port("lab", "x", table(""));
    let found = applied(
        &state,
        "[lan.ports.web]\n[lan.ports.mail]\n[dmz]\nmtu = 1400",
    );
    let expected = "[lan.ports.mail]\n[lan.ports.db]\nqueue_pairs = 2\n\
        [lab]\nmtu = 9000\n[lab.ports.x]";
    assert_eq!(found, table(expected));
}

#[test]
fn what_is_undone_leaves_nothing() {
    let mut state = State::default();
    state.add_network("lab", table(""));
    state.add_port("lab", "x", table(""));
    state.add_port("lan", "y", table(""));
    state.remove_port("lan", "y", false);
    state.remove_network("lab", false);
    assert_eq!(state, State::default());
}

#[test]
fn file_is_removed_with_the_last_change_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.json");
    let mut state = State::default();
    state.save(&path).unwrap();
    assert!(!path.exists());
    state.add_port("lan", "db", table("mac = \"52:54:00:00:00:01\""));
    state.save(&path).unwrap();
    assert_eq!(State::load(&path).unwrap(), state);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    State::default().save(&path).unwrap();
    assert!(!path.exists());
    assert_eq!(State::load(&path).unwrap(), State::default());
}

#[test]
fn what_a_guest_has_chosen_is_kept_with_its_lease() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.json");
    let mut state = State::default();
    let filter = PortFilter {
        groups: Some(["01:00:5e:00:00:fb".to_owned()].into()),
        ..PortFilter::default()
    };
    assert!(!state.set_filter("lan", "vm", filter.clone()), "no lease");
    assert_eq!(state, State::default());
    let lease = Leased {
        process: Process::own().unwrap(),
        settings: Settings(table("")),
        filter: PortFilter::default(),
    };
    state.lease_port("lan", "vm", lease);
    state.save(&path).unwrap();
    // As it was written before there were filters.
    assert!(!fs::read_to_string(&path).unwrap().contains("filter"));
    assert_eq!(State::load(&path).unwrap(), state);
    assert!(state.set_filter("lan", "vm", filter.clone()));
    assert!(!state.set_filter("lan", "vm", filter.clone()), "the same");
    state.save(&path).unwrap();
    let mut loaded = State::load(&path).unwrap();
    assert_eq!(loaded, state);
    let leases = loaded.take_leases();
    assert_eq!(leases[0].2.filter, filter);
}

#[test]
fn file_that_is_not_understood_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.json");
    for text in [
        "",
        "{\"version\": 2}",
        "{\"version\": 1, \"nets\": {}}",
        "\u{0}",
    ] {
        fs::write(&path, text).unwrap();
        assert_eq!(State::load(&path).unwrap(), State::default(), "{text:?}");
        assert!(!path.exists());
        let aside = dir.path().join("state.json.bad");
        assert_eq!(fs::read_to_string(aside).unwrap(), text);
    }
}

#[test]
fn reload_brings_back_what_the_file_names() {
    let mut state = State::default();
    state.remove_network("dmz", true);
    state.remove_port("lan", "web", true);
    state.add_port("lan", "db", table("queue_pairs = 2"));
    state.add_port("lan", "extra", table(""));
    state.add_port("old", "x", table(""));
    state.add_network("lab", table(""));
    state.add_network("new", table("mtu = 9000"));
    let file = table("[dmz]\n[lan.ports.web]\n[lan.ports.db]\n[new]\nmtu = 1280");
    let (after, given_up) = state.after_reload(&file);
    let mut expected = State::default();
    expected.add_network("lab", table(""));
    expected.add_port("lan", "extra", table(""));
    assert_eq!(after, expected);
    assert_eq!(given_up.len(), 3, "{given_up:?}");
    for (told, what) in given_up
        .iter()
        .zip(["network new", "port lan/db", "port old/x"])
    {
        assert!(told.starts_with(what), "{told}");
    }
}

#[test]
fn changes_can_be_tried_one_by_one() {
    let mut state = State::default();
    state.remove_network("dmz", true);
    state.add_network("lab", table(""));
    state.remove_port("lab", "z", true);
    state.remove_port("lan", "web", true);
    let forward = "tcp:2222=:22".parse().unwrap();
    state.remove_forward("lan", &forward, true);
    state.add_port("lan", "x", table(""));
    state.add_port("lan", "y", table(""));
    let mut again = state.only_leases();
    let parts = state.singly();
    let names: Vec<_> = parts.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "the removal of network dmz",
        "the removal of port lan/web",
        "the removal of forward tcp:2222=:22 of lan",
        "network lab, added at run time, without what was removed of it,",
        "network lab, added at run time,",
        "the removal of port lab/z",
        "port lan/x, added at run time,",
        "port lan/y, added at run time,",
    ];
    assert_eq!(names, expected);
    for (_, part) in parts {
        again.absorb(part);
    }
    assert_eq!(again, state);
}
