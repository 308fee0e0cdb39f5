//! `--net network=NAME[,trust=on]|socket=PATH|macvtap=NIC[,mode=MODE][,vhost=on][,trust=on][,mac=…][,queues=N][,mtu=N][,model=MODEL][,poll_idle_us=N][,link=down]`

use std::{path::PathBuf, str::FromStr, time::Duration};

use super::{pairs, value};
use control::Mode;

/// Queue pairs of a NIC at most.
const MAX_QUEUE_PAIRS: u16 = 8;
/// How long the thread of an emulated NIC polls before it sleeps, if nobody says: as long as netbackend's workers do.
const POLL_IDLE: Duration = Duration::from_micros(50);
/// Microseconds that it may at most.
const LONGEST_POLL_US: u16 = 10_000;
/// Names of the models.
const MODELS: [(&str, NetModel); 8] = [
    ("virtio", NetModel::Virtio),
    ("e1000", NetModel::E1000),
    ("e1000-82545em", NetModel::E1000Server),
    ("rtl8139", NetModel::Rtl8139),
    ("rtl8139c", NetModel::Rtl8139C),
    ("ne2k_pci", NetModel::Ne2kPci),
    ("pcnet", NetModel::Pcnet),
    ("pcnet-79c973", NetModel::PcnetFast),
];

/// What the guest sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetModel {
    /// virtio-net.
    #[default]
    Virtio,
    /// Intel 82540EM.
    E1000,
    /// Intel 82545EM.
    E1000Server,
    /// Realtek RTL8139C+.
    Rtl8139,
    /// Realtek RTL8139C, for drivers that leave the C+ alone.
    Rtl8139C,
    /// Realtek RTL8029AS, an NE2000 on PCI.
    Ne2kPci,
    /// AMD Am79C970A.
    Pcnet,
    /// AMD Am79C973, for drivers that want to see a PHY.
    PcnetFast,
}

/// How a NIC reaches its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetSource {
    /// A port asked for at the daemon's control socket.
    Network {
        /// Its network.
        network: String,
        /// The guest may change its address and which groups it receives, if the daemon trusts the port as well.
        trust: bool,
    },
    /// Any vhost-user back-end that listens here.
    Socket(PathBuf),
    /// A macvtap of its own on a NIC of the host.
    Macvtap {
        /// The NIC.
        nic: String,
        /// What the kernel does between it, its siblings and the wire.
        mode: Mode,
        /// The kernel's vhost-net serves it.
        vhost: bool,
        /// The guest may change its address and which groups it receives.
        trust: bool,
    },
}

/// One NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetConfig {
    /// What the guest sees.
    pub model: NetModel,
    /// Where it is plugged in.
    pub source: NetSource,
    /// Its address; derived from the guest's name and the NIC's number when missing.
    pub mac: Option<[u8; 6]>,
    /// Queue pairs.
    pub queues: u16,
    /// MTU told to the guest; the back-end's own when missing.
    pub mtu: Option<u16>,
    /// How long the thread of an emulated NIC polls after the last frame before it sleeps.
    pub poll_idle: Duration,
    /// Its cable is plugged in.
    pub link: bool,
}

impl FromStr for NetConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut source = None;
        let mut of_source = SourceKeys::default();
        let mut model = NetModel::default();
        let (mut mac, mut queues, mut mtu, mut link) = (None, 1, None, true);
        let mut poll_idle = None;
        for (key, given) in pairs(text) {
            let new_source = match key {
                "network" => Some(NetSource::Network {
                    network: value(key, given)?.to_owned(),
                    trust: false,
                }),
                "socket" => Some(NetSource::Socket(value(key, given)?.into())),
                "macvtap" => Some(NetSource::Macvtap {
                    nic: value(key, given)?.to_owned(),
                    mode: Mode::Bridge,
                    vhost: false,
                    trust: false,
                }),
                "mode" | "vhost" | "trust" => {
                    of_source.read(key, value(key, given)?)?;
                    None
                }
                "mac" => {
                    mac = Some(parse_mac(value(key, given)?)?);
                    None
                }
                "queues" => {
                    queues = parse_number(key, value(key, given)?, 1, MAX_QUEUE_PAIRS)?;
                    None
                }
                "mtu" => {
                    mtu = Some(parse_number(key, value(key, given)?, 68, 65535)?);
                    None
                }
                "model" => {
                    model = parse_model(value(key, given)?)?;
                    None
                }
                "poll_idle_us" => {
                    let us = parse_number(key, value(key, given)?, 0, LONGEST_POLL_US)?;
                    poll_idle = Some(Duration::from_micros(us.into()));
                    None
                }
                "link" => {
                    link = parse_link(value(key, given)?)?;
                    None
                }
                other => {
                    return Err(format!(
                        "unknown key `{other}`: --net knows network, socket, macvtap, mode, vhost, trust, mac, queues, mtu, model, poll_idle_us and link"
                    ));
                }
            };
            if new_source.is_some() && source.is_some() {
                return Err("give one of network=NAME, socket=PATH and macvtap=NIC, once".into());
            }
            source = source.or(new_source);
        }
        let mut source = source.ok_or("where to? give network=NAME, socket=PATH or macvtap=NIC")?;
        of_source.apply(&mut source, model)?;
        if model != NetModel::Virtio && queues > 1 {
            return Err(
                "only model=virtio has more than one queue pair: leave out `queues=`".into(),
            );
        }
        if model == NetModel::Virtio && poll_idle.is_some() {
            return Err(
                "model=virtio has no thread that polls, its back-end has: leave out `poll_idle_us=`"
                    .into(),
            );
        }
        Ok(Self {
            model,
            source,
            mac,
            queues,
            mtu,
            poll_idle: poll_idle.unwrap_or(POLL_IDLE),
            link,
        })
    }
}

