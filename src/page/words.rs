//! What components, faults and times are called by people. Pure.

use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

use crate::diagnosis::FaultWord;

/// A broken component as a sentence without its end: `ztunnel on node-2 is dead`.
pub(super) fn sentence(component: &str, fault: &str) -> String {
    format!("{} {}", subject(component), predicate(fault))
}

fn subject(component: &str) -> String {
    let (kind, rest) = component.split_once('/').unwrap_or((component, ""));
    match (kind, rest.split_once('/')) {
        ("ztunnel", None) => format!("ztunnel on {rest}"),
        ("hbone", None) => format!("HBONE port 15008 on {rest}"),
        ("capture", None) => format!("capture of pods on {rest}"),
        ("node", None) => format!("node {rest}"),
        ("zone", Some((a, b))) => format!("the network between zones {a} and {b}"),
        ("coredns", None) if rest.is_empty() => "CoreDNS".to_owned(),
        ("coredns", _) => format!("CoreDNS pod {rest}"),
        ("istiod", None) if rest.is_empty() => "istiod".to_owned(),
        ("istiod", _) => format!("istiod pod {rest}"),
        ("istiod-link", None) => format!("the way from {rest} to istiod"),
        ("workload", Some(_)) => format!("workload {rest}"),
        ("policy", Some(_)) => format!("the policy on {rest}"),
        ("trust", None) => format!("the trust bundle on {rest}"),
        ("agent", Some((node, vantage))) => format!("meshprobe's {vantage} agent on {node}"),
        _ => component.to_owned(),
    }
}

fn predicate(fault: &str) -> String {
    let words = [
        (FaultWord::Dead, "is dead"),
        (FaultWord::Frozen, "is frozen"),
        (FaultWord::NoCertificate, "has no valid certificate"),
        (FaultWord::StaleXds, "has stale xDS"),
        (FaultWord::Gray, "fails a part of the attempts"),
        (FaultWord::Blocked, "is blocked"),
        (FaultWord::Lost, "is lost"),
        (FaultWord::Unreachable, "is unreachable"),
        (FaultWord::Partitioned, "is partitioned"),
        (FaultWord::Broken, "is broken"),
        (FaultWord::Denies, "denies what must pass"),
        (FaultWord::Gap, "lets pass what must be denied"),
        (FaultWord::Disagree, "leads to another root"),
        (FaultWord::Silent, "is silent"),
        (FaultWord::Starved, "is starved of CPU"),
    ];
    let known = words.into_iter().find(|(word, _)| word.as_str() == fault);
    known.map_or_else(|| format!("is {fault}"), |(_, words)| words.to_owned())
}

/// Whether a component is one of our own agents, which says nothing of the mesh.
pub(super) fn is_ours(component: &str) -> bool {
    component.starts_with("agent/")
}

/// `14:03:21 UTC`, with the date when that is not the one of `now`.
pub(super) fn clock(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let time = format_description!("[hour]:[minute]:[second] UTC");
    let date = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let same = at.date() == now.date();
    // A year that is out of range, as a broken clock may show, has a form of its own.
    if same { at.format(time) } else { at.format(date) }.unwrap_or_else(|_| at.to_string())
}

/// How long something took or takes: `3 s`, `12 min`, `5 h`, `3 d`.
pub(super) fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// The same between two moments; nothing is shorter than no time.
pub(super) fn between(from: OffsetDateTime, to: OffsetDateTime) -> String {
    span((to - from).try_into().unwrap_or_default())
}

/// A latency: `1.2 ms`, `340 ms`, `1.35 s`.
pub(super) fn latency(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 1.0 => format!("{seconds:.2} s"),
        seconds if seconds >= 0.01 => format!("{:.0} ms", seconds * 1e3),
        seconds => format!("{:.1} ms", seconds * 1e3),
    }
}

/// `1 node`, `2,000 nodes`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn every_component_of_a_diagnosis_has_words() {
        for (component, words) in [
            ("ztunnel/node-2", "ztunnel on node-2 is dead"),
            ("zone/a/b", "the network between zones a and b is dead"),
            ("coredns", "CoreDNS is dead"),
            ("coredns/coredns-1", "CoreDNS pod coredns-1 is dead"),
            ("istiod", "istiod is dead"),
            ("istiod-link/n", "the way from n to istiod is dead"),
            ("workload/default/web", "workload default/web is dead"),
            ("agent/node-1/plain", "meshprobe's plain agent on node-1 is dead"),
            ("something/new", "something/new is dead"),
        ] {
            assert_eq!(sentence(component, "dead"), words);
        }
        assert_eq!(sentence("a", "eaten_by_fish"), "a is eaten_by_fish");
    }

    #[test]
    fn times_are_short_and_say_their_zone() {
        let now = datetime!(2026-01-02 03:04:05 UTC);
        assert_eq!(clock(datetime!(2026-01-02 03:00:00.5 UTC), now), "03:00:00 UTC");
        assert_eq!(clock(datetime!(2026-01-01 03:00:00 UTC), now), "2026-01-01 03:00:00 UTC");
        let spans = [0, 119, 120, 7_200, 200_000].map(|s| span(Duration::from_secs(s)));
        assert_eq!(spans, ["0 s", "119 s", "2 min", "2 h", "2 d"]);
        assert_eq!(between(now, now - time::Duration::HOUR), "0 s");
        let counts = [1, 999, 431_960].map(|count| counted(count, "node"));
        assert_eq!(counts, ["1 node", "999 nodes", "431,960 nodes"]);
        assert_eq!([0.0012, 0.34, 1.35].map(latency), ["1.2 ms", "340 ms", "1.35 s"]);
    }
}
