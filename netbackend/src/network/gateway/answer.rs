//! What the gateway's thread answers to others.
use super::{request::Request, thread::GatewayThread};
use control::{DnsCounters, FlowStatus, LeaseStatus, NatCounters, NatStatus};
use nat::{DropReason, FlowDirection, FlowState, Protocol, services::Leases};
use std::time::Duration;

impl GatewayThread {
    /// Serves a request.
    pub(super) fn answer(&mut self, now: Duration, request: Request) {
        // Who asked may have given up: then nobody cares.
        match request {
            Request::Give(sockets) => {
                for socket in sockets {
                    self.gateway.host_mut().give(socket);
                }
            }
            Request::AddForward { forward, reply } => {
                let added = self.gateway.forward_add(now, &forward);
                self.gateway.host_mut().take_back();
                drop(reply.send(added.map_err(|why| why.to_string())));
            }
            Request::RemoveForward { forward, reply } => {
                let removed = self.gateway.forward_remove(&forward);
                // One that was given up half-way has left its sockets only.
                self.gateway.host_mut().take_back();
                let _ = reply.send(removed);
            }
            Request::Flows { reply } => {
                let flows = self.gateway.flows(now).map(|flow| told(&flow));
                drop(reply.send(flows.collect()));
            }
            Request::Leases { reply } => drop(reply.send(self.leases(now))),
            Request::Status { reply } => drop(reply.send(self.status(now))),
            Request::ForgetPort { departure, reply } => {
                self.gateway.forget_port(now, departure.port());
                // Before who asked goes on: the number is free again.
                drop(departure);
                let _ = reply.send(());
            }
            // Seen to by who has called.
            Request::Stop => {}
        }
    }

    fn leases(&self, now: Duration) -> Vec<LeaseStatus> {
        let Leases { ipv4, ipv6 } = self.gateway.services().leases(now);
        let leases = ipv4.into_iter().chain(ipv6);
        let told = leases.map(|lease| {
            let mac = switch::MacAddr(lease.mac);
            LeaseStatus {
                address: lease.address,
                mac: Some(mac.to_string()),
                hostname: lease.hostname,
                expires_in_seconds: lease.remaining,
                reserved: self.reserved.contains(&mac),
            }
        });
        told.collect()
    }

    fn status(&mut self, now: Duration) -> NatStatus {
        let flows = self.gateway.flows(now).count();
        let sockets = self.gateway.host_mut().count();
        let counters = self.gateway.counters();
        let drops = counters.drops().filter(|(_, count)| *count > 0);
        let drops = drops.map(|(reason, count): (DropReason, u64)| (reason.name().into(), count));
        let drops = drops.collect();
        NatStatus {
            flows: flows as u64,
            sockets: sockets as u64,
            dns: dns(self.gateway.services().dns_counters()),
            port: self.shared.status().counters,
            counters: NatCounters {
                frames_in: counters.frames_in,
                frames_out: counters.frames_out,
                bytes_in: counters.bytes_in,
                bytes_out: counters.bytes_out,
                tcp_opened: counters.tcp_opened,
                tcp_refused: counters.tcp_refused,
                tcp_aborted: counters.tcp_aborted,
                tcp_retransmits: counters.tcp_retransmits,
                udp_opened: counters.udp_opened,
                echo_opened: counters.echo_opened,
                forwarded: counters.forwarded,
                icmp_errors: counters.icmp_errors,
                drops,
            },
        }
    }
}

fn dns(counters: nat::services::dns::DnsCounters) -> DnsCounters {
    DnsCounters {
        queries: counters.queries,
        local: counters.local,
        cached: counters.cached,
        forwarded: counters.forwarded,
        failed: counters.failed,
        over_quota: counters.over_quota,
    }
}

fn told(flow: &nat::FlowStatus) -> FlowStatus {
    FlowStatus {
        protocol: match flow.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Echo => "icmp",
        }
        .into(),
        inbound: flow.direction == FlowDirection::Inbound,
        mac: switch::MacAddr(flow.mac.0).to_string(),
        guest: flow.guest,
        remote: flow.remote,
        state: match flow.state {
            FlowState::Connecting => "connecting",
            FlowState::HandShake => "hand-shake",
            FlowState::Established => "established",
            FlowState::GuestClosed => "guest-closed",
            FlowState::WorldClosed => "world-closed",
            FlowState::Closing => "closing",
        }
        .into(),
        sent: flow.sent,
        received: flow.received,
        buffered: flow.buffered as u64,
        age_ms: millis(flow.age),
        idle_ms: millis(flow.idle),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
