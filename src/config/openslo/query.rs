//! Queries of agents' counters, read as far as ours are written: one metric, its matchers, and around
//! it nothing but a sum of a rate.

use std::time::Duration;

use super::Matchers;
use crate::config::decode::Field;
use crate::config::slo::CONNECTIONS;
use crate::failure::Phase;
use crate::slo::{Latency, Pattern, Selectors, Sli};
use crate::target::{ProbeKind, Vantage};

const ATTEMPTS: &str = "meshprobe_attempts_total";
const DURATION: &str = "meshprobe_attempt_duration_seconds";
const PHASE: &str = "meshprobe_phase_duration_seconds";
const FIX: &str = "write e.g. sum(rate(meshprobe_attempts_total{verdict=\"met\"}[5m]))";

/// What is counted when `good` of `total` is wanted.
pub(super) fn counted(good: &Field<'_>, total: &Field<'_>) -> Option<(Sli, Selectors)> {
    let ((metric, mut good_by), (all, mut total_by)) = (read(good)?, read(total)?);
    let take = |by: &mut Matchers, label: &str| by.remove(label).unwrap_or_default();
    let sli = if metric == ATTEMPTS && all == ATTEMPTS {
        let (met, counted) = (take(&mut good_by, "verdict"), take(&mut total_by, "verdict"));
        let is = |list: &[(String, String)], op: &str, words: [&str; 2]| matches!(list, [(by, value)] if by == op && words.contains(&value.as_str()));
        if !is(&met, "=", ["met", "met"]) {
            good.unvalued("does not count what was met", "write verdict=\"met\"");
            return None;
        }
        if !is(&counted, "=~", ["met|violated", "violated|met"])
            && !is(&counted, "!=", ["inconclusive", "inconclusive"])
        {
            let fix = "write verdict=~\"met|violated\": inconclusive attempts are no evidence";
            total.unvalued("does not count what was met or violated", fix);
            return None;
        }
        Sli::Availability
    } else {
        latency(good, total, (&metric, &mut good_by), (&all, &mut total_by))?
    };
    if good_by != total_by {
        total.unvalued("selects other attempts than good", "write the same matchers in both");
        return None;
    }
    selectors(good, good_by).map(|select| (sli, select))
}

fn latency(
    good: &Field<'_>,
    total: &Field<'_>,
    (metric, by): (&str, &mut Matchers),
    (all, total_by): (&str, &mut Matchers),
) -> Option<Sli> {
    let stem = metric.strip_suffix("_bucket").filter(|stem| [DURATION, PHASE].contains(stem));
    let Some(stem) = stem else {
        good.unvalued(format!("counts {metric}, of which no SLO can be made"), FIX);
        return None;
    };
    let whole = total_by.remove("le");
    let infinite = matches!(whole.as_deref(), Some([(op, le)]) if op == "=" && le == "+Inf");
    let counts = all.strip_suffix("_count") == Some(stem) && whole.is_none()
        || all.strip_suffix("_bucket") == Some(stem) && infinite;
    if !counts {
        total.unvalued(format!("is not all that {stem} counted"), format!("write {stem}_count"));
        return None;
    }
    let bound = match by.remove("le").as_deref() {
        Some([(op, le)]) if op == "=" => le.parse::<f64>().ok(),
        _ => None,
    };
    let millis = bound.map(|bound| bound * 1000.0).filter(|it| (1.0..=3.6e6).contains(it));
    let Some(millis) = millis.filter(|it| (it - it.round()).abs() < 1e-6) else {
        good.unvalued("has no threshold", "write le=\"0.25\": whole milliseconds, up to an hour");
        return None;
    };
    // What is not the same in both stays where it is, and is told as another selection.
    let mut word = |label: &str| match by.get(label).map(Vec::as_slice) {
        Some([(op, value)]) if op == "=" && total_by.get(label) == by.get(label) => {
            let value = value.clone();
            by.remove(label);
            total_by.remove(label);
            Some(value)
        }
        _ => None,
    };
    let (phase, connection) = (word("phase"), word("connection"));
    let phase = match phase {
        Some(text) => Some(known(good, "phase", &text, Phase::ALL.map(|it| (it.as_str(), it)))?),
        None => None,
    };
    let connection = match connection {
        Some(text) => Some(known(good, "connection", &text, CONNECTIONS)?),
        None => None,
    };
    if (stem == PHASE) != phase.is_some() {
        good.unvalued("does not name one phase", "write phase=\"tls\" in both queries");
        return None;
    }
    let threshold = Duration::from_millis(millis.round() as u64);
    Some(Sli::Latency(Latency { threshold, phase, connection }))
}

