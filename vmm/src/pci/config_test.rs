use super::*;

fn config() -> ConfigSpace {
    ConfigSpace::new(&Identity {
        vendor: 0x8086,
        device: 0x100e,
        revision: 3,
        class: 0x02_00_00,
        subsystem_vendor: 0x1af4,
        subsystem: 0x1100,
    })
}

#[test]
fn header_shows_the_identity() {
    let config = config();
    assert_eq!(config.u32(spec::VENDOR_ID), 0x100e_8086);
    assert_eq!(config.u32(spec::REVISION_ID), 0x0200_0003);
    assert_eq!(config.u32(spec::SUBSYSTEM_VENDOR_ID), 0x1100_1af4);
    assert_eq!(config.u16(spec::STATUS) & spec::STATUS_CAPABILITIES, 0);
}

#[test]
fn writes_go_through_the_mask() {
    let mut config = config();
    config.write(0, &[0xff; CONFIG_SPACE_LEN]);
    assert_eq!(config.u32(spec::VENDOR_ID), 0x100e_8086);
    assert_eq!(config.u16(spec::COMMAND), 0x0547);
    config.write(spec::COMMAND + 1, &[0]);
    assert_eq!(config.u16(spec::COMMAND), 0x0047);
}

#[test]
fn error_bits_of_status_clear_by_writing_ones() {
    let mut config = config();
    config.set_u16(spec::STATUS, 0xf910);
    config.write(spec::STATUS, &0x8000u16.to_le_bytes());
    assert_eq!(config.u16(spec::STATUS), 0x7910);
    config.write(spec::STATUS, &[0; 2]);
    assert_eq!(config.u16(spec::STATUS), 0x7910);
}

#[test]
fn capabilities_form_a_list_until_there_is_no_room() {
    let mut config = config();
    let first = config.add_capability(spec::CAP_VENDOR, &[0; 3]).unwrap();
    let second = config.add_capability(spec::CAP_MSIX, &[0; 10]).unwrap();
    assert_eq!((first, second), (0x40, 0x48));
    assert_eq!(config.u32(spec::CAPABILITIES_POINTER), 0x40);
    assert_eq!(config.u16(0x40), 0x4809);
    assert_eq!(config.u16(0x48), 0x0011);
    assert_ne!(config.u16(spec::STATUS) & spec::STATUS_CAPABILITIES, 0);
    assert!(config.add_capability(spec::CAP_VENDOR, &[0; 200]).is_err());
}

#[test]
fn accesses_past_the_end_are_harmless() {
    let mut config = config();
    let mut data = [0; 8];
    config.read(0xfe, &mut data);
    assert_eq!(data, [0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    config.read(0xffff, &mut data);
    assert_eq!(data, [0xff; 8]);
    config.write(0xfe, &[0xff; 8]);
    config.write(0xffff, &[0xff; 8]);
}
