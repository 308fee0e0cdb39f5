//! What memory may be mapped from.
//!
//! Each first touch of a mapped page asks the file's file system for it, and waits. One that a program serves (FUSE), or another
//! machine, may never answer; who touches the page then is our datapath.
#![expect(unsafe_code, reason = "fstatfs(2), which fills a structure in")]
use std::{fs::File, io, mem::MaybeUninit, os::fd::AsRawFd};

/// Types of such file systems (`statfs(2)`, linux/magic.h and fs/smb/client/cifsfs.h).
const SERVED: [u32; 9] = [
    0x6573_5546, // FUSE, virtiofs too
    0x0000_6969, // NFS
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB 2 and 3
    0x0000_517b, // SMB 1
    0x0102_1997, // 9P
    0x00c3_6400, // Ceph
    0x5346_414f, // AFS
    0x7375_7245, // Coda
];

/// Whether the file lies where a page of it may never come from.
pub(crate) fn may_never_answer(file: &File) -> io::Result<bool> {
    let mut stat = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the kernel writes one statfs to where there is room for it.
    let result = unsafe { libc::fstatfs(file.as_raw_fd(), stat.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fstatfs has succeeded, so all of it is written.
    let stat = unsafe { stat.assume_init() };
    Ok(is_served(stat.f_type))
}

/// Of the number only the lower half counts: it has a sign where it should not.
fn is_served(kind: i64) -> bool {
    let [b0, b1, b2, b3, ..] = kind.to_le_bytes();
    SERVED.contains(&u32::from_le_bytes([b0, b1, b2, b3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_this_machine_answer() {
        let file = File::open("/proc/self/maps").unwrap();
        assert!(!may_never_answer(&file).unwrap());
        for kind in [0x0102_1994, 0x9584_58f6, 0xef53, 0x5846_5342, 0x9123_683e] {
            assert!(!is_served(kind), "{kind:#x}");
        }
    }

    #[test]
    fn those_of_a_program_or_of_another_machine_may_not() {
        for kind in [
            libc::FUSE_SUPER_MAGIC,
            libc::NFS_SUPER_MAGIC,
            libc::SMB_SUPER_MAGIC,
        ] {
            assert!(is_served(kind), "{kind:#x}");
        }
        // As a kernel gives it that extends the sign.
        assert!(is_served(i64::from(0xff53_4d42_u32.cast_signed())));
    }
}
