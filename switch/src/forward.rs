//! The one forwarding function; modes are policies of it.
use std::time::Duration;

use crate::egress::Scope;
use crate::fdb::{EntryKind, Fdb, Learning};
use crate::guard::Guard;
use crate::header::Header;
use crate::known;
use crate::mac::Key;
use crate::ports::Ports;
use crate::repeat::Repeat;
use crate::vlan::Membership;
use crate::{
    Counters, DropReason, Egress, FdbEntry, Flood, MacAddr, Mode, PortConfig, PortError, PortId,
    PortPolicy, PortVlans, Retag, Role, SwitchConfig, TokenBucket,
};

type Decision = Result<Egress, DropReason>;

/// What a frame's source address means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Behind the ingress port.
    Settled,
    /// Moved or counted; looked at again with the next frame.
    Noted,
    /// Fixed or static on another port.
    PinnedElsewhere,
}

/// Forwarding state of one network.
#[derive(Debug)]
pub struct Switch {
    mode: Mode,
    ports: Ports,
    fdb: Fdb,
    counters: Counters,
    /// Bursts are mostly of one flow: what was just decided need not be decided again.
    repeat: Option<Repeat>,
}

impl Switch {
    /// An empty switch.
    pub fn new(config: SwitchConfig) -> Self {
        let SwitchConfig {
            mode,
            ageing,
            fdb_capacity_per_port,
        } = config;
        Self {
            mode,
            ports: Ports::default(),
            fdb: Fdb::new(ageing, fdb_capacity_per_port),
            counters: Counters::default(),
            repeat: None,
        }
    }

    /// A switch without ports that has its addresses in common with this one, for another thread. What is fixed or learned is
    /// seen by both; each must be told of every port, and of every port's removal.
    #[must_use]
    pub fn share(&self) -> Self {
        Self {
            mode: self.mode,
            ports: Ports::default(),
            fdb: self.fdb.share(),
            counters: Counters::default(),
            repeat: None,
        }
    }

    /// Adds a port.
    pub fn add_port(&mut self, id: PortId, config: PortConfig) -> Result<(), PortError> {
        self.ports.admits(self.mode, id, config)?;
        if let Some(mac) = config.mac {
            self.check_address(mac, id)?;
        }
        self.ports.insert(id, config);
        self.fdb.add_port(id);
        self.repeat = None;
        if let Some(mac) = config.mac {
            self.fdb.pin(Key::new(mac), id, EntryKind::Fixed);
        }
        Ok(())
    }

    /// Replaces what a port may do; a new port may do everything. `now` as in [`forward`](Self::forward).
    ///
    /// # Errors
    /// There is no such port, or it has no fixed address that anti-spoofing could go by.
    pub fn set_policy(
        &mut self,
        now: Duration,
        id: PortId,
        policy: &PortPolicy,
    ) -> Result<(), PortError> {
        self.repeat = None;
        let port = self.ports.get_mut(id).ok_or(PortError::NoSuchPort(id))?;
        port.guard = match (policy.anti_spoofing, port.fixed) {
            (false, _) => None,
            (true, Some(fixed)) => Some(Guard::new(fixed.mac(), &policy.addresses)),
            (true, None) => return Err(PortError::NoFixedAddress(id)),
        };
        port.isolated = policy.isolated;
        port.storm = policy.storm_limit.map(|rate| TokenBucket::new(rate, now));
        self.ports.set_vlans(id, policy.vlans.clone());
        Ok(())
    }

    /// Replaces the fixed address of the uplink: that of the host, where it goes on using the NIC.
    ///
    /// # Errors
    /// The port is not the uplink, or the address is another port's.
    pub fn set_uplink_address(&mut self, id: PortId, mac: MacAddr) -> Result<(), PortError> {
        if self.ports.uplink() != Some(id) {
            return Err(PortError::NoSuchPort(id));
        }
        self.check_address(mac, id)?;
        self.repeat = None;
        self.fdb.refix(Key::new(mac), id);
        Ok(())
    }

