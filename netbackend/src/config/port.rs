//! The sections `[networks.NAME.ports.PORT]`.
use super::{
    DEFAULT_QUEUE_PAIRS, NetworkConfig, PortConfig, TransportConfig, access, default_port_socket,
    name, policy,
    section::{Named, Section},
    trust,
    value::{self, Wrong},
};
use crate::network::MAX_QUEUE_PAIRS;
use std::{
    collections::HashMap,
    hash::Hash,
    path::{Path, PathBuf},
};
use switch::{MacAddr, Role};

const COMMON: &[&str] = &["kind", "mac", "queue_pairs", "uplink", trust::KEY];
const OF_VHOST_USER: &[&str] = &[
    "socket",
    "connect",
    "socket_mode",
    "socket_owner",
    "socket_group",
];
const OF_TAP: &[&str] = &["interface", "netns"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    VhostUser,
    Tap,
}

const KINDS: &[(&str, Kind)] = &[("vhost-user", Kind::VhostUser), ("tap", Kind::Tap)];

/// What ports have taken so far, each with where: nothing may be taken twice.
#[derive(Debug)]
pub(super) struct Claims {
    sockets: HashMap<PathBuf, String>,
    /// Namespace and interface.
    pub(super) interfaces: HashMap<(Option<String>, String), String>,
    /// Of the current network.
    macs: HashMap<MacAddr, String>,
}

impl Claims {
    pub(super) fn new(control_socket: &Path) -> Self {
        Self {
            sockets: HashMap::from([(control_socket.to_owned(), "the control socket".into())]),
            interfaces: HashMap::new(),
            macs: HashMap::new(),
        }
    }

    /// Addresses are unique per network only.
    pub(super) fn enter_network(&mut self) {
        self.macs.clear();
    }
}

/// One port; `None` if it lacks what it needs (which is noted).
pub(super) fn read(
    port: &Named<'_, '_>,
    section: &mut Section<'_, '_, '_>,
    (network, runtime_dir): (&NetworkConfig, &Path),
    claims: &mut Claims,
) -> Option<PortConfig> {
    let offset = port.span.start;
    if let Err(wrong) = name::check(&port.name) {
        section.diagnostics.add(offset, port.path.clone(), wrong);
    }
    let kind = kind_of(port);
    let (own, foreign) = match kind {
        Kind::VhostUser => (OF_VHOST_USER, OF_TAP),
        Kind::Tap => (OF_TAP, OF_VHOST_USER),
    };
    // Keys of the other kind are told apart from unknown ones below.
    let misplaced = foreign.iter().filter(|key| port.table.contains_key(**key));
    let misplaced: Vec<&str> = misplaced.copied().collect();
    let known = [COMMON, policy::KEYS, own, &misplaced].concat();
    let mut section = Section::new(&port.path, offset, port.table, &known, section.diagnostics);
    for key in misplaced {
        section.problem(key, of_other_kind(kind));
    }
    section.get("kind", value::word(KINDS));
    let uplink = section.get("uplink", value::boolean).unwrap_or(false);
    let mac = section.get("mac", value::station_mac);
    if uplink && mac.is_some() {
        let wrong = Wrong::new(
            "an uplink leads to many addresses and has none of its own",
            "remove mac or uplink",
        );
        section.problem("mac", wrong);
    }
    if let Some(mac) = mac {
        claim(&mut claims.macs, mac, &mut section, "mac", || {
            mac.to_string()
        });
    }
    let policy = policy::read(&mut section, network, uplink, mac);
    let queue_pairs = section.get("queue_pairs", value::integer(1, MAX_QUEUE_PAIRS));
    let transport = match kind {
        Kind::VhostUser => {
            let default = default_port_socket(runtime_dir, &network.name, &port.name);
            vhost_user(&mut section, default, claims)
        }
        Kind::Tap => tap(&mut section, claims)?,
    };
    let socket_access = access::read(&mut section, access::KEYS, network.socket_access);
    let has_macvtap = network.attach.is_some() && !uplink;
    let trust_filters = trust::read(&mut section, has_macvtap);
    Some(PortConfig {
        name: port.name.clone(),
        role: if uplink { Role::Uplink } else { Role::Guest },
        mac,
        policy,
        queue_pairs: queue_pairs.unwrap_or(match kind {
            Kind::VhostUser => DEFAULT_QUEUE_PAIRS,
            Kind::Tap => 1,
        }),
        socket_access,
        trust_filters,
        transport,
    })
}

