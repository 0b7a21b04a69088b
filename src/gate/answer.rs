//! Questions of machines, and the answers: queries, Flagger's webhooks. Pure: text in, text out.

use serde::Deserialize;
use url::form_urlencoded;

use crate::gate::change::Recommendation;
use crate::gate::{GateResult, Report, Scope, Settings};

/// The largest body of a webhook that is read, bytes.
pub const MOST_BODY: usize = 64 * 1024;
/// The longest name of a namespace.
const LONGEST_NAME: usize = 253;

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Of what.
    pub scope: Scope,
    /// By which measure.
    pub settings: Settings,
}

/// What is wrong with a question.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadAsk {
    /// No or two scopes.
    #[error("ask for ?namespace=NAME or for ?mesh=true")]
    Scope,
    /// Not the name of a namespace.
    #[error("namespace {0:?}: write 1 to 253 of a-z 0-9 - and .")]
    Namespace(String),
    /// Not a share.
    #[error("{key}={value:?}: write a share from {least} to {most}, such as {example}")]
    Share {
        /// Of the query.
        key: &'static str,
        /// As it was written.
        value: String,
        /// From.
        least: f64,
        /// To.
        most: f64,
        /// A good one.
        example: f64,
    },
    /// A key that is none.
    #[error("{0:?} is none of namespace, mesh, objective, confidence")]
    Key(String),
    /// A webhook's body that cannot be read.
    #[error("the body is no JSON with a namespace: {0}")]
    Body(String),
}

/// What may be stated as an objective, and as a confidence.
pub const SHARES: [(&str, f64, f64, f64); 2] =
    [("objective", 0.5, 0.999_999, 0.999), ("confidence", 0.5, 0.999_999, 0.95)];

impl Ask {
    /// Reads `namespace=` or `mesh=true`, `objective=` and `confidence=`; what is not stated is as
    /// in `settings`.
    pub fn read(query: &str, settings: Settings) -> Result<Self, BadAsk> {
        let mut ask = Self { scope: Scope::Mesh, settings };
        let (mut namespace, mut mesh) = (None, false);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "namespace" => namespace = Some(name(&value)?),
                "mesh" => mesh = value != "false",
                "objective" => ask.settings.objective = share(0, &value)?,
                "confidence" => ask.settings.confidence = share(1, &value)?,
                _ => return Err(BadAsk::Key(key.into_owned())),
            }
        }
        match (namespace, mesh) {
            (Some(namespace), false) => ask.scope = Scope::of(&namespace),
            (None, true) => {}
            (Some(_), true) | (None, false) => return Err(BadAsk::Scope),
        }
        Ok(ask)
    }

    /// Reads a webhook's `query` and, for a scope that it does not state, the namespace in its
    /// `body`: `metadata.namespace`, else the canary's own.
    pub fn hooked(query: &str, body: &[u8], settings: Settings) -> Result<Self, BadAsk> {
        #[derive(Deserialize)]
        struct Hook {
            namespace: String,
            #[serde(default)]
            metadata: Option<Metadata>,
        }
        #[derive(Deserialize)]
        struct Metadata {
            namespace: Option<String>,
        }
        match Self::read(query, settings) {
            Err(BadAsk::Scope) if !query.contains("namespace=") => {}
            read => return read,
        }
        let hook: Hook =
            serde_json::from_slice(body).map_err(|error| BadAsk::Body(error.to_string()))?;
        let stated = hook.metadata.and_then(|metadata| metadata.namespace);
        let namespace = name(&stated.unwrap_or(hook.namespace))?;
        let separator = if query.is_empty() { "" } else { "&" };
        Self::read(&format!("{query}{separator}namespace={namespace}"), settings)
    }
}

fn name(text: &str) -> Result<String, BadAsk> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    if (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(BadAsk::Namespace(text.chars().take(LONGEST_NAME).collect()))
}

fn share(which: usize, text: &str) -> Result<f64, BadAsk> {
    let (key, least, most, example) = SHARES[which];
    let read = text.parse().ok().filter(|share| (least..=most).contains(share));
    read.ok_or_else(|| BadAsk::Share { key, value: text.to_owned(), least, most, example })
}

/// One of Flagger's webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `confirm-rollout`: paused until it is 200.
    ConfirmRollout,
    /// `pre-rollout`: any other status than 200 counts as a failed check.
    PreRollout,
    /// `rollback`: 200 rolls back.
    Rollback,
}

impl Hook {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::ConfirmRollout, Self::PreRollout, Self::Rollback];

    /// The last part of its path, and its type in Flagger's Canary.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfirmRollout => "confirm-rollout",
            Self::PreRollout => "pre-rollout",
            Self::Rollback => "rollback",
        }
    }

    /// Whether it is to be answered with 200; else with 403.
    ///
    /// A rollout goes on only when the gate is ready. It is rolled back only on evidence that
    /// something is wrong: a lack of evidence is no reason, and neither is a question that could
    /// not be read (`None`).
    pub fn approves(self, report: Option<&Report>) -> bool {
        match self {
            Self::ConfirmRollout | Self::PreRollout => report.is_some_and(|report| report.ok),
            Self::Rollback => report.is_some_and(|report| {
                let change = report.change.as_ref();
                let revert = change.is_some_and(|it| it.recommendation == Recommendation::Revert);
                revert || report.result == GateResult::NotReady
            }),
        }
    }
}

/// The JSON of `/v1/gate/strict`: the report, or why there is none.
pub fn json(answer: &Result<Report, String>) -> String {
    match answer {
        Ok(report) => {
            serde_json::to_string(report).expect("a report has text keys and finite numbers")
        }
        Err(problem) => serde_json::json!({
            "ok": false,
            "result": GateResult::NotEnoughEvidence.as_str(),
            "summary": format!("NOT ENOUGH EVIDENCE: {problem}"),
            "error": problem,
        })
        .to_string(),
    }
}
