//! Commands of control threads, served between bursts.
use super::{
    super::{
        command::{Answer, Command, CommandError, NewCarrier, PortOffloads, RingId, RingStart},
        counters::PortShared,
        sys,
    },
    BURST, Source,
    limits::Limits,
    ports::{Carrier, Port},
    ring::Ring,
    tap_port::{TapPort, TapQueue},
    vhost_port::VhostPort,
    worker::Worker,
};
use control::PortPolicy;
use std::{fs::File, io, ops::ControlFlow, sync::Arc};
use switch::{MacAddr, PortConfig, PortId, PortVlans, Rate, VlanId};
use virtqueue::{MemoryMap, QueueConfig};

type Outcome = Result<Answer, CommandError>;

impl Worker {
    /// Serves what is posted; break: the datapath ends.
    pub(super) fn serve_commands(&mut self) -> ControlFlow<()> {
        // No burst is under way. Let go of the memory maps that reused storage still holds, so that
        // an answer says that a map is out of use.
        self.frames.burst.release();
        self.scratch.burst.release();
        for envelope in self.mailbox.take() {
            let (command, answer) = envelope.open();
            if let Command::Stop = command {
                answer(Ok(Answer::Done));
                return ControlFlow::Break(());
            }
            answer(self.serve(command));
        }
        ControlFlow::Continue(())
    }

    fn serve(&mut self, command: Command) -> Outcome {
        match command {
            Command::AddPort {
                port,
                config,
                policy,
                carrier,
                shared,
            } => self.add_port(port, (config, &policy), carrier, shared),
            Command::RemovePort(port) => self.remove_port(port),
            Command::Announce { port, mac } => {
                self.announce(port, mac);
                Ok(Answer::Done)
            }
            Command::SetOffloads { port, offloads } => self.set_offloads(port, offloads),
            Command::StartRing { ring, start } => self.start_ring(ring, *start),
            Command::StopRing(ring) => self.stop_ring(ring),
            Command::Reconfigure {
                port,
                memory,
                rings,
            } => self.reconfigure(port, &memory, rings),
            Command::EnableRing { ring, enabled } => self.enable_ring(ring, enabled),
            Command::SetCall { ring, call } => {
                self.ring(ring)?.set_call(call);
                Ok(Answer::Done)
            }
            Command::SetErr { ring, err } => {
                self.ring(ring)?.set_err(err);
                Ok(Answer::Done)
            }
            Command::Disconnect(port) => self.disconnect(port),
            Command::Stop => Err(CommandError::Gone),
        }
    }

    fn ring(&mut self, id: RingId) -> Result<&mut Ring, CommandError> {
        self.ports
            .get_mut(id.port)
            .and_then(|port| port.ring(id.index))
            .ok_or(CommandError::NotFound)
    }

    fn add_port(
        &mut self,
        id: PortId,
        (config, policy): (PortConfig, &PortPolicy),
        carrier: NewCarrier,
        shared: Arc<PortShared>,
    ) -> Outcome {
        let now = self.clock.elapsed();
        self.switch.add_port(id, config)?;
        if let Err(refused) = self.switch.set_policy(now, id, &switch_policy(policy)) {
            self.switch.remove_port(id);
            return Err(refused.into());
        }
        let added = match carrier {
            NewCarrier::VhostUser { rings } => {
                let carrier = Carrier::Vhost(VhostPort::new(rings));
                self.ports.insert(id, Port::new(shared, carrier));
                Ok(Answer::Done)
            }
            NewCarrier::Tap(files) => self.add_tap(id, files, shared),
        };
        match (&added, self.ports.get_mut(id)) {
            (Ok(_), Some(port)) => port.limits = Limits::new(policy, now),
            _ => self.switch.remove_port(id),
        }
        // A whole burst may be flooded to every port: the list must not grow while frames flow.
        let most = self.ports.len().saturating_mul(BURST);
        self.deliveries
            .reserve(most.saturating_sub(self.deliveries.len()));
        added
    }

