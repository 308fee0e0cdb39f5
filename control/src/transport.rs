//! One HTTP/1.1 exchange over a Unix stream socket.
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use std::{io, path::Path, time::Duration};
use tokio::{net::UnixStream, runtime, time};

/// Largest answer accepted: a daemon with thousands of ports stays far below.
const MAX_ANSWER: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Error {
    Io(io::Error),
    /// The peer does not speak HTTP as expected.
    Http(String),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Status and body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// Connects, sends one request and reads its answer, all within `timeout`.
pub(crate) fn call(
    socket: &Path,
    timeout: Duration,
    method: &Method,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<Answer, Error> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        time::timeout(timeout, exchange(socket, method, path, body))
            .await
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    })
}

async fn exchange(
    socket: &Path,
    method: &Method,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<Answer, Error> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        // HTTP/1.1 demands one (RFC 9112, 3.2); a Unix socket has no host name.
        .header(header::HOST, "localhost");
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .map_err(|error| Error::Http(error.to_string()))?;
    let answer = async move {
        let answer = sender.send_request(request).await.map_err(http)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| Error::Http(error.to_string()))?;
        // Dropping the sender ends the connection.
        drop(sender);
        Ok(Answer {
            status,
            body: body.to_bytes().into(),
        })
    };
    // The connection's own error, if any, is also the request's.
    let (answer, _) = tokio::join!(answer, connection);
    answer
}

#[expect(clippy::needless_pass_by_value, reason = "shape of map_err")]
fn http(error: hyper::Error) -> Error {
    let source = std::error::Error::source(&error).and_then(|s| s.downcast_ref::<io::Error>());
    match source {
        Some(source) => Error::Io(io::Error::new(source.kind(), error.to_string())),
        None => Error::Http(error.to_string()),
    }
}