    /// Joins two ports like the ends of a cable: whatever comes in by one leaves by the other, in every mode.
    ///
    /// # Errors
    /// One of them does not exist.
    pub fn join(&mut self, one: PortId, other: PortId) -> Result<(), PortError> {
        self.repeat = None;
        for (end, far) in [(one, other), (other, one)] {
            let port = self.ports.get_mut(end).ok_or(PortError::NoSuchPort(end))?;
            port.peer = Some(far);
        }
        Ok(())
    }

    /// Removes a port and all that is behind it; nothing, if it does not exist.
    pub fn remove_port(&mut self, id: PortId) {
        self.repeat = None;
        self.ports.remove(id);
        self.fdb.flush(id);
    }

    /// Binds an address to a port: it neither ages nor moves, and it takes no room of the port's
    /// learned ones.
    pub fn add_static(&mut self, mac: MacAddr, id: PortId) -> Result<(), PortError> {
        self.repeat = None;
        let port = self.ports.get(id).ok_or(PortError::NoSuchPort(id))?;
        self.check_address(mac, id)?;
        if port.fixed != Some(Key::new(mac)) {
            self.fdb.pin(Key::new(mac), id, EntryKind::Static);
        }
        Ok(())
    }

    /// Where the frame with this start (at least 14 bytes, else runt) goes. Anti-spoofing looks behind the Ethernet header: give
    /// it all you have of the first 244 bytes.
    ///
    /// `now` is the time since any fixed start; it should not go backwards.
    #[inline]
    pub fn forward(&mut self, now: Duration, ingress: PortId, header: &[u8]) -> Egress {
        if let Some(repeat) = &self.repeat
            && let Some(egress) = repeat.egress(now, ingress, header)
        {
            return egress;
        }
        if let Some(owner) = self.known(now, ingress, header) {
            let egress = Egress::Port(owner);
            self.repeat = Repeat::new(now, ingress, header, egress);
            return egress;
        }
        self.repeat = None;
        self.decide(now, ingress, header).unwrap_or_else(|reason| {
            self.counters.count_drop(reason);
            Egress::Drop(reason)
        })
    }

    /// The short way for known unicast in a plain bridge.
    #[inline]
    pub(crate) fn known(
        &mut self,
        now: Duration,
        ingress: PortId,
        header: &[u8],
    ) -> Option<PortId> {
        known::egress(self.mode, &self.ports, &mut self.fdb, now, ingress, header)
    }

