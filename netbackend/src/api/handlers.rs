//! What each request does.
use super::{Daemon, reply::Failure};
use crate::supervisor::{NetworkHandle, Peer};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{Method, StatusCode, Uri},
};
use control::{NetworkStatus, PortRequest, PortStatus, Status};
use std::sync::Arc;
use tokio::task::JoinSet;

type Reply<T> = Result<T, Failure>;

pub(super) async fn status(State(daemon): State<Arc<Daemon>>) -> Json<Status> {
    // All at once: a worker that hangs delays the answer once, not each one in turn.
    let mut asked = JoinSet::new();
    for network in daemon.networks.iter() {
        let network = network.clone();
        asked.spawn(async move { network.status().await });
    }
    let mut networks = asked.join_all().await;
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        uptime_seconds: daemon.started.elapsed().as_secs(),
        networks,
    })
}

pub(super) async fn network(
    State(daemon): State<Arc<Daemon>>,
    Path(network): Path<String>,
) -> Reply<Json<NetworkStatus>> {
    Ok(Json(daemon.network(&network)?.status().await))
}

pub(super) async fn add_port(
    State(daemon): State<Arc<Daemon>>,
    Path(network): Path<String>,
    Extension(peer): Extension<Arc<Peer>>,
    body: Result<Bytes, BytesRejection>,
) -> Reply<(StatusCode, Json<PortStatus>)> {
    let network = daemon.network(&network)?;
    let request = parse(&body.map_err(|error| bad_body(&error.body_text()))?)?;
    let lessee = if request.lease {
        let lessee = peer.lessee().ok_or_else(|| {
            Failure::new(
                "bad-request",
                "the process that asks for a lease cannot be watched",
                "ask from the pid namespace of netbackend, or without lease",
            )
        });
        Some(lessee?)
    } else {
        None
    };
    let port = network.add_port(request, lessee).await?;
    Ok((StatusCode::CREATED, Json(port)))
}

pub(super) async fn remove_port(
    State(daemon): State<Arc<Daemon>>,
    Path((network, port)): Path<(String, String)>,
) -> Reply<StatusCode> {
    daemon.network(&network)?.remove_port(port).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn no_such_path(uri: Uri) -> Failure {
    Failure::new(
        "not-found",
        format!("there is no {}", uri.path()),
        "see docs/control-api.md; start with GET /v1/status",
    )
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Failure {
    Failure::new(
        "method-not-allowed",
        format!("{} does not take {method}", uri.path()),
        "see docs/control-api.md",
    )
}

/// No body asks for a port with all defaults. The content type does not matter: `curl --data` says
/// that its body is a form.
fn parse(body: &[u8]) -> Reply<PortRequest> {
    if body.is_empty() {
        return Ok(PortRequest::default());
    }
    serde_json::from_slice(body).map_err(|error| bad_body(&error.to_string()))
}

fn bad_body(why: &str) -> Failure {
    Failure::new(
        "bad-request",
        format!("the body is not a port request: {why}"),
        "send a JSON object with any of name, mac, queue_pairs, lease",
    )
}

impl Daemon {
    fn network(&self, name: &str) -> Reply<&NetworkHandle> {
        let found = self.networks.iter().find(|network| network.name() == name);
        found.ok_or_else(|| {
            let names: Vec<_> = self.networks.iter().map(NetworkHandle::name).collect();
            Failure::new(
                "no-such-network",
                format!("there is no network {name:?}"),
                format!(
                    "use one of: {}; or add it to the configuration",
                    names.join(", ")
                ),
            )
        })
    }
}
