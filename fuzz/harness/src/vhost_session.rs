//! Target `vhost_session`: what a hostile front-end may send, fds included, to a port of a running network.
//!
//! The input is a list of steps: messages, sound ones bent by the input or raw bytes, with any number of fds of any kind; writes
//! into the guest memory that was shared; kicks. Then the connection ends. The daemon must notice within seconds whatever was
//! said, must leave nothing behind (fds, threads), and must serve the next front-end.
use crate::{
    input::Input,
    message::{self, Fds},
    session::Session,
};
use control::{PortPolicy, PortState};
use netbackend::network::{Network, NetworkSpec, PortSpec, PortTransport};
use std::{
    fs,
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};
use switch::{Mode, Role};
use tempfile::TempDir;

/// Longer than any time-out of the daemon.
const DEADLINE: Duration = Duration::from_secs(30);
/// Sessions between two counts of what is open.
const AUDIT: u64 = 256;
/// Fds that the runtime and the sanitizer may open late.
const SLACK: usize = 16;
const QUEUE_PAIRS: u16 = 2;

/// The network that all inputs attack: a finding may need more than one session.
struct World {
    network: Network,
    socket: PathBuf,
    sessions: u64,
    open: Option<(usize, usize)>,
    _directory: TempDir,
}

fn world() -> &'static Mutex<World> {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    WORLD.get_or_init(|| Mutex::new(World::new()))
}

/// Plays the input as one connection. One at a time: the port takes one front-end.
pub fn run(input: &[u8]) {
    let mut world = world().lock().unwrap_or_else(PoisonError::into_inner);
    let mut session = Session::connect(&world.socket);
    let mut input = Input::new(input);
    while !input.is_empty() && step(&mut session, &mut input) {}
    session.end(DEADLINE);
    world.wait_until_gone();
    world.audit();
}

/// False: the daemon has hung up.
fn step(session: &mut Session, input: &mut Input<'_>) -> bool {
    match input.u8() {
        0..=23 => message::set_up(input)
            .into_iter()
            .all(|(message, fds)| session.send(&message, &fds)),
        24..=159 => {
            let (message, fds) = message::bent(input);
            session.send(&message, &fds)
        }
        160..=175 => {
            let message = input.take(64).to_vec();
            let fds = Fds::read(input);
            session.send(&message, &fds)
        }
        176..=239 => {
            message::scribble(session, input);
            true
        }
        240..=250 => {
            session.kick();
            true
        }
        _ => {
            session.drain();
            true
        }
    }
}

impl World {
    fn new() -> Self {
        let network = Network::start(NetworkSpec {
            name: "fuzz".into(),
            mode: Mode::Bridge,
            mtu: 1500,
            ageing: Duration::from_mins(5),
            fdb_capacity_per_port: 64,
            poll_idle: Duration::from_micros(50),
            workers: 2,
            cpus: Vec::new(),
            require_sealed_memory: false,
            isolate: false,
        })
        .unwrap();
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("port");
        let listener = UnixListener::bind(&socket).unwrap();
        let spec = PortSpec {
            name: "port".into(),
            role: Role::Guest,
            mac: None,
            policy: PortPolicy::default(),
            queue_pairs: QUEUE_PAIRS,
        };
        network
            .add_port(spec, PortTransport::VhostUser(listener))
            .unwrap();
        Self {
            network,
            socket,
            sessions: 0,
            open: None,
            _directory: directory,
        }
    }

    /// The port listens again: nothing of the session is left in the datapath.
    fn wait_until_gone(&self) {
        let begun = Instant::now();
        while self.network.report()[0].state != PortState::Listening {
            let state = self.network.report()[0].state;
            assert!(
                begun.elapsed() < DEADLINE,
                "the session never ends: {state:?}"
            );
            thread::sleep(Duration::from_micros(50));
        }
    }

    fn audit(&mut self) {
        self.sessions += 1;
        if self.sessions % AUDIT != 1 {
            return;
        }
        let now = (entries("/proc/self/fd"), entries("/proc/self/task"));
        let (fds, threads) = *self.open.get_or_insert(now);
        assert!(now.0 <= fds + SLACK, "fds leak: {fds}, then {}", now.0);
        assert!(
            now.1 <= threads + SLACK,
            "threads leak: {threads}, then {}",
            now.1
        );
    }
}

fn entries(directory: &str) -> usize {
    fs::read_dir(directory).unwrap().count()
}
