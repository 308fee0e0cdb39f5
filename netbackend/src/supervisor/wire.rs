//! The interface of the host that a port is on.
use super::absence::{Absent, awaited, is_absence, nic_of};
use crate::{
    config::{NetworkConfig, PortConfig, TransportConfig, UplinkConfig, UplinkDevice},
    tap::TapSpec,
    uplink::{
        self, BridgedTap, Filter, Identity, MacvtapMode, MacvtapSpec, Nic, PacketSpec, Uplink,
        Wanted,
    },
};
use anyhow::Context;
use control::{Mode, PortKind};
use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread,
};
use switch::{MacAddr, Role};

/// Most queues of a guest's own macvtap: more than the host has CPUs are of no use.
const MOST_QUEUES: u16 = 8;

/// The interface that a port is on.
#[derive(Debug)]
pub(super) struct Wire {
    spec: Spec,
    /// Whose names it has.
    runtime_dir: PathBuf,
    /// None: it is gone, or has not been there yet.
    open: Option<Uplink>,
    /// What it lets through, if somebody has chosen that since it was made.
    filter: Option<Filter>,
    /// Why it has not been there yet.
    absence: Option<anyhow::Error>,
    /// It is to be made with other settings, and with these no more; whether it was open.
    released: Option<bool>,
}

#[derive(Debug, PartialEq, Eq)]
enum Spec {
    Macvtap(Box<MacvtapSpec>),
    Packet(Box<PacketSpec>),
    Tap(Box<BridgedTap>),
}

impl Spec {
    /// What a port of this network is on; `None`: nothing.
    fn of(network: &NetworkConfig, config: &mut PortConfig, runtime_dir: &Path) -> Option<Self> {
        let identity = Identity::new(runtime_dir, &network.name, &config.name);
        let vlan_of = |vlan: Option<u16>| {
            vlan.map(|vlan| {
                // No port has a name with a dot.
                let part = format!("vlan.{vlan}");
                (vlan, Identity::new(runtime_dir, &network.name, &part))
            })
        };
        let spec = match (&config.transport, &network.attach) {
            (TransportConfig::Uplink(uplink), _) => {
                let UplinkConfig { netns, vlan, .. } = uplink;
                match &uplink.device {
                    UplinkDevice::Nic(nic) => Spec::Macvtap(Box::new(MacvtapSpec {
                        nic: Nic {
                            name: nic.clone(),
                            netns: netns.clone(),
                        },
                        vlan: vlan_of(*vlan),
                        mode: MacvtapMode::Passthru,
                        identity,
                        mac: None,
                        mtu: network.mtu,
                        queues: config.queue_pairs,
                    })),
                    UplinkDevice::Packet(nic) => Spec::Packet(Box::new(PacketSpec {
                        nic: Nic {
                            name: nic.clone(),
                            netns: netns.clone(),
                        },
                        mtu: network.mtu,
                        queues: config.queue_pairs,
                    })),
                    UplinkDevice::Tap { interface, bridge } => Spec::Tap(Box::new(BridgedTap {
                        tap: TapSpec {
                            interface: interface.clone(),
                            netns: netns.clone(),
                            queues: config.queue_pairs,
                            mtu: network.mtu,
                            mac: None,
                        },
                        bridge: bridge.clone(),
                    })),
                }
            }
            (_, Some(attach)) if config.role == Role::Guest => {
                let mac = *config.mac.get_or_insert_with(|| identity.mac());
                Spec::Macvtap(Box::new(MacvtapSpec {
                    nic: Nic {
                        name: attach.nic.clone(),
                        netns: attach.netns.clone(),
                    },
                    vlan: vlan_of(attach.vlan),
                    mode: macvtap_mode(network.mode),
                    identity,
                    mac: (network.mode != Mode::Passthrough).then_some(mac),
                    mtu: network.mtu,
                    queues: config.queue_pairs.min(queues_of_host()),
                }))
            }
            _ => return None,
        };
        Some(spec)
    }

    /// The interface that must be there.
    fn nic(&self) -> Option<Nic> {
        match self {
            Self::Macvtap(spec) => Some(spec.nic.clone()),
            Self::Packet(spec) => Some(spec.nic.clone()),
            Self::Tap(spec) => Some(Nic {
                name: spec.bridge.clone()?,
                netns: spec.tap.netns.clone(),
            }),
        }
    }
}

