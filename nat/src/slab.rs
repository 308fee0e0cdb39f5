//! Things by small numbers that are used again.

/// Where a thing is, and which of those that were there it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    /// 24 bits, as many as a [`crate::Token`] has room for
    generation: u32,
    value: Option<T>,
}

/// A growing array with holes, which are filled first.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// The key that the next insertion will give.
    pub(crate) fn next_key(&self) -> Key {
        let new = Key {
            index: u32::try_from(self.entries.len()).unwrap_or(u32::MAX),
            generation: 0,
        };
        let reused = self.free.last().and_then(|&index| {
            let generation = self.entries.get(index as usize)?.generation;
            Some(Key { index, generation })
        });
        reused.unwrap_or(new)
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        match self.entries.get_mut(key.index as usize) {
            Some(entry) => {
                self.free.pop();
                entry.value = Some(value);
            }
            None => self.entries.push(Entry {
                generation: key.generation,
                value: Some(value),
            }),
        }
        key
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let entry = self.entries.get_mut(index as usize)?;
        let value = entry.value.take()?;
        entry.generation = (entry.generation + 1) & 0xff_ffff;
        self.free.push(index);
        Some(value)
    }

    /// Whatever is at an index now.
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        self.entries.get(index as usize)?.value.as_ref()
    }

    /// Whatever is at an index now.
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries.get_mut(index as usize)?.value.as_mut()
    }

    /// The index of a key, if what it was made for is still there.
    pub(crate) fn live(&self, key: Key) -> Option<u32> {
        let entry = self.entries.get(key.index as usize)?;
        (entry.generation == key.generation && entry.value.is_some()).then_some(key.index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..)
            .zip(&self.entries)
            .filter_map(|(index, entry)| Some((index, entry.value.as_ref()?)))
    }
}

#[cfg(test)]
#[path = "slab_test.rs"]
mod tests;
