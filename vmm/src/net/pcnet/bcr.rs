//! Bus configuration registers, behind BDP.
use super::{descriptor::Style, device::Device, spec};

impl Device {
    /// Reads BCR `index`.
    pub(super) fn read_bcr(&self, index: u16) -> u16 {
        let state = &self.state;
        match index {
            spec::BCR_LNKST..=spec::BCR_LED3 => self.read_led(index),
            spec::BCR_MIICAS if state.chip.mii => state.bcr(index) | spec::BCR32_MIIPD,
            spec::BCR_MIIMDR if state.chip.mii => self.read_phy(),
            _ => state.bcr(index),
        }
    }

    /// LEDOUT: some state that the LED shows is true. Polarity and stretching concern the pin only.
    fn read_led(&self, index: u16) -> u16 {
        let register = self.state.bcr(index) & !spec::LED_LEDOUT;
        let full_duplex = self.state.bcr(spec::BCR_FDC) & spec::BCR9_FDEN != 0;
        let shown =
            register & spec::LED_LNKSTE != 0 || full_duplex && register & spec::LED_FDLSE != 0;
        if shown && self.state.mii.link() {
            register | spec::LED_LEDOUT
        } else {
            register
        }
    }

    /// PHY and register of BCR33; `None`: there is no such PHY.
    fn phy_register(&self) -> Option<usize> {
        let address = self.state.bcr(spec::BCR_MIIADDR);
        (address >> 5 & 0x1f == spec::PHY_ADDRESS).then_some(usize::from(address & 0x1f))
    }

    fn read_phy(&self) -> u16 {
        // Nobody drives the line.
        let nobody = u16::MAX;
        self.phy_register()
            .map_or(nobody, |register| self.state.mii.read(register))
    }

    fn write_phy(&mut self, value: u16) {
        if let Some(register) = self.phy_register()
            && self.state.mii.write(register, value)
            && self.state.mii.link()
        {
            // Negotiation takes no time here.
            self.state.raise(spec::CSR_EXTENDED2, spec::CSR7_MAPINT);
        }
        self.state.raise(spec::CSR_EXTENDED2, spec::CSR7_MCCINT);
    }

    /// Writes BCR `index`; true: the thread has to act on it.
    pub(super) fn write_bcr(&mut self, index: u16, value: u16) -> bool {
        match index {
            spec::BCR_SWS => self.write_style(value),
            spec::BCR_BSBC => {
                let dwio = self.state.bcr(index) & spec::BCR18_DWIO;
                self.state.set_bcr(index, value & !spec::BCR18_DWIO | dwio);
            }
            spec::BCR_MC
            | spec::BCR_LNKST..=spec::BCR_LED3
            | spec::BCR_FDC
            | spec::BCR_IOBASEL..=spec::BCR_BSBC
            | spec::BCR_PCILAT => self.state.set_bcr(index, value),
            spec::BCR_EECAS => self
                .state
                .set_bcr(index, value & !spec::BCR19_PVALID | spec::BCR19_PVALID),
            spec::BCR_SRAMSIZ..=spec::BCR_SRAMIC | spec::BCR_MIICAS | spec::BCR_MIIADDR
                if self.state.chip.mii =>
            {
                self.state.set_bcr(index, value);
            }
            spec::BCR_MIIMDR if self.state.chip.mii => self.write_phy(value),
            _ => {}
        }
        // Loopback and style change what the thread does next time; nothing here starts anything.
        false
    }

    /// BCR20, while the chip is stopped or suspended.
    fn write_style(&mut self, value: u16) {
        if !self.state.is_quiet() {
            return;
        }
        let shown = spec::BCR20_CSRPCNET | spec::BCR20_SSIZE32;
        let bits = Style::new(value & spec::BCR20_SWSTYLE).bits();
        self.state.set_bcr(spec::BCR_SWS, value & !shown | bits);
        self.move_transmit_ring(self.transmitter.head());
    }
}
