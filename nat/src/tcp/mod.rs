//! TCP, ended at the gateway: a guest's connection and a host socket, and bytes between them.
//!
//! # Theory of operation
//! A flow has two halves towards its guest, a [`sender`] and a [`receiver`], and a host socket (or a service of the gateway). A
//! SYN of a guest makes a flow that first asks the host for a connection: only when there is one does SYN-ACK go back, so a guest
//! sees a refused or unreachable peer as what it is. A FIN becomes a half-close and the other way round, a RST a RST.
//!
//! *Guest to world*: a large segment in order is written from the frame straight to the socket; what the socket does not take, and
//! small segments, wait in the receiver's ring. What lies there shrinks the window that the guest is told: that is the
//! back-pressure. Busy flows share the room that the link to the guests has ([`windows`]), so that it drops nothing of theirs.
//!
//! *World to guest*: the socket is read into the sender's ring while there is room, and its bytes stay there until the guest has
//! acknowledged them.
//!
//! What was received is acknowledged at the end of a turn; where the world answers at once, by the answer ([`delay`]).
//!
//! Rings take storage when they store something and give it back when they are empty: an idle flow holds none.
//!
//! Work is done in turns: an input or an event changes a flow and puts it on a list; [`TcpTable::poll`] gives each flow on the list
//! a bounded turn, so that one flow with a lot to do does not keep the others waiting.
mod congestion;
mod delay;
mod flow;
mod handshake;
mod input;
mod path;
mod ranges;
mod receiver;
mod ring;
mod rtt;
mod segment;
mod sender;
mod seq;
mod table;
mod turn;
mod windows;

pub(crate) use ring::Pool;
pub(crate) use table::{Inbound, TcpTable};
pub(crate) use windows::Windows;

#[cfg(test)]
mod tests {
    mod close;
    mod delay;
    mod foreign_guest;
    mod handshake;
    mod loss;
    mod path;
    mod services;
    mod share;
    mod stream;
}