impl Wire {
    /// Opens what the port needs of the host's interfaces; `None`: nothing. A guest that has a macvtap of its own gets an
    /// address if it has none.
    pub(super) fn open(
        network: &NetworkConfig,
        config: &mut PortConfig,
        runtime_dir: &Path,
        absent: Absent,
        wanted: &Wanted,
    ) -> anyhow::Result<Option<Self>> {
        let Some(spec) = Spec::of(network, config, runtime_dir) else {
            return Ok(None);
        };
        let mut wire = Self {
            spec,
            runtime_dir: runtime_dir.to_owned(),
            open: None,
            filter: None,
            absence: None,
            released: None,
        };
        match wire.reopen(wanted) {
            Err(wrong) if absent == Absent::Awaited && is_absence(&wrong) => {
                wire.absence = Some(wrong);
            }
            done => done?,
        }
        config.mac = wire.host().or(config.mac);
        Ok(Some(wire))
    }

    /// Makes way for what it is with other settings of the network, which [`Self::adapt`] takes over: it is not made again with those of
    /// now. True: it is to be closed.
    pub(super) fn release(
        &mut self,
        network: &NetworkConfig,
        config: &mut PortConfig,
        runtime_dir: &Path,
    ) -> bool {
        if Spec::of(network, config, runtime_dir).as_ref() == Some(&self.spec) {
            return false;
        }
        *self.released.get_or_insert(self.open.is_some())
    }

    /// Other settings do not come: it is made again with those of now.
    pub(super) fn take_back(&mut self) {
        self.released = None;
    }

    /// Takes over other settings of the network: closes the interface if it is another one now. True: it is to be made.
    pub(super) fn adapt(
        wire: &mut Option<Self>,
        network: &NetworkConfig,
        config: &mut PortConfig,
        runtime_dir: &Path,
    ) -> bool {
        let Some(spec) = Spec::of(network, config, runtime_dir) else {
            *wire = None;
            return false;
        };
        // One that waits for its NIC goes on waiting.
        let is_due = wire.as_ref().is_none_or(|wire| {
            let is_other = wire.spec != spec || wire.is_released();
            let was_open = wire.released.unwrap_or(wire.is_open());
            is_other && (was_open || wire.spec.nic() != spec.nic())
        });
        match wire {
            Some(wire) if wire.spec == spec => wire.released = None,
            _ => {
                let same_nic = wire.take().filter(|wire| wire.spec.nic() == spec.nic());
                *wire = Some(Self {
                    spec,
                    runtime_dir: runtime_dir.to_owned(),
                    open: None,
                    filter: None,
                    absence: same_nic.and_then(|wire| wire.absence),
                    released: None,
                });
            }
        }
        is_due
    }

    /// Makes it (again); one that filters lets through what its guest wants.
    pub(super) fn reopen(&mut self, wanted: &Wanted) -> anyhow::Result<()> {
        let (open, filter) = match &self.spec {
            Spec::Macvtap(spec) => {
                uplink::claim(&self.runtime_dir)?;
                wanted.make_macvtap(spec)?
            }
            Spec::Packet(spec) => (Uplink::packet(spec)?, None),
            Spec::Tap(spec) => (Uplink::tap(spec)?, None),
        };
        (self.open, self.filter) = (Some(open), filter);
        self.absence = None;
        self.released = None;
        Ok(())
    }

    /// Lets through what its guest wants instead of what it wanted `before`. One that is not there does so when it is made.
    pub(super) fn set_filter(&mut self, before: &Wanted, wanted: &Wanted) -> io::Result<()> {
        let (Some(open), Spec::Macvtap(spec)) = (&self.open, &self.spec) else {
            return Ok(());
        };
        wanted.replace(before, open, spec.mac, &mut self.filter)
    }

    /// The host's own address, where it shares its NIC with guests: a fixed one of the uplink, so that they neither get its frames nor
    /// pretend to be it.
    pub(super) fn host(&self) -> Option<MacAddr> {
        self.open.as_ref().and_then(Uplink::host)
    }

    /// The NIC has this address now; true: guests share it, and the host's address there was another one.
    pub(super) fn follow_host(&mut self, nic: &Nic, index: u32, mac: MacAddr) -> bool {
        self.is_on(nic, index) && self.open.as_mut().is_some_and(|open| open.follow_host(mac))
    }

