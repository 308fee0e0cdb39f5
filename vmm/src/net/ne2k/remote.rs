//! Remote DMA: how a driver reads and writes packet memory through the data port (D 8.0, R 5.1).
use super::{spec, state::State};
use crate::net::nic::Width;
use serde::{Deserialize, Serialize};

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Transfer {
    Read,
    Write,
    /// Send Packet: reads the frame behind the boundary, which then moves to this page.
    Send(u8),
}

/// The remote DMA channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Remote {
    /// Nothing when it was aborted or is complete.
    transfer: Option<Transfer>,
    /// RSAR when written, CRDA when read.
    pub(super) address: u16,
    /// RBCR: bytes left.
    pub(super) count: u16,
}

impl Remote {
    /// The next command begins anew.
    pub(super) fn abort(&mut self) {
        self.transfer = None;
    }
}

/// In bytes.
fn len_of(width: Width) -> usize {
    match width {
        Width::Byte => 1,
        Width::Word => 2,
        Width::Dword => 4,
    }
}

impl State {
    /// CR.RD.
    pub(super) fn remote_command(&mut self, command: u8) {
        let transfer = match command {
            0 => return,
            spec::CR_RD_READ => Transfer::Read,
            spec::CR_RD_WRITE => Transfer::Write,
            spec::CR_RD_SEND => {
                if self.dcr & spec::DCR_ARM == 0 {
                    return;
                }
                self.load_packet()
            }
            _ => {
                self.remote.abort();
                return;
            }
        };
        self.remote.transfer = Some(transfer);
        if self.remote.count == 0 {
            self.complete();
        }
    }

    /// Address and length of the frame behind the boundary.
    fn load_packet(&mut self) -> Transfer {
        let address = u16::from_be_bytes([self.bnry, 0]);
        let mut header = [0; spec::HEADER_LEN];
        self.memory.read(address, &mut header);
        let [_, next, low, high] = header;
        self.remote.address = address;
        self.remote.count = u16::from_le_bytes([low, high]);
        Transfer::Send(next)
    }

    fn complete(&mut self) {
        if let Some(Transfer::Send(next)) = self.remote.transfer.take() {
            self.move_boundary(next);
        }
        self.isr |= spec::ISR_RDC;
    }

    /// Reads the data port. A byte of a word-wide channel is the lower one of a word, whose other byte is lost.
    pub(super) fn read_port(&mut self, width: Width) -> u32 {
        let mut bytes = [0; 4];
        self.read_ports(width, bytes.get_mut(..len_of(width)).unwrap_or_default());
        u32::from_le_bytes(bytes)
    }

    /// Writes the data port.
    pub(super) fn write_port(&mut self, width: Width, value: u32) {
        let bytes = value.to_le_bytes();
        self.write_ports(width, bytes.get(..len_of(width)).unwrap_or_default());
    }

    /// Reads the data port again and again.
    pub(super) fn read_ports(&mut self, width: Width, data: &mut [u8]) {
        let unit = self.unit(width);
        if unit == len_of(width) {
            self.read_units(unit, data);
            return;
        }
        for byte in data {
            let mut word = [0; 2];
            self.read_units(unit, &mut word);
            [*byte, _] = word;
        }
    }

    /// Writes the data port again and again.
    pub(super) fn write_ports(&mut self, width: Width, data: &[u8]) {
        let unit = self.unit(width);
        if unit == len_of(width) {
            self.write_units(unit, data);
            return;
        }
        for byte in data {
            self.write_units(unit, &[*byte, 0]);
        }
    }

    /// Bytes that an access moves: the channel is as wide as DCR.WTS says, or as the access is.
    fn unit(&self, width: Width) -> usize {
        let channel = if self.dcr & spec::DCR_WTS == 0 { 1 } else { 2 };
        channel.max(len_of(width))
    }

    fn read_units(&mut self, unit: usize, data: &mut [u8]) {
        let reads = !matches!(self.remote.transfer, None | Some(Transfer::Write));
        let span = if reads {
            self.span(unit, data.len())
        } else {
            0
        };
        let (mut rest, beyond) = data.split_at_mut(span);
        beyond.fill(0xff);
        while !rest.is_empty() {
            let len = self.run().min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            self.memory.read(self.remote.address, now);
            self.step(len);
            rest = later;
        }
        self.moved(span);
    }

    fn write_units(&mut self, unit: usize, data: &[u8]) {
        let writes = self.remote.transfer == Some(Transfer::Write);
        let span = if writes {
            self.span(unit, data.len())
        } else {
            0
        };
        let mut rest = data.get(..span).unwrap_or_default();
        while !rest.is_empty() {
            let len = self.run().min(rest.len());
            let (now, later) = rest.split_at(len);
            self.memory.write(self.remote.address, now);
            self.step(len);
            rest = later;
        }
        self.moved(span);
    }

    /// How many of `len` bytes belong to the transfer; its last access may reach beyond its end.
    fn span(&mut self, unit: usize, len: usize) -> usize {
        if self.dcr & spec::DCR_WTS != 0 {
            // There is no address bit 0.
            self.remote.address &= !1;
        }
        len.min(usize::from(self.remote.count).next_multiple_of(unit))
    }

    /// Bytes up to the ring's end, or to where addresses end.
    fn run(&self) -> usize {
        let stop = usize::from(self.pstop) * spec::PAGE_LEN;
        let address = usize::from(self.remote.address);
        if address < stop {
            stop - address
        } else {
            0x1_0000 - address
        }
    }

    /// Advances by no more than [`run`](Self::run): the ring goes on at its start.
    fn step(&mut self, len: usize) {
        let len = u16::try_from(len).unwrap_or(0);
        let next = self.remote.address.wrapping_add(len);
        self.remote.address = if next == u16::from_be_bytes([self.pstop, 0]) {
            u16::from_be_bytes([self.pstart, 0])
        } else {
            next
        };
    }

    fn moved(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        let len = u16::try_from(len).unwrap_or(u16::MAX);
        self.remote.count = self.remote.count.saturating_sub(len);
        if self.remote.count == 0 {
            self.complete();
        }
    }
}