    /// Ports of a flood, ingress excluded, each once, ascending.
    #[inline]
    pub fn targets(&self, flood: Flood) -> impl Iterator<Item = PortId> + '_ {
        self.ports.members(flood)
    }

    /// Whether ports have VLANs, so that frames may need another tag where they leave.
    #[inline]
    pub fn heeds_vlans(&self) -> bool {
        self.ports.heeds_vlans()
    }

    /// The VLANs that a port was told; `None`: none, or there is no such port.
    pub fn vlans(&self, id: PortId) -> Option<&PortVlans> {
        match &self.ports.get(id)?.membership {
            Membership::Told(vlans) => Some(vlans),
            Membership::Default(_) => None,
        }
    }

    /// What a frame with this start needs done to its tag, that came in by one port and was forwarded to the other.
    pub fn retag(&self, ingress: PortId, egress: PortId, frame: &[u8]) -> Retag {
        let (Some(from), Some(to)) = (self.ports.get(ingress), self.ports.get(egress)) else {
            return Retag::Keep;
        };
        match from.membership.classify(frame) {
            Ok(vlan) if self.heeds_vlans() => to.membership.retag(vlan, frame),
            _ => Retag::Keep,
        }
    }

    /// The table, in no order, for status output.
    pub fn fdb(&self, now: Duration) -> impl Iterator<Item = FdbEntry> + '_ {
        self.fdb.entries(now)
    }

    /// Counters since the switch was made.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn check_address(&self, mac: MacAddr, id: PortId) -> Result<(), PortError> {
        if !mac.is_station() {
            return Err(PortError::NotAStation(mac));
        }
        match self.fdb.pinned(Key::new(mac)) {
            Some(owner) if owner != id => Err(PortError::AddressInUse { mac, owner }),
            _ => Ok(()),
        }
    }

    #[inline]
    fn decide(&mut self, now: Duration, ingress: PortId, header: &[u8]) -> Decision {
        let start = header;
        let mut header = Header::parse(start).ok_or(DropReason::Runt)?;
        let heeds_vlans = self.ports.heeds_vlans();
        let port = self
            .ports
            .get_mut(ingress)
            .ok_or(DropReason::UnknownIngress)?;
        let role = port.role;
        if !header.src.is_station() {
            return Err(DropReason::BadSource);
        }
        if header.is_pause() {
            return Err(DropReason::Pause);
        }
        if port
            .guard
            .as_ref()
            .is_some_and(|guard| !guard.admits(start))
        {
            return Err(DropReason::Spoofed);
        }
        // Those look behind the Ethernet header.
        let looks_deeper = heeds_vlans || port.guard.is_some();
        if heeds_vlans {
            header.set_vlan(port.membership.classify(start)?);
        }
        if header.dst.is_multicast() {
            port.admit_flood(now)?;
        }
        let peer = port.peer;
        self.fdb.sweep(now);
        let (egress, is_settled) = match peer {
            // Each flood is to be admitted by itself.
            Some(peer) => (self.to_peer(peer)?, !header.dst.is_multicast()),
            None => self.by_mode(now, ingress, role, header)?,
        };
        if is_settled && !looks_deeper {
            self.repeat = Repeat::new(now, ingress, start, egress);
        }
        match egress {
            Egress::Port(id) if !self.ports.carries(id, header.vlan()) => Err(DropReason::Vlan),
            egress => Ok(egress),
        }
    }

    /// Also tells whether the same frame again would change nothing.
    #[inline]
    fn by_mode(
        &mut self,
        now: Duration,
        ingress: PortId,
        role: Role,
        header: Header,
    ) -> Result<(Egress, bool), DropReason> {
        let egress = match (self.mode, role) {
            (Mode::Bridge, _) => return self.bridge(now, ingress, header),
            (Mode::Passthrough, Role::Guest) => self.to_uplink(),
            (Mode::Passthrough, Role::Uplink) => self
                .ports
                .only_guest()
                .map(Egress::Port)
                .ok_or(DropReason::NoReceiver),
            (Mode::Private | Mode::Vepa, Role::Guest) => {
                self.note_source(now, ingress, header.src);
                self.to_uplink()
            }
            (Mode::Private, Role::Uplink) => self.private_from_uplink(now, ingress, header),
            (Mode::Vepa, Role::Uplink) => self.vepa_from_uplink(now, ingress, header),
        };
        Ok((egress?, false))
    }

    fn bridge(
        &mut self,
        now: Duration,
        ingress: PortId,
        header: Header,
    ) -> Result<(Egress, bool), DropReason> {
        if header.is_filtered_by_bridges() {
            return Err(DropReason::ReservedGroup);
        }
        let source = self.note_source(now, ingress, header.src);
        let reflected = source == Source::PinnedElsewhere && self.ports.uplink() == Some(ingress);
        let scope = if header.dst.is_multicast() {
            Scope::Every
        } else if let Some(owner) = self.owner(now, ingress, header.dst) {
            let egress = self.bridged_unicast(owner, ingress)?;
            return Ok((egress, source == Source::Settled));
        } else {
            if let Some(port) = self.ports.get_mut(ingress) {
                port.admit_flood(now)?;
            }
            Scope::Unfixed
        };
        if reflected {
            return Err(DropReason::Reflected);
        }
        Ok((self.flood(scope, header.vlan(), [ingress; 2])?, false))
    }

    #[inline]
    fn bridged_unicast(&self, owner: PortId, ingress: PortId) -> Decision {
        if self.ports.is_isolated(ingress) && self.ports.is_isolated(owner) && owner != ingress {
            return Err(DropReason::Isolated);
        }
        unicast(owner, ingress)
    }

    fn private_from_uplink(&mut self, now: Duration, ingress: PortId, header: Header) -> Decision {
        let sender = self.local_sender(now, ingress, header.src);
        match (sender, header.dst.is_multicast()) {
            (None, true) => self.flood(Scope::Every, header.vlan(), [ingress; 2]),
            (Some(sender), true) => Ok(Egress::Port(sender)),
            (sender, false) => {
                let egress = self.find_owner(now, ingress, header.dst)?;
                match sender {
                    Some(sender) if egress != Egress::Port(sender) => Err(DropReason::Isolated),
                    _ => Ok(egress),
                }
            }
        }
    }

    fn vepa_from_uplink(&mut self, now: Duration, ingress: PortId, header: Header) -> Decision {
        if header.dst.is_multicast() {
            let sender = self.local_sender(now, ingress, header.src);
            return self.flood(
                Scope::Every,
                header.vlan(),
                [ingress, sender.unwrap_or(ingress)],
            );
        }
        self.find_owner(now, ingress, header.dst)
    }

    /// Also when the far end is gone, a cable leads nowhere else.
    fn to_peer(&self, peer: PortId) -> Decision {
        match self.ports.get(peer) {
            Some(_) => Ok(Egress::Port(peer)),
            None => Err(DropReason::NoReceiver),
        }
    }

    fn to_uplink(&self) -> Decision {
        self.ports
            .uplink()
            .map(Egress::Port)
            .ok_or(DropReason::NoUplink)
    }

    /// Private and VEPA flood no unknown unicast: guests own what is configured, or what they have
    /// sent from.
    fn find_owner(&mut self, now: Duration, ingress: PortId, dst: Key) -> Decision {
        let owner = self
            .owner(now, ingress, dst)
            .ok_or(DropReason::UnknownDestination)?;
        unicast(owner, ingress)
    }

    #[inline]
    fn owner(&mut self, now: Duration, ingress: PortId, dst: Key) -> Option<PortId> {
        let hint = &mut self.ports.get_mut(ingress)?.last_dst;
        self.fdb.lookup(dst, now, hint)
    }

    /// The guest that sent a frame which the uplink reflected; `None`: it comes from outside.
    fn local_sender(&mut self, now: Duration, ingress: PortId, src: Key) -> Option<PortId> {
        let hint = &mut self.ports.get_mut(ingress)?.last_src;
        self.fdb
            .lookup(src, now, hint)
            .filter(|owner| *owner != ingress)
    }

    /// Learns, unless the port's address is fixed.
    #[inline]
    fn note_source(&mut self, now: Duration, ingress: PortId, src: Key) -> Source {
        let Some(port) = self.ports.get_mut(ingress) else {
            return Source::Noted;
        };
        if port.fixed == Some(src.plain()) {
            return Source::Settled;
        }
        if port.fixed.is_some() {
            self.counters.source_not_fixed += 1;
            return Source::Noted;
        }
        match self.fdb.learn(src, ingress, now, &mut port.last_src) {
            Learning::Known => return Source::Settled,
            Learning::Moved => self.counters.fdb_moves += 1,
            Learning::Full => self.counters.fdb_full += 1,
            Learning::Pinned => {
                self.counters.source_pinned_elsewhere += 1;
                return Source::PinnedElsewhere;
            }
        }
        Source::Noted
    }

    /// A flood with fewer than two members is a unicast or a drop.
    #[inline]
    fn flood(&self, scope: Scope, vlan: u16, except: [PortId; 2]) -> Decision {
        let [ingress, _] = except;
        let flood = Flood {
            scope,
            except,
            from_isolated: self.ports.is_isolated(ingress),
            vlan,
        };
        let mut members = self.ports.members(flood);
        match (members.next(), members.next()) {
            (Some(_), Some(_)) => Ok(Egress::Flood(flood)),
            (Some(only), None) => Ok(Egress::Port(only)),
            (None, _) if scope == Scope::Every => Err(DropReason::NoReceiver),
            (None, _) => Err(DropReason::UnknownDestination),
        }
    }
}

#[inline]
fn unicast(owner: PortId, ingress: PortId) -> Decision {
    if owner == ingress {
        Err(DropReason::SamePort)
    } else {
        Ok(Egress::Port(owner))
    }
}

#[cfg(test)]
#[path = "invariants_test.rs"]
mod invariants;
#[cfg(test)]
#[path = "join_test.rs"]
mod join;
#[cfg(test)]
#[path = "policy_test.rs"]
mod policy;
#[cfg(test)]
#[path = "repeat_test.rs"]
mod repeat_tests;
#[cfg(test)]
#[path = "table_test.rs"]
mod table;
#[cfg(test)]
#[path = "forward_test.rs"]
mod tests;
