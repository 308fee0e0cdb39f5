//! The control API: HTTP/1.1 and JSON on a Unix socket. `docs/control-api.md` describes it.
mod handlers;
mod reply;
mod server;

pub(crate) use server::serve;

use crate::supervisor::NetworkHandle;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, post},
};
use std::{sync::Arc, time::Instant};

/// Largest request body: a port request has a few hundred bytes.
const MAX_BODY: usize = 16 << 10;

/// What the handlers work on.
#[derive(Debug)]
struct Daemon {
    networks: Arc<[NetworkHandle]>,
    started: Instant,
}

fn router(networks: Arc<[NetworkHandle]>) -> Router {
    let daemon = Arc::new(Daemon {
        networks,
        started: Instant::now(),
    });
    Router::new()
        .route("/v1/status", get(handlers::status))
        .route("/v1/networks/{network}", get(handlers::network))
        .route("/v1/networks/{network}/ports", post(handlers::add_port))
        .route(
            "/v1/networks/{network}/ports/{port}",
            delete(handlers::remove_port),
        )
        .fallback(handlers::no_such_path)
        .method_not_allowed_fallback(handlers::no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(server::limit_time))
        .with_state(daemon)
}
