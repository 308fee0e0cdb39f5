//! Errors of the API as HTTP answers.
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use control::ApiError;

/// An [`ApiError`] on its way out.
#[derive(Debug)]
pub(super) struct Failure(ApiError);

impl Failure {
    pub(super) fn new(code: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self(ApiError {
            code: code.into(),
            message: message.into(),
            remedy: Some(remedy.into()),
        })
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.0.code.as_str() {
            "bad-request" | "bad-config" => StatusCode::BAD_REQUEST,
            "no-such-network" | "no-such-port" | "no-such-forward" | "not-found" => {
                StatusCode::NOT_FOUND
            }
            "forbidden" => StatusCode::FORBIDDEN,
            "method-not-allowed" => StatusCode::METHOD_NOT_ALLOWED,
            "network-exists" | "port-exists" | "conflict" => StatusCode::CONFLICT,
            "unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self.0)).into_response()
    }
}
