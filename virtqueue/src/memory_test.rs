use super::*;
use crate::testing::{memfd, region};

const PAGE: u64 = 4096;

fn map(regions: Vec<RegionSpec>) -> Result<Arc<MemoryMap>, MapError> {
    MemoryMap::map(1, regions, SealPolicy::AllowUnsealed)
}

#[test]
fn bad_regions_are_refused() {
    let at = |guest_addr, user_addr, size, mmap_offset| RegionSpec {
        guest_addr,
        user_addr,
        size,
        mmap_offset,
        file: memfd(4 * PAGE),
    };
    let top = u64::MAX - PAGE + 1;
    assert!(matches!(map(vec![at(0, 0, 0, 0)]), Err(MapError::Empty(0))));
    for bad in [
        at(top, 0, PAGE, 0),
        at(0, top, PAGE, 0),
        at(0, 0, PAGE, top),
    ] {
        assert!(matches!(map(vec![bad]), Err(MapError::Overflow(_))));
    }
    for bad in [
        at(1, 0, PAGE, 0),
        at(0, 0, PAGE + 1, 0),
        at(0, 0, PAGE, 512),
    ] {
        assert!(matches!(map(vec![bad]), Err(MapError::Misaligned(_))));
    }
    for bad in [
        at(0, 0, 5 * PAGE, 0),
        at(0, 0, 4 * PAGE, PAGE),
        at(0, 0, PAGE, 4 * PAGE),
    ] {
        assert!(matches!(map(vec![bad]), Err(MapError::FileTooShort { .. })));
    }
}

#[test]
fn overlaps_are_refused_in_both_address_spaces() {
    let at = |guest_addr, user_addr| RegionSpec {
        guest_addr,
        user_addr,
        size: 2 * PAGE,
        mmap_offset: 0,
        file: memfd(2 * PAGE),
    };
    let far = 1 << 40;
    assert!(matches!(
        map(vec![at(PAGE, far), at(0, 0)]),
        Err(MapError::Overlap(0, PAGE))
    ));
    assert!(matches!(
        map(vec![at(0, 0), at(far, PAGE)]),
        Err(MapError::Overlap(0, _))
    ));
    assert!(map(vec![at(2 * PAGE, 2 * PAGE), at(0, 0)]).is_ok());
}

#[test]
fn a_file_that_cannot_be_mapped_is_refused() {
    let (pipe, _writer) = std::io::pipe().unwrap();
    let file = File::from(std::os::fd::OwnedFd::from(pipe));
    let spec = RegionSpec {
        guest_addr: 0,
        user_addr: 0,
        size: PAGE,
        mmap_offset: 0,
        file,
    };
    assert!(matches!(
        map(vec![spec]),
        Err(MapError::FileTooShort { actual: 0, .. })
    ));
    let file = File::open("/dev/zero").unwrap();
    let spec = RegionSpec {
        guest_addr: 0,
        user_addr: 0,
        size: PAGE,
        mmap_offset: 0,
        file,
    };
    assert!(map(vec![spec]).is_err());
}

#[test]
fn more_regions_than_slots_are_refused() {
    let many = (0..=MAX_REGIONS as u64)
        .map(|i| region(i * 2 * PAGE, PAGE))
        .collect();
    assert!(matches!(map(many), Err(MapError::TooMany)));
}

#[test]
fn seals_are_asked_for_when_the_policy_says_so() {
    let refused = MemoryMap::map(1, vec![region(0, PAGE)], SealPolicy::RequireSealed);
    assert!(matches!(refused, Err(MapError::NotSealed(0))));
    let spec = region(0, PAGE);
    // SAFETY: adding a seal touches no memory.
    let sealed = unsafe {
        libc::fcntl(
            spec.file.as_raw_fd(),
            libc::F_ADD_SEALS,
            libc::F_SEAL_SHRINK,
        )
    };
    assert_eq!(sealed, 0);
    assert!(MemoryMap::map(1, vec![spec], SealPolicy::RequireSealed).is_ok());
}

#[test]
fn accesses_cross_adjacent_regions_and_stop_at_holes() {
    let map = map(vec![
        region(4 * PAGE, PAGE),
        region(0, PAGE),
        region(PAGE, PAGE),
    ])
    .unwrap();
    let bytes: Vec<u8> = (0..=99).collect();
    assert!(map.write(PAGE - 50, &bytes));
    let mut back = vec![0; 100];
    assert!(map.read(PAGE - 50, &mut back));
    assert_eq!(back, bytes);
    assert!(!map.write(2 * PAGE - 50, &bytes), "runs into the hole");
    assert!(map.read(2 * PAGE - 50, &mut back[..50]));
    assert_eq!(back[..50], [0; 50], "nothing was written");
    for addr in [
        2 * PAGE,
        4 * PAGE - 1,
        5 * PAGE - 99,
        5 * PAGE,
        u64::MAX - 10,
    ] {
        assert!(!map.read(addr, &mut back), "{addr:#x}");
    }
    assert!(
        map.contiguous(PAGE - 1, 2).is_none(),
        "a ring never crosses regions"
    );
}

