//! What each request does.
use super::{Daemon, reply::Failure};
use crate::supervisor::{Peer, examine};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{Method, StatusCode, Uri},
};
use control::{
    ApiError, FlowStatus, ForwardRequest, ForwardStatus, Health, LeaseStatus, NetworkRequest,
    NetworkStatus, PortDetail, PortFilter, PortRequest, PortStatus, ReloadReport, Status,
};
use nat::forward::Forward;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::task::JoinSet;

type Reply<T> = Result<T, Failure>;
type Body = Result<Bytes, BytesRejection>;

pub(super) async fn status(State(daemon): State<Arc<Daemon>>) -> Json<Status> {
    Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        uptime_seconds: daemon.started.elapsed().as_secs(),
        networks: daemon.ask_all().await,
    })
}

pub(super) async fn health(State(daemon): State<Arc<Daemon>>) -> (StatusCode, Json<Health>) {
    let health = examine(&daemon.ask_all().await);
    let status = if health.healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(health))
}

pub(super) async fn reload(State(daemon): State<Arc<Daemon>>) -> Reply<Json<ReloadReport>> {
    let registry = Arc::clone(&daemon.registry);
    to_the_end(registry.reload()).await.map(Json)
}

pub(super) async fn networks(State(daemon): State<Arc<Daemon>>) -> Json<Vec<NetworkStatus>> {
    Json(daemon.ask_all().await)
}

pub(super) async fn add_network(
    State(daemon): State<Arc<Daemon>>,
    body: Body,
) -> Reply<(StatusCode, Json<NetworkStatus>)> {
    let help = "send a JSON object with a name and the keys of a network's section";
    let request: NetworkRequest = parse(&read(body, help)?, help)?;
    let registry = Arc::clone(&daemon.registry);
    let network = to_the_end(registry.add_network(request)).await?;
    Ok((StatusCode::CREATED, Json(network)))
}

pub(super) async fn remove_network(
    State(daemon): State<Arc<Daemon>>,
    Path(network): Path<String>,
) -> Reply<StatusCode> {
    let registry = Arc::clone(&daemon.registry);
    to_the_end(registry.remove_network(network)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn network(
    State(daemon): State<Arc<Daemon>>,
    Path(network): Path<String>,
) -> Reply<Json<NetworkStatus>> {
    Ok(Json(daemon.registry.network(&network)?.status().await))
}

pub(super) async fn ports(
    State(daemon): State<Arc<Daemon>>,
    Path(network): Path<String>,
) -> Reply<Json<Vec<PortStatus>>> {
    let status = daemon.registry.network(&network)?.status().await;
    Ok(Json(status.ports))
}

pub(super) async fn port(
    State(daemon): State<Arc<Daemon>>,
    Path((network, port)): Path<(String, String)>,
) -> Reply<Json<PortDetail>> {
    Ok(Json(daemon.registry.network(&network)?.port(port).await?))
}

pub(super) async fn add_port(
    State(daemon): State<Arc<Daemon>>,
    Path(network): Path<String>,
    Extension(peer): Extension<Arc<Peer>>,
    body: Body,
) -> Reply<(StatusCode, Json<PortStatus>)> {
    daemon.registry.network(&network)?;
    let help = "send a JSON object with any of name, mac, queue_pairs, lease, \
        and the other keys of a port's section";
    let body = read(body, help)?;
    // No body asks for a port with all defaults.
    let request: PortRequest = if body.is_empty() {
        PortRequest::default()
    } else {
        parse(&body, help)?
    };
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
    // Given up by its client, it is taken back: then nobody knows its name.
    let port = daemon.registry.add_port(&network, request, lessee).await?;
    Ok((StatusCode::CREATED, Json(port)))
}

pub(super) async fn remove_port(
    State(daemon): State<Arc<Daemon>>,
    Path((network, port)): Path<(String, String)>,
) -> Reply<StatusCode> {
    let registry = Arc::clone(&daemon.registry);
    to_the_end(registry.remove_port(network, port)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn set_filter(
    State(daemon): State<Arc<Daemon>>,
    Path((network, port)): Path<(String, String)>,
    body: Body,
) -> Reply<StatusCode> {
    let help = "send a JSON object with any of address, groups and promiscuous";
    let filter: PortFilter = parse(&read(body, help)?, help)?;
    let registry = Arc::clone(&daemon.registry);
    to_the_end(registry.set_filter(network, port, filter)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn forwards(
    State(daemon): State<Arc<Daemon>>,
    Path(network): Path<String>,
) -> Reply<Json<Vec<ForwardStatus>>> {
    Ok(Json(daemon.registry.network(&network)?.forwards().await?))
}

pub(super) async fn add_forward(
    State(daemon): State<Arc<Daemon>>,
    Path(network): Path<String>,
    body: Body,
) -> Reply<(StatusCode, Json<ForwardStatus>)> {
    daemon.registry.network(&network)?;
    let help = "send a JSON object like {\"forward\": \"tcp:8080=web:80\"}";
    let request: ForwardRequest = parse(&read(body, help)?, help)?;
    let forward = forward(&request.forward)?;
    let registry = Arc::clone(&daemon.registry);
    let added = to_the_end(registry.add_forward(network, forward)).await?;
    Ok((StatusCode::CREATED, Json(added)))
}

pub(super) async fn remove_forward(
    State(daemon): State<Arc<Daemon>>,
    Path((network, text)): Path<(String, String)>,
) -> Reply<StatusCode> {
    let registry = Arc::clone(&daemon.registry);
    to_the_end(registry.remove_forward(network, forward(&text)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn forward(text: &str) -> Reply<Forward> {
    text.parse::<Forward>().map_err(|why| {
        Failure::new(
            "bad-request",
            format!("{text:?} is not a forward: {why}"),
            "write one like tcp:8080=web:80; see docs/config.md, \"Forwards\"",
        )
    })
}

pub(super) async fn flows(
    State(daemon): State<Arc<Daemon>>,
    Path(network): Path<String>,
) -> Reply<Json<Vec<FlowStatus>>> {
    Ok(Json(daemon.registry.network(&network)?.flows().await?))
}

pub(super) async fn leases(
    State(daemon): State<Arc<Daemon>>,
    Path(network): Path<String>,
) -> Reply<Json<Vec<LeaseStatus>>> {
    Ok(Json(daemon.registry.network(&network)?.leases().await?))
}

/// Does it all, even if the client hangs up or the request takes too long: half of it would be
/// worse.
async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Reply<T> {
    match tokio::spawn(change).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Failure::new(
            "internal",
            "the change was not finished",
            "see the log of netbackend",
        )),
    }
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

fn read(body: Body, help: &str) -> Reply<Bytes> {
    body.map_err(|error| bad_body(&error.body_text(), help))
}

/// The content type does not matter: `curl --data` says that its body is a form.
fn parse<T: DeserializeOwned>(body: &[u8], help: &str) -> Reply<T> {
    serde_json::from_slice(body).map_err(|error| bad_body(&error.to_string(), help))
}

fn bad_body(why: &str, help: &str) -> Failure {
    Failure::new(
        "bad-request",
        format!("the body is not understood: {why}"),
        help,
    )
}

impl Daemon {
    /// All networks, by name. All at once: a worker that hangs delays the answer once, not each one
    /// in turn.
    async fn ask_all(&self) -> Vec<NetworkStatus> {
        let mut asked = JoinSet::new();
        for network in self.registry.networks() {
            asked.spawn(async move { network.status().await });
        }
        let mut networks = asked.join_all().await;
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        networks
    }
}
