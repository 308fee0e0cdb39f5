//! The guest's macvtap, which is made again when its NIC has gone and returned.
use super::{DirectSpec, owner::Owner};
use crate::uplink::{self, Filter, Identity, MacvtapMode, MacvtapSpec, Nic, Uplink, Wanted};
use anyhow::Context;
use control::Mode;
use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};
use switch::MacAddr;

/// A macvtap with all that its guest wants of it.
#[derive(Debug)]
pub(super) struct Macvtap {
    spec: MacvtapSpec,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    wanted: Wanted,
    /// None: it has gone, and could not be made again yet.
    open: Option<Uplink>,
    /// Of `open`, if somebody has chosen what it lets through since it was made.
    filter: Option<Filter>,
}

impl Macvtap {
    /// Makes it.
    pub(super) fn make(spec: &DirectSpec) -> anyhow::Result<Self> {
        let mode =
            mode(spec.mode).context("a macvtap has mode bridge, private, vepa or passthrough")?;
        let own = Owner::own().context("this process is not in /proc")?;
        own.remove_stale()?;
        let nic = Nic {
            name: spec.nic.clone(),
            netns: None,
        };
        let mac = MacAddr(spec.mac);
        let mtu = u16::try_from(uplink::mtu_of(&nic)?).unwrap_or(u16::MAX);
        let owner = PathBuf::from(own.to_string());
        let macvtap = Self {
            spec: MacvtapSpec {
                vlan: None,
                mode,
                identity: Identity::new(&owner, &nic.name, &mac.to_string()),
                // In mode passthru it would become the NIC's.
                mac: (spec.mode != Mode::Passthrough).then_some(mac),
                mtu,
                queues: spec.queue_pairs,
                nic,
            },
            state: Mutex::default(),
        };
        macvtap.make_again()?;
        Ok(macvtap)
    }

    /// Makes it on whatever has the name of its NIC now, with the filter that its guest has chosen.
    pub(super) fn make_again(&self) -> anyhow::Result<()> {
        let state = &mut *self.lock();
        // Its name is in use as long as it is there, on a NIC that has got another name.
        state.close();
        let (open, filter) = state.wanted.make_macvtap(&self.spec)?;
        (state.open, state.filter) = (Some(open), filter);
        Ok(())
    }

    /// Removes it until it is made again.
    pub(super) fn close(&self) {
        self.lock().close();
    }

    pub(super) fn nic(&self) -> &Nic {
        &self.spec.nic
    }

    /// That of the NIC when it was made first: the guest has been told.
    pub(super) fn mtu(&self) -> u16 {
        self.spec.mtu
    }

    /// Whether it is on the interface with this index.
    pub(super) fn is_on(&self, index: u32) -> bool {
        let state = self.lock();
        let needs = state.open.as_ref().and_then(Uplink::needs);
        needs.is_some_and(|(_, at)| at == index)
    }

    /// Its NIC, which has this MTU now, carries larger frames than before.
    pub(super) fn raise_mtu(&self, mtu_of_nic: u32) -> anyhow::Result<()> {
        let state = self.lock();
        let raised = |open: &Uplink| open.raise_mtu(self.spec.mtu.into(), mtu_of_nic);
        Ok(state.open.as_ref().map_or(Ok(()), raised)?)
    }

    /// Copies of its queues, one for each queue pair of the guest.
    pub(super) fn queues(&self) -> anyhow::Result<Vec<File>> {
        let state = self.lock();
        let queues = state.open.as_ref().map_or(&[][..], Uplink::queues).iter();
        let copies = queues.map(|queue| OwnedFd::try_clone(queue).map(File::from));
        let copies = copies.collect::<Result<_, _>>();
        copies.context("copy the macvtap's queues")
    }

    /// Whether it has no address of its own, and gets the frames to all.
    pub(super) fn takes_all_addresses(&self) -> bool {
        self.spec.mac.is_none()
    }

    /// Has it let through what its guest wants now. If that cannot be had, nothing changes; if it is not there, it is made so.
    pub(super) fn want(&self, change: impl FnOnce(&mut Wanted)) -> io::Result<()> {
        let state = &mut *self.lock();
        let mut wanted = state.wanted.clone();
        change(&mut wanted);
        if let Some(open) = &state.open {
            wanted.replace(&state.wanted, open, self.spec.mac, &mut state.filter)?;
        }
        state.wanted = wanted;
        Ok(())
    }

    /// Its guest wants nothing more. What cannot be undone goes with it.
    pub(super) fn want_nothing(&self) {
        let state = &mut *self.lock();
        state.wanted = Wanted::default();
        if let Some(filter) = &mut state.filter {
            filter.restore();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&mut self) {
        (self.filter, self.open) = (None, None);
    }
}

fn mode(mode: Mode) -> Option<MacvtapMode> {
    match mode {
        Mode::Bridge => Some(MacvtapMode::Bridge),
        Mode::Private => Some(MacvtapMode::Private),
        Mode::Vepa => Some(MacvtapMode::Vepa),
        Mode::Passthrough => Some(MacvtapMode::Passthru),
        Mode::Nat => None,
    }
}
