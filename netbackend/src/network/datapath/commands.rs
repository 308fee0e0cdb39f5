//! Commands of control threads, served between bursts.
use super::{
    super::{
        command::{
            Answer, Command, CommandError, Letter, NewCarrier, PortOffloads, RingId, RingStart,
        },
        counters::PortShared,
        sys,
    },
    BURST, Source,
    cell::Opened,
    limits::Limits,
    ports::{Carrier, Port},
    ring::Ring,
    tap_port::{TapPort, TapQueue},
    vhost_port::VhostPort,
    worker::Worker,
};
use control::PortPolicy;
use std::{fs::File, io, ops::ControlFlow, sync::Arc};
use switch::{PortConfig, PortId, PortVlans, Rate, VlanId};
use virtqueue::{MemoryMap, QueueConfig};

type Outcome = Result<Answer, CommandError>;

impl Worker {
    /// Serves what is posted; break: the datapath ends.
    pub(super) fn serve_letters(&mut self) -> ControlFlow<()> {
        // No burst is under way. Let go of the memory maps that reused storage still holds, so that
        // an answer says that a map is out of use.
        self.frames.burst.release();
        self.scratch.burst.release();
        for letter in self.inbox.take() {
            let envelope = match letter {
                Letter::Command(envelope) => envelope,
                Letter::Source(moved) => {
                    self.adopt(moved);
                    continue;
                }
            };
            let (command, answer) = envelope.open();
            if let Command::Stop = command {
                answer(Ok(Answer::Done));
                return ControlFlow::Break(());
            }
            answer(self.serve(command));
        }
        ControlFlow::Continue(())
    }

    pub(super) fn serve(&mut self, command: Command) -> Outcome {
        match command {
            Command::AddPort {
                port,
                config,
                policy,
                limits,
                carrier,
                shared,
            } => self.add_port(port, (config, &policy, limits), carrier, shared),
            Command::Join([one, other]) => {
                self.switch.join(one, other)?;
                Ok(Answer::Done)
            }
            Command::RemovePort(port) => self.remove_port(port),
            Command::SetUplinkAddress { port, mac } => {
                self.switch.set_uplink_address(port, mac)?;
                Ok(Answer::Done)
            }
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
            Command::SetCall { ring, call } => self.with_ring(ring, |ring| ring.set_call(call)),
            Command::SetErr { ring, err } => self.with_ring(ring, |ring| ring.set_err(err)),
            Command::Disconnect(port) => self.disconnect(port),
            Command::Stop => Err(CommandError::Gone),
        }
    }

    /// Whether this worker is the one to set up and stop the receive rings.
    fn leads(&self) -> bool {
        self.index == 0
    }

    /// Whether this worker is the one to act on a ring if it is there: other workers put frames into receive rings, too, and
    /// only look again what the lead has done.
    fn acts_on(&self, id: RingId) -> bool {
        self.leads() || transmit_source(id).is_some()
    }