/// Keys that only some sources have: `trust` those that filter, the others `macvtap=`.
#[derive(Debug, Default)]
struct SourceKeys {
    mode: Option<Mode>,
    vhost: Option<bool>,
    trust: Option<bool>,
}

impl SourceKeys {
    fn read(&mut self, key: &str, text: &str) -> Result<(), String> {
        match key {
            "mode" => self.mode = Some(parse_mode(text)?),
            "vhost" => self.vhost = Some(parse_switch(key, text)?),
            _ => self.trust = Some(parse_switch(key, text)?),
        }
        Ok(())
    }

    fn apply(self, source: &mut NetSource, model: NetModel) -> Result<(), String> {
        self.check(source)?;
        let on = [("vhost", self.vhost), ("trust", self.trust)];
        if let Some((key, _)) = on.iter().find(|(_, is_on)| *is_on == Some(true))
            && model != NetModel::Virtio
        {
            return Err(format!("`{key}=on` is for model=virtio only: leave it out"));
        }
        match source {
            NetSource::Network { trust, .. } => *trust = self.trust.unwrap_or_default(),
            NetSource::Macvtap {
                mode, vhost, trust, ..
            } => {
                *mode = self.mode.unwrap_or(*mode);
                *vhost = self.vhost.unwrap_or_default();
                *trust = self.trust.unwrap_or_default();
            }
            NetSource::Socket(_) => {}
        }
        Ok(())
    }

    /// Refuses what the source does not have.
    fn check(&self, source: &NetSource) -> Result<(), String> {
        let foreign = match source {
            NetSource::Macvtap { .. } => None,
            _ if self.mode.is_some() => Some("`mode=` is of macvtap=NIC"),
            _ if self.vhost.is_some() => Some("`vhost=` is of macvtap=NIC"),
            NetSource::Socket(_) if self.trust.is_some() => {
                Some("`trust=` is of network=NAME and macvtap=NIC")
            }
            _ => None,
        };
        foreign.map_or(Ok(()), |what| Err(format!("{what}: leave it out")))
    }
}

fn parse_number(key: &str, text: &str, min: u16, max: u16) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("`{key}={text}`: give a number from {min} to {max}"))
}

fn parse_mode(mode: &str) -> Result<Mode, String> {
    match mode {
        "bridge" => Ok(Mode::Bridge),
        "private" => Ok(Mode::Private),
        "vepa" => Ok(Mode::Vepa),
        "passthru" | "passthrough" => Ok(Mode::Passthrough),
        _ => Err(format!(
            "unknown mode `{mode}`: use bridge, private, vepa or passthru"
        )),
    }
}

fn parse_model(name: &str) -> Result<NetModel, String> {
    let known = MODELS.iter().find(|(known, _)| *known == name);
    known.map(|(_, model)| *model).ok_or_else(|| {
        let names = MODELS.map(|(known, _)| known).join(", ");
        format!("unknown model `{name}`: use one of {names}")
    })
}

fn parse_switch(key: &str, text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{key}={text}`: use on or off")),
    }
}

fn parse_link(text: &str) -> Result<bool, String> {
    match text {
        "up" => Ok(true),
        "down" => Ok(false),
        _ => Err(format!("`link={text}`: use link=up or link=down")),
    }
}

fn parse_mac(text: &str) -> Result<[u8; 6], String> {
    let bad = || format!("`mac={text}`: write six hexadecimal bytes as in 52:54:00:12:34:56");
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts
            .next()
            .filter(|part| part.len() == 2)
            .ok_or_else(bad)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
    }
    if parts.next().is_some() {
        return Err(bad());
    }
    if mac[0] & 1 != 0 || mac == [0; 6] {
        return Err(format!(
            "`mac={text}` is a multicast or zero address: a NIC needs a unicast one"
        ));
    }
    Ok(mac)
}
