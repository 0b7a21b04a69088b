//! Log lines of the process itself, to standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// Starts logging. `filter` is a directive list such as `info` or `meshprobe=debug`; one that
/// cannot be parsed is `info`. `colour` paints the text with ANSI sequences. A second start changes nothing.
pub fn start(format: Format, filter: &str, colour: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = match format {
        Format::Text => lines.with_target(false).with_ansi(colour).finish().try_init(),
        Format::Json => lines.json().finish().try_init(),
    };
}
