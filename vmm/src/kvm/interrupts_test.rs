//! Interrupts and doorbells on the KVM of this machine, seen in the registers of its interrupt controllers.

use std::{
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use kvm_bindings::KVM_MAX_CPUID_ENTRIES;
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd};
use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::{kvm::Vm, memory::GuestRam};

const VECTOR: u8 = 0x51;
const MESSAGE: MsiMessage = MsiMessage {
    address: 0xFEE0_0000, // to APIC 0
    data: VECTOR as u32,
};

struct Machine {
    ram: GuestRam,
    vm: Vm,
    vcpu: VcpuFd,
    interrupts: KvmInterrupts,
}

/// `None` where there is no KVM, which is said past the capture of test output.
fn machine() -> Option<Machine> {
    if !Path::new("/dev/kvm").exists() {
        let _ = writeln!(io::stderr(), "NOT RUN: this machine has no /dev/kvm");
        return None;
    }
    let ram = GuestRam::new(32 << 20, false).unwrap();
    let vm = Vm::new(ram.clone()).unwrap();
    let vcpu = vm.fd().create_vcpu(0).unwrap();
    let kvm = Kvm::new().unwrap();
    let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).unwrap();
    vcpu.set_cpuid2(&cpuid).unwrap();
    // A local APIC takes interrupts once bit 8 of its spurious vector register is set (SDM volume 3A, 11.9).
    let mut lapic = vcpu.get_lapic().unwrap();
    lapic.regs[0xF1] |= 1;
    vcpu.set_lapic(&lapic).unwrap();
    let interrupts = KvmInterrupts::new(vm.fd(), vm.kept(), Bus::default()).unwrap();
    Some(Machine {
        ram,
        vm,
        vcpu,
        interrupts,
    })
}

/// Whether `vector` waits in the local APIC's interrupt request register (0x200, 32 vectors in every 16 bytes).
fn is_requested(vcpu: &VcpuFd, vector: u8) -> bool {
    let lapic = vcpu.get_lapic().unwrap();
    let (word, bit) = (usize::from(vector / 32), vector % 32);
    lapic.regs[0x200 + word * 16 + usize::from(bit / 8)].cast_unsigned() >> (bit % 8) & 1 != 0
}

fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "it did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn an_event_of_a_masked_vector_waits_for_its_route() {
    let Some(machine) = machine() else { return };
    let vector = machine.interrupts.msi_vector().unwrap();
    vector.eventfd().write(1).unwrap();
    assert!(!is_requested(&machine.vcpu, VECTOR));
    vector.set_route(Some(MESSAGE)).unwrap();
    wait_until(|| is_requested(&machine.vcpu, VECTOR));
}

#[test]
fn a_vector_follows_its_route_and_is_silent_once_masked() {
    let Some(machine) = machine() else { return };
    let vector = machine.interrupts.msi_vector().unwrap();
    vector.set_route(Some(MESSAGE)).unwrap();
    let moved = VECTOR + 1;
    vector
        .set_route(Some(MsiMessage {
            data: moved.into(),
            ..MESSAGE
        }))
        .unwrap();
    vector.eventfd().write(1).unwrap();
    wait_until(|| is_requested(&machine.vcpu, moved));
    assert!(!is_requested(&machine.vcpu, VECTOR));

    vector.set_route(None).unwrap();
    vector.eventfd().write(1).unwrap();
    assert_eq!(
        vector.eventfd().read().unwrap(),
        1,
        "it stays in the eventfd"
    );
}

#[test]
fn a_route_that_failed_can_be_set_again() {
    let Some(machine) = machine() else { return };
    let vector = machine.interrupts.msi_vector().unwrap();
    let vm = machine.vm.fd();
    // An eventfd is good for one interrupt only.
    vm.register_irqfd(vector.eventfd(), 5).unwrap();
    vector.set_route(Some(MESSAGE)).unwrap_err();
    vm.unregister_irqfd(vector.eventfd(), 5).unwrap();
    vector.set_route(Some(MESSAGE)).unwrap();
    vector.eventfd().write(1).unwrap();
    wait_until(|| is_requested(&machine.vcpu, VECTOR));
}

