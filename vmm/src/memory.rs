//! Guest RAM on one sealed memfd, shared with vhost-user back-ends.
use std::sync::Arc;
use virtqueue::MemoryMap;
use vm_memory::GuestMemoryMmap;

/// Guest RAM: below the 32-bit hole and, if larger, above 4 GiB.
#[derive(Debug, Clone)]
pub struct GuestRam {
    /// For the loader, KVM slots and the vhost-user memory table (regions carry their file offset).
    pub mmap: GuestMemoryMmap,
    /// The same mappings for device-side rings.
    pub map: Arc<MemoryMap>,
}
