//! How a flow begins: the world first, then the guest.
use super::flow::{Flow, Offer, Outcome, Peer, Phase};
use super::receiver::WINDOW_SHIFT;
use super::segment::{Header, Segment};
use crate::env::Env;
use crate::frame::protocol;
use crate::host::HostError;
use crate::icmp::{Problem, Remains, tell_of};
use std::time::Duration;

/// Linux's floor of `net.ipv4.tcp_min_snd_mss` is 48; a guest that asks for less, or for 0, does not make us send more headers than
/// data.
pub(super) const MIN_MSS: u16 = 88;
/// Segment size of a guest that tells none (RFC 9293, 3.7.1).
const DEFAULT_MSS_V4: u16 = 536;
const DEFAULT_MSS_V6: u16 = 1220;
/// First wait for an answer to SYN or SYN-ACK; it doubles with each.
const SYN_TIMEOUT: Duration = Duration::from_secs(1);
/// How often SYN or SYN-ACK is sent again.
const SYN_RETRIES: u8 = 5;

impl Offer {
    pub(super) fn of(segment: &Segment<'_>, v4: bool) -> Self {
        let default = if v4 { DEFAULT_MSS_V4 } else { DEFAULT_MSS_V6 };
        Self {
            irs: segment.seq,
            window: segment.window,
            mss: segment
                .options
                .mss
                .filter(|mss| *mss > 0)
                .unwrap_or(default),
            shift: segment.options.shift,
            sack: segment.options.sack_permitted,
        }
    }
}

impl Flow {
    /// Looks whether the host has connected.
    pub(super) fn connect(&mut self, env: &mut Env<'_>) -> Outcome {
        let Peer::Host(socket) = self.peer else {
            return self.connected(env);
        };
        if !self.side.writable && !self.side.hung_up {
            return Outcome::Keep;
        }
        match env.host.tcp_connected(socket) {
            Ok(()) => self.connected(env),
            Err(HostError::WouldBlock) => {
                self.side.writable = false;
                Outcome::Keep
            }
            Err(error) => {
                self.refuse(env, error);
                env.host.close(socket);
                Outcome::Remove
            }
        }
    }

    fn connected(&mut self, env: &mut Env<'_>) -> Outcome {
        self.phase = Phase::SynReceived;
        self.side.writable = true;
        self.side.readable = true;
        self.send_syn(env)
    }

    /// Tells the guest that there is no connection.
    pub(super) fn refuse(&mut self, env: &mut Env<'_>, error: HostError) {
        env.counters.tcp_refused += 1;
        match Problem::of(error) {
            Some(problem) if error != HostError::Refused => {
                let syn = Remains {
                    source: self.tuple.local(),
                    destination: self.tuple.remote(),
                    protocol: protocol::TCP,
                    second_word: self.offer.irs.0.to_be_bytes(),
                    rest: &[],
                };
                tell_of(env, (self.tuple.guest, self.mac), None, &syn, problem);
            }
            _ if error == HostError::NoResources => {}
            _ => {
                let header = Header {
                    ack: Some(self.offer.irs + 1),
                    rst: true,
                    ..Header::default()
                };
                self.emit(env, &header);
            }
        }
    }

    /// Sends SYN or SYN-ACK, and waits for an answer.
    pub(super) fn send_syn(&mut self, env: &mut Env<'_>) -> Outcome {
        let answer = self.phase == Phase::SynReceived;
        let window = if answer {
            self.receiver.advertise(true)
        } else {
            u16::MAX
        };
        let header = Header {
            seq: self.iss,
            ack: answer.then(|| self.receiver.next()),
            syn: true,
            window,
            mss: Some(self.our_mss(env)),
            shift: (!answer || self.offer.shift.is_some()).then_some(WINDOW_SHIFT),
            sack_permitted: !answer || self.offer.sack,
            ..Header::default()
        };
        self.syn_due = !self.emit(env, &header);
        if self.syn_due {
            return Outcome::Blocked;
        }
        let wait = SYN_TIMEOUT * (1 << self.silent.min(SYN_RETRIES));
        self.wake_at = Some(env.now + wait);
        Outcome::Keep
    }

    /// Nothing has come back in time.
    pub(super) fn syn_timeout(&mut self, env: &mut Env<'_>) -> Outcome {
        if self.silent >= SYN_RETRIES {
            self.reset_guest(env);
            self.reset_peer(env);
            return Outcome::Remove;
        }
        self.silent += 1;
        env.counters.tcp_retransmits += 1;
        self.send_syn(env)
    }

    /// The handshake is over.
    pub(super) fn open(&mut self, env: &mut Env<'_>, segment: &Segment<'_>) {
        // Karn: only an answer to the first SYN tells a round-trip time.
        if self.silent == 0
            && let Some(asked) = self.wake_at.and_then(|at| at.checked_sub(SYN_TIMEOUT))
        {
            self.sender.sample_rtt(env.now.saturating_sub(asked));
        }
        self.phase = Phase::Open;
        self.wake_at = None;
        self.silent = 0;
        self.sender.set_window(segment);
        self.touch(env);
    }

    /// SYN-ACK came for our SYN.
    pub(super) fn open_inbound(&mut self, env: &mut Env<'_>, segment: &Segment<'_>) {
        let offer = Offer::of(segment, self.tuple.guest_address.is_ipv4());
        self.accept_offer(env, offer);
        self.open(env, segment);
        // What we told in our SYN.
        self.receiver.advertise(true);
        self.side.readable = true;
        self.side.writable = true;
        self.ack_due = true;
    }

    /// Something came from the guest.
    pub(super) fn touch(&mut self, env: &Env<'_>) {
        self.active = env.now;
        self.silent = 0;
        self.idle_at = env.now + env.config.timeouts.tcp_idle;
    }
}
