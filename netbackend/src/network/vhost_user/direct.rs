//! Messages that crate `vhost` 0.18 does not serve, or not when front-ends send them.
//!
//! The loop looks at the next message without taking it and serves these itself:
//! * SET_VRING_ENABLE before SET_FEATURES: QEMU enables rings while its device is being reset, before it has acknowledged
//!   any feature. The spec allows it; the crate answers it with an error.
//! * SET_BACKEND_REQ_FD: the crate would send to the front-end's channel and wait until there is room.
//! * SEND_RARP, NET_SET_MTU, GET_STATUS and SET_STATUS, which the crate does not know as a back-end.
//!
//! And it ends a connection that would get a ring it did not name: the crate takes the index of SET_VRING_KICK, CALL and ERR
//! from the lowest byte, whatever stands above.
use super::{
    handler::{Handler, RequestError},
    message::{self, Head},
};
use std::{
    os::unix::net::UnixStream,
    sync::{Mutex, PoisonError},
};
use switch::MacAddr;
use vhost::vhost_user::{Error as ProtocolError, VhostUserProtocolFeatures};

// Request codes (vhost-user.rst, "Front-end message types").
const SET_VRING_KICK: u32 = 12;
const SET_VRING_CALL: u32 = 13;
const SET_VRING_ERR: u32 = 14;
const SET_VRING_ENABLE: u32 = 18;
const SEND_RARP: u32 = 19;
const NET_SET_MTU: u32 = 20;
const SET_BACKEND_REQ_FD: u32 = 21;
const SET_STATUS: u32 = 39;
const GET_STATUS: u32 = 40;

/// Bits 0 to 7 are a ring's index, bit 8 says that no fd comes with it (vhost-user.rst, "A vring descriptor index").
const RING_AND_NO_FD: u64 = 0x1ff;

/// Waits for the next message and serves it if it is one of ours; false: it is still there, for crate
/// `vhost`.
pub(super) fn serve(
    stream: &mut UnixStream,
    handler: &Mutex<Handler>,
) -> Result<bool, ProtocolError> {
    let head = Head::peek(stream)?;
    message::wait_for_room(stream)?;
    let mut handler = handler.lock().unwrap_or_else(PoisonError::into_inner);
    let request = head.request();
    let ours = match request {
        SET_VRING_ENABLE => !handler.features_are_set(),
        SEND_RARP => handler.negotiated(VhostUserProtocolFeatures::RARP),
        NET_SET_MTU => handler.negotiated(VhostUserProtocolFeatures::MTU),
        SET_BACKEND_REQ_FD => handler.negotiated(VhostUserProtocolFeatures::BACKEND_REQ),
        GET_STATUS | SET_STATUS => handler.negotiated(VhostUserProtocolFeatures::STATUS),
        SET_VRING_KICK | SET_VRING_CALL | SET_VRING_ERR => {
            // The crate takes the index from a longer body, too.
            if !head.has_number() {
                return Err(ProtocolError::InvalidMessage);
            }
            if head.number() & !RING_AND_NO_FD != 0 {
                return Err(RequestError::RingIndex(head.number()).into());
            }
            false
        }
        _ => false,
    };
    if !ours {
        return Ok(false);
    }
    if request == GET_STATUS {
        return answer_status(stream, &head, &handler);
    }
    let result = if request == SET_BACKEND_REQ_FD {
        take_channel(stream, &head, &handler)?;
        Ok(())
    } else {
        if !head.has_number() {
            return Err(ProtocolError::InvalidMessage);
        }
        message::take(stream)?;
        obey(&mut handler, request, &head)
    };
    if head.wants_reply() && handler.negotiated(VhostUserProtocolFeatures::REPLY_ACK) {
        message::reply(stream, request, u64::from(result.is_err()))?;
    }
    result?;
    Ok(true)
}

fn obey(handler: &mut Handler, request: u32, head: &Head) -> Result<(), RequestError> {
    match request {
        SEND_RARP => {
            let [m0, m1, m2, m3, m4, m5, _, _] = head.body();
            handler.announce(MacAddr([m0, m1, m2, m3, m4, m5]))
        }
        NET_SET_MTU => handler.check_mtu(head.number()),
        SET_STATUS => handler.set_status(head.number()),
        _ => {
            let (ring, enabled) = head.vring_state();
            match enabled {
                0 => handler.enable(ring, false),
                1 => handler.enable(ring, true),
                other => Err(RequestError::Enable(other)),
            }
        }
    }
}

/// SET_BACKEND_REQ_FD has no body either, and one fd.
fn take_channel(
    stream: &mut UnixStream,
    head: &Head,
    handler: &Handler,
) -> Result<(), ProtocolError> {
    if !head.is_empty() {
        return Err(ProtocolError::InvalidMessage);
    }
    let channel = message::take_header_with_fd(stream)?;
    if let Some(cable) = &handler.cable {
        cable.connect(channel);
    }
    Ok(())
}

/// GET_STATUS has no body.
fn answer_status(
    stream: &mut UnixStream,
    head: &Head,
    handler: &Handler,
) -> Result<bool, ProtocolError> {
    if !head.is_empty() {
        return Err(ProtocolError::InvalidMessage);
    }
    message::take_header(stream)?;
    message::reply(stream, GET_STATUS, handler.status().into())?;
    Ok(true)
}
