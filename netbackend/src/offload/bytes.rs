//! Big-endian fields in slices, checked.

/// The field at an offset; `None`: beyond the slice.
#[inline]
pub(super) fn get<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[inline]
pub(super) fn get_u8(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

#[inline]
pub(super) fn get_u16(bytes: &[u8], at: usize) -> Option<u16> {
    get(bytes, at).map(u16::from_be_bytes)
}

#[inline]
pub(super) fn get_u32(bytes: &[u8], at: usize) -> Option<u32> {
    get(bytes, at).map(u32::from_be_bytes)
}

/// Overwrites the field at an offset; `None`: beyond the slice, and nothing is written.
#[inline]
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = field;
    Some(())
}
