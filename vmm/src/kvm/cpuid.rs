//! What CPUID tells the guest: KVM's own answer, with each vCPU's identity and the topology of one package.

use kvm_bindings::CpuId;

/// Leaf 1 ECX: a hypervisor is present.
const HYPERVISOR: u32 = 1 << 31;
/// Leaf 1 EDX: several logical processors per package.
const HTT: u32 = 1 << 28;

/// Leaf 1 ECX: the local APIC's timer can be set to a TSC value. KVM's own answer leaves it out, because it knows nothing yet of
/// the in-kernel irqchip that the timer needs.
const TSC_DEADLINE: u32 = 1 << 24;

/// Who a vCPU is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    /// Its number, which is its APIC id.
    pub(super) index: u8,
    /// Number of vCPUs, all in one package, one thread per core.
    pub(super) count: u8,
    /// Whether KVM has the TSC deadline timer.
    pub(super) tsc_deadline: bool,
}

/// Fits `cpuid` to one vCPU.
pub(super) fn adjust(cpuid: &mut CpuId, identity: Identity) {
    let apic_id = u32::from(identity.index);
    let threads = u32::from(identity.count);
    // Bits of an APIC id below the package number.
    let core_bits = u32::BITS - (threads.max(1) - 1).leading_zeros();
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            // SDM volume 2A, CPUID: feature information.
            0x1 => {
                entry.ecx |= HYPERVISOR;
                if identity.tsc_deadline {
                    entry.ecx |= TSC_DEADLINE;
                }
                entry.ebx = (entry.ebx & 0x0000_FFFF) | (apic_id << 24) | (threads << 16);
                if threads > 1 {
                    entry.edx |= HTT;
                } else {
                    entry.edx &= !HTT;
                }
            }
            // Deterministic cache parameters: cores per package minus one (Intel).
            0x4 => entry.eax = (entry.eax & 0x03FF_FFFF) | ((threads - 1) << 26),
            // Extended topology: level 0 threads, level 1 cores.
            0xB | 0x1F => {
                entry.edx = apic_id;
                match entry.index {
                    0 => {
                        entry.eax = 0;
                        entry.ebx = 1;
                        entry.ecx = 1 << 8;
                    }
                    1 => {
                        entry.eax = core_bits;
                        entry.ebx = threads;
                        entry.ecx = (2 << 8) | 1;
                    }
                    _ => {
                        entry.eax = 0;
                        entry.ebx = 0;
                        entry.ecx = entry.index;
                    }
                }
            }
            // AMD: number of cores and width of the core id (APM volume 3, E.4.7).
            0x8000_0008 => entry.ecx = (core_bits << 12) | (threads - 1),
            // AMD: extended APIC id, one thread per core, node 0.
            0x8000_001E => {
                entry.eax = apic_id;
                entry.ebx = apic_id;
                entry.ecx = 0;
            }
            _ => {}
        }
    }
}
