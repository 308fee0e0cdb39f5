//! One virtio-blk request (virtio 1.2, 5.2.6): header, data, status byte.
use super::{
    image::SECTOR,
    sys::{Buffer, VectoredIo, WriteMode},
};
use crate::{limit::RateLimit, virtio::worker::ChainHandler};
use std::{fs::File, io};
use virtqueue::Chain;

/// Bytes of `struct virtio_blk_req` before the data.
const HEADER_LEN: usize = 16;
/// Bytes of a device ID string.
pub(super) const ID_LEN: usize = 20;

/// VIRTIO_BLK_T_*.
mod kind {
    pub(super) const IN: u32 = 0;
    pub(super) const OUT: u32 = 1;
    pub(super) const FLUSH: u32 = 4;
    pub(super) const GET_ID: u32 = 8;
}

/// VIRTIO_BLK_S_*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Status {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

impl From<io::Result<()>> for Status {
    fn from(result: io::Result<()>) -> Self {
        match result {
            Ok(()) => Self::Ok,
            Err(error) => {
                static LIMIT: RateLimit = RateLimit::new();
                if LIMIT.allow() {
                    tracing::warn!(%error, "disk request failed");
                }
                Self::IoError
            }
        }
    }
}

/// Serves the requests of one disk.
#[derive(Debug)]
pub(super) struct RequestHandler {
    pub(super) file: File,
    pub(super) sectors: u64,
    pub(super) readonly: bool,
    /// Through, if the driver does not know how to flush (5.2.6.2).
    pub(super) mode: WriteMode,
    pub(super) id: [u8; ID_LEN],
    pub(super) io: VectoredIo,
}

impl ChainHandler for RequestHandler {
    fn handle(&mut self, chain: &Chain<'_>) -> u32 {
        let total = chain.writable().len();
        // The status is the last writable byte; without it there is nothing to say.
        let Some(status_at) = total.checked_sub(1) else {
            return 0;
        };
        let status = self.execute(chain, status_at);
        chain.writable().write_at(status_at, &[status as u8]);
        total
    }
}

impl RequestHandler {
    /// Executes the request; `room` is the writable part before the status byte.
    fn execute(&mut self, chain: &Chain<'_>, room: u32) -> Status {
        let mut header = [0; HEADER_LEN];
        if chain.readable().read_at(0, &mut header) < HEADER_LEN {
            return Status::IoError;
        }
        let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = header;
        let sector = u64::from_le_bytes(sector);
        match u32::from_le_bytes([t0, t1, t2, t3]) {
            kind::IN => self.read(chain, sector, room),
            kind::OUT => self.write(chain, sector),
            kind::FLUSH => self.file.sync_data().into(),
            kind::GET_ID => {
                let len = usize::try_from(room).map_or(ID_LEN, |room| room.min(ID_LEN));
                chain.writable().write_at(0, &self.id[..len]);
                Status::Ok
            }
            _ => Status::Unsupported,
        }
    }

    fn read(&mut self, chain: &Chain<'_>, sector: u64, len: u32) -> Status {
        let Some(position) = self.position(sector, len) else {
            return Status::IoError;
        };
        let buffer = Buffer {
            segments: chain.writable(),
            offset: 0,
            len,
        };
        self.io.read(&self.file, position, buffer).into()
    }

    fn write(&mut self, chain: &Chain<'_>, sector: u64) -> Status {
        let offset = 16;
        let len = chain.readable().len() - offset;
        let Some(position) = self.position(sector, len).filter(|_| !self.readonly) else {
            return Status::IoError;
        };
        let buffer = Buffer {
            segments: chain.readable(),
            offset,
            len,
        };
        self.io
            .write(&self.file, position, buffer, self.mode)
            .into()
    }

    /// Where in the file a transfer begins; `None`: it is no whole number of sectors, or leaves the
    /// disk.
    fn position(&self, sector: u64, len: u32) -> Option<u64> {
        let len = u64::from(len);
        let end = sector.checked_add(len.div_ceil(SECTOR))?;
        (len.is_multiple_of(SECTOR) && end <= self.sectors).then_some(sector.checked_mul(SECTOR)?)
    }
}
