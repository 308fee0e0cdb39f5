//! An emulated NIC as a PCI function.
use super::{
    Access, Doorbells, Model, NicError, Parts, Plug, Width,
    thread::{Datapath, Shared},
};
use crate::{
    net::wire::RingWire,
    pci::{Function, Intx, PciDevice},
};
use std::{sync::Arc, time::Instant};

/// A model on the bus, with its thread.
#[derive(Debug)]
pub struct Nic<M: Model> {
    function: Function,
    shared: Arc<Shared<M>>,
    _datapath: Datapath<M>,
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
        link.set_listener(move || listener.link_changed());
        Ok(Self {
            function,
            _datapath: Datapath::start(Arc::clone(&shared), wire)?,
            shared,
        })
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
            let mut bytes = [0; 4];
            for (byte, value) in bytes.iter_mut().zip(now) {
                *byte = *value;
            }
            rest = later;
            let value = u32::from_le_bytes(bytes);
            let rung = self.shared.doorbells().ring(access, value);
            let needs_thread =
                rung.unwrap_or_else(|| self.shared.lock().write(access, value, Instant::now()));
            if needs_thread {
                self.shared.wake();
            }
        }
    }
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
