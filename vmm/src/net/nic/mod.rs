//! What all emulated NICs have in common: a place on the PCI bus, a thread, a wire.
//!
//! # Theory of operation
//! A [`Model`] is registers, rings and interrupts: a state machine that is told of register accesses and of time, and that moves
//! frames when it is asked for a [`burst`](Model::burst). It knows neither threads nor the bus. [`Nic`] puts it on the bus: accesses
//! are cut into bytes, words and double words, and take the model's lock between two bursts. One thread per NIC asks for bursts as
//! long as there is work. Then it looks at the wire's rings and at whether anybody has woken it, without the lock and without
//! signals ([`poll_idle`](Plug::poll_idle)), and at last arms the wire's signals, asks for one burst more and sleeps.
//!
//! A register that a driver writes once per packet should be one of the model's [`Doorbells`]: it is stored without a lock, so that a
//! vCPU never waits for a burst, nor for another vCPU that does. It cannot be an ioeventfd where its value matters, as KVM throws
//! that away; where there is but one value that drivers write it is one ([`KNOCKS`](Model::KNOCKS)). Where nobody waits for the NIC to
//! see a value, KVM may keep it until some vCPU makes another access; the thread takes it from there when it has use for it
//! ([`KEPT`](Model::KEPT)).
//!
//! Every loop over a guest's rings has a budget; what is left is the next burst's.
pub mod eeprom;
pub mod fcs;
mod flights;
mod function;
mod keeper;
pub mod mii;
mod offload;
mod packet;
mod patience;
mod retry;
mod segment;
#[cfg(test)]
pub(crate) mod testing;
mod thread;

pub use flights::Flights;
pub use function::Nic;
pub use offload::{Range, Request, Segmentation};
pub use packet::{Frames, Packet};
pub use retry::Retry;
pub use segment::Sender;

use super::{
    Attachment, MacAddress,
    wire::{Wire, WireError},
};
use crate::{
    interrupt::InterruptController,
    memory::GuestRam,
    pci::{Function, Intx, PciBus, PciError},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt::{self, Debug},
    io, ops,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use thiserror::Error;
use virtqueue::MemoryMap;

/// Why there is no NIC.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NicError {
    /// Its way to the network.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Its place on the bus.
    #[error(transparent)]
    Pci(#[from] PciError),
    /// Interrupt or thread.
    #[error("resources of an emulated NIC: {0}")]
    Resources(#[from] io::Error),
}

/// How wide a register access is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Word,
    /// 32 bits.
    Dword,
}

impl Width {
    /// In bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Dword => 4,
        }
    }
}

/// Where a driver reads or writes: naturally aligned, never across two double words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The BAR.
    pub bar: u8,
    /// From its start.
    pub offset: u32,
    /// How much.
    pub width: Width,
}

/// How a burst ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// Something moved: there may be more.
    pub busy: bool,
    /// The wire must be restarted, and [`Model::restarted`] said, before the next burst.
    pub restart: bool,
    /// Something is due then without anybody's doing: an interrupt, a timer.
    pub deadline: Option<Instant>,
}

/// Registers that take writes without the model's lock.
pub trait Doorbells: Debug + Send + Sync {
    /// Stores `value` if a doorbell is there, and says whether the thread has to act on it; `None`: it is another register.
    fn ring(&self, at: Access, value: u32) -> Option<bool>;

    /// Somebody may have written one of [`Model::KNOCKS`].
    fn knocked(&self) {}
}

/// For models without.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDoorbells;

impl Doorbells for NoDoorbells {
    fn ring(&self, _at: Access, _value: u32) -> Option<bool> {
        None
    }
}

/// What a model is built from.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Its address, for the EEPROM.
    pub mac: MacAddress,
    /// The cable is plugged in.
    pub link: bool,
    /// DMA goes here only: device registers and our own rings are not in it.
    pub memory: Arc<MemoryMap>,
    /// Its interrupt pin.
    pub intx: Arc<Intx>,
}

