use super::*;
use crate::interrupt::InterruptController;
use crate::virtio::testing::FakeController;
use proptest::prelude::*;

const LAYOUT: MsixLayout = MsixLayout {
    bar: 2,
    table: 0x1000,
    pending: 0x2000,
};

fn msix(vectors: usize) -> Msix {
    let controller = FakeController::default();
    let vectors = (0..vectors).map(|_| controller.msi_vector().unwrap());
    Msix::new(LAYOUT, vectors.collect())
}

#[test]
fn capability_names_size_and_places() {
    let body = LAYOUT.capability(70);
    assert_eq!(body[..2], [69, 0]);
    assert_eq!(body[2..6], 0x1002u32.to_le_bytes());
    assert_eq!(body[6..], 0x2002u32.to_le_bytes());
}

#[test]
fn entries_are_masked_after_reset() {
    let mut msix = msix(2);
    let mut control = [0; 4];
    assert!(msix.read(2, 0x101c, &mut control));
    assert_eq!(control, [1, 0, 0, 0]);
    assert!(msix.write(2, 0x101c, &[0; 4]));
    assert!(msix.write(2, 0x1010, &0xfee0_1003_u32.to_le_bytes()));
    msix.set_control(0xffff);
    assert!(msix.enabled());
    assert_eq!(msix.state().table[1].address, 0xfee0_1000, "dword aligned");
    msix.reset();
    assert!(!msix.enabled());
    assert_eq!(msix.state().table, [MsixEntry::default(); 2]);
}

#[test]
fn qwords_fill_two_registers() {
    let mut msix = msix(1);
    assert!(msix.write(2, 0x1000, &0x1_fee0_0000u64.to_le_bytes()));
    assert!(msix.write(2, 0x1008, &[0x21, 0, 0, 0, 0, 0, 0, 0]));
    let entry = msix.state().table[0];
    assert_eq!(
        (entry.address, entry.data, entry.control),
        (0x1_fee0_0000, 0x21, 0)
    );
    let mut bytes = [0; 8];
    assert!(msix.read(2, 0x1000, &mut bytes));
    assert_eq!(u64::from_le_bytes(bytes), 0x1_fee0_0000);
}

#[test]
fn pending_bits_reach_beyond_the_first_qword() {
    let msix = msix(70);
    msix.eventfd(65).unwrap().write(1).unwrap();
    let mut bits = [0; 16];
    assert!(msix.read(2, 0x2000, &mut bits));
    assert_eq!(u128::from_le_bytes(bits), 1 << 65);
    assert!(msix.eventfd(70).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_access_is_harmless(
        accesses in proptest::collection::vec(
            (0..4u8, 0xf00..0x2100u64, proptest::collection::vec(any::<u8>(), 0..16), any::<u16>()),
            0..50,
        ),
    ) {
        let mut msix = msix(3);
        for (bar, offset, mut data, control) in accesses {
            msix.set_control(control);
            let claimed = msix.write(bar, offset, &data);
            prop_assert_eq!(msix.read(bar, offset, &mut data), claimed);
            prop_assert!(!claimed || bar == 2);
        }
        for entry in &msix.state().table {
            prop_assert_eq!(entry.address & 3, 0);
            prop_assert_eq!(entry.control & !1, 0);
        }
    }
}
