//! Serving connections: few at a time, none for ever.
use super::{reply::Failure, router};
use crate::supervisor::{Peer, Registry};
use axum::{
    Extension,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time,
};
use tracing::{debug, warn};

/// Connections served at once; more wait in the socket's backlog.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may be silent before and between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request may take from its headers on; workers are given less.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// A client that does not read its answers is cut off after this.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(5);
/// Pause after accept() failed (no descriptors left).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves the API for ever.
pub(crate) async fn serve(listener: UnixListener, registry: Arc<Registry>) {
    let router = router(registry);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Never closed.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "accept a connection to the control socket");
                time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let router = router.clone();
        tokio::spawn(async move {
            serve_connection(stream, router).await;
            drop(permit);
        });
    }
}

async fn serve_connection(stream: UnixStream, router: axum::Router) {
    let peer = match Peer::of(&stream) {
        Ok(peer) => Arc::new(peer),
        Err(error) => return debug!(%error, "identify the peer of a control connection"),
    };
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    match time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "control connection"),
        Err(_) => debug!("control connection is too old, cut off"),
    }
}

/// Answers instead of a handler, or of a client's body, that takes too long.
pub(super) async fn limit_time(request: Request, next: Next) -> Response {
    match time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Failure::new(
            "unavailable",
            "the request took too long",
            "send the whole body, or try again; see the log of netbackend",
        )
        .into_response(),
    }
}
