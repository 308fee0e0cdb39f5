//! Messages of the vhost-user protocol (vhost-user.rst), sound or bent by an input.
use crate::{input::Input, session::Session};

/// Bytes of guest memory, where it is for the guest and for its VMM.
pub(crate) const MEMORY: u64 = 256 << 10;
const GUEST: u64 = 0x1_0000_0000;
const USER: u64 = 0x7000_0000_0000;
/// Each ring has this much for its areas; what is behind four of them is for buffers.
const RING: u64 = 0x4000;
const AVAIL: u64 = 0x1000;
const USED: u64 = 0x2000;
const SIZE: u16 = 16;

// Request codes, by their names in the specification.
const SET_FEATURES: u32 = 2;
const SET_OWNER: u32 = 3;
const SET_MEM_TABLE: u32 = 5;
const SET_LOG_BASE: u32 = 6;
const SET_VRING_NUM: u32 = 8;
const SET_VRING_ADDR: u32 = 9;
const SET_VRING_BASE: u32 = 10;
const GET_VRING_BASE: u32 = 11;
const SET_VRING_KICK: u32 = 12;
const SET_VRING_CALL: u32 = 13;
const SET_VRING_ERR: u32 = 14;
const SET_PROTOCOL_FEATURES: u32 = 16;
const SET_VRING_ENABLE: u32 = 18;
const SEND_RARP: u32 = 19;
const NET_SET_MTU: u32 = 20;
const GET_INFLIGHT_FD: u32 = 31;
const SET_INFLIGHT_FD: u32 = 32;
const ADD_MEM_REG: u32 = 37;
const REM_MEM_REG: u32 = 38;
const SET_STATUS: u32 = 39;
/// One more than the highest code that is assigned.
const CODES: u32 = 45;

const VERSION: u32 = 1;
const NEED_REPLY: u32 = 1 << 3;
const NO_FD: u64 = 1 << 8;
/// MQ, REPLY_ACK and CONFIGURE_MEM_SLOTS: offered by every version of the daemon.
const PROTOCOL: u64 = 1 | 1 << 3 | 1 << 15;
/// VERSION_1, protocol features, event index, indirect tables, mergeable buffers, offloads.
const FEATURES: u64 = 1 << 32 | 0b111 << 28 | 1 << 15 | 1 << 11 | 1 << 7 | 0b11;

/// What an attached fd is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fd {
    Memory,
    Kick,
    Call,
    ShortMemory,
    ReadEnd,
    WriteEnd,
    Null,
    Socket,
}

const KINDS: [Fd; 8] = [
    Fd::Memory,
    Fd::Kick,
    Fd::Call,
    Fd::ShortMemory,
    Fd::ReadEnd,
    Fd::WriteEnd,
    Fd::Null,
    Fd::Socket,
];

/// Fds of one message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fds(pub(crate) Vec<Fd>);

impl Fds {
    /// None to ten of any kind; the protocol takes eight at most.
    pub(crate) fn read(input: &mut Input<'_>) -> Self {
        let count = input.u8() % 11;
        Self(
            (0..count)
                .map(|_| KINDS[usize::from(input.u8()) % KINDS.len()])
                .collect(),
        )
    }
}

/// A message and its fds.
pub(crate) type Message = (Vec<u8>, Fds);

fn message(code: u32, body: Vec<u8>, fds: &[Fd]) -> Message {
    let flags = VERSION | NEED_REPLY;
    let size = u32::try_from(body.len()).unwrap_or(u32::MAX);
    (header(code, flags, size, body), Fds(fds.to_vec()))
}

fn header(code: u32, flags: u32, size: u32, body: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + body.len());
    for word in [code, flags, size] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(body);
    bytes
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// `struct vhost_vring_state`
fn state(index: u32, value: u32) -> Vec<u8> {
    let mut bytes = index.to_ne_bytes().to_vec();
    bytes.extend(value.to_ne_bytes());
    bytes
}

fn vring_address(index: u32) -> Vec<u8> {
    let start = USER + u64::from(index) * RING;
    let mut bytes = state(index, 0);
    bytes.extend(words(&[start, start + USED, start + AVAIL, 0]));
    bytes
}

fn table() -> Vec<u8> {
    let mut bytes = state(1, 0);
    bytes.extend(words(&[GUEST, MEMORY, USER, 0]));
    bytes
}

/// A whole sound handshake, or the part of it that the input wants: the way into the states behind it.
pub(crate) fn set_up(input: &mut Input<'_>) -> Vec<Message> {
    let parts = input.u8();
    let mut messages = Vec::new();
    if parts & 1 == 0 {
        messages.push(message(SET_OWNER, Vec::new(), &[]));
        messages.push(message(SET_FEATURES, words(&[FEATURES]), &[]));
        messages.push(message(SET_PROTOCOL_FEATURES, words(&[PROTOCOL]), &[]));
    }
    if parts & 2 == 0 {
        messages.push(message(SET_MEM_TABLE, table(), &[Fd::Memory]));
    }
    let rings = u32::from(parts >> 2) % 5;
    for index in 0..rings {
        messages.push(message(SET_VRING_NUM, state(index, SIZE.into()), &[]));
        messages.push(message(SET_VRING_BASE, state(index, 0), &[]));
        messages.push(message(SET_VRING_ADDR, vring_address(index), &[]));
        messages.push(message(SET_VRING_KICK, words(&[index.into()]), &[Fd::Kick]));
        messages.push(message(SET_VRING_CALL, words(&[index.into()]), &[Fd::Call]));
        messages.push(message(SET_VRING_ENABLE, state(index, 1), &[]));
    }
    messages
}

