//! Where a controller finds a Prometheus, and whether it reads from there what agents saw.

use std::path::PathBuf;
use std::str::FromStr;

use crate::config::ControllerConfig;
use crate::config::decode::{Field, Fields};

/// A Prometheus that scrapes the agents and runs the recording rules of the chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusConfig {
    /// `http://HOST[:PORT][/PREFIX]`.
    pub url: String,
    /// A file with a bearer token, read for each question.
    pub token: Option<PathBuf>,
}

/// From whom a controller hears what agents saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EvidenceSource {
    /// From each agent, over the control channel.
    #[default]
    Agents,
    /// From the Prometheus that is configured: for fleets that are too large for one collector.
    Prometheus,
}

impl EvidenceSource {
    const ALL: [Self; 2] = [Self::Agents, Self::Prometheus];

    fn as_str(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Prometheus => "prometheus",
        }
    }
}

/// A source that is chosen on the command line: `agents`, `prometheus`, `prometheus=URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceChoice {
    source: EvidenceSource,
    url: Option<String>,
}

/// A choice that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidChoice {
    /// Another word.
    #[error("write agents, prometheus or prometheus=http://HOST[:PORT][/PREFIX]")]
    Word,
    /// A URL with user information, which is not shown.
    #[error(
        "--source prometheus=<secret>: must be http://HOST[:PORT][/PREFIX], without user information"
    )]
    User,
    /// Neither here nor in the configuration is a URL.
    #[error(
        "--source prometheus: no URL is configured: write --source prometheus=http://HOST:PORT"
    )]
    NoUrl,
}

impl FromStr for SourceChoice {
    type Err = InvalidChoice;

    /// A URL with user information is refused by [`SourceChoice::apply`]: what is refused here is
    /// shown to whoever typed it.
    fn from_str(text: &str) -> Result<Self, InvalidChoice> {
        let (word, url) = match text.split_once('=') {
            Some((word, url)) => (word, Some(url)),
            None => (text, None),
        };
        let source = EvidenceSource::ALL.into_iter().find(|it| word == it.as_str());
        let source = source.ok_or(InvalidChoice::Word)?;
        let fits = url.is_none_or(|url| {
            source == EvidenceSource::Prometheus && (is_plain(url) || url.contains('@'))
        });
        fits.then(|| Self { source, url: url.map(str::to_owned) }).ok_or(InvalidChoice::Word)
    }
}

impl SourceChoice {
    /// Puts it in the place of what `config` says.
    pub fn apply(self, config: &mut ControllerConfig) -> Result<(), InvalidChoice> {
        if self.url.as_deref().is_some_and(|url| !is_plain(url)) {
            return Err(InvalidChoice::User);
        }
        config.source = self.source;
        if let Some(url) = self.url {
            let token = config.prometheus.take().and_then(|it| it.token);
            config.prometheus = Some(PrometheusConfig { url, token });
        }
        match (&config.prometheus, config.source) {
            (None, EvidenceSource::Prometheus) => Err(InvalidChoice::NoUrl),
            (Some(_), _) | (None, EvidenceSource::Agents) => Ok(()),
        }
    }
}

/// Reads `prometheus` and `source` of a controller's file.
pub(super) fn decode(fields: &mut Fields<'_>) -> (Option<PrometheusConfig>, EvidenceSource) {
    let block = fields.take("prometheus");
    let prometheus = block.as_ref().and_then(prometheus);
    let Some(field) = fields.take("source") else { return (prometheus, EvidenceSource::default()) };
    let text = field.text();
    let found = EvidenceSource::ALL.into_iter().find(|it| text == Some(it.as_str()));
    match found {
        None => field.wrong("is no source", "write agents or prometheus"),
        Some(EvidenceSource::Prometheus) if block.is_none() => {
            field.wrong("is not told where it is", "write prometheus.url beside it");
        }
        Some(_) => {}
    }
    (prometheus, found.unwrap_or_default())
}

fn prometheus(field: &Field<'_>) -> Option<PrometheusConfig> {
    let mut block = field.fields();
    let url = block.take("url");
    if url.is_none() {
        field.unvalued("has no `url`", "write url: http://HOST:PORT");
    }
    let token = block.take("token").and_then(Field::file);
    block.finish();
    let url = url?;
    let text = url.filled()?;
    // User information is refused, and not shown.
    let url = if text.contains('@') { url.hidden() } else { url };
    if !is_plain(text) {
        let fix = "write http://HOST[:PORT][/PREFIX], without user, query or fragment";
        url.wrong("is no URL of a Prometheus that can be asked", fix);
        return None;
    }
    Some(PrometheusConfig { url: text.to_owned(), token })
}

/// Whether `text` is an `http` URL with nothing but a host, a port and a path.
pub fn is_plain(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        url.scheme() == "http"
            && url.host_str().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}
