//! The ports of a switch and the lists that floods walk.
use std::time::Duration;

use crate::egress::Scope;
use crate::fdb::Hint;
use crate::guard::Guard;
use crate::mac::Key;
use crate::vlan::Membership;
use crate::{DropReason, Flood, Mode, PortConfig, PortError, PortId, PortVlans, Role, TokenBucket};

/// A port and what it remembers of its last frame.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) role: Role,
    pub(crate) fixed: Option<Key>,
    pub(crate) last_src: Hint,
    pub(crate) last_dst: Hint,
    pub(crate) guard: Option<Guard>,
    pub(crate) isolated: bool,
    pub(crate) storm: Option<TokenBucket>,
    pub(crate) membership: Membership,
    /// All its frames go to that port.
    pub(crate) peer: Option<PortId>,
}

impl Port {
    /// Takes room for one more frame to many receivers.
    #[inline]
    pub(crate) fn admit_flood(&mut self, now: Duration) -> Result<(), DropReason> {
        let admitted = self.storm.as_mut().is_none_or(|bucket| bucket.take(now, 1));
        if admitted {
            Ok(())
        } else {
            Err(DropReason::Storm)
        }
    }

    /// Whether unknown unicast may be for it.
    fn is_unfixed(&self) -> bool {
        self.fixed.is_none()
    }
}

/// All ports, by id and as dense lists.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    slots: Vec<Option<Port>>,
    every: Vec<PortId>,
    unfixed: Vec<PortId>,
    uplink: Option<PortId>,
    /// Some port was told its VLANs.
    heeds_vlans: bool,
}

impl Ports {
    /// Whether the mode takes such a port now.
    pub(crate) fn admits(
        &self,
        mode: Mode,
        id: PortId,
        config: PortConfig,
    ) -> Result<(), PortError> {
        if self.get(id).is_some() {
            return Err(PortError::InUse(id));
        }
        match (config.role, self.uplink) {
            (Role::Uplink, Some(uplink)) => Err(PortError::SecondUplink(uplink)),
            (Role::Guest, _) if mode == Mode::Passthrough => self
                .only_guest()
                .map_or(Ok(()), |guest| Err(PortError::SecondGuest(guest))),
            _ => Ok(()),
        }
    }

    pub(crate) fn insert(&mut self, id: PortId, config: PortConfig) {
        let index = usize::from(id.0);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        let port = Port {
            role: config.role,
            fixed: config
                .mac
                .filter(|_| config.role == Role::Guest)
                .map(Key::new),
            last_src: Hint::default(),
            last_dst: Hint::default(),
            guard: None,
            isolated: false,
            storm: None,
            membership: Membership::Default(config.role),
            peer: None,
        };
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(port);
        }
        self.rebuild_lists();
    }

    pub(crate) fn remove(&mut self, id: PortId) {
        if let Some(slot) = self.slots.get_mut(usize::from(id.0)) {
            *slot = None;
            self.rebuild_lists();
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: PortId) -> Option<&Port> {
        self.slots.get(usize::from(id.0))?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: PortId) -> Option<&mut Port> {
        self.slots.get_mut(usize::from(id.0))?.as_mut()
    }

    #[inline]
    pub(crate) fn uplink(&self) -> Option<PortId> {
        self.uplink
    }

    /// The guest of a passthrough network.
    pub(crate) fn only_guest(&self) -> Option<PortId> {
        self.every
            .iter()
            .copied()
            .find(|id| Some(*id) != self.uplink)
    }

    /// Replaces the VLANs of a port.
    pub(crate) fn set_vlans(&mut self, id: PortId, vlans: Option<PortVlans>) {
        if let Some(port) = self.get_mut(id) {
            port.membership = vlans.map_or(Membership::Default(port.role), Membership::Told);
            self.rebuild_lists();
        }
    }

    #[inline]
    pub(crate) fn heeds_vlans(&self) -> bool {
        self.heeds_vlans
    }

    /// Whether frames of the VLAN leave by the port.
    #[inline]
    pub(crate) fn carries(&self, id: PortId, vlan: u16) -> bool {
        !self.heeds_vlans
            || self
                .get(id)
                .is_some_and(|port| port.membership.carries(vlan))
    }

    #[inline]
    pub(crate) fn members(&self, flood: Flood) -> impl Iterator<Item = PortId> + '_ {
        self.list(flood.scope)
            .iter()
            .copied()
            .filter(move |id| !flood.except.contains(id))
            .filter(move |id| !flood.from_isolated || !self.is_isolated(*id))
            .filter(move |id| self.carries(*id, flood.vlan))
    }

    pub(crate) fn is_isolated(&self, id: PortId) -> bool {
        self.get(id).is_some_and(|port| port.isolated)
    }

    fn list(&self, scope: Scope) -> &[PortId] {
        match scope {
            Scope::Every => &self.every,
            Scope::Unfixed => &self.unfixed,
        }
    }

    /// Control path; lists ascend by id, so floods have one order.
    fn rebuild_lists(&mut self) {
        self.every.clear();
        self.unfixed.clear();
        self.uplink = None;
        self.heeds_vlans = false;
        for (id, port) in (0..=u16::MAX).map(PortId).zip(&self.slots) {
            let Some(port) = port else { continue };
            self.every.push(id);
            self.heeds_vlans |= matches!(port.membership, Membership::Told(_));
            if port.is_unfixed() {
                self.unfixed.push(id);
            }
            if port.role == Role::Uplink {
                self.uplink = Some(id);
            }
        }
    }
}