    /// Sends a RARP request from a port, as a guest would that asks for its own address (RFC 903).
    fn announce(&mut self, port: PortId, mac: MacAddr) {
        if self.frames.set_only(&rarp_request(mac)) {
            let now = self.clock.elapsed();
            self.forward(Source { port, queue: 0 }, now);
        }
        self.frames.clear();
        // The memory of who received it must not outlive this command.
        self.scratch.burst.release();
    }

    fn add_tap(&mut self, id: PortId, files: Vec<File>, shared: Arc<PortShared>) -> Outcome {
        let queues = u16::try_from(files.len()).unwrap_or(u16::MAX);
        if let Err(error) = self.watch_tap(id, &files) {
            // Somebody else may hold the files too: dropping ours does not end the watch.
            for file in &files {
                self.poller.forget(file);
            }
            return Err(CommandError::Watch(error));
        }
        shared.set_queue_pairs(queues);
        let queues_of_tap = files.into_iter().map(TapQueue::new).collect();
        let carrier = Carrier::Tap(TapPort {
            queues: queues_of_tap,
        });
        self.ports.insert(id, Port::new(shared, carrier));
        for queue in 0..queues {
            self.activate(Source { port: id, queue });
        }
        Ok(Answer::Done)
    }

    fn watch_tap(&self, id: PortId, files: &[File]) -> io::Result<()> {
        (0u16..).zip(files).try_for_each(|(queue, file)| {
            sys::set_nonblocking(file)?;
            self.poller.watch_tap(file, Source { port: id, queue })
        })
    }

    fn remove_port(&mut self, id: PortId) -> Outcome {
        self.disconnect(id)?;
        if let Some(port) = self.ports.remove(id)
            && let Carrier::Tap(tap) = port.carrier
        {
            for (queue, tap) in (0u16..).zip(tap.queues) {
                self.poller.forget(&tap.file);
                self.deactivate(Source { port: id, queue });
            }
        }
        self.switch.remove_port(id);
        Ok(Answer::Done)
    }

    fn set_offloads(&mut self, id: PortId, offloads: PortOffloads) -> Outcome {
        let port = self.ports.get_mut(id).and_then(Port::vhost);
        port.ok_or(CommandError::NotFound)?.offloads = offloads;
        Ok(Answer::Done)
    }

    fn start_ring(&mut self, id: RingId, start: RingStart) -> Outcome {
        self.drop_ring(id);
        let port = self.ports.get_mut(id.port).ok_or(CommandError::NotFound)?;
        let shared = Arc::clone(&port.shared);
        let stats = shared.ring(id.index).ok_or(CommandError::NotFound)?;
        let slot = port
            .vhost()
            .and_then(|vhost| vhost.rings.get_mut(usize::from(id.index)))
            .ok_or(CommandError::NotFound)?;
        let mut ring = Ring::new(start, Arc::clone(stats)).map_err(|fault| {
            shared.latch_fault(fault.to_string());
            let index = id.index;
            CommandError::Ring { index, fault }
        })?;
        let source = transmit_source(id);
        if let (Some(source), Some(kick)) = (source, &ring.kick) {
            self.poller
                .watch_kick(kick, source)
                .map_err(CommandError::Watch)?;
        }
        // The driver may still wait for completions that were published before a restart.
        ring.signal();
        *slot = Some(ring);
        if let Some(source) = source {
            self.activate(source);
        }
        self.refresh(id.port);
        Ok(Answer::Done)
    }

    fn stop_ring(&mut self, id: RingId) -> Outcome {
        let position = self.ring(id)?.position();
        self.drop_ring(id);
        self.refresh(id.port);
        Ok(Answer::Position(position))
    }

