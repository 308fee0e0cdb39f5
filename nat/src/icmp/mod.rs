//! ICMP and ICMPv6: echo of the gateway itself, and errors that guests are told.
mod echo;
mod error;
mod plateau;
mod too_big;

pub(crate) use echo::{ECHO_V4, ECHO_V6, answer_echo};
pub(crate) use error::{Problem, Remains, tell, tell_of};
pub(crate) use too_big::{About, TooBig};