#[test]
fn numbers_of_vectors_that_are_gone_are_used_again() {
    let Some(machine) = machine() else { return };
    for _ in 0..2 * MAX_GSI {
        drop(machine.interrupts.msi_vector().unwrap());
    }
    let many: Vec<_> = (0..200)
        .map(|_| machine.interrupts.msi_vector().unwrap())
        .collect();
    for vector in &many {
        vector.set_route(Some(MESSAGE)).unwrap();
    }
}

/// Level of an I/O APIC pin.
#[expect(unsafe_code, reason = "a union of KVM's")]
fn is_high(machine: &Machine, pin: u32) -> bool {
    let mut chip = kvm_bindings::kvm_irqchip {
        chip_id: KVM_IRQCHIP_IOAPIC,
        ..Default::default()
    };
    machine.vm.fd().get_irqchip(&mut chip).unwrap();
    // SAFETY: KVM has filled in the state of the chip that was asked for, of plain integers.
    let irr = unsafe { chip.chip.ioapic.irr };
    irr >> pin & 1 != 0
}

#[test]
fn a_shared_line_is_up_while_anybody_holds_it() {
    let Some(machine) = machine() else { return };
    let gsi = intx_gsi(1, 0);
    let mut slots = (2..32).filter(|slot| intx_gsi(*slot, 0) == gsi);
    let (first, second, other) = (1, slots.next().unwrap(), 2);
    let line = |slot| machine.interrupts.intx(slot, 0).unwrap();
    let (first, second, other) = (line(first), line(second), line(other));
    for level in [true, false] {
        // Said twice is said once.
        first.set(true);
        first.set(true);
        assert!(is_high(&machine, gsi));
        second.set(true);
        first.set(false);
        first.set(false);
        assert!(is_high(&machine, gsi), "the second holds it");
        other.set(level);
        assert!(is_high(&machine, gsi), "that is another line");
        second.set(false);
        assert!(!is_high(&machine, gsi));
        assert_eq!(is_high(&machine, intx_gsi(2, 0)), level);
    }
}

/// Writes 0x40 and 0x41 to port 0x1010, from the start; what the first exit brings.
fn first_byte_out(machine: &mut Machine) -> u8 {
    const CODE: u64 = 0x1000;
    // mov dx, 0x1010; mov al, 0x40; out dx, al; inc al; out dx, al
    let code = [0xBA, 0x10, 0x10, 0xB0, 0x40, 0xEE, 0xFE, 0xC0, 0xEE];
    let memory = &machine.ram.mmap;
    memory.write_slice(&code, GuestAddress(CODE)).unwrap();
    let vcpu = &mut machine.vcpu;
    let mut sregs = vcpu.get_sregs().unwrap();
    (sregs.cs.base, sregs.cs.selector) = (0, 0);
    vcpu.set_sregs(&sregs).unwrap();
    let mut regs = vcpu.get_regs().unwrap();
    (regs.rip, regs.rflags) = (CODE, 2);
    vcpu.set_regs(&regs).unwrap();
    match vcpu.run().unwrap() {
        VcpuExit::IoOut(0x1010, [byte]) => *byte,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_byte_that_is_a_doorbell_signals_and_others_come() {
    let Some(mut machine) = machine() else { return };
    let event = EventFd::new(EFD_NONBLOCK).unwrap();
    let address = DoorbellAddress::Pio(0x1010);
    machine
        .interrupts
        .add_byte_doorbell(address, 0x40, &event)
        .unwrap();
    assert_eq!(first_byte_out(&mut machine), 0x41);
    assert_eq!(event.read().unwrap(), 1);
    machine
        .interrupts
        .remove_byte_doorbell(address, 0x40, &event)
        .unwrap();
    assert_eq!(first_byte_out(&mut machine), 0x40);
    event.read().unwrap_err();
}
