//! The link of a guest that follows an interface of the host, and telling the guest's front-end.
//!
//! vhost-user carries link state in the device's configuration space only: a message over the back-end's channel says that it
//! has changed, and the front-end reads it (GET_CONFIG).
use nix::sys::socket::{MsgFlags, send};
use std::{
    os::fd::{AsRawFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// VHOST_USER_BACKEND_CONFIG_CHANGE_MSG (vhost-user.rst, "Back-end message types").
const CONFIG_CHANGE: u32 = 2;
/// Version 1, no reply wanted.
const FLAGS: u32 = 1;

/// The cable of a guest.
#[derive(Debug)]
pub(crate) struct Cable(Mutex<State>);

#[derive(Debug)]
struct State {
    is_up: bool,
    /// What the front-end listens on.
    channel: Option<OwnedFd>,
}

impl Cable {
    pub(crate) fn new(is_up: bool) -> Self {
        Self(Mutex::new(State {
            is_up,
            channel: None,
        }))
    }

    pub(crate) fn is_up(&self) -> bool {
        self.lock().is_up
    }

    /// Plugs it in or out, and tells the front-end if that is news.
    pub(crate) fn set(&self, is_up: bool) {
        let mut state = self.lock();
        if state.is_up == is_up {
            return;
        }
        state.is_up = is_up;
        // One that has closed its end, or has let a buffer full of news lie, wants no more of them.
        state.channel = state.channel.take().filter(tell);
    }

    /// SET_BACKEND_REQ_FD.
    pub(super) fn connect(&self, channel: OwnedFd) {
        self.lock().channel = Some(channel);
    }

    /// The front-end is gone.
    pub(super) fn disconnect(&self) {
        self.lock().channel = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True: it is on its way. Never waits for the front-end, whatever it gave us as a socket.
fn tell(channel: &OwnedFd) -> bool {
    let message = [CONFIG_CHANGE, FLAGS, 0].map(u32::to_ne_bytes).concat();
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    send(channel.as_raw_fd(), &message, flags) == Ok(message.len())
}
