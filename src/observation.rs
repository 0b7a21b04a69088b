//! What one agent saw of one path within one window: the unit that detection, diagnosis and gate
//! read. Agents tell it on `/v1/window`, files hold it as JSON lines.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::digest::{self, Digest};
use crate::expectation::{Expectation, Verdict};
use crate::failure::Reason;
use crate::target::{ProbeKind, Vantage, Via};

/// The attempts of one path in one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Node of the agent that asked.
    pub source_node: String,
    /// Its side of the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vantage: Option<Vantage>,
    /// What was asked.
    pub probe: ProbeKind,
    /// Of whom, in the words of a topology: `peer`, `peer-strict`, `underlay`, `coredns/<pod>`,
    /// `coredns`, `istiod/<pod>`, `istiod`, `service/<ns>/<name>`; any other target is its own.
    pub target: String,
    /// The target's name within its agent's plan, where an agent told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Node of the far end, when it has one.
    #[serde(default)]
    pub destination_node: Option<String>,
    /// Through what the far end was addressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// What had to come back.
    pub expect: Expected,
    /// When the window began.
    #[serde(with = "rfc3339")]
    pub window_start: OffsetDateTime,
    /// How long it was or, if it is under way, will be, seconds.
    pub window_seconds: u64,
    /// Attempts that began within it and ended.
    pub attempts: u64,
    /// The same by verdict.
    pub verdicts: Verdicts,
    /// Failures by reason.
    #[serde(default, deserialize_with = "reasons")]
    pub reasons: BTreeMap<Reason, u64>,
    /// How long the successful ones took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<Latency>,
    /// The same, fit to be merged with those of other windows.
    #[serde(default, deserialize_with = "digest::told", skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// What had to come back, as far as a reader of windows needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// An answer.
    Reply,
    /// A denial.
    Denied,
}

impl Expected {
    /// What `expectation` comes down to.
    pub fn of(expectation: &Expectation) -> Self {
        match expectation {
            Expectation::Denied => Self::Denied,
            Expectation::Reply | Expectation::Status(_) | Expectation::Connect => Self::Reply,
        }
    }

    /// The word in JSON and in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Denied => "denied",
        }
    }
}

/// Attempts by verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// As stated.
    #[serde(default)]
    pub met: u64,
    /// Not as stated.
    #[serde(default)]
    pub violated: u64,
    /// Those that cannot tell.
    #[serde(default)]
    pub inconclusive: u64,
}

/// Quantiles of the attempts that succeeded, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

impl Verdicts {
    /// All attempts.
    pub fn total(&self) -> u64 {
        self.met.saturating_add(self.violated).saturating_add(self.inconclusive)
    }

    /// Those that can tell something of the path.
    pub fn conclusive(&self) -> u64 {
        self.met.saturating_add(self.violated)
    }

    /// The verdict of all together: violated when any attempt was, else met when any was.
    pub fn overall(&self) -> Verdict {
        match self {
            Self { violated: 1.., .. } => Verdict::Violated,
            Self { met: 1.., .. } => Verdict::Met,
            Self { .. } => Verdict::Inconclusive,
        }
    }

    /// Counts one more.
    pub fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Met => self.met += 1,
            Verdict::Violated => self.violated += 1,
            Verdict::Inconclusive => self.inconclusive += 1,
        }
    }
}

/// The windows that an agent told.
#[derive(Debug, Default)]
pub struct Told {
    /// Those that could be read.
    pub observations: Vec<Observation>,
    /// How many others there were: a newer agent may have probes that this version does not know.
    pub unread: usize,
}

impl Told {
    /// Reads the body of `/v1/window`: a list of observations. An error when it is none, or when
    /// nothing in it can be read.
    pub fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        let error = match serde_json::from_slice(body) {
            Ok(observations) => return Ok(Self { observations, unread: 0 }),
            Err(error) => error,
        };
        let items: Vec<serde_json::Value> = serde_json::from_slice(body)?;
        let all = items.len();
        let read = items.into_iter().filter_map(|item| serde_json::from_value(item).ok());
        let observations: Vec<Observation> = read.collect();
        if observations.is_empty() {
            return Err(error);
        }
        Ok(Self { unread: all - observations.len(), observations })
    }
}

