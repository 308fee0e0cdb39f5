//! An emulated NIC as a PCI function.
use super::{
    Access, Doorbells, Model, NicError, Parts, Plug, Width,
    keeper::Keeper,
    thread::{Datapath, Shared},
};
use crate::{
    bus::{Posted, PostedWrites},
    interrupt::{DoorbellAddress, InterruptController},
    net::wire::RingWire,
    pci::{BarAddress, Function, Intx, PciDevice},
};
use std::{
    fmt::{self, Debug},
    sync::Arc,
    time::Instant,
};

/// A model on the bus, with its thread.
pub struct Nic<M: Model> {
    function: Function,
    shared: Arc<Shared<M>>,
    controller: Arc<dyn InterruptController>,
    /// Whose writes KVM keeps.
    keeper: Keeper,
    /// What KVM wakes the thread for: BAR, where, and which byte.
    knocks: Vec<(u8, DoorbellAddress, u8)>,
    _datapath: Datapath<M>,
}

impl<M: Model> Debug for Nic<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nic")
            .field("function", &self.function)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl<M: Model> Nic<M> {
    /// A NIC for `slot` on the network of `plug`.
    pub(super) fn connect(
        plug: &Plug<'_>,
        slot: u8,
        build: impl FnOnce(Parts) -> M,
    ) -> Result<Self, NicError> {
        let intx = Arc::new(Intx::new(plug.controller.intx(slot, 0)?));
        let wire = RingWire::connect(plug.attachment, plug.ram)?;
        let link = wire.link();
        let cable = plug.attachment.cable;
        let model = build(Parts {
            mac: plug.mac,
            link: cable && link.is_up(),
            memory: Arc::clone(&plug.ram.map),
            intx: Arc::clone(&intx),
        });
        let mut function = model.function();
        function.add_intx(intx);
        let shared = Arc::new(Shared::new(model, cable)?);
        let listener = Arc::clone(&shared);
        // Of rings of our own; the guest's are not a back-end's.
        link.set_listener(move |_| listener.link_changed());
        // It may have changed since it was looked at, before anybody listened.
        shared.link_changed();
        Ok(Self {
            function,
            controller: Arc::clone(plug.controller),
            keeper: Keeper::new(Arc::clone(plug.controller)),
            knocks: Vec::new(),
            _datapath: Datapath::start(Arc::clone(&shared), wire, plug)?,
            shared,
        })
    }
}

impl<M: Model> Nic<M> {
    /// Has KVM wake the thread for what is written to `bar` at its place, or no longer.
    fn listen(&mut self, bar: u8, at: Option<BarAddress>) {
        let (controller, event) = (&self.controller, self.shared.waker());
        self.knocks.retain(|(of, address, byte)| {
            if *of == bar {
                let _ = controller.remove_byte_doorbell(*address, *byte, event);
            }
            *of != bar
        });
        for (offset, byte) in M::KNOCKS {
            let Some(address) = at.and_then(|at| at.at(*offset)) else {
                return;
            };
            // A KVM that cannot has the vCPU bring it.
            let added = controller.add_byte_doorbell(address, *byte, event);
            if added.is_ok() {
                self.knocks.push((bar, address, *byte));
            }
        }
    }
}

impl<M: Model> Drop for Nic<M> {
    fn drop(&mut self) {
        while let Some((bar, ..)) = self.knocks.first() {
            self.listen(*bar, None);
        }
    }
}

impl<M: Model> PciDevice for Nic<M> {
    fn function(&self) -> &Function {
        &self.function
    }

    fn function_mut(&mut self) -> &mut Function {
        &mut self.function
    }

    fn config_write(&mut self, offset: u16, data: &[u8]) {
        self.function.config_write(offset, data);
        let master = self.function.bus_master();
        self.shared.lock().set_bus_master(master);
        self.shared.wake();
    }

    fn bar_read(&mut self, bar: u8, offset: u64, data: &mut [u8]) {
        let mut rest = data;
        for (access, len) in accesses(bar, offset, rest.len()) {
            let value = self.shared.lock().read(access, Instant::now());
            let (now, later) = rest.split_at_mut(len);
            for (byte, value) in now.iter_mut().zip(value.to_le_bytes()) {
                *byte = value;
            }
            rest = later;
        }
    }

    fn bar_write(&mut self, bar: u8, offset: u64, data: &[u8]) {
        let mut rest = data;
        for (access, len) in accesses(bar, offset, rest.len()) {
            let (now, later) = rest.split_at(len);
            rest = later;
            let value = little_endian(now);
            let rung = self.shared.doorbells().ring(access, value);
            let needs_thread = rung.unwrap_or_else(|| self.write(access, value));
            if needs_thread {
                self.shared.wake();
            }
        }
    }

