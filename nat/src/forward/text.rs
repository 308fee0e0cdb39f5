//! How a forward is written: `tcp:127.0.0.1%lo:8000-8010=web:80,preserve-source`.
use super::{Forward, GuestRef, Transport};
use std::fmt;
use std::net::IpAddr;

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl fmt::Display for Forward {
    /// In the one spelling that always says the same of the same forward.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.transport)?;
        if let Some(address) = self.address {
            write_address(f, address)?;
        }
        if let Some(interface) = &self.interface {
            write!(f, "%{interface}")?;
        }
        if self.address.is_some() || self.interface.is_some() {
            f.write_str(":")?;
        }
        write!(f, "{}", self.first_port)?;
        if self.last_port != self.first_port {
            write!(f, "-{}", self.last_port)?;
        }
        f.write_str("=")?;
        match &self.guest {
            GuestRef::Address(address) => write_address(f, *address)?,
            GuestRef::Name(name) => f.write_str(name)?,
            GuestRef::Any => {}
        }
        write!(f, ":{}", self.guest_port)?;
        if self.preserve_source {
            f.write_str(",preserve-source")?;
        }
        Ok(())
    }
}

fn write_address(f: &mut fmt::Formatter<'_>, address: IpAddr) -> fmt::Result {
    match address {
        IpAddr::V4(v4) => write!(f, "{v4}"),
        IpAddr::V6(v6) => write!(f, "[{v6}]"),
    }
}