impl Observation {
    /// The target's name within its agent's plan, as far as the agent told it.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.target)
    }

    /// When the window ended, or will.
    pub fn window_end(&self) -> OffsetDateTime {
        self.window_start.saturating_add(
            time::Duration::try_from(Duration::from_secs(self.window_seconds))
                .unwrap_or(time::Duration::MAX),
        )
    }

    /// The most frequent reason of failure.
    pub fn reason(&self) -> Option<Reason> {
        self.reasons.iter().max_by_key(|(_, count)| **count).map(|(reason, _)| *reason)
    }
}

/// Reasons that this version does not know are `unclassified`: a newer agent is no broken one.
fn reasons<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Reason, u64>, D::Error> {
    let mut found = BTreeMap::new();
    for (word, count) in BTreeMap::<String, u64>::deserialize(from)? {
        let known = Reason::ALL.iter().find(|reason| reason.as_str() == word);
        let reason = known.copied().unwrap_or(Reason::Unclassified);
        let sum: &mut u64 = found.entry(reason).or_default();
        *sum = sum.saturating_add(count);
    }
    Ok(found)
}

/// Times as text, by RFC 3339.
pub(crate) mod rfc3339 {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        at: &OffsetDateTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = at.format(&Rfc3339).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<OffsetDateTime, D::Error> {
        let text = String::deserialize(from)?;
        OffsetDateTime::parse(&text, &Rfc3339).map_err(serde::de::Error::custom)
    }

    /// `at` to the second, for people and names.
    pub(crate) fn seconds(at: OffsetDateTime) -> String {
        let whole = at.replace_nanosecond(0).expect("0 is in range");
        // Of years that RFC 3339 knows not, such as a broken clock may show, in another form.
        whole.format(&Rfc3339).unwrap_or_else(|_| whole.to_string())
    }

    /// The same for a time that may not be there.
    pub(crate) mod option {
        use super::*;

        #[derive(Serialize, Deserialize)]
        struct Time(#[serde(with = "crate::observation::rfc3339")] OffsetDateTime);

        pub(crate) fn serialize<S: Serializer>(
            at: &Option<OffsetDateTime>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            at.map(Time).serialize(serializer)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<OffsetDateTime>, D::Error> {
            Ok(Option::<Time>::deserialize(from)?.map(|time| time.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"source_node":"node-1","vantage":"ambient","probe":"http",
        "target":"peer","destination_node":"node-2","via":"pod_ip","expect":"reply",
        "window_start":"2026-01-01T00:00:10Z","window_seconds":10,"attempts":3,
        "verdicts":{"met":1,"violated":2,"inconclusive":0},"reasons":{"reset":1,"timeout":1},
        "latency_seconds":{"p50":0.001,"p99":0.002}}"#;

    #[test]
    fn an_observation_reads_back_as_written() {
        let read: Observation = serde_json::from_str(LINE).expect("an observation");
        assert_eq!(read.verdicts, Verdicts { met: 1, violated: 2, inconclusive: 0 });
        assert_eq!(read.window_end() - read.window_start, time::Duration::seconds(10));
        let written = serde_json::to_string(&read).expect("it has a form");
        assert_eq!(serde_json::from_str::<Observation>(&written).expect("the same"), read);
    }

    #[test]
    fn an_agent_that_tells_no_name_is_read_by_its_target() {
        let read = |line: &str| serde_json::from_str::<Observation>(line).expect("an observation");
        assert_eq!(read(LINE).name(), "peer");
        let named = LINE.replace("\"target\"", "\"name\":\"peer/node-2\",\"target\"");
        assert_eq!((read(&named).name(), read(&named).target.as_str()), ("peer/node-2", "peer"));
    }

    #[test]
    fn what_cannot_be_read_hides_nothing_else() {
        let newer = LINE.replace("\"http\"", "\"telepathy\"");
        let told = Told::read(format!("[{newer},{LINE}]").as_bytes()).expect("a list");
        assert_eq!((told.observations.len(), told.unread), (1, 1));
        for body in ["", "{}", "[1]", r#"[{"target":"a"}]"#, &format!("[{newer}]")] {
            assert!(Told::read(body.as_bytes()).is_err(), "{body}");
        }
        assert_eq!(Told::read(b"[]").expect("a list").observations, []);
    }

    #[test]
    fn what_a_newer_agent_adds_breaks_nothing() {
        let newer = LINE
            .replace("\"reset\"", "\"eaten_by_fish\"")
            .replace("{\"p50\"", "{\"p10\":0,\"p50\"");
        let read: Observation = serde_json::from_str(&newer).expect("an observation");
        assert_eq!(read.reasons[&Reason::Unclassified], 1);
    }
}
