//! Attempts as text for people: the verdict first, then why, then where the time went.

mod mesh;

use std::io::{self, Write};
use std::time::Duration;

use crate::attempt::Attempt;
use crate::expectation::Verdict;
use crate::outcome::Facts;
pub(crate) use mesh::rungs;

/// One attempt in full.
pub(crate) fn attempt(attempt: &Attempt, out: &mut dyn Write) -> io::Result<()> {
    line(attempt, out)?;
    if let Some(failure) = &attempt.failure {
        writeln!(out, "    hint: {}", failure.reason.hint())?;
    }
    let phases: Vec<String> = attempt
        .phases
        .iter()
        .map(|(phase, duration)| format!("{phase} {}", human(duration)))
        .collect();
    if !phases.is_empty() {
        writeln!(out, "    phases: {}", phases.join(", "))?;
    }
    facts(&attempt.facts, out)
}

/// One attempt in one line.
pub(crate) fn line(attempt: &Attempt, out: &mut dyn Write) -> io::Result<()> {
    let Attempt { probe, target, verdict, expect, .. } = attempt;
    let took = human(attempt.duration);
    write!(out, "{} {probe} {target} {verdict} in {took}: ", verdict.mark())?;
    match &attempt.failure {
        None => write!(out, "{expect}")?,
        Some(failure) => write!(out, "{}", inert(&failure.to_string()))?,
    }
    match attempt.because {
        Some(because) => writeln!(out, " ({because})"),
        None => writeln!(out),
    }
}

/// The verdicts of a row of attempts, counted.
pub(crate) fn tally(verdicts: &[Verdict], out: &mut dyn Write) -> io::Result<()> {
    let counts: Vec<String> = Verdict::ALL
        .iter()
        .map(|verdict| {
            format!("{} {verdict}", verdicts.iter().filter(|given| *given == verdict).count())
        })
        .collect();
    let attempts = counted(verdicts.len() as u64, "attempt");
    writeln!(out, "{attempts}: {}", counts.join(", "))
}

/// A count with its noun.
fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Text of others on one line that moves no cursor: control characters are shown as escapes.
pub(crate) fn inert(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // Besides the control characters, those that turn the direction of writing.
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A duration with three digits and its unit.
pub(crate) fn human(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    match micros {
        m if m < 1e3 => format!("{m:.0}us"),
        m if m < 1e4 => format!("{:.2}ms", m / 1e3),
        m if m < 1e5 => format!("{:.1}ms", m / 1e3),
        m if m < 1e6 => format!("{:.0}ms", m / 1e3),
        m => format!("{:.2}s", m / 1e6),
    }
}

fn facts(facts: &Facts, out: &mut dyn Write) -> io::Result<()> {
    if let Some(address) = facts.remote_address {
        write!(out, "    address: {address}")?;
        if let Some(tcp) = &facts.tcp {
            let retransmits = counted(tcp.retransmits.into(), "retransmit");
            write!(out, ", rtt {}, {retransmits}", human(tcp.rtt))?;
        }
        writeln!(out)?;
    }
    if let Some(dns) = &facts.dns {
        let rcode = dns.rcode.as_deref().unwrap_or("no reply");
        let server = dns.server.map(|server| format!(" from {server}")).unwrap_or_default();
        write!(out, "    dns: {} {rcode}{server}", inert(&dns.name))?;
        match dns.answers.as_slice() {
            [] => writeln!(out)?,
            answers => writeln!(out, ": {}", inert(&answers.join(", ")))?,
        }
    }
    if let Some(tls) = &facts.tls {
        let alpn = inert(tls.alpn.as_deref().unwrap_or("none"));
        writeln!(out, "    tls: {}, alpn {alpn}", tls.version.unwrap_or("no session"))?;
        for certificate in &tls.chain {
            let days = |time: std::time::SystemTime| {
                let left = time.duration_since(std::time::SystemTime::now());
                left.map_or(-1.0, |left| left.as_secs_f64() / 86_400.0)
            };
            let left = days(certificate.not_after);
            let left =
                if left < 0.0 { "expired".to_owned() } else { format!("{left:.1} days left") };
            let (subject, issuer) = (inert(&certificate.subject), inert(&certificate.issuer));
            writeln!(out, "      {subject} by {issuer}, {left}")?;
        }
        if let Some(id) = &tls.peer_spiffe_id {
            writeln!(out, "      {}", inert(id))?;
        }
    }
    if let Some(http) = &facts.http {
        writeln!(
            out,
            "    http: {} {}, {}",
            http.version,
            http.status,
            counted(http.body_bytes, "byte")
        )?;
    }
    if let Some(hold) = &facts.hold {
        writeln!(
            out,
            "    hold: {} with {}, the slowest {}",
            human(hold.held),
            counted(hold.heartbeats, "heartbeat"),
            human(hold.slowest_heartbeat)
        )?;
    }
    mesh::facts(facts, out)
}
