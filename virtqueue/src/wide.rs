//! Small numbers as a CPU likes them.

/// A 16-bit number that is stored and loaded as 32 bits. The compiler loads a `u16` as 32 bits where it may, and after a store of 16 a
/// CPU can answer such a load only once that store, and all before it, have left for the cache: with each chain a driver
/// would wait for lines that the device holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wide(u32);

impl Wide {
    #[inline]
    pub(crate) fn new(value: u16) -> Self {
        Self(value.into())
    }

    #[inline]
    pub(crate) fn get(self) -> u16 {
        let [low, high, ..] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }
}
