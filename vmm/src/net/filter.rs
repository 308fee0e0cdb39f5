//! Which frames come to a NIC, for guests that are trusted to say so.
use netbackend::direct::Filter;
use std::{
    collections::BTreeSet,
    fmt, io,
    sync::{Arc, Mutex},
};

/// What filters the frames that come to a NIC. Afresh it lets frames to the NIC's address and to all groups through.
pub trait ReceiveFilter: fmt::Debug + Send {
    /// Whether frames come to whatever address they are for.
    fn takes_all_addresses(&self) -> bool;
    /// The one address of which frames come.
    fn set_address(&mut self, address: [u8; 6]) -> io::Result<()>;
    /// The groups of which frames come; none: all.
    fn set_groups(&mut self, groups: Option<&BTreeSet<[u8; 6]>>) -> io::Result<()>;
    /// Whether every frame of the wire comes, as far as the network has it so.
    fn set_promiscuous(&mut self, promiscuous: bool) -> io::Result<()>;
    /// As it was afresh.
    fn restore(&mut self);
}

/// A filter that lives longer than the device that uses it.
pub type SharedFilter = Arc<Mutex<dyn ReceiveFilter>>;

impl ReceiveFilter for Filter {
    fn takes_all_addresses(&self) -> bool {
        self.takes_all_addresses()
    }

    fn set_address(&mut self, address: [u8; 6]) -> io::Result<()> {
        self.set_address(address)
    }

    fn set_groups(&mut self, groups: Option<&BTreeSet<[u8; 6]>>) -> io::Result<()> {
        self.set_groups(groups)
    }

    fn set_promiscuous(&mut self, promiscuous: bool) -> io::Result<()> {
        self.set_promiscuous(promiscuous)
    }

    fn restore(&mut self) {
        self.restore();
    }
}