    fn bar_read_repeated(&mut self, bar: u8, offset: u64, size: usize, data: &mut [u8]) {
        let done = single(bar, offset, size)
            .is_some_and(|access| self.shared.lock().read_string(access, data));
        if !done {
            for element in data.chunks_mut(size.max(1)) {
                self.bar_read(bar, offset, element);
            }
        }
    }

    fn bar_write_repeated(&mut self, bar: u8, offset: u64, size: usize, data: &[u8]) {
        let done = single(bar, offset, size)
            .is_some_and(|access| self.shared.lock().write_string(access, data));
        if !done {
            for element in data.chunks(size.max(1)) {
                self.bar_write(bar, offset, element);
            }
        }
    }

    fn posted_writes(&self, bar: u8) -> Posted {
        let shared = Arc::clone(&self.shared);
        Some(Arc::new(DoorbellsOf { shared, bar }))
    }

    fn bar_moved(&mut self, bar: u8, at: Option<BarAddress>) {
        self.listen(bar, at);
        self.keeper.move_bar::<M>(bar, at);
    }
}

impl<M: Model> Nic<M> {
    /// A register that takes no doorbell; true: the thread has to act on it.
    fn write(&mut self, access: Access, value: u32) -> bool {
        let mut model = self.shared.lock();
        let needs_thread = model.write(access, value, Instant::now());
        let quiet = model.quiet();
        drop(model);
        self.keeper.set_quiet::<M>(quiet);
        needs_thread
    }
}

/// The doorbells of a model, for vCPUs: while one waits for the model's lock, the others still ring.
struct DoorbellsOf<M: Model> {
    shared: Arc<Shared<M>>,
    bar: u8,
}

impl<M: Model> PostedWrites for DoorbellsOf<M> {
    fn post(&self, offset: u64, data: &[u8]) -> bool {
        let access = single(self.bar, offset, data.len());
        let rung =
            access.and_then(|access| self.shared.doorbells().ring(access, little_endian(data)));
        if rung == Some(true) {
            self.shared.wake();
        }
        rung.is_some()
    }
}

/// A register's value from up to four bytes of it.
fn little_endian(data: &[u8]) -> u32 {
    let mut bytes = [0; 4];
    for (byte, value) in bytes.iter_mut().zip(data) {
        *byte = *value;
    }
    u32::from_le_bytes(bytes)
}

/// An access of `size` bytes, if it needs no cutting.
fn single(bar: u8, offset: u64, size: usize) -> Option<Access> {
    let mut all = accesses(bar, offset, size);
    let (access, _) = all.next()?;
    all.next().is_none().then_some(access)
}

/// Cuts an access of any length and alignment into aligned ones, as a bridge does; beyond 4 GiB there is nothing.
fn accesses(bar: u8, offset: u64, len: usize) -> impl Iterator<Item = (Access, usize)> {
    let mut next = u32::try_from(offset).ok();
    let mut left = len;
    std::iter::from_fn(move || {
        let offset = next.filter(|_| left > 0)?;
        let width = match (offset % 4, left) {
            (0, 4..) => Width::Dword,
            (0 | 2, 2..) => Width::Word,
            _ => Width::Byte,
        };
        next = offset.checked_add(width.bytes());
        let len = match width {
            Width::Byte => 1,
            Width::Word => 2,
            Width::Dword => 4,
        };
        left -= len;
        Some((Access { bar, offset, width }, len))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_cut_into_aligned_ones() {
        let cut = |offset, len| -> Vec<_> {
            accesses(0, offset, len)
                .map(|(access, _)| (access.offset, access.width.bytes()))
                .collect()
        };
        assert_eq!(cut(0x10, 4), [(0x10, 4)]);
        assert_eq!(cut(0x10, 8), [(0x10, 4), (0x14, 4)]);
        assert_eq!(cut(0x11, 4), [(0x11, 1), (0x12, 2), (0x14, 1)]);
        assert_eq!(cut(0x13, 2), [(0x13, 1), (0x14, 1)]);
        assert_eq!(cut(0x12, 3), [(0x12, 2), (0x14, 1)]);
        assert_eq!(cut(1 << 32, 4), []);
        assert_eq!(cut(0xffff_fffe, 4), [(0xffff_fffe, 2)]);
        assert_eq!(cut(0, 0), []);
    }
}