/// A model of a NIC.
pub trait Model: Debug + Send + Sized + 'static {
    /// Its doorbells.
    type Doorbells: Doorbells + 'static;
    /// All that a snapshot must carry.
    type Saved: Clone + Debug + PartialEq + Serialize + DeserializeOwned;

    /// What its thread is called.
    const NAME: &'static str;
    /// Offsets in the I/O BAR where what is written is stored, without anything else that could be noticed before the next access to
    /// other ports: while the NIC is [`quiet`](Self::quiet) KVM may keep such writes and bring many at once.
    const QUIET_PORTS: &'static [ops::Range<u16>] = &[];

    /// Offsets in every BAR, each with a byte: written there it means nothing but that the thread shall look. KVM wakes the thread by
    /// itself, and no vCPU leaves it for that; the thread says it to [`Doorbells::knocked`]. Any other byte, and more than one at once,
    /// are writes as ever.
    const KNOCKS: &'static [(u32, u8)] = &[];

    /// Registers in memory BARs that say what is there for the NIC and ask for nothing: BAR and offsets. KVM may keep writes to them, and
    /// the thread takes those before each burst. All of them are [`Doorbells`], at each width
    /// that fits: what follows one that is not waits for a vCPU. A model that waits for one has a
    /// [`deadline`](Burst::deadline), as no write wakes the thread.
    const KEPT: &'static [(u8, ops::Range<u32>)] = &[];

    /// Identity and BARs; the interrupt pin is added by [`Nic`].
    fn function(&self) -> Function;
    /// The doorbells.
    fn doorbells(&self) -> Arc<Self::Doorbells>;
    /// The command register's Bus Master bit: without it no DMA. What is on its way when it goes is never reported, not even when it is
    /// set again: by then that memory may be somebody else's.
    fn set_bus_master(&mut self, on: bool);
    /// The cable was plugged in or pulled.
    fn set_link(&mut self, up: bool, now: Instant);
    /// Reads a register; bits beyond the width are ignored.
    fn read(&mut self, at: Access, now: Instant) -> u32;
    /// Writes a register that took no doorbell; true: the thread has to act on it.
    fn write(&mut self, at: Access, value: u32, now: Instant) -> bool;
    /// Fills `data` from a data port, as if it was read for one element after the other; false: no data port is there.
    fn read_string(&mut self, _at: Access, _data: &mut [u8]) -> bool {
        false
    }
    /// Takes `data` written to a data port, element by element; false: no data port is there.
    fn write_string(&mut self, _at: Access, _data: &[u8]) -> bool {
        false
    }
    /// Writes to [`QUIET_PORTS`](Self::QUIET_PORTS) have no consequences now.
    fn quiet(&self) -> bool {
        true
    }
    /// Does what can be done now, within the budget.
    fn burst(&mut self, wire: &mut dyn Wire, now: Instant) -> Burst;
    /// The wire was restarted.
    fn restarted(&mut self);

    /// Its state. vCPUs have brought what KVM kept, and the wire is stopped before: what it has not reported as sent is sent again by who restores this.
    fn save(&self, now: Instant) -> Self::Saved;
    /// Goes on from there.
    fn restore(&mut self, saved: Self::Saved, now: Instant);
}

/// The wiring of a NIC, whatever its model.
#[derive(Clone, Copy)]
pub struct Plug<'a> {
    /// The network.
    pub attachment: &'a Attachment,
    /// The NIC's address.
    pub mac: MacAddress,
    /// Guest memory.
    pub ram: &'a GuestRam,
    /// How long its thread polls after the last work before it sleeps.
    pub poll_idle: Duration,
    /// Where interrupts go.
    pub controller: &'a Arc<dyn InterruptController>,
}

impl Debug for Plug<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plug")
            .field("attachment", self.attachment)
            .field("mac", &self.mac)
            .finish_non_exhaustive()
    }
}

impl Plug<'_> {
    /// Puts the NIC that `build` makes into the lowest free slot of `bus`; returns the slot.
    pub fn attach<M: Model>(
        &self,
        bus: &PciBus,
        build: impl FnOnce(Parts) -> M,
    ) -> Result<u8, NicError> {
        let slot = bus.free_slot()?;
        let nic = Nic::connect(self, slot, build)?;
        bus.add(slot, Arc::new(Mutex::new(nic)))?;
        Ok(slot)
    }
}

#[cfg(test)]
#[path = "nic_test.rs"]
mod tests;
