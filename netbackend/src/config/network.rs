//! The sections `[networks.NAME]`.
use super::{
    NetworkConfig, PortConfig, access, name, nat,
    port::{self, Claims},
    section::{Named, Section},
    trust, uplink,
    value::{self, Wrong},
};
use control::Mode;
use std::{path::Path, time::Duration};
use switch::Role;

const KEYS: &[&str] = &[
    "mode",
    "mtu",
    "ageing",
    "fdb_capacity_per_port",
    "poll_idle_us",
    "workers",
    "cpus",
    "require_sealed_memory",
    "socket_mode",
    "socket_owner",
    "socket_group",
    trust::KEY,
    "uplink",
    "ports",
];

const MODES: &[(&str, Mode)] = &[
    ("bridge", Mode::Bridge),
    ("private", Mode::Private),
    ("vepa", Mode::Vepa),
    ("passthrough", Mode::Passthrough),
    ("nat", Mode::Nat),
];

/// Smallest MTU of IPv4 (RFC 791, 3.2).
const SMALLEST_MTU: u16 = 68;
/// As IEEE 802.1Q has it at most (8.8.3); shorter than its 10 s at least is of use in tests.
const AGEING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(1_000_000));
const LARGEST_FDB: usize = 65536;
/// A thread that polls longer than this is busy, not idle.
const LONGEST_POLL_US: u32 = 10_000;
/// More would only meet over the same rings.
const MOST_WORKERS: u16 = 64;

/// All networks of the file.
pub(super) fn read_all(
    top: &mut Section<'_, '_, '_>,
    runtime_dir: &Path,
    control_socket: &Path,
) -> Vec<NetworkConfig> {
    let mut claims = Claims::new(control_socket);
    let tables = top.tables("networks");
    tables
        .into_iter()
        .map(|network| read(&network, top, runtime_dir, &mut claims))
        .collect()
}

fn read(
    network: &Named<'_, '_>,
    top: &mut Section<'_, '_, '_>,
    runtime_dir: &Path,
    claims: &mut Claims,
) -> NetworkConfig {
    let offset = network.span.start;
    if let Err(wrong) = name::check(&network.name) {
        top.diagnostics.add(offset, network.path.clone(), wrong);
    }
    // Which keys there are depends on the mode; those of mode nat are told apart from unknown ones elsewhere.
    let is_nat = mode_of(network) == Mode::Nat;
    let misplaced = nat::KEYS.iter().copied();
    let misplaced = misplaced.filter(|key| !is_nat && network.table.contains_key(*key));
    let misplaced: Vec<&str> = misplaced.collect();
    let of_nat = if is_nat { nat::KEYS } else { &misplaced };
    let known = [KEYS, of_nat].concat();
    let mut section = Section::new(
        &network.path,
        offset,
        network.table,
        &known,
        top.diagnostics,
    );
    for key in misplaced {
        let wrong = Wrong::new(
            "the key is of networks in mode \"nat\"",
            "set mode = \"nat\", or remove the key",
        );
        section.problem(key, wrong);
    }
    let mut config = NetworkConfig::new(&*network.name);
    read_settings(&mut section, &mut config);
    config.nat = is_nat.then(|| nat::read(&mut section));
    claims.enter_network();
    uplink::read(&mut section, &mut config, claims);
    let has_macvtaps = config.attach.is_some();
    set(
        &mut config.trust_filters,
        trust::read(&mut section, has_macvtaps),
    );
    for table in section.tables("ports") {
        let port = port::read(&table, &mut section, (&config, runtime_dir), claims);
        config.ports.extend(port);
    }
    config.ports.sort_by(|one, other| one.name.cmp(&other.name));
    check_roles(&mut section, &config);
    uplink::tag_guests(&mut config);
    config.mtu_of_nic = config.nic().is_some() && !section.has("mtu");
    config
}

fn read_settings(section: &mut Section<'_, '_, '_>, config: &mut NetworkConfig) {
    set(&mut config.mode, section.get("mode", value::word(MODES)));
    let mtu = section.get("mtu", value::integer(SMALLEST_MTU, u16::MAX));
    set(&mut config.mtu, mtu);
    let ageing = section.get("ageing", value::duration(AGEING.0, AGEING.1));
    set(&mut config.ageing, ageing);
    let capacity = section.get("fdb_capacity_per_port", value::integer(1, LARGEST_FDB));
    set(&mut config.fdb_capacity_per_port, capacity);
    let poll = section.get("poll_idle_us", value::integer(0, LONGEST_POLL_US));
    let poll = poll.map(|us| Duration::from_micros(us.into()));
    set(&mut config.poll_idle, poll);
    read_workers(section, config);
    let sealed = section.get("require_sealed_memory", value::boolean);
    set(&mut config.require_sealed_memory, sealed);
    config.socket_access = access::read(section, access::KEYS, config.socket_access);
}