    /// The place of a ring that this worker acts on; the other workers wait while it is open.
    fn place(&mut self, id: RingId) -> Result<Opened<'_>, CommandError> {
        let place = if self.acts_on(id) {
            let port = self.ports.get_mut(id.port).and_then(Port::vhost);
            port.and_then(|vhost| vhost.place(id.index))
        } else {
            None
        };
        place.ok_or(CommandError::NotFound)
    }

    /// Does something with a ring that runs.
    fn with_ring(&mut self, id: RingId, act: impl FnOnce(&mut Ring)) -> Outcome {
        let mut place = self.place(id)?;
        act(place.as_mut().ok_or(CommandError::NotFound)?);
        Ok(Answer::Done)
    }

    fn add_port(
        &mut self,
        id: PortId,
        (config, policy, limits): (PortConfig, &PortPolicy, Limits),
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
            NewCarrier::VhostUser { rings, receive } => {
                let carrier = Carrier::Vhost(VhostPort::new(rings, &receive));
                self.ports.insert(id, Port::new(shared, carrier, limits));
                Ok(Answer::Done)
            }
            NewCarrier::Tap(files) => self.add_tap(id, files, limits, shared),
        };
        if added.is_err() {
            self.switch.remove_port(id);
        }
        // A whole burst may be flooded to every port: the list must not grow while frames flow.
        let most = self.ports.len().saturating_mul(BURST);
        self.deliveries
            .reserve(most.saturating_sub(self.deliveries.len()));
        added
    }

    fn add_tap(
        &mut self,
        id: PortId,
        files: Vec<Arc<File>>,
        limits: Limits,
        shared: Arc<PortShared>,
    ) -> Outcome {
        let queues = u16::try_from(files.len()).unwrap_or(u16::MAX);
        let serves: Vec<bool> = (0..queues)
            .map(|queue| {
                let source = Source { port: id, queue };
                self.mailbox.home(source, limits.keeps_together) == self.index
            })
            .collect();
        if let Err(error) = self.watch_tap(id, &files, &serves) {
            // Somebody else may hold the files too: dropping ours does not end the watch.
            for file in &files {
                self.poller.forget(file);
            }
            return Err(CommandError::Watch(error));
        }
        shared.set_queue_pairs(queues);
        let queues_of_tap = files.into_iter().zip(serves);
        let queues_of_tap = queues_of_tap.map(|(file, serves)| TapQueue::new(file, serves));
        let carrier = Carrier::Tap(TapPort {
            queues: queues_of_tap.collect(),
        });
        self.ports.insert(id, Port::new(shared, carrier, limits));
        for queue in 0..queues {
            let source = Source { port: id, queue };
            self.note_worker(source);
            self.activate(source);
        }
        Ok(Answer::Done)
    }

    fn watch_tap(&self, id: PortId, files: &[Arc<File>], serves: &[bool]) -> io::Result<()> {
        let queues = (0u16..).zip(files).zip(serves);
        queues
            .filter(|(_, serves)| **serves)
            .try_for_each(|((queue, file), _)| {
                sys::set_nonblocking(file)?;
                self.poller.watch_tap(file, Source { port: id, queue })
            })
    }

    /// Notes for reports that this worker serves a source, if it does.
    pub(super) fn note_worker(&mut self, source: Source) {
        let worker = u16::try_from(self.index).unwrap_or(u16::MAX);
        if self.ports.conduct(source).is_some()
            && let Some(port) = self.ports.get(source.port)
            && let Some(stats) = port.shared.transmit_stats(source.queue)
        {
            stats.set_worker(Some(worker));
        }
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
        let started = if self.is_at_home(id) {
            self.run_ring(id, start)
        } else {
            Err(CommandError::NotFound)
        };
        self.refresh(id.port);
        started
    }

    /// Whether a ring that starts is this worker's: receive rings are the lead's, transmit rings spread over all.
    fn is_at_home(&self, id: RingId) -> bool {
        let Some(source) = transmit_source(id) else {
            return self.leads();
        };
        let port = self.ports.get(id.port);
        let together = port.is_some_and(|port| port.limits.keeps_together);
        self.mailbox.home(source, together) == self.index
    }

    fn run_ring(&mut self, id: RingId, start: RingStart) -> Outcome {
        let port = self.ports.get_mut(id.port).ok_or(CommandError::NotFound)?;
        let shared = Arc::clone(&port.shared);
        let stats = shared.ring(id.index).ok_or(CommandError::NotFound)?;
        let mut place = port
            .vhost()
            .and_then(|vhost| vhost.place(id.index))
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
        *place = Some(ring);
        drop(place);
        if let Some(source) = source {
            self.note_worker(source);
            self.activate(source);
        }
        Ok(Answer::Done)
    }

    fn stop_ring(&mut self, id: RingId) -> Outcome {
        let position = match self.place(id) {
            Ok(place) => place.as_ref().map(Ring::position),
            Err(_) => None,
        };
        if position.is_some() {
            self.drop_ring(id);
        }
        self.refresh(id.port);
        position.map(Answer::Position).ok_or(CommandError::NotFound)
    }

    fn reconfigure(
        &mut self,
        id: PortId,
        memory: &Arc<MemoryMap>,
        rings: Vec<(u16, QueueConfig)>,
    ) -> Outcome {
        let mut outcome = Err(CommandError::NotFound);
        for (index, config) in rings {
            let ring_id = RingId { port: id, index };
            let result = match self.place(ring_id) {
                Ok(mut place) => place
                    .as_mut()
                    .map(|ring| ring.reconfigure(Arc::clone(memory), config)),
                Err(_) => None,
            };
            match result {
                // Another worker's.
                None => continue,
                Some(Err(fault)) => {
                    // It must not stay on the old memory.
                    self.drop_ring(ring_id);
                    outcome = Err(CommandError::Ring { index, fault });
                    continue;
                }
                Some(Ok(())) => {}
            }
            if let Err(CommandError::NotFound) = outcome {
                outcome = Ok(Answer::Done);
            }
            if let Some(source) = transmit_source(ring_id) {
                // Kicks are suppressed now: it must be polled.
                self.deactivate(source);
                self.activate(source);
            }
        }
        self.refresh(id);
        outcome
    }

    fn enable_ring(&mut self, id: RingId, enabled: bool) -> Outcome {
        let outcome = self.with_ring(id, |ring| ring.set_enabled(enabled));
        self.refresh(id.port);
        outcome
    }

    fn disconnect(&mut self, id: PortId) -> Outcome {
        let port = self.ports.get_mut(id).ok_or(CommandError::NotFound)?;
        let rings = port.vhost().map_or(0, |vhost| vhost.rings());
        for index in 0..rings {
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
        let Ok(mut place) = self.place(id) else {
            return;
        };
        let Some(ring) = place.take() else {
            return;
        };
        drop(place);
        ring.stats().set_worker(None);
        if transmit_source(id).is_some()
            && let Some(kick) = &ring.kick
        {
            self.poller.forget(kick);
        }
    }

    /// Looks again which rings of a port carry frames.
    fn refresh(&mut self, id: PortId) {
        if let Some(vhost) = self.ports.get_mut(id).and_then(Port::vhost) {
            vhost.refresh();
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