#[test]
fn front_end_addresses_translate() {
    let map = map(vec![region(0, PAGE), region(4 * PAGE, PAGE)]).unwrap();
    let user = 1 << 40;
    assert_eq!(map.user_to_guest(user), Some(0));
    assert_eq!(map.user_to_guest(user + 4 * PAGE + 7), Some(4 * PAGE + 7));
    for missing in [0, user + PAGE, user + 5 * PAGE, u64::MAX] {
        assert_eq!(map.user_to_guest(missing), None, "{missing:#x}");
    }
}

#[test]
fn regions_come_and_go_and_the_others_stay_mapped() {
    let first = map(vec![region(0, PAGE)]).unwrap();
    assert!(first.write(0, b"kept"));
    let second = first
        .with_region(region(4 * PAGE, PAGE), SealPolicy::AllowUnsealed)
        .unwrap();
    assert_eq!((first.region_count(), second.region_count()), (1, 2));
    assert!(second.generation() > first.generation());
    assert!(
        first
            .with_region(region(0, PAGE), SealPolicy::AllowUnsealed)
            .is_err()
    );
    let user = (1 << 40) + 4 * PAGE;
    assert!(matches!(
        second.without_region(4 * PAGE, user, 2 * PAGE),
        Err(MapError::NoSuchRegion(_))
    ));
    let third = second.without_region(4 * PAGE, user, PAGE).unwrap();
    drop((first, second));
    let mut bytes = [0; 4];
    assert!(third.read(0, &mut bytes) && !third.read(4 * PAGE, &mut bytes));
    assert_eq!(&bytes, b"kept");
}

#[test]
fn the_same_region_is_known_by_its_place_and_its_file() {
    let file = memfd(4 * PAGE);
    let spec = |guest_addr, user_addr, size, mmap_offset, file: &File| RegionSpec {
        guest_addr,
        user_addr,
        size,
        mmap_offset,
        file: file.try_clone().unwrap(),
    };
    let map = map(vec![spec(PAGE, 8 * PAGE, 2 * PAGE, PAGE, &file)]).unwrap();
    assert!(map.has(&spec(PAGE, 8 * PAGE, 2 * PAGE, PAGE, &file)));
    for other in [
        spec(0, 8 * PAGE, 2 * PAGE, PAGE, &file),
        spec(PAGE, 9 * PAGE, 2 * PAGE, PAGE, &file),
        spec(PAGE, 8 * PAGE, PAGE, PAGE, &file),
        spec(PAGE, 8 * PAGE, 2 * PAGE, 0, &file),
        spec(PAGE, 8 * PAGE, 2 * PAGE, PAGE, &memfd(4 * PAGE)),
    ] {
        assert!(!map.has(&other), "{other:?}");
    }
}

#[test]
fn what_touches_no_region_is_clear() {
    let map = map(vec![RegionSpec {
        guest_addr: 4 * PAGE,
        user_addr: 8 * PAGE,
        size: 2 * PAGE,
        mmap_offset: 0,
        file: memfd(2 * PAGE),
    }])
    .unwrap();
    for (guest, user, size) in [(0, 0, 4), (6, 10, 2), (0, 10, 4), (6, 0, 8)] {
        assert!(map.is_clear(guest * PAGE, user * PAGE, size * PAGE));
    }
    for (guest, user, size) in [(4, 8, 2), (0, 0, 5), (5, 10, 1), (6, 9, 1), (0, 0, 100)] {
        assert!(!map.is_clear(guest * PAGE, user * PAGE, size * PAGE));
    }
    for (guest, user) in [(u64::MAX, 0), (0, u64::MAX)] {
        assert!(!map.is_clear(guest, user, PAGE), "wraps");
    }
}

/// Many regions take the search, few the scan: both must agree with the list.
#[test]
fn translation_is_the_same_for_few_and_many_regions() {
    for count in [1u64, 8, 9, 40] {
        let map = map((0..count).map(|i| region(i * 3 * PAGE, 2 * PAGE)).collect()).unwrap();
        for page in 0..3 * count + 2 {
            let mapped = page < 3 * count && page % 3 < 2;
            let mut byte = [0];
            assert_eq!(
                map.read(page * PAGE + 5, &mut byte),
                mapped,
                "{count} regions, page {page}"
            );
        }
    }
}
