//! What every function has: configuration space, BARs, MSI-X and the INTx pin.
use super::{
    bar::{BAR_COUNT, Bar, BarAddress, BarKind},
    config::{CapabilityError, ConfigSpace, Identity},
    intx::Intx,
    msix::{Msix, MsixLayout},
    spec,
};
use crate::interrupt::MsiVector;
use std::sync::Arc;

/// The common part of a PCI function, which device models embed.
#[derive(Debug)]
pub struct Function {
    config: ConfigSpace,
    bars: Vec<Bar>,
    msix: Option<Msix>,
    msix_capability: u16,
    intx: Option<Arc<Intx>>,
}

impl Function {
    /// A function without BARs, capabilities and interrupts.
    pub fn new(identity: &Identity) -> Self {
        Self {
            config: ConfigSpace::new(identity),
            bars: Vec::new(),
            msix: None,
            msix_capability: 0,
            intx: None,
        }
    }

    /// Adds a BAR. A size that is no power of two is rounded up; a register that does not exist is
    /// ignored.
    pub fn add_bar(&mut self, index: u8, kind: BarKind, size: u64) {
        let width = if kind == BarKind::Memory64 { 2 } else { 1 };
        let smallest = if kind == BarKind::Io { 4 } else { 16 };
        if index + width > BAR_COUNT {
            return;
        }
        let bar = Bar {
            index,
            kind,
            size: size.max(smallest).next_power_of_two(),
        };
        bar.declare(&mut self.config);
        self.bars.push(bar);
    }

    /// Adds a capability; returns its offset.
    pub fn add_capability(&mut self, id: u8, body: &[u8]) -> Result<u16, CapabilityError> {
        self.config.add_capability(id, body)
    }

    /// Adds MSI-X; table and pending bits lie where `layout` says, in a BAR that must exist.
    pub fn add_msix(
        &mut self,
        layout: MsixLayout,
        vectors: Vec<Arc<dyn MsiVector>>,
    ) -> Result<(), CapabilityError> {
        let body = layout.capability(vectors.len());
        let offset = self.add_capability(spec::CAP_MSIX, &body)?;
        let control = spec::MSIX_ENABLE | spec::MSIX_FUNCTION_MASK;
        self.config.allow_writes(offset + 2, &control.to_le_bytes());
        self.msix_capability = offset;
        self.msix = Some(Msix::new(layout, vectors));
        Ok(())
    }

    /// Adds the INTA pin.
    pub fn add_intx(&mut self, intx: Arc<Intx>) {
        self.config.set(spec::INTERRUPT_PIN, &[1]);
        self.intx = Some(intx);
    }

    /// The BARs.
    pub fn bars(&self) -> &[Bar] {
        &self.bars
    }

    /// MSI-X, if there is any.
    pub fn msix(&self) -> Option<&Msix> {
        self.msix.as_ref()
    }

    /// The INTx pin, if there is one.
    pub fn intx(&self) -> Option<&Arc<Intx>> {
        self.intx.as_ref()
    }

    /// Configuration bytes (device side).
    pub fn config(&self) -> &ConfigSpace {
        &self.config
    }

    /// Configuration bytes (device side).
    pub fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    /// The driver lets the device access memory.
    pub fn bus_master(&self) -> bool {
        self.config.u16(spec::COMMAND) & spec::COMMAND_BUS_MASTER != 0
    }

    /// Where BAR `index` is decoded.
    pub fn decoded(&self, index: u8) -> Option<BarAddress> {
        let bar = self.bars.iter().find(|bar| bar.index == index)?;
        bar.decoded(&self.config)
    }

    /// A configuration read.
    pub fn config_read(&mut self, offset: u16, data: &mut [u8]) {
        let pending = self.intx.as_ref().is_some_and(|intx| intx.pending());
        let status = self.config.u16(spec::STATUS);
        let status = if pending {
            status | spec::STATUS_INTERRUPT
        } else {
            status & !spec::STATUS_INTERRUPT
        };
        self.config.set_u16(spec::STATUS, status);
        self.config.read(offset, data);
    }

    /// A configuration write.
    pub fn config_write(&mut self, offset: u16, data: &[u8]) {
        self.config.write(offset, data);
        if let Some(intx) = &self.intx {
            let command = self.config.u16(spec::COMMAND);
            intx.set_disabled(command & spec::COMMAND_INTX_DISABLE != 0);
        }
        if let Some(msix) = &mut self.msix {
            let control = self.config.u16(self.msix_capability + 2);
            if control & (spec::MSIX_ENABLE | spec::MSIX_FUNCTION_MASK) != msix.state().control {
                msix.set_control(control);
            }
        }
    }

    /// Handles a BAR read that goes to the MSI-X structures; false: it is the device's.
    pub fn msix_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> bool {
        self.msix
            .as_ref()
            .is_some_and(|msix| msix.read(bar, offset, data))
    }

    /// Handles a BAR write that goes to the MSI-X structures; false: it is the device's.
    pub fn msix_write(&mut self, bar: u8, offset: u64, data: &[u8]) -> bool {
        self.msix
            .as_mut()
            .is_some_and(|msix| msix.write(bar, offset, data))
    }

    /// Starts decoding, as firmware leaves a device.
    pub(super) fn enable_decoding(&mut self) {
        let mut command = self.config.u16(spec::COMMAND);
        for bar in &self.bars {
            command |= match bar.kind {
                BarKind::Io => spec::COMMAND_IO,
                BarKind::Memory32 | BarKind::Memory64 => spec::COMMAND_MEMORY,
            };
        }
        self.config.set_u16(spec::COMMAND, command);
    }
}
