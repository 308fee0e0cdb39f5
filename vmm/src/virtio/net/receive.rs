//! Commands about which frames the guest wants (virtio 1.2, 5.1.6.5.1 and 5.1.6.5.2), applied to its macvtap.
use super::{
    control::{ERR, OK},
    features,
};
use crate::{
    limit::RateLimit,
    net::{MacAddress, SharedFilter},
};
use control::PortFilter;
use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use virtqueue::Segments;

/// VIRTIO_NET_CTRL_RX: the first class.
pub(super) const CLASS_RX: u8 = 0;
/// VIRTIO_NET_CTRL_RX_PROMISC.
const RX_PROMISC: u8 = 0;
/// VIRTIO_NET_CTRL_RX_ALLMULTI.
const RX_ALLMULTI: u8 = 1;
/// VIRTIO_NET_CTRL_MAC.
pub(super) const CLASS_MAC: u8 = 1;
/// VIRTIO_NET_CTRL_MAC_TABLE_SET.
const MAC_TABLE_SET: u8 = 0;
/// VIRTIO_NET_CTRL_MAC_ADDR_SET.
const MAC_ADDR_SET: u8 = 1;

/// Bytes of class and command, which the data follow.
const HEADER_LEN: u32 = 2;
/// Bytes of an address.
const ADDRESS_LEN: u32 = 6;
/// Groups that are filtered by. A guest that wants more gets all: the table is the host's memory.
#[expect(clippy::cast_possible_truncation, reason = "64")]
const MAX_GROUPS: u32 = PortFilter::MOST_GROUPS as u32;

/// The address that the configuration space shows.
pub(super) type SharedAddress = Arc<Mutex<MacAddress>>;

/// What the guest has asked for. Its macvtap is as before when this is dropped.
#[derive(Debug)]
pub(super) struct ReceiveControl {
    filter: SharedFilter,
    features: u64,
    shown: SharedAddress,
    own: MacAddress,
    /// ALLMULTI; on until the driver has its say, so that one which never does misses nothing.
    wants_all: bool,
    /// None: too many.
    groups: Option<BTreeSet<[u8; 6]>>,
}

