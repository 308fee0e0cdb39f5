use super::*;
use std::os::fd::OwnedFd;

const SPLIT: Layout = Layout::SPLIT;
const PACKED: Layout = Layout::PACKED;

fn asked(queues: u16, size: u16) -> VhostUserInflight {
    VhostUserInflight::new(0, 0, queues, size)
}

fn memory(len: u64) -> File {
    let fd: OwnedFd = memfd_create(c"test", MFdFlags::empty()).unwrap();
    let file = File::from(fd);
    file.set_len(len).unwrap();
    file
}

#[test]
fn a_fresh_region_has_the_layout_of_the_specification() {
    let (region, file) = create(&asked(2, 256), SPLIT, 2).unwrap();
    assert_eq!(
        (
            region.mmap_size,
            region.mmap_offset,
            region.num_queues,
            region.queue_size
        ),
        (2 * (16 + 256 * 16), 0, 2, 256)
    );
    assert_eq!(file.metadata().unwrap().len(), region.mmap_size);
    for at in [0, 16 + 256 * 16] {
        let mut header = [0xff; 16];
        file.read_exact_at(&mut header, at).unwrap();
        // features, version 1, 256 entries, last_batch_head, used_idx.
        assert_eq!(header, [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0]);
    }
    assert!(file.set_len(0).is_err(), "can be truncated");
    adopt(&region, &file, SPLIT, 2).unwrap();
}

#[test]
fn shapes_that_cannot_be() {
    for (queues, size) in [(0, 256), (3, 256), (u16::MAX, 1), (2, 0), (2, 32_769)] {
        assert!(matches!(
            create(&asked(queues, size), SPLIT, 2),
            Err(InflightError::Shape { .. })
        ));
        let region = VhostUserInflight::new(1 << 20, 0, queues, size);
        let refused = adopt(&region, &memory(1 << 20), SPLIT, 2);
        assert!(matches!(refused, Err(InflightError::Shape { .. })));
    }
    // The largest that can be.
    create(&asked(2, 32_768), SPLIT, 2).unwrap();
}

#[test]
fn regions_that_are_not_there() {
    let needed = SPLIT.queue_len(64);
    let cases = [
        (needed - 1, 0, needed),
        (needed, 1, needed),
        (needed, u64::MAX, needed),
        (u64::MAX, 1, needed),
        (needed, 0, needed - 1),
        (needed, 0, 0),
    ];
    for (len, offset, file) in cases {
        let region = VhostUserInflight::new(len, offset, 1, 64);
        let refused = adopt(&region, &memory(file), SPLIT, 2);
        assert!(
            matches!(refused, Err(InflightError::Size { .. })),
            "{len} {offset} {file}"
        );
    }
    // A directory has a length, too.
    let region = VhostUserInflight::new(needed, 0, 1, 64);
    assert!(adopt(&region, &File::open("/proc").unwrap(), SPLIT, 2).is_err());
}

#[test]
fn an_unused_region_is_made_usable() {
    let needed = SPLIT.queue_len(64);
    let file = memory(4096 + needed);
    let region = VhostUserInflight::new(needed, 4096, 1, 64);
    adopt(&region, &file, SPLIT, 2).unwrap();
    let mut header = [0; 16];
    file.read_exact_at(&mut header, 4096).unwrap();
    assert_eq!(header[8..12], [1, 0, 64, 0]);
}

#[test]
fn what_another_back_end_left_is_refused() {
    let (region, file) = create(&asked(2, 1024), SPLIT, 2).unwrap();
    for chain in [3, 1023] {
        file.write_all_at(&[1], SPLIT.queue_len(1024) + 16 + chain * 16)
            .unwrap();
    }
    let refused = adopt(&region, &file, SPLIT, 2);
    assert!(
        matches!(refused, Err(InflightError::Recorded(2, 1))),
        "{refused:?}"
    );
    file.write_all_at(&[2, 0], VERSION_AT).unwrap();
    assert!(matches!(
        adopt(&region, &file, SPLIT, 2),
        Err(InflightError::Version(2))
    ));
}

#[test]
fn a_region_of_packed_rings_has_the_layout_of_the_specification() {
    let (region, file) = create(&asked(2, 256), PACKED, 2).unwrap();
    assert_eq!(region.mmap_size, 2 * (32 + 256 * 32));
    for at in [0, 32 + 256 * 32] {
        let mut header = [0xff; 32];
        file.read_exact_at(&mut header, at).unwrap();
        // features, version 1, 256 entries, free_head, used_idx and their old values, both wrap counters.
        let mut expected = [0; 32];
        expected[8..12].copy_from_slice(&[1, 0, 0, 1]);
        expected[20..22].copy_from_slice(&[1, 1]);
        assert_eq!(header, expected);
    }
    adopt(&region, &file, PACKED, 2).unwrap();
    file.write_all_at(&[1], PACKED.queue_len(256) + 32 + 255 * 32)
        .unwrap();
    assert!(matches!(
        adopt(&region, &file, PACKED, 2),
        Err(InflightError::Recorded(1, 1))
    ));
}
