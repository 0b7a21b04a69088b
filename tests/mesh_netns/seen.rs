//! What a probe saw, and how two columns of it differ.

use std::fmt::Write;

use serde_json::Value;

/// Facts that make an outcome what it is, where they are, and what they are called here.
const FACTS: [(&str, &str); 15] = [
    ("/facts/http/status", "status"),
    ("/facts/hbone/status", "connect"),
    ("/facts/hbone/alert", "alert"),
    ("/facts/hbone/settings", "settings"),
    ("/facts/tls/version", "tls"),
    ("/facts/tls/alpn", "alpn"),
    ("/facts/tls/cipher", "cipher"),
    ("/facts/tls/group", "group"),
    ("/facts/tls/peer_spiffe_id", "id"),
    ("/facts/capture", "capture"),
    ("/facts/dns/answers", "answers"),
    ("/facts/dns/authoritative", "aa"),
    ("/facts/mtu", "mtu"),
    ("/facts/ztunnel/ready", "ready"),
    ("/facts/istiod/xds", "xds"),
];
/// Below this no duration is a difference, seconds.
const AT_ONCE: f64 = 0.7;
/// Durations above [`AT_ONCE`] differ by more than this share.
const TOLERANCE: f64 = 0.3;

/// One row of one column.
pub(crate) struct Seen {
    pub(crate) row: String,
    outcome: String,
    facts: Vec<(&'static str, String)>,
    seconds: f64,
}

impl Seen {
    /// From the JSON of an attempt.
    pub(crate) fn new(row: String, attempt: &Value) -> Self {
        let failure = &attempt["failure"];
        let outcome = match (failure["phase"].as_str(), failure["reason"].as_str()) {
            (Some(phase), Some(reason)) => format!("{reason} in {phase}"),
            _ => "reply".to_owned(),
        };
        let facts = FACTS.iter().filter_map(|(at, name)| {
            let fact = attempt.pointer(at)?;
            let text = fact.as_str().map_or_else(|| fact.to_string(), str::to_owned);
            Some((*name, text.replace('"', "")))
        });
        let seconds = attempt["duration_seconds"].as_f64().unwrap_or_default();
        Self { row, outcome, facts: facts.collect(), seconds }
    }

    /// What differs, in words; empty when nothing does.
    fn differs(&self, other: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        // From the peer they are one class: which of both is a race within the kernel.
        let class = |outcome: &str| outcome.replace("closed in", "reset in");
        if class(&self.outcome) != class(&other.outcome) {
            differences.push(format!("{} | {}", self.outcome, other.outcome));
        }
        let longer = self.seconds.max(other.seconds);
        if longer > AT_ONCE && (self.seconds - other.seconds).abs() > longer * TOLERANCE {
            differences.push(format!("{:.2} s | {:.2} s", self.seconds, other.seconds));
        }
        let fact = |seen: &Self, name| {
            let found = seen.facts.iter().find(|(known, _)| *known == name);
            found.map_or("-".to_owned(), |(_, text)| text.clone())
        };
        for (_, name) in FACTS {
            let (ours, theirs) = (fact(self, name), fact(other, name));
            if ours != theirs {
                differences.push(format!("{name}: {ours} | {theirs}"));
            }
        }
        differences
    }

    fn cell(&self) -> String {
        let time = match self.seconds {
            seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
            seconds => format!("{seconds:.1} s"),
        };
        format!("{}, {time}", self.outcome)
    }
}

/// Both columns, and a line per difference; an error when there is one.
pub(crate) fn table(real: &[Seen], standin: &[Seen]) -> Result<String, String> {
    let mut text = String::new();
    let mut line = |row: &str, ours: &str, theirs: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{row:68}  {ours:36}  {theirs}");
    };
    line("row", "real ztunnel", "the lab's stand-in");
    for (ours, theirs) in real.iter().zip(standin) {
        line(&ours.row, &ours.cell(), &theirs.cell());
    }
    text.push('\n');
    for ours in real.iter().filter(|seen| seen.facts.len() > 1) {
        let facts: Vec<_> =
            ours.facts.iter().map(|(name, fact)| format!("{name}={fact}")).collect();
        let _ = writeln!(text, "real: {}: {}", ours.row, facts.join(" "));
    }
    let mut differences = 0;
    text.push('\n');
    for (ours, theirs) in real.iter().zip(standin) {
        for difference in ours.differs(theirs) {
            differences += 1;
            let _ = writeln!(text, "differs: {}: {difference}", ours.row);
        }
    }
    let _ = write!(text, "{} rows, {differences} differences", real.len());
    if differences == 0 { Ok(text) } else { Err(text) }
}