/// A message of the right form with values and fds of the input's choice; sometimes its header lies, or it is cut off.
pub(crate) fn bent(input: &mut Input<'_>) -> Message {
    let code = u32::from(input.u8()) % CODES;
    let mood = input.u8();
    let (mut body, mut fds) = sound(code, input);
    if mood & 1 != 0 {
        for _ in 0..input.u8() % 4 {
            let at = usize::from(input.u8());
            let value = input.u8();
            if let Some(byte) = body.get_mut(at) {
                *byte ^= value;
            }
        }
    }
    if mood & 0x0e == 0x0e {
        fds = Fds::read(input);
    }
    let mut flags = VERSION;
    if mood & 0x10 != 0 {
        flags |= NEED_REPLY;
    }
    let mut size = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if mood & 0xe0 == 0xe0 {
        flags = input.u32();
        size = input.u32();
    }
    if mood & 0xe0 == 0x60 {
        body.truncate(usize::from(input.u8()));
    }
    (header(code, flags, size, body), fds)
}

/// The body that the specification gives a request, and the fds that go with it.
fn sound(code: u32, input: &mut Input<'_>) -> (Vec<u8>, Fds) {
    let index = u32::from(input.u8() % 6);
    let (body, fds) = match code {
        SET_FEATURES => (words(&[FEATURES & !u64::from(input.u32())]), vec![]),
        SET_PROTOCOL_FEATURES => (words(&[PROTOCOL ^ u64::from(input.u16())]), vec![]),
        SET_MEM_TABLE => regions(input),
        SET_LOG_BASE => (words(&[MEMORY >> 12, 0]), vec![Fd::Memory]),
        SET_VRING_NUM => (state(index, 1 << (input.u8() % 17)), vec![]),
        SET_VRING_ADDR => (vring_address(index), vec![]),
        SET_VRING_BASE | GET_VRING_BASE => (state(index, input.u16().into()), vec![]),
        SET_VRING_KICK => (words(&[index.into()]), vec![Fd::Kick]),
        SET_VRING_CALL | SET_VRING_ERR if input.u8() & 1 == 0 => {
            (words(&[u64::from(index) | NO_FD]), vec![])
        }
        SET_VRING_CALL | SET_VRING_ERR => (words(&[index.into()]), vec![Fd::Call]),
        SET_VRING_ENABLE => (state(index, u32::from(input.u8() % 3)), vec![]),
        SEND_RARP | NET_SET_MTU | SET_STATUS => (words(&[input.u64()]), vec![]),
        GET_INFLIGHT_FD | SET_INFLIGHT_FD => {
            let mut body = words(&[u64::from(input.u16()), 0]);
            body.extend([2, 0, 16, 0, 0, 0, 0, 0]);
            (body, vec![Fd::Memory])
        }
        ADD_MEM_REG | REM_MEM_REG => {
            let mut body = words(&[0]);
            body.extend(region(input));
            (body, vec![Fd::Memory])
        }
        _ => (input.take(8).to_vec(), vec![]),
    };
    (body, Fds(fds))
}

fn regions(input: &mut Input<'_>) -> (Vec<u8>, Vec<Fd>) {
    let count = u32::from(input.u8() % 10);
    let mut body = state(count, 0);
    for _ in 0..count {
        body.extend(region(input));
    }
    let fds = (0..count).map(|_| Fd::Memory).collect();
    (body, fds)
}

/// Page-aligned and inside of the file more often than not.
fn region(input: &mut Input<'_>) -> Vec<u8> {
    let page = |n: u8| u64::from(n) << 12;
    let guest = GUEST + page(input.u8());
    let size = page(input.u8() % 66);
    let user = USER + page(input.u8());
    let offset = page(input.u8() % 64).min(MEMORY.saturating_sub(size));
    words(&[guest, size, user, offset])
}

/// Writes descriptors, ring entries, indices, virtio-net headers and frames into guest memory.
pub(crate) fn scribble(session: &Session, input: &mut Input<'_>) {
    let kind = input.u8();
    let ring = u64::from(kind >> 6) * RING;
    match kind % 8 {
        0 | 1 => {
            let index = u64::from(input.u8()) % u64::from(SIZE);
            let mut bytes = Vec::with_capacity(16);
            let place = u64::from(input.u16());
            bytes.extend((GUEST + 4 * RING + place).to_le_bytes());
            bytes.extend(u32::from(input.u16()).to_le_bytes());
            bytes.extend(u16::from(input.u8() % 8).to_le_bytes());
            bytes.extend(u16::from(input.u8() % 18).to_le_bytes());
            session.write(ring + 16 * index, &bytes);
        }
        2 | 3 => {
            let index = u16::from(input.u8());
            let heads: Vec<u8> = (0..SIZE)
                .flat_map(|slot| (slot ^ index >> 5).to_le_bytes())
                .collect();
            session.write(ring + AVAIL + 4, &heads);
            session.write(ring + AVAIL + 2, &(index % 32).to_le_bytes());
        }
        4 => session.write(ring + AVAIL + u64::from(input.u16() % 64), input.take(8)),
        _ => {
            let place = u64::from(input.u16());
            session.write(4 * RING + place, input.take(48));
        }
    }
}
