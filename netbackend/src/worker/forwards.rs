//! Requests about the gateway.
use super::reply;
use crate::{
    network::{Gateway, GivenSocket, Network},
    protocol::{FLOWS_PER_REPORT, FromWorker, ListeningSocket},
};
use anyhow::{Context, bail};
use nat::{
    ListenAt,
    forward::{Forward, Transport},
};
use std::os::fd::OwnedFd;

/// Keeps listening sockets for the forwards that follow.
pub(super) fn give(
    network: &Network,
    sockets: Vec<ListeningSocket>,
    fds: Vec<OwnedFd>,
) -> anyhow::Result<()> {
    if sockets.len() != fds.len() {
        bail!("there is one descriptor for each listening socket");
    }
    let sockets = sockets
        .into_iter()
        .zip(fds)
        .map(|(socket, fd)| GivenSocket {
            transport: if socket.tcp {
                Transport::Tcp
            } else {
                Transport::Udp
            },
            at: ListenAt {
                address: socket.address,
                interface: socket.interface,
                port: socket.port,
            },
            socket: fd,
        });
    gateway(network)?.give(sockets.collect());
    Ok(())
}

pub(super) fn add(network: &Network, forward: &str) -> anyhow::Result<()> {
    gateway(network)?.add_forward(parse(forward)?)
}

pub(super) fn remove(network: &Network, forward: &str) -> anyhow::Result<()> {
    if gateway(network)?.remove_forward(parse(forward)?)? {
        return Ok(());
    }
    bail!("there is no forward {forward}")
}

pub(super) fn flows(socket: &OwnedFd, id: u64, network: &Network) -> anyhow::Result<()> {
    let flows = gateway(network).and_then(Gateway::flows);
    in_parts(socket, id, flows, |flows, more| FromWorker::Flows {
        flows,
        more,
    })
}

pub(super) fn leases(socket: &OwnedFd, id: u64, network: &Network) -> anyhow::Result<()> {
    let leases = gateway(network).and_then(Gateway::leases);
    in_parts(socket, id, leases, |leases, more| FromWorker::Leases {
        leases,
        more,
    })
}

/// Answers with a list, in messages that are not too large.
fn in_parts<T>(
    socket: &OwnedFd,
    id: u64,
    list: anyhow::Result<Vec<T>>,
    message: impl Fn(Vec<T>, bool) -> FromWorker,
) -> anyhow::Result<()> {
    let mut part = match list {
        Ok(list) => list,
        Err(error) => return reply(socket, id, FromWorker::Error(format!("{error:#}"))),
    };
    loop {
        let rest = part.split_off(part.len().min(FLOWS_PER_REPORT));
        let more = !rest.is_empty();
        reply(socket, id, message(part, more))?;
        if !more {
            return Ok(());
        }
        part = rest;
    }
}

fn gateway(network: &Network) -> anyhow::Result<&Gateway> {
    network
        .gateway()
        .context("the network has no gateway: its mode is not nat")
}

fn parse(forward: &str) -> anyhow::Result<Forward> {
    forward
        .parse()
        .map_err(|why| anyhow::anyhow!("forward {forward}: {why}"))
}