fn of_other_kind(kind: Kind) -> Wrong {
    let (this, other) = match kind {
        Kind::VhostUser => ("vhost-user", "tap"),
        Kind::Tap => ("tap", "vhost-user"),
    };
    Wrong::new(
        format!("this is a {this} port (kind), and the key is of {other} ports"),
        format!("set kind = \"{other}\", or remove the key"),
    )
}

/// The kind decides which keys are known, so it is looked up before the section is opened.
fn kind_of(port: &Named<'_, '_>) -> Kind {
    let Some(kind) = port.table.get("kind") else {
        return Kind::VhostUser;
    };
    let word = kind.get_ref().as_str();
    match KINDS.iter().find(|(known, _)| Some(*known) == word) {
        Some((_, kind)) => *kind,
        // One message about a wrong kind is enough: go by what else is there.
        None if port.table.contains_key("interface") => Kind::Tap,
        None => Kind::VhostUser,
    }
}

/// Either side may listen.
fn vhost_user(
    section: &mut Section<'_, '_, '_>,
    default: PathBuf,
    claims: &mut Claims,
) -> TransportConfig {
    if let Some(socket) = section.get("connect", value::socket_path) {
        check_client(section);
        let shown = socket.display().to_string();
        claim(
            &mut claims.sockets,
            socket.clone(),
            section,
            "connect",
            || shown,
        );
        return TransportConfig::VhostUserClient { socket };
    }
    let socket = section.get("socket", value::socket_path);
    let socket = socket.unwrap_or(default);
    if !section.has("socket")
        && let Err(wrong) = value::check_socket_length(&socket)
    {
        section.problem("socket", wrong);
    }
    claim(
        &mut claims.sockets,
        socket.clone(),
        section,
        "socket",
        || socket.display().to_string(),
    );
    TransportConfig::VhostUser { socket }
}

/// The socket that the daemon connects to is not the daemon's.
fn check_client(section: &mut Section<'_, '_, '_>) {
    for key in ["socket", "socket_mode", "socket_owner", "socket_group"] {
        if section.has(key) {
            let wrong = Wrong::new(
                "the front-end makes the socket that the daemon connects to (connect)",
                format!("remove {key}, or remove connect to let the daemon listen"),
            );
            section.problem(key, wrong);
        }
    }
}

fn tap(section: &mut Section<'_, '_, '_>, claims: &mut Claims) -> Option<TransportConfig> {
    if !section.has("interface") {
        let wrong = Wrong::new(
            "a tap port needs the name of its interface",
            "add interface = \"NAME\"; the daemon creates it",
        );
        section.problem("interface", wrong);
    }
    let netns = section.get("netns", value::netns);
    let interface = section.get("interface", value::interface)?;
    let claimed = (netns.clone(), interface.clone());
    claim(
        &mut claims.interfaces,
        claimed,
        section,
        "interface",
        || interface.clone(),
    );
    Some(TransportConfig::Tap { interface, netns })
}

/// Takes `what` for the port of `section`, which nobody else may have.
pub(super) fn claim<T: Eq + Hash>(
    taken: &mut HashMap<T, String>,
    what: T,
    section: &mut Section<'_, '_, '_>,
    key: &str,
    shown: impl FnOnce() -> String,
) {
    let place = format!("line {}", section.line_of(key));
    if let Some(owner) = taken.get(&what) {
        let wrong = Wrong::new(
            format!("{} is taken already by {owner}", shown()),
            format!("choose another {key} for one of them"),
        );
        section.problem(key, wrong);
    } else {
        taken.insert(what, place);
    }
}