/// What `text` is the word for.
fn known<T: Copy, const N: usize>(
    field: &Field<'_>,
    label: &str,
    text: &str,
    words: [(&str, T); N],
) -> Option<T> {
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, known)| *known);
    if found.is_none() {
        let words = words.map(|(word, _)| word).join(", ");
        field.unvalued(format!("has no known {label}: {text:?}"), format!("write one of {words}"));
    }
    found
}

/// Metric and matchers of a query.
fn read(field: &Field<'_>) -> Option<(String, Matchers)> {
    let parsed = parse(field.text()?);
    if parsed.is_none() {
        field.wrong("is not one selector of agents' counters", FIX);
    }
    parsed
}

fn parse(query: &str) -> Option<(String, Matchers)> {
    let mut text = query.trim();
    for function in ["sum", "rate", "increase"] {
        if let Some(rest) = text.strip_prefix(function)
            && let Some(inner) = rest.trim_start().strip_prefix('(')
        {
            text = inner.trim_end().strip_suffix(')')?.trim();
        }
    }
    if let Some(open) = text.rfind('[').filter(|_| text.ends_with(']')) {
        text = text[..open].trim_end();
    }
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let (metric, rest) = text.split_at(text.find(|c| !word(c)).unwrap_or(text.len()));
    let mut matchers = Matchers::new();
    let rest = rest.trim();
    if !rest.is_empty() {
        let mut rest = rest.strip_prefix('{')?.strip_suffix('}')?.trim();
        while !rest.is_empty() {
            let (label, tail) = rest.split_at(rest.find(|c| !word(c))?);
            let tail = tail.trim_start();
            let op = ["=~", "!~", "!=", "="].into_iter().find(|op| tail.starts_with(op))?;
            let (value, tail) = string(tail[op.len()..].trim_start())?;
            matchers.entry(label.to_owned()).or_default().push((op.to_owned(), value));
            let tail = tail.trim_start();
            rest = match tail.strip_prefix(',') {
                Some(tail) => tail.trim_start(),
                None if tail.is_empty() => tail,
                None => return None,
            };
        }
    }
    (!metric.is_empty()).then(|| (metric.to_owned(), matchers))
}

/// A string in double quotes, and what is behind it.
fn string(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((value, &text[at + 1..])),
            _ => value.push(c),
        }
    }
    None
}

fn selectors(field: &Field<'_>, by: Matchers) -> Option<Selectors> {
    let mut select = Selectors::default();
    for (label, matchers) in by {
        let [(op, value)] = matchers.as_slice() else {
            field.unvalued(format!("matches {label} twice"), "write one matcher of each label");
            return None;
        };
        let fits = match op.as_str() {
            "=" => choose(&mut select, &label, std::slice::from_ref(value)),
            "=~" => {
                let values: Option<Vec<String>> = value.split('|').map(plain).collect();
                values.is_some_and(|values| choose(&mut select, &label, &values))
            }
            _ => false,
        };
        if !fits {
            let problem =
                format!("has the matcher {label}{op}{value:?}, which no selector can say");
            let fix =
                "match probe, vantage, target, node or zone by words, with .* for any characters";
            field.unvalued(problem, fix);
            return None;
        }
    }
    Some(select)
}

/// A regular expression as a pattern, when it has nothing but `.*` and escaped characters.
fn plain(regex: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = regex.chars();
    while let Some(c) = chars.next() {
        match c {
            '.' if chars.next() == Some('*') => text.push('*'),
            '\\' => text.push(chars.next().filter(|c| c.is_ascii_punctuation() && *c != '*')?),
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            c => text.push(c),
        }
    }
    Some(text)
}

/// Takes `values` for `label`, if a selector has them.
fn choose(select: &mut Selectors, label: &str, values: &[String]) -> bool {
    let patterns = || values.iter().map(|value| value.parse::<Pattern>().ok()).collect();
    let set = |slot: &mut Vec<Pattern>| {
        let read: Option<Vec<Pattern>> = patterns();
        let found = read.is_some();
        *slot = read.unwrap_or_default();
        found
    };
    let kind = |text: &String| ProbeKind::ALL.into_iter().find(|kind| kind.as_str() == text);
    match label {
        "target" => set(&mut select.target),
        "node" => set(&mut select.node),
        "zone" => set(&mut select.zone),
        "probe" => {
            let kinds: Option<Vec<ProbeKind>> = values.iter().map(kind).collect();
            select.probe = kinds.unwrap_or_default();
            !select.probe.is_empty()
        }
        "vantage" => {
            let sides: Option<Vec<Vantage>> = values.iter().map(|it| it.parse().ok()).collect();
            select.vantage = sides.unwrap_or_default();
            !select.vantage.is_empty()
        }
        _ => false,
    }
}
