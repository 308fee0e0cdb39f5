//! What a worker has been asked and has not answered yet.
use super::{
    forward,
    handle::{Added, unavailable},
};
use crate::{config::PortConfig, protocol::FromWorker};
use control::{
    ApiError, FlowStatus, ForwardStatus, LeaseStatus, NetworkStatus, PortDetail, PortStatus,
};
use nat::forward::Forward;
use std::collections::HashMap;
use tokio::sync::oneshot;

/// Who waits for an answer.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a handful at a time, in a map: its entries are as large anyway"
)]
pub(super) enum Waiting {
    /// `status` is completed by what the worker says.
    Report {
        status: NetworkStatus,
        reply: oneshot::Sender<NetworkStatus>,
    },
    AddPort(Box<Adding>),
    /// `detail` is completed by what the worker says.
    ShowPort {
        detail: Box<PortDetail>,
        reply: oneshot::Sender<Result<PortDetail, ApiError>>,
    },
    RemovePort {
        port: String,
        reply: Option<oneshot::Sender<Result<(), ApiError>>>,
    },
    /// A port whose NIC is there again.
    Rewire {
        port: String,
    },
    /// A port whose host has another address.
    SetUplinkAddress {
        port: String,
    },
    AddForward {
        forward: Forward,
        status: ForwardStatus,
        reply: oneshot::Sender<Result<ForwardStatus, ApiError>>,
    },
    /// `flows` is completed by what the worker says.
    Flows {
        flows: Vec<FlowStatus>,
        reply: oneshot::Sender<Result<Vec<FlowStatus>, ApiError>>,
    },
    /// `leases`, likewise.
    Leases {
        leases: Vec<LeaseStatus>,
        reply: oneshot::Sender<Result<Vec<LeaseStatus>, ApiError>>,
    },
}

impl Waiting {
    /// There is no worker to answer.
    pub(super) fn refuse(self, why: ApiError) {
        match self {
            Self::Report { status, reply } => drop(reply.send(status)),
            Self::AddPort(adding) => drop(adding.reply.send(Err(why))),
            Self::ShowPort { reply, .. } => drop(reply.send(Err(why))),
            Self::RemovePort { reply, .. } => finish_removal(reply, Err(why)),
            Self::AddForward { reply, .. } => drop(reply.send(Err(why))),
            Self::Flows { reply, .. } => drop(reply.send(Err(why))),
            Self::Leases { reply, .. } => drop(reply.send(Err(why))),
            Self::Rewire { .. } | Self::SetUplinkAddress { .. } => {}
        }
    }
}

/// A port that is being added.
#[derive(Debug)]
pub(super) struct Adding {
    pub(super) config: PortConfig,
    pub(super) serial: u64,
    pub(super) status: PortStatus,
    pub(super) reply: oneshot::Sender<Result<Added, ApiError>>,
}

impl Adding {
    /// The port is there: for whoever asked for it.
    pub(super) fn done(self) -> Outcome {
        let port = self.config.name.clone();
        match self.reply.send(Ok((self.status, self.config))) {
            Ok(()) => Outcome::Nothing,
            Err(_) => Outcome::Abandoned {
                port,
                serial: self.serial,
            },
        }
    }

    fn refused(self, why: String) -> Outcome {
        drop(self.reply.send(Err(ApiError {
            code: "conflict".into(),
            message: why,
            remedy: None,
        })));
        Outcome::Refused {
            port: self.config.name,
            serial: self.serial,
        }
    }
}

/// What an answer means for the network.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Nothing,
    /// The port with this serial number was not taken.
    Refused {
        port: String,
        serial: u64,
    },
    /// The port is there, but whoever asked for it has given up, and does not know its name.
    Abandoned {
        port: String,
        serial: u64,
    },
    /// The worker has taken the port back.
    Fits {
        port: String,
    },
    /// The worker does not take the port back, and why.
    Unfit {
        port: String,
        why: String,
    },
    /// The worker's port keeps the address that its host has no more, and why.
    AddressRefused {
        port: String,
        why: String,
    },
    /// The name of the port is free again.
    Removed {
        port: String,
    },
    /// The worker does not have the forward.
    ForwardRefused(Forward),
}

/// Requests in flight, by id.
#[derive(Debug, Default)]
pub(super) struct Requests(HashMap<u64, Waiting>);

impl Requests {
    pub(super) fn insert(&mut self, id: u64, waiting: Waiting) {
        self.0.insert(id, waiting);
    }

    /// Whether the worker has not said yet if it takes a port back.
    pub(super) fn is_rewiring(&self) -> bool {
        let mut waiting = self.0.values();
        waiting.any(|waiting| matches!(waiting, Waiting::Rewire { .. }))
    }