    /// Why it has not been there yet.
    pub(super) fn absence(&self) -> Option<&anyhow::Error> {
        self.absence.as_ref()
    }

    /// Its NIC, which has this MTU now, carries larger frames than before: so does what was made on it, up to what it was made for.
    pub(super) fn raise_mtu(&self, mtu_of_nic: u32) -> anyhow::Result<()> {
        let mtu = match &self.spec {
            Spec::Macvtap(spec) => u32::from(spec.mtu),
            // Nothing of ours is on top of their interfaces.
            Spec::Packet(_) | Spec::Tap(_) => return Ok(()),
        };
        let open = self.open.as_ref();
        Ok(open.map_or(Ok(()), |open| open.raise_mtu(mtu, mtu_of_nic))?)
    }

    /// Whether it is there.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether it is to be made with other settings, which come.
    pub(super) fn is_released(&self) -> bool {
        self.released.is_some()
    }

    /// Removes what was made.
    pub(super) fn close(&mut self) {
        self.filter = None;
        self.open = None;
    }

    pub(super) fn queue_count(&self) -> u16 {
        match &self.spec {
            Spec::Macvtap(spec) => spec.queues,
            Spec::Packet(spec) => spec.queues,
            Spec::Tap(spec) => spec.tap.queues,
        }
    }

    /// Copies of its queues, for a worker.
    pub(super) fn queues(&self) -> io::Result<Vec<OwnedFd>> {
        let Some(open) = &self.open else {
            let nic = self.nic();
            let name = nic.as_ref().map_or("it needs", |nic| nic.name.as_str());
            let absence = self.absence.as_ref().map(awaited);
            let released = self.released.map(|_| RELEASED.to_owned());
            let why = absence.or(released).unwrap_or_else(|| gone(name));
            return Err(io::Error::other(why));
        };
        open.queues().iter().map(OwnedFd::try_clone).collect()
    }

    /// The interface that must be there.
    pub(super) fn nic(&self) -> Option<Nic> {
        self.spec.nic()
    }

    /// Whether it is on that very interface.
    pub(super) fn is_on(&self, nic: &Nic, index: u32) -> bool {
        let needs = self.open.as_ref().and_then(Uplink::needs);
        needs.is_some_and(|(needed, at)| needed == nic && at == index)
    }
}

/// What a port says whose interface was closed for other settings.
pub(super) const RELEASED: &str = "its interface goes to another network in a reload; the port works again with its next settings (try `netbackend reload` if they do not come)";

/// What a port on an interface that is not there says.
pub(super) fn gone(nic: &str) -> String {
    format!("interface {nic} is gone; the port works again when it is back and up")
}

fn macvtap_mode(mode: Mode) -> MacvtapMode {
    match mode {
        Mode::Private => MacvtapMode::Private,
        Mode::Vepa => MacvtapMode::Vepa,
        Mode::Passthrough => MacvtapMode::Passthru,
        Mode::Bridge | Mode::Nat => MacvtapMode::Bridge,
    }
}

fn queues_of_host() -> u16 {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(cpus).unwrap_or(MOST_QUEUES).min(MOST_QUEUES)
}

/// What a port on this uplink is made of, for status output.
pub(super) fn kind(uplink: &UplinkConfig) -> PortKind {
    let netns = uplink.netns.clone();
    match &uplink.device {
        UplinkDevice::Nic(nic) => PortKind::Nic {
            nic: nic.clone(),
            netns,
            vlan: uplink.vlan,
        },
        UplinkDevice::Packet(nic) => PortKind::Packet {
            nic: nic.clone(),
            netns,
        },
        UplinkDevice::Tap { interface, .. } => PortKind::Tap {
            interface: interface.clone(),
            netns,
        },
    }
}

/// Takes over the MTU of the network's NIC, unless the configuration has one.
pub(super) fn take_mtu_of_nic(network: &mut NetworkConfig) -> anyhow::Result<()> {
    if !network.mtu_of_nic {
        return Ok(());
    }
    let Some(nic) = nic_of(network) else {
        return Ok(());
    };
    let mtu = uplink::mtu_of(&nic);
    let mtu = mtu.with_context(|| format!("open the uplink of network {}", network.name))?;
    network.mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    Ok(())
}

#[cfg(test)]
#[path = "wire_test.rs"]
mod tests;
