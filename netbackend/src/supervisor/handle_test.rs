use super::*;
use crate::config::{Config, Overrides};
use control::Mode;
use std::path::Path;

/// Nobody answers, however long that is.
const PATIENCE: Duration = Duration::from_millis(10);

fn network() -> NetworkConfig {
    let config = Config::parse(Path::new("nb.toml"), "[networks.n]", &Overrides::default());
    config.unwrap().networks.remove(0)
}

fn handle() -> (Mailbox, NetworkHandle) {
    NetworkHandle::new(NetworkStatus {
        name: "n".into(),
        mode: Mode::Bridge,
        mtu: 1500,
        nic_mtu: None,
        state: NetworkState::Running,
        worker_pid: None,
        restarts: 0,
        last_fault: None,
        responsive: true,
        workers: Vec::new(),
        ports: Vec::new(),
        nat: None,
    })
}

#[tokio::test]
async fn settings_that_a_network_comes_to_late_are_not_refused() {
    let (mut mailbox, handle) = handle();
    let wrong = handle
        .reconfigure_within(network(), PATIENCE)
        .await
        .unwrap();
    assert!(wrong[0].contains("did not answer in time"), "{wrong:?}");
    let queued = mailbox.commands.recv().await;
    assert!(matches!(queued, Some(Command::Reconfigure { .. })));
}

#[tokio::test]
async fn settings_that_a_network_never_comes_to_are_refused_and_its_wires_come_back() {
    let (mut mailbox, handle) = handle();
    for _ in 0..QUEUE {
        let (reply, _) = oneshot::channel();
        handle.commands.send(Command::Report(reply)).await.unwrap();
    }
    let wrong = handle
        .reconfigure_within(network(), PATIENCE)
        .await
        .unwrap_err();
    assert!(wrong.message.contains("did not answer in time"), "{wrong}");
    // Told as soon as it takes anything.
    let told = tokio::spawn(async move { handle.take_wires_back().await });
    for _ in 0..QUEUE {
        let queued = mailbox.commands.recv().await;
        assert!(matches!(queued, Some(Command::Report(_))), "{queued:?}");
    }
    let queued = mailbox.commands.recv().await;
    assert!(matches!(queued, Some(Command::TakeWiresBack)), "{queued:?}");
    told.await.unwrap();
}
