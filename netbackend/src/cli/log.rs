//! The log on standard error.
use std::{fmt, io};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Writer},
    },
    registry::LookupSpan,
};

/// Starts logging what `filter` lets through; a worker's lines name its network.
///
/// # Errors
/// The filter is not understood.
pub(super) fn init(filter: &str, network: Option<&str>) -> Result<(), String> {
    let parsed = EnvFilter::builder().parse(filter).map_err(|error| {
        format!("--log {filter:?} is not understood: {error} (write a level, like info or debug)")
    })?;
    let terminal = io::IsTerminal::is_terminal(&io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(io::stderr)
        .with_ansi(terminal)
        .event_format(Named {
            prefix: network.map_or_else(String::new, |network| format!("[{network}] ")),
            format: Format::default().with_target(false),
        })
        .init();
    Ok(())
}

/// Lines that start with the network's name.
struct Named {
    prefix: String,
    format: Format<Full>,
}

impl<S, N> FormatEvent<S, N> for Named
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str(&self.prefix)?;
        self.format.format_event(context, writer, event)
    }
}