    /// Passes an answer on to who waits for it. Whoever no longer waits has its reply dropped.
    pub(super) fn answer(&mut self, id: u64, answer: FromWorker) -> Outcome {
        match (self.0.remove(&id), answer) {
            (
                Some(Waiting::Report { mut status, reply }),
                FromWorker::Report {
                    ports,
                    nat,
                    workers,
                    more,
                },
            ) => {
                merge(&mut status.ports, ports);
                status.nat = nat.map(|nat| *nat).or(status.nat);
                status.workers = workers;
                if more {
                    self.insert(id, Waiting::Report { status, reply });
                } else {
                    drop(reply.send(status));
                }
                Outcome::Nothing
            }
            (Some(Waiting::AddPort(adding)), FromWorker::Done) => adding.done(),
            (Some(Waiting::AddPort(adding)), FromWorker::Error(why)) => adding.refused(why),
            (
                Some(Waiting::ShowPort { mut detail, reply }),
                FromWorker::Port { port, queues, more },
            ) => {
                merge(
                    std::slice::from_mut(&mut detail.port),
                    port.into_iter().map(|port| *port).collect(),
                );
                detail.queues.extend(queues);
                if more {
                    self.insert(id, Waiting::ShowPort { detail, reply });
                } else {
                    drop(reply.send(Ok(*detail)));
                }
                Outcome::Nothing
            }
            (Some(Waiting::ShowPort { reply, .. }), FromWorker::Error(why)) => {
                drop(reply.send(Err(unavailable(why))));
                Outcome::Nothing
            }
            (Some(Waiting::RemovePort { port, reply }), FromWorker::Done) => {
                finish_removal(reply, Ok(()));
                Outcome::Removed { port }
            }
            (Some(Waiting::RemovePort { port, reply }), FromWorker::Error(why)) => {
                finish_removal(reply, Err(unavailable(why)));
                Outcome::Removed { port }
            }
            (Some(Waiting::Rewire { port }), FromWorker::Done) => Outcome::Fits { port },
            (Some(Waiting::Rewire { port }), FromWorker::Error(why)) => {
                Outcome::Unfit { port, why }
            }
            (Some(Waiting::SetUplinkAddress { port }), FromWorker::Error(why)) => {
                Outcome::AddressRefused { port, why }
            }
            (
                Some(Waiting::AddForward {
                    forward,
                    status,
                    reply,
                }),
                answer @ (FromWorker::Done | FromWorker::Error(_)),
            ) => forward::added(forward, status, reply, why_not(answer)),
            (
                Some(Waiting::Flows { mut flows, reply }),
                FromWorker::Flows { flows: part, more },
            ) => {
                flows.extend(part);
                if more {
                    self.insert(id, Waiting::Flows { flows, reply });
                } else {
                    drop(reply.send(Ok(flows)));
                }
                Outcome::Nothing
            }
            (
                Some(Waiting::Leases { mut leases, reply }),
                FromWorker::Leases { leases: part, more },
            ) => {
                leases.extend(part);
                if more {
                    self.insert(id, Waiting::Leases { leases, reply });
                } else {
                    drop(reply.send(Ok(leases)));
                }
                Outcome::Nothing
            }
            (
                Some(waiting @ (Waiting::Flows { .. } | Waiting::Leases { .. })),
                FromWorker::Error(why),
            ) => {
                waiting.refuse(unavailable(why));
                Outcome::Nothing
            }
            // An answer of the wrong kind is a bug; whoever waits is told by the dropped reply.
            (Some(_) | None, _) => Outcome::Nothing,
        }
    }

    /// The worker is gone, and its ports with it: what was added will be given to the next worker,
    /// what was to be removed is.
    #[must_use]
    pub(super) fn worker_gone(&mut self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for (_, waiting) in self.0.drain() {
            match waiting {
                Waiting::Report { status, reply } => drop(reply.send(status)),
                Waiting::AddPort(adding) => outcomes.push(adding.done()),
                Waiting::ShowPort { detail, reply } => drop(reply.send(Ok(*detail))),
                Waiting::RemovePort { reply, .. } => finish_removal(reply, Ok(())),
                // The next worker is given it as well.
                Waiting::Rewire { .. } | Waiting::SetUplinkAddress { .. } => {}
                // The next worker gets it.
                Waiting::AddForward { status, reply, .. } => drop(reply.send(Ok(status))),
                waiting @ (Waiting::Flows { .. } | Waiting::Leases { .. }) => {
                    waiting.refuse(unavailable("the worker has ended".into()));
                }
            }
        }
        outcomes
    }
}

/// Why it was not done; `None`: it was.
fn why_not(answer: FromWorker) -> Option<String> {
    match answer {
        FromWorker::Error(why) => Some(why),
        _ => None,
    }
}

fn finish_removal(
    reply: Option<oneshot::Sender<Result<(), ApiError>>>,
    result: Result<(), ApiError>,
) {
    if let Some(reply) = reply {
        drop(reply.send(result));
    }
}

/// Completes what the supervisor knows of its ports by what the worker says of them.
fn merge(known: &mut [PortStatus], reported: Vec<PortStatus>) {
    for report in reported {
        // Ports that are being removed are the worker's only.
        if let Some(port) = known.iter_mut().find(|port| port.name == report.name) {
            let (kind, policy, filter) =
                (port.kind.clone(), port.policy.clone(), port.filter.clone());
            *port = PortStatus {
                kind,
                policy,
                filter,
                ..report
            };
        }
    }
}

#[cfg(test)]
#[path = "requests_test.rs"]
mod tests;
