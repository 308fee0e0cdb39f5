//! Interfaces of the host that ports are on: opened with the port, closed when they go, opened again when they are back.
use super::{
    network::{NetworkTask, borrowed},
    port::Port,
    requests::Waiting,
};
use crate::{
    config::{NetworkConfig, PortConfig, TransportConfig, UplinkConfig, UplinkDevice},
    protocol::ToWorker,
    tap::TapSpec,
    uplink::{
        self, BridgedTap, Identity, MacvtapMode, MacvtapSpec, Monitor, Nic, PacketSpec, Sight,
        Uplink,
    },
};
use anyhow::Context;
use control::{Mode, PortKind};
use std::{
    collections::{HashMap, HashSet},
    future, io,
    os::fd::OwnedFd,
    path::Path,
    thread,
};
use switch::{MacAddr, Role};
use tokio::{sync::mpsc, task::JoinHandle};
use tracing::{info, warn};

/// Most queues of a guest's own macvtap: more than the host has CPUs are of no use.
const MOST_QUEUES: u16 = 8;

/// The interface that a port is on.
#[derive(Debug)]
pub(super) struct Wire {
    spec: Spec,
    /// None: it is gone.
    open: Option<Uplink>,
}

#[derive(Debug)]
enum Spec {
    Macvtap(Box<MacvtapSpec>),
    Packet(Box<PacketSpec>),
    Tap(Box<BridgedTap>),
}

impl Wire {
    /// Opens what the port needs of the host's interfaces; `None`: nothing. A guest that has a macvtap of its own gets an
    /// address if it has none.
    pub(super) fn open(
        network: &NetworkConfig,
        config: &mut PortConfig,
        runtime_dir: &Path,
    ) -> anyhow::Result<Option<Self>> {
        let identity = Identity::new(runtime_dir, &network.name, &config.name);
        let vlan_of = |vlan: Option<u16>| {
            vlan.map(|vlan| {
                (
                    vlan,
                    Identity::new(runtime_dir, &network.name, &format!("vlan{vlan}")),
                )
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
            _ => return Ok(None),
        };
        let mut wire = Self { spec, open: None };
        wire.reopen()?;
        config.mac = wire.host().or(config.mac);
        Ok(Some(wire))
    }

    /// Makes it (again).
    pub(super) fn reopen(&mut self) -> anyhow::Result<()> {
        self.open = Some(match &self.spec {
            Spec::Macvtap(spec) => Uplink::macvtap(spec)?,
            Spec::Packet(spec) => Uplink::packet(spec)?,
            Spec::Tap(spec) => Uplink::tap(spec)?,
        });
        Ok(())
    }

    /// The host's own address, where it shares its NIC with guests: a fixed one of the uplink, so that they neither get its frames nor
    /// pretend to be it.
    fn host(&self) -> Option<MacAddr> {
        self.open.as_ref().and_then(Uplink::host)
    }

    /// Removes what was made.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    pub(super) fn set_mtu(&mut self, mtu: u16) {
        match &mut self.spec {
            Spec::Macvtap(spec) => spec.mtu = mtu,
            Spec::Packet(spec) => spec.mtu = mtu,
            Spec::Tap(spec) => spec.tap.mtu = mtu,
        }
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
            return Err(io::Error::other(gone(name)));
        };
        open.queues().iter().map(OwnedFd::try_clone).collect()
    }

    /// The interface that must be there.
    fn nic(&self) -> Option<Nic> {
        match &self.spec {
            Spec::Macvtap(spec) => Some(spec.nic.clone()),
            Spec::Packet(spec) => Some(spec.nic.clone()),
            Spec::Tap(spec) => Some(Nic {
                name: spec.bridge.clone()?,
                netns: spec.tap.netns.clone(),
            }),
        }
    }

    /// Whether it is on that very interface.
    fn is_on(&self, nic: &Nic, index: u32) -> bool {
        let needs = self.open.as_ref().and_then(Uplink::needs);
        needs.is_some_and(|(needed, at)| needed == nic && at == index)
    }
}

fn gone(nic: &str) -> String {
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
    let Some((nic, netns)) = network.nic() else {
        return Ok(());
    };
    let nic = Nic {
        name: nic.to_owned(),
        netns: netns.map(str::to_owned),
    };
    let mtu = uplink::mtu_of(&nic);
    let mtu = mtu.with_context(|| format!("open the uplink of network {}", network.name))?;
    network.mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    Ok(())
}

/// Follows all NICs of a network.
#[derive(Debug)]
pub(super) struct NicWatch {
    tasks: HashMap<Nic, JoinHandle<()>>,
    sender: mpsc::Sender<(Nic, Sight)>,
    sights: mpsc::Receiver<(Nic, Sight)>,
    /// Those that are there.
    present: HashSet<Nic>,
    /// As seen last; until then the best is hoped for.
    carries: bool,
}

impl Default for NicWatch {
    fn default() -> Self {
        let (sender, sights) = mpsc::channel(1);
        Self {
            tasks: HashMap::new(),
            sender,
            sights,
            present: HashSet::new(),
            carries: true,
        }
    }
}

impl Drop for NicWatch {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

impl NicWatch {
    /// Follows these, and no others.
    fn follow(&mut self, nics: Vec<Nic>) {
        self.tasks.retain(|nic, task| {
            let stays = nics.contains(nic);
            if !stays {
                task.abort();
            }
            stays
        });
        for nic in nics {
            let sender = self.sender.clone();
            self.tasks.entry(nic.clone()).or_insert_with(|| {
                let mut monitor = Monitor::new(nic.clone());
                tokio::spawn(async move {
                    loop {
                        let sight = monitor.next().await;
                        if sender.send((nic.clone(), sight)).await.is_err() {
                            return;
                        }
                    }
                })
            });
        }
    }

