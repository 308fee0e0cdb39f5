//! The control API: HTTP/1.1 and JSON on a Unix socket. `docs/control-api.md` describes it.
mod handlers;
mod reply;
mod server;

pub(crate) use server::serve;

use crate::supervisor::Registry;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, post, put},
};
use std::{sync::Arc, time::Instant};

/// Largest request body: a network with hundreds of ports.
const MAX_BODY: usize = 64 << 10;

/// What the handlers work on.
#[derive(Debug)]
struct Daemon {
    registry: Arc<Registry>,
    started: Instant,
}

fn router(registry: Arc<Registry>) -> Router {
    let daemon = Arc::new(Daemon {
        registry,
        started: Instant::now(),
    });
    let network = get(handlers::network).delete(handlers::remove_network);
    let port = get(handlers::port).delete(handlers::remove_port);
    Router::new()
        .route("/v1/status", get(handlers::status))
        .route("/v1/health", get(handlers::health))
        .route("/v1/reload", post(handlers::reload))
        .route(
            "/v1/networks",
            get(handlers::networks).post(handlers::add_network),
        )
        .route("/v1/networks/{network}", network)
        .route(
            "/v1/networks/{network}/ports",
            get(handlers::ports).post(handlers::add_port),
        )
        .route("/v1/networks/{network}/ports/{port}", port)
        .route(
            "/v1/networks/{network}/ports/{port}/filter",
            put(handlers::set_filter),
        )
        .route(
            "/v1/networks/{network}/forwards",
            get(handlers::forwards).post(handlers::add_forward),
        )
        .route(
            "/v1/networks/{network}/forwards/{forward}",
            delete(handlers::remove_forward),
        )
        .route("/v1/networks/{network}/flows", get(handlers::flows))
        .route("/v1/networks/{network}/leases", get(handlers::leases))
        .fallback(handlers::no_such_path)
        .method_not_allowed_fallback(handlers::no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(server::limit_time))
        .with_state(daemon)
}