/// Why a command is answered with VIRTIO_NET_ERR.
#[derive(Debug)]
enum Refusal {
    /// It is not one that was offered, or makes no sense.
    Command,
    /// The host did not do it.
    Host(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

impl ReceiveControl {
    /// For a driver that negotiated `features`.
    pub(super) fn new(filter: SharedFilter, features: u64, shown: SharedAddress) -> Self {
        let own = *lock(&shown);
        Self {
            filter,
            features,
            shown,
            own,
            wants_all: true,
            groups: Some(BTreeSet::new()),
        }
    }

    /// Executes the command in `bytes`, of which `class` and `kind` were read.
    pub(super) fn execute(&mut self, class: u8, kind: u8, bytes: &Segments<'_>) -> u8 {
        let is_offered = |feature| self.features & feature != 0;
        let done = match (class, kind) {
            (CLASS_RX, RX_PROMISC) if is_offered(features::CTRL_RX) => self.set_promiscuous(bytes),
            (CLASS_RX, RX_ALLMULTI) if is_offered(features::CTRL_RX) => self.set_all(bytes),
            (CLASS_MAC, MAC_TABLE_SET) if is_offered(features::CTRL_RX) => self.set_table(bytes),
            (CLASS_MAC, MAC_ADDR_SET) if is_offered(features::CTRL_MAC_ADDR) => {
                self.set_address(bytes)
            }
            _ => Err(Refusal::Command),
        };
        if let Err(Refusal::Host(error)) = &done {
            static LIMIT: RateLimit = RateLimit::new();
            if LIMIT.allow() {
                tracing::warn!(%error, "a guest's receive filter is not applied to its macvtap");
            }
        }
        if done.is_ok() { OK } else { ERR }
    }

    fn set_promiscuous(&mut self, bytes: &Segments<'_>) -> Result<(), Refusal> {
        let on = read_switch(bytes)?;
        Ok(lock(&self.filter).set_promiscuous(on)?)
    }

    fn set_all(&mut self, bytes: &Segments<'_>) -> Result<(), Refusal> {
        self.wants_all = read_switch(bytes)?;
        self.apply_groups()
    }

    fn set_table(&mut self, bytes: &Segments<'_>) -> Result<(), Refusal> {
        let table = Table::read(bytes)?;
        self.groups = table.groups;
        self.apply_groups()?;
        // A macvtap has one address: the frames to others will not come, and the driver had better know.
        if table.has_addresses && !lock(&self.filter).takes_all_addresses() {
            return Err(Refusal::Command);
        }
        Ok(())
    }

    fn apply_groups(&self) -> Result<(), Refusal> {
        let groups = self.groups.as_ref().filter(|_| !self.wants_all);
        Ok(lock(&self.filter).set_groups(groups)?)
    }

    fn set_address(&mut self, bytes: &Segments<'_>) -> Result<(), Refusal> {
        let address: [u8; 6] = read(bytes, HEADER_LEN)?;
        // 5.1.6.5.2 speaks of the device's own address: neither a group's nor none.
        if is_group(address) || address == [0; 6] {
            return Err(Refusal::Command);
        }
        lock(&self.filter).set_address(address)?;
        // 5.1.6.5.2.1: before the command is consumed.
        *lock(&self.shown) = MacAddress(address);
        Ok(())
    }
}

impl Drop for ReceiveControl {
    fn drop(&mut self) {
        lock(&self.filter).restore();
        *lock(&self.shown) = self.own;
    }
}

/// The data of VIRTIO_NET_CTRL_MAC_TABLE_SET: two lists of addresses, of stations and of groups, each after its length.
#[derive(Debug)]
struct Table {
    has_addresses: bool,
    groups: Option<BTreeSet<[u8; 6]>>,
}

impl Table {
    fn read(bytes: &Segments<'_>) -> Result<Self, Refusal> {
        let (addresses, start) = read_list(bytes, HEADER_LEN)?;
        let (groups, start) = read_list(bytes, end_of(addresses, start)?)?;
        if end_of(groups, start)? > bytes.len() {
            return Err(Refusal::Command);
        }
        let has_addresses = addresses > 0;
        if groups > MAX_GROUPS {
            let groups = None;
            return Ok(Self {
                has_addresses,
                groups,
            });
        }
        let wanted = (0..groups).map(|number| {
            let group = read(bytes, end_of(number, start)?)?;
            // 5.1.6.5.2.2: the second list is of groups only.
            is_group(group).then_some(group).ok_or(Refusal::Command)
        });
        Ok(Self {
            has_addresses,
            groups: Some(wanted.collect::<Result<_, _>>()?),
        })
    }
}

/// Length of a list at `offset`, and where its addresses start.
fn read_list(bytes: &Segments<'_>, offset: u32) -> Result<(u32, u32), Refusal> {
    let entries = u32::from_le_bytes(read(bytes, offset)?);
    Ok((entries, offset.saturating_add(4)))
}

/// Where the address after `count` others is.
fn end_of(count: u32, start: u32) -> Result<u32, Refusal> {
    let len = count.checked_mul(ADDRESS_LEN);
    let end = len.and_then(|len| start.checked_add(len));
    end.ok_or(Refusal::Command)
}

fn read_switch(bytes: &Segments<'_>) -> Result<bool, Refusal> {
    let [value] = read(bytes, HEADER_LEN)?;
    Ok(value != 0)
}

fn read<const N: usize>(bytes: &Segments<'_>, offset: u32) -> Result<[u8; N], Refusal> {
    let mut value = [0; N];
    if bytes.read_at(offset, &mut value) < N {
        return Err(Refusal::Command);
    }
    Ok(value)
}

fn is_group(address: [u8; 6]) -> bool {
    address[0] & 1 != 0
}

fn lock<T: ?Sized>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "receive_test.rs"]
mod tests;