/// As many workers as CPUs are named for them, or the other way round.
fn read_workers(section: &mut Section<'_, '_, '_>, config: &mut NetworkConfig) {
    let workers = section.get("workers", value::integer(1, MOST_WORKERS));
    let cpus = section.get("cpus", value::cpus(usize::from(MOST_WORKERS)));
    let named = cpus
        .as_ref()
        .and_then(|cpus| u16::try_from(cpus.len()).ok());
    match (workers, named) {
        (Some(workers), Some(named)) if workers != named => {
            let wrong = Wrong::new(
                format!("{named} CPUs for {workers} workers"),
                "name one CPU for each worker, or leave out one of the two keys",
            );
            section.problem("cpus", wrong);
        }
        _ => {}
    }
    set(&mut config.workers, workers.or(named));
    set(&mut config.cpus, cpus);
}

fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

/// The mode is looked up before the section is opened: it decides which keys are known.
fn mode_of(network: &Named<'_, '_>) -> Mode {
    let word = network
        .table
        .get("mode")
        .and_then(|mode| mode.get_ref().as_str());
    let found = MODES.iter().find(|(known, _)| Some(*known) == word);
    found.map_or(Mode::Bridge, |(_, mode)| *mode)
}

/// How many guests and uplinks the mode takes.
fn check_roles(section: &mut Section<'_, '_, '_>, config: &NetworkConfig) {
    let names = |role: Role| -> Vec<&str> {
        let ports = config.ports.iter().filter(|port| port.role == role);
        ports.map(|port: &PortConfig| port.name.as_str()).collect()
    };
    let (guests, uplinks) = (names(Role::Guest), names(Role::Uplink));
    if uplinks.len() > 1 {
        let wrong = Wrong::new(
            format!("several ports are uplinks: {}", uplinks.join(", ")),
            "a network has one way out: leave uplink = true at one port, or the section [uplink]",
        );
        section.problem("ports", wrong);
    }
    if config.attach.is_some() && !uplinks.is_empty() {
        let wrong = Wrong::new(
            format!(
                "each guest has a way out of its own (attach = \"macvtap\"): none sends to port {}",
                uplinks.join(", ")
            ),
            "remove uplink = true, or attach",
        );
        section.problem("ports", wrong);
    }
    match config.mode {
        Mode::Nat if config.attach.is_some() => {
            let wrong = Wrong::new(
                "the way out of a nat network is its gateway, not macvtaps",
                "remove attach and its section, or set mode = \"bridge\"",
            );
            section.problem("uplink", wrong);
        }
        Mode::Nat if !uplinks.is_empty() => {
            let wrong = Wrong::new(
                format!(
                    "the way out of a nat network is its gateway, not port {}",
                    uplinks.join(", ")
                ),
                "remove uplink = true, or set mode = \"bridge\"",
            );
            section.problem("ports", wrong);
        }
        // Each guest has a way out of its own.
        _ if config.attach.is_some() && config.mode != Mode::Passthrough => {}
        Mode::Passthrough if config.attach.is_none() && uplinks.is_empty() => {
            let wrong = Wrong::new(
                "a passthrough network needs an uplink",
                "add a section [uplink] with nic = \"NIC\", or give one of its ports uplink = true",
            );
            section.problem("mode", wrong);
        }
        Mode::Passthrough if guests.len() > 1 => {
            let wrong = Wrong::new(
                format!(
                    "a passthrough network takes one guest, not {}",
                    guests.join(", ")
                ),
                "keep one port without uplink = true, or choose another mode",
            );
            section.problem("mode", wrong);
        }
        Mode::Private | Mode::Vepa if uplinks.is_empty() => {
            let wrong = Wrong::new(
                format!(
                    "a {} network without an uplink carries no frames",
                    config.mode
                ),
                "add a section [uplink] with nic = \"NIC\", give one of its ports uplink = true, or choose mode = \"bridge\"",
            );
            section.warning("mode", wrong);
        }
        _ => {}
    }
}