    /// What is to be seen of one of them. May be cancelled.
    pub(super) async fn next(&mut self) -> (Nic, Sight) {
        match self.sights.recv().await {
            Some(sight) => sight,
            // It holds a sender itself.
            None => future::pending().await,
        }
    }
}

impl Port {
    /// Whether it waits for an interface.
    pub(super) fn is_unwired(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| wire.open.is_none())
    }
}

impl NetworkTask {
    /// Follows the NICs of the ports that there are.
    pub(super) fn watch_nics(&mut self) {
        let wires = self
            .ports
            .values()
            .filter_map(|entry| entry.port.wire.as_ref());
        let mut nics: Vec<Nic> = wires.filter_map(Wire::nic).collect();
        nics.sort();
        nics.dedup();
        self.nics.follow(nics);
    }

    pub(super) fn nic_changed(&mut self, nic: &Nic, sight: Sight) {
        let index = match sight {
            Sight::Present { index, .. } => Some(index),
            Sight::Gone => None,
        };
        match index {
            Some(_) => self.nics.present.insert(nic.clone()),
            None => self.nics.present.remove(nic),
        };
        let is_lost = |wire: &Wire| {
            wire.open.is_some()
                && wire.nic().as_ref() == Some(nic)
                && !index.is_some_and(|index| wire.is_on(nic, index))
        };
        let lost = self.ports.iter().filter(|(_, entry)| {
            let wire = entry.port.wire.as_ref();
            wire.is_some_and(is_lost)
        });
        let lost: Vec<String> = lost.map(|(name, _)| name.clone()).collect();
        for port in lost {
            self.unwire(&port, gone(&nic.name));
        }
        self.rewire();
        let carries = matches!(sight, Sight::Present { carries: true, .. });
        self.nics.carries = carries;
        let network = &self.config.name;
        info!(
            network,
            nic = nic.name,
            carries,
            "interface of the host changed"
        );
        if self.link().is_some() {
            for entry in self.ports.values() {
                entry.port.set_carrier(carries);
            }
            // One that is not told now starts anew, and is told then. The answer is of no interest.
            self.post(ToWorker::SetLink(carries), &[]);
        }
        self.publish_ports();
    }

    /// What the links of guests follow; `None`: nothing. The guests of a bridge reach each other without a NIC, unless the kernel
    /// is that bridge: macvtaps have their NIC's carrier.
    pub(super) fn link(&self) -> Option<bool> {
        let has_nic = self.config.nic().is_some();
        let is_bridge = self.config.mode == Mode::Bridge && self.config.attach.is_none();
        (has_nic && !is_bridge).then_some(self.nics.carries)
    }

    /// Takes a port from the worker: what it is on is gone.
    fn unwire(&mut self, name: &str, why: String) {
        let Some(entry) = self.ports.get_mut(name) else {
            return;
        };
        warn!(network = self.config.name, port = name, "{why}");
        if let Some(wire) = &mut entry.port.wire {
            wire.close();
        }
        entry.port.fault = Some(why);
        if !std::mem::take(&mut entry.is_given) {
            return;
        }
        if let Some(id) = self.post(ToWorker::RemovePort(name.to_owned()), &[]) {
            self.removing.insert(name.to_owned());
            let port = name.to_owned();
            let waiting = Waiting::RemovePort { port, reply: None };
            self.requests.insert(id, waiting);
        }
    }

    /// Gives the worker the ports whose interfaces are back.
    pub(super) fn rewire(&mut self) {
        let is_present = |port: &Port| {
            let nic = port.wire.as_ref().and_then(Wire::nic);
            nic.is_some_and(|nic| self.nics.present.contains(&nic))
        };
        let waiting = self.ports.iter().filter(|(name, entry)| {
            let port = &entry.port;
            port.is_unwired() && is_present(port) && !self.removing.contains(*name)
        });
        let waiting: Vec<String> = waiting.map(|(name, _)| name.clone()).collect();
        for name in waiting {
            if let Err(why) = self.rewire_port(&name)
                && let Some(entry) = self.ports.get_mut(&name)
            {
                entry.port.fault = Some(why);
            }
        }
        self.publish_ports();
    }

    fn rewire_port(&mut self, name: &str) -> Result<(), String> {
        let link = self.link();
        let Some(entry) = self.ports.get_mut(name) else {
            return Ok(());
        };
        let port = &mut entry.port;
        let reopened = port.wire.as_mut().map_or(Ok(()), Wire::reopen);
        reopened.map_err(|error| format!("{error:#}"))?;
        // A NIC that is back may be another of the same name.
        let host = port.wire.as_ref().and_then(Wire::host);
        port.config.mac = host.or(port.config.mac);
        let message = ToWorker::AddPort(port.settings(link));
        let fds = port.hand_over().map_err(|error| {
            // The next look tries again.
            port.wire.iter_mut().for_each(Wire::close);
            error.to_string()
        })?;
        port.fault = None;
        info!(
            network = self.config.name,
            port = name,
            "its interface is back"
        );
        let posted = self.post(message, &borrowed(&fds));
        if let (Some(id), Some(entry)) = (posted, self.ports.get_mut(name)) {
            entry.is_given = true;
            let port = name.to_owned();
            self.requests.insert(id, Waiting::Rewire { port });
        }
        Ok(())
    }

    /// The worker has not taken it back.
    pub(super) fn unfit(&mut self, name: &str, why: String) {
        warn!(
            network = self.config.name,
            port = name,
            why,
            "port does not work"
        );
        if let Some(entry) = self.ports.get_mut(name) {
            entry.is_given = false;
            entry.port.fault = Some(why);
        }
        self.publish_ports();
    }
}
