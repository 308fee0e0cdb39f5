//! Domain names as they are on the wire (RFC 1035, 3.1 and 4.1.4), always in lower case.
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::services::cursor::Put;

/// Longest name in octets, with its lengths and the root's zero (RFC 1035, 2.3.4).
pub(crate) const MAX_NAME: usize = 255;
const MAX_LABEL: usize = 63;
/// The two bits that tell a pointer from a label.
const POINTER: u8 = 0xc0;

/// A complete domain name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// labels with their lengths, and the zero at the end
    wire: Vec<u8>,
}

/// The text is not a domain name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a domain name: {0:?} (labels of 1 to 63 characters, separated by dots, 253 in all)")]
pub struct ParseNameError(String);

impl Name {
    /// The root.
    pub fn root() -> Self {
        Self { wire: vec![0] }
    }

    /// Reads the name at `offset` of a message; returns it and the offset behind it. None: it does not end within the message, is
    /// too long, has a label of an unknown kind, or a pointer that does not point backwards.
    pub(crate) fn parse(message: &[u8], offset: usize) -> Option<(Self, usize)> {
        let mut wire = Vec::with_capacity(32);
        let mut at = offset;
        let mut end = None;
        // Every pointer leads before the place where the labels that it ends began: there is no loop.
        let mut before = offset;
        loop {
            let len = *message.get(at)?;
            if len & POINTER == POINTER {
                let low = *message.get(at + 1)?;
                end.get_or_insert(at + 2);
                let target = usize::from(len & !POINTER) << 8 | usize::from(low);
                if target >= before {
                    return None;
                }
                at = target;
                before = target;
                continue;
            }
            if usize::from(len) > MAX_LABEL {
                return None;
            }
            let next = at + 1 + usize::from(len);
            let label = message.get(at + 1..next)?;
            wire.put_u8(len);
            wire.extend(label.iter().map(u8::to_ascii_lowercase));
            if wire.len() > MAX_NAME || (len != 0 && wire.len() == MAX_NAME) {
                return None;
            }
            at = next;
            if len == 0 {
                return Some((Self { wire }, end.unwrap_or(at)));
            }
        }
    }

    /// The octets without compression.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Whether it has no label.
    pub fn is_root(&self) -> bool {
        self.wire.len() == 1
    }

    /// The labels, first to last.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.wire.as_slice();
        std::iter::from_fn(move || {
            let (len, tail) = rest.split_first()?;
            let (label, tail) = tail.split_at_checked((*len).into())?;
            rest = tail;
            (!label.is_empty()).then_some(label)
        })
    }

    /// What is left without `domain` at the end. None: it is not within `domain`.
    pub(crate) fn without(&self, domain: &Self) -> Option<Self> {
        let mut at = 0;
        let suffixes = std::iter::from_fn(|| {
            let suffix = self.wire.get(at..)?;
            let here = at;
            at += 1 + usize::from(*suffix.first()?);
            Some((here, suffix))
        });
        let mut found = suffixes.filter(|(_, suffix)| *suffix == domain.wire);
        let (at, _) = found.next()?;
        let mut wire = self.wire.get(..at)?.to_vec();
        wire.put_u8(0);
        Some(Self { wire })
    }

    /// Both, one after the other. None: too long together.
    pub(crate) fn within(&self, domain: &Self) -> Option<Self> {
        let (_root, labels) = self.wire.split_last()?;
        let wire = [labels, &domain.wire].concat();
        (wire.len() <= MAX_NAME).then_some(Self { wire })
    }
}

impl FromStr for Name {
    type Err = ParseNameError;

    /// Parses labels separated by dots; a dot at the end is allowed.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseNameError(text.to_owned());
        let relative = text.strip_suffix('.').unwrap_or(text);
        if relative.is_empty() {
            return if text == "." {
                Ok(Self::root())
            } else {
                Err(error())
            };
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in relative.split('.') {
            let printable = label.bytes().all(|byte| byte.is_ascii_graphic());
            let len = u8::try_from(label.len()).map_err(|_| error())?;
            if !(1..=MAX_LABEL).contains(&label.len()) || !printable {
                return Err(error());
            }
            wire.put_u8(len);
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        wire.put_u8(0);
        if wire.len() > MAX_NAME {
            return Err(error());
        }
        Ok(Self { wire })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for (index, label) in self.labels().enumerate() {
            if index != 0 {
                f.write_str(".")?;
            }
            write!(f, "{}", label.escape_ascii())?;
        }
        Ok(())
    }
}

/// A list of names, each one's tail given by a pointer where an earlier one has it already (RFC 3397, 2).
pub(crate) fn compress_list(names: &[Name]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut known: Vec<(Vec<u8>, u16)> = Vec::new();
    for name in names {
        let mut suffix = name.wire();
        while suffix.len() > 1 {
            if let Some((_, at)) = known.iter().find(|(tail, _)| tail == suffix) {
                bytes.put_u16(u16::from(POINTER) << 8 | at);
                break;
            }
            // A pointer has 14 bits.
            if let Some(at) = u16::try_from(bytes.len()).ok().filter(|at| *at < 0x4000) {
                known.push((suffix.to_vec(), at));
            }
            let len = 1 + suffix.first().map_or(0, |len| usize::from(*len));
            let Some((label, rest)) = suffix.split_at_checked(len) else {
                break;
            };
            bytes.put(label);
            suffix = rest;
        }
        if suffix.len() <= 1 {
            bytes.put_u8(0);
        }
    }
    bytes
}

/// A list of names without compression, as RDNSS's companion DNSSL (RFC 8106, 5.2) and DHCPv6 (RFC 3646, 4) have it.
pub(crate) fn plain_list(names: &[Name]) -> Vec<u8> {
    names
        .iter()
        .flat_map(|name| name.wire().iter().copied())
        .collect()
}

#[cfg(test)]
#[path = "name_test.rs"]
mod tests;
