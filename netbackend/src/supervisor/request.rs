//! Requests as sections of the configuration file, and what is wrong with them as answers.
use crate::config::{ConfigError, NetworkConfig, PortConfig, Problem, parse_port};
use control::{ApiError, PortRequest};
use std::path::Path;
use toml::Table;

/// The request as a section of the configuration file.
pub(super) fn settings_of(request: &PortRequest) -> Result<Table, ApiError> {
    let mut settings = to_table(&request.settings)?;
    if let Some(mac) = &request.mac {
        settings.insert("mac".into(), mac.clone().into());
    }
    if let Some(queue_pairs) = request.queue_pairs {
        settings.insert("queue_pairs".into(), i64::from(queue_pairs).into());
    }
    Ok(settings)
}

/// Settings of a request; JSON's null has no place in a configuration.
pub(super) fn to_table(
    settings: &serde_json::Map<String, serde_json::Value>,
) -> Result<Table, ApiError> {
    Table::try_from(settings).map_err(|error| {
        refusal(
            "bad-request",
            format!("a value cannot be used: {error}"),
            "leave out keys instead of writing null",
        )
    })
}

/// A configuration that is not valid, as the answer to a request.
pub(super) fn invalid(wrong: &ConfigError) -> ApiError {
    let (message, remedy) = match wrong {
        ConfigError::Invalid(problems) => {
            let tell = |problem: &Problem| match problem.key.as_str() {
                "" => problem.message.clone(),
                key => format!("{key}: {}", problem.message),
            };
            let messages: Vec<_> = problems.iter().map(tell).collect();
            let remedies: Vec<_> = problems
                .iter()
                .map(|problem| problem.remedy.as_str())
                .collect();
            (messages.join("; "), remedies.join("; "))
        }
        other @ ConfigError::Read { .. } => (other.to_string(), String::new()),
    };
    refusal("bad-request", message, remedy)
}

/// An error with what to do about it.
pub(super) fn refusal(
    code: &str,
    message: impl Into<String>,
    remedy: impl Into<String>,
) -> ApiError {
    ApiError {
        code: code.into(),
        message: message.into(),
        remedy: Some(remedy.into()),
    }
}

/// The port of a request, for the network's task.
pub(super) fn port_of_request(
    network: &NetworkConfig,
    name: &str,
    settings: &Table,
    runtime_dir: &Path,
) -> Result<PortConfig, ApiError> {
    parse_port(network, name, settings, runtime_dir).map_err(|wrong| invalid(&wrong))
}
