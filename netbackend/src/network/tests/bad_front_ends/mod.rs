//! A front-end that is malicious on its socket: each thing it may do ends, at most, its own connection.
//!
//! | what the front-end does | test |
//! |---|---|
//! | fds with a message that takes none, too many, none where one is due | `fds::*` |
//! | the same messages again and again | `super::lifecycle::control_messages_by_the_thousand_leak_nothing_and_lose_nothing` |
//! | ring indices beyond the rings, or beyond their type | `rings::index_beyond_the_rings`, `super::messages::ring_index_*` |
//! | ring sizes of 0, no power of two, more than 32768 | `rings::size_that_cannot_be` |
//! | a dirty log that wraps, or is too small | `memory::dirty_log_that_cannot_be`, `super::migration::a_log_that_is_too_small_ends_that_connection_only`, `virtqueue::dirty_log` |
//! | memory that overlaps, is empty, wraps, is unaligned, is shorter than it says, cannot be mapped | `memory::table_that_cannot_be` |
//! | more regions than a table has, more than 509 | `memory::regions_up_to_the_limit` |
//! | regions announced or removed once more, parts of them removed | `memory::regions_announced_and_removed_again`, `memory::removal_of_what_is_not_there` |
//! | memory removed or truncated while in use | `super::lifecycle::rings_stop_when_their_memory_is_removed`, `super::lifecycle::memory_truncated_while_in_use_costs_its_own_port_only` |
//! | ring addresses outside of memory, over a hole, misaligned, changed while running | `rings::addresses_that_cannot_be`, `rings::addresses_changed_while_running` |
//! | messages in any order, unknown ones, of the wrong size | `order::any_message_first`, `order::any_message_of_any_size`, `super::handshake` |
//! | wrong flags and versions, replies as requests | `order::flags_that_cannot_be` |
//! | messages that end in the middle, or never | `super::messages::unfinished_messages_are_given_up_after_a_while`, `super::messages::front_end_that_sends_no_more_is_gone` |
//! | NEED_REPLY that was not negotiated | `order::reply_that_was_not_negotiated` |
//! | features that were not offered; changes while running | `super::handshake::refused_messages_end_the_connection_and_the_next_front_end_is_served`, `super::lifecycle::features_may_change_while_rings_run` |
//! | GET_VRING_BASE, SET_MEM_TABLE and REM_MEM_REG under traffic | `quiesce::*` |
//! | SET_VRING_ENABLE 0 and 1 without end | `rings::enable_storm` |
//! | kick fds that are files or closed pipes; call fds that are full or closed | `super::hostile::unusable_kick_fds`, `super::hostile::call_fd_that_is_full_or_closed_does_not_block` |
//! | replies that nobody reads | `super::messages::replies_that_nobody_reads_end_the_connection` |
//! | connections that end after any message | `super::lifecycle::disconnecting_at_every_stage_of_the_handshake` |
//! | others after it: larger, smaller, with other features | `super::lifecycle::reconnecting_again_and_again_works_and_leaks_nothing`, 10 000 times in `tests/tests/e2e/control.rs` |
//! | device state, which is not offered | `fds::device_state_is_not_offered` |
//! | bytes from a fuzzer | fuzz target `vhost_session` |
mod fds;
mod memory;
mod order;
mod quiesce;
mod rings;

use super::{
    Net, frame,
    guest::{Connected, GuestSpec, wait_for},
    introduce, mac, raw,
};

/// Two guests whose network the offender is on.
struct Witnesses {
    net: Net,
    first: Connected,
    second: Connected,
    sent: u8,
}

impl Witnesses {
    fn new() -> Self {
        let net = Net::new();
        let mut first = net.guest("first", GuestSpec::default());
        let mut second = net.guest("second", GuestSpec::default());
        introduce(&mut [&mut first.guest, &mut second.guest]);
        Self {
            net,
            first,
            second,
            sent: 0,
        }
    }

    /// Frames still go from one to the other.
    #[track_caller]
    fn go_on(&mut self) {
        self.sent = self.sent.wrapping_add(1);
        let sent = frame(mac(1), mac(0), 300, self.sent);
        // Makes room: a test may have flooded it.
        while self.second.guest.poll(0).is_some() {}
        self.first.guest.send(&sent);
        // The last of a flood may come first.
        wait_for("a frame of the witnesses", || {
            let got = self.second.guest.poll(0);
            got.is_some_and(|got| got.frame == sent)
        });
        self.first.guest.reap();
    }
}