    fn reconfigure(
        &mut self,
        id: PortId,
        memory: &Arc<MemoryMap>,
        rings: Vec<(u16, QueueConfig)>,
    ) -> Outcome {
        let mut outcome = Ok(Answer::Done);
        for (index, config) in rings {
            let ring_id = RingId { port: id, index };
            let result = self.ring(ring_id)?.reconfigure(Arc::clone(memory), config);
            if let Err(fault) = result {
                // It must not stay on the old memory.
                self.drop_ring(ring_id);
                outcome = Err(CommandError::Ring { index, fault });
            } else if let Some(source) = transmit_source(ring_id) {
                // Kicks are suppressed now: it must be polled.
                self.deactivate(source);
                self.activate(source);
            }
        }
        self.refresh(id);
        outcome
    }

    fn enable_ring(&mut self, id: RingId, enabled: bool) -> Outcome {
        self.ring(id)?.enabled = enabled;
        self.refresh(id.port);
        Ok(Answer::Done)
    }

    fn disconnect(&mut self, id: PortId) -> Outcome {
        let port = self.ports.get_mut(id).ok_or(CommandError::NotFound)?;
        let rings = port.vhost().map_or(0, |vhost| vhost.rings.len());
        for index in 0..u16::try_from(rings).unwrap_or(u16::MAX) {
            self.drop_ring(RingId { port: id, index });
        }
        if let Some(vhost) = self.ports.get_mut(id).and_then(Port::vhost) {
            vhost.offloads = PortOffloads::default();
            self.refresh(id);
        }
        Ok(Answer::Done)
    }

    /// Lets go of a ring, its memory and its fds.
    fn drop_ring(&mut self, id: RingId) {
        if let Some(source) = transmit_source(id) {
            self.deactivate(source);
        }
        let slot = self
            .ports
            .get_mut(id.port)
            .and_then(Port::vhost)
            .and_then(|vhost| vhost.rings.get_mut(usize::from(id.index)));
        if let Some(ring) = slot.and_then(Option::take)
            && let Some(kick) = &ring.kick
        {
            self.poller.forget(kick);
        }
    }

    /// Looks again which rings of a port carry frames.
    fn refresh(&mut self, id: PortId) {
        if let Some(port) = self.ports.get_mut(id)
            && let Carrier::Vhost(vhost) = &mut port.carrier
        {
            port.shared.set_queue_pairs(vhost.refresh());
        }
    }
}

/// The source that a ring is, if it is a transmit ring: those have odd indices.
fn transmit_source(id: RingId) -> Option<Source> {
    (id.index % 2 == 1).then_some(Source {
        port: id.port,
        queue: id.index / 2,
    })
}

/// The part of a policy that forwarding goes by.
fn switch_policy(policy: &PortPolicy) -> switch::PortPolicy {
    let storm_limit = policy.storm_limit.map(u64::from);
    switch::PortPolicy {
        anti_spoofing: policy.anti_spoofing,
        addresses: policy.addresses.clone(),
        isolated: policy.isolated,
        storm_limit: storm_limit.map(|frames| Rate::with_default_burst(frames, 1)),
        vlans: vlans(policy),
    }
}

/// The VLANs of a port that was told some.
fn vlans(policy: &PortPolicy) -> Option<PortVlans> {
    if policy.vlan.is_none() && policy.trunk.is_empty() {
        return None;
    }
    let tagged = policy.trunk.iter().flat_map(|[first, last]| *first..=*last);
    Some(PortVlans {
        untagged: policy.vlan.and_then(VlanId::new),
        tagged: tagged.filter_map(VlanId::new).collect(),
    })
}

/// A RARP request for the address of `mac`, padded to the least length of a frame.
fn rarp_request(mac: MacAddr) -> [u8; 60] {
    const BROADCAST: [u8; 6] = [0xff; 6];
    // EtherType; Ethernet and IPv4 with their lengths; operation 3, request reverse.
    const FIXED: [u8; 10] = [0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3];
    const UNKNOWN: [u8; 4] = [0; 4];
    let mut frame = [0; 60];
    let parts = [&BROADCAST[..], &mac.0, &FIXED, &mac.0, &UNKNOWN, &mac.0];
    for (place, byte) in frame.iter_mut().zip(parts.concat()) {
        *place = byte;
    }
    frame
}
