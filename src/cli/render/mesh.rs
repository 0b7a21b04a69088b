//! What the probes that know the mesh found, as text for people.

use std::io::{self, Write};
use std::time::SystemTime;

use crate::cli::render::{counted, human, inert};
use crate::expectation::{Verdict, rung_verdicts};
use crate::flow::FlowSecurity;
use crate::outcome::{
    CaptureFacts, CsrFacts, Facts, HboneFacts, Http2Settings, IstiodFacts, MtuFacts, WorkloadFacts,
    XdsFacts, ZtunnelFacts,
};

/// Callers in plaintext that are listed.
const MOST_CALLERS: usize = 20;

pub(super) fn facts(facts: &Facts, out: &mut dyn Write) -> io::Result<()> {
    if let Some(facts) = &facts.hbone {
        hbone(facts, out)?;
    }
    if let Some(facts) = &facts.istiod {
        istiod(facts, out)?;
    }
    if let Some(facts) = &facts.capture {
        capture(*facts, out)?;
    }
    if let Some(sizes) = &facts.mtu {
        mtu(*sizes, facts.mtu_suspect, out)?;
    }
    if let Some(facts) = &facts.ztunnel {
        ztunnel(facts, out)?;
    }
    Ok(())
}

fn hbone(facts: &HboneFacts, out: &mut dyn Write) -> io::Result<()> {
    let authority = facts.authority.as_ref().map(|authority| format!("CONNECT {authority}"));
    let status = facts.status.map(|status| format!("status {status}"));
    let alert = facts.alert.as_ref().map(|alert| format!("alert {alert}"));
    let told: Vec<String> = [authority, status, alert].into_iter().flatten().collect();
    if !told.is_empty() {
        writeln!(out, "    hbone: {}", inert(&told.join(", ")))?;
    }
    let settings = facts.settings.as_ref().map(settings).unwrap_or_default();
    if settings.is_empty() { Ok(()) } else { writeln!(out, "      {}", settings.join(", ")) }
}

fn settings(settings: &Http2Settings) -> Vec<String> {
    let named = [
        ("stream window", settings.initial_window_size),
        ("connection window", settings.connection_window_size),
        ("frame", settings.max_frame_size),
        ("streams", settings.max_concurrent_streams),
        ("header list", settings.max_header_list_size),
    ];
    named.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?))).collect()
}

/// A line for each rung that was due, lowest first, with its verdict and what broke it.
pub(crate) fn rungs(facts: &IstiodFacts) -> Vec<(Verdict, String)> {
    let line = |(rung, verdict)| {
        let tried = facts.rungs.iter().find(|tried| tried.rung == rung);
        let text = match tried.map(|tried| (human(tried.duration), &tried.failure)) {
            None => format!("{rung}: not reached"),
            Some((took, None)) => format!("{rung} ({took})"),
            Some((took, Some(failure))) => {
                format!("{rung} ({took}): {}", inert(&failure.to_string()))
            }
        };
        (verdict, text)
    };
    rung_verdicts(facts).into_iter().map(line).collect()
}

fn istiod(facts: &IstiodFacts, out: &mut dyn Write) -> io::Result<()> {
    for (verdict, rung) in rungs(facts) {
        writeln!(out, "    {} {rung}", verdict.mark())?;
    }
    if let Some(XdsFacts { resources, workload }) = &facts.xds {
        let told = workload.as_ref().map_or_else(|| "no workload here".to_owned(), told);
        writeln!(out, "    xds: {}, {}", counted((*resources).into(), "resource"), inert(&told))?;
    }
    if let Some(CsrFacts { spiffe_id, not_after, roots }) = &facts.csr {
        let id = inert(spiffe_id.as_deref().unwrap_or("no SPIFFE ID"));
        let left = not_after.and_then(|end| end.duration_since(SystemTime::now()).ok());
        let left = match left {
            Some(left) => format!("{:.1} hours left", left.as_secs_f64() / 3600.0),
            None => "expired".to_owned(),
        };
        writeln!(out, "    csr: {id}, {left}, {}", counted((*roots).into(), "root"))?;
    }
    Ok(())
}

fn told(workload: &WorkloadFacts) -> String {
    let WorkloadFacts { name, namespace, service_account, node, tunnel_protocol, .. } = workload;
    let policies = match workload.authorization_policies.as_slice() {
        [] => "no policies".to_owned(),
        policies => format!("policies {}", policies.join(" ")),
    };
    format!(
        "{namespace}/{name} as {service_account} on {node}, tunnel {tunnel_protocol}, {policies}"
    )
}

fn capture(facts: CaptureFacts, out: &mut dyn Write) -> io::Result<()> {
    let found = [("dns", facts.dns), ("tcp", facts.tcp), ("hbone socket", facts.hbone)];
    let found = found.into_iter().filter_map(|(what, captured)| {
        Some(format!("{what} {}", if captured? { "yes" } else { "no" }))
    });
    let found: Vec<String> = found.collect();
    if found.is_empty() { Ok(()) } else { writeln!(out, "    captured: {}", found.join(", ")) }
}

fn mtu(facts: MtuFacts, suspect: bool, out: &mut dyn Write) -> io::Result<()> {
    let MtuFacts { small_bytes, large_bytes, small_passed, large_received } = facts;
    let small = if small_passed { "passed" } else { "did not pass" };
    let suspicion = if suspect { ": large packets may be lost on the way" } else { "" };
    let small = format!("{small_bytes} bytes {small}");
    let large = format!("{large_received} of {large_bytes} bytes came back{suspicion}");
    writeln!(out, "    mtu: {small}, {large}")
}

fn ztunnel(facts: &ZtunnelFacts, out: &mut dyn Write) -> io::Result<()> {
    if let Some(ready) = facts.ready {
        let ready = if ready { "ready" } else { "not ready" };
        let pending = facts.pending.as_ref().map(|pending| format!(", waits for {pending}"));
        writeln!(out, "    ztunnel: {ready}{}", inert(&pending.unwrap_or_default()))?;
    }
    for counter in &facts.connections {
        let shown = format!(
            "connections {} by {}, {}, flags {}: {}",
            counter.event,
            counter.reporter,
            counter.connection_security_policy,
            counter.response_flags,
            counter.count
        );
        writeln!(out, "      {}", inert(&shown))?;
    }
    for (reason, count) in &facts.xds_terminations {
        writeln!(out, "      xds connections ended for {}: {count}", inert(reason))?;
    }
    if let Some(requests) = facts.dns_requests {
        write!(out, "      dns requests {requests}")?;
        match facts.dns_upstream_failures {
            Some(failures) => writeln!(out, ", upstream failures {failures}")?,
            None => writeln!(out)?,
        }
    }
    callers(facts, out)
}

/// Who called in plaintext, the busiest first.
fn callers(facts: &ZtunnelFacts, out: &mut dyn Write) -> io::Result<()> {
    let plaintext = facts.flows.iter().filter(|flow| flow.security == FlowSecurity::Plaintext);
    let mut callers: Vec<_> = plaintext.collect();
    callers.sort_by_key(|flow| std::cmp::Reverse(flow.opened));
    for flow in callers.iter().take(MOST_CALLERS) {
        let shown = format!("{} to {}", flow.source, flow.destination);
        writeln!(out, "      plaintext from {}: {}", inert(&shown), flow.opened)?;
    }
    let left_out = callers.len().saturating_sub(MOST_CALLERS) as u64 + facts.unkept_flows.plaintext;
    if left_out > 0 {
        writeln!(out, "      and {left_out} more in plaintext")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::failure::{Fault, Phase, Reason};
    use crate::flow::{FlowDestination, FlowSource};
    use crate::outcome::{FlowCounter, Rung, RungFacts, UnkeptFlows};

    #[test]
    fn the_busiest_callers_in_plaintext_are_listed_and_the_rest_is_counted() {
        let flow = |n: u64, security| FlowCounter {
            source: FlowSource {
                workload: Some(format!("caller-{n}")),
                namespace: Some("ingress".to_owned()),
                principal: None,
            },
            destination: FlowDestination::default(),
            security,
            opened: n,
            denied: 0,
        };
        let mut facts = ZtunnelFacts {
            flows: (0..22).map(|n| flow(n, FlowSecurity::Plaintext)).collect(),
            unkept_flows: UnkeptFlows { plaintext: 3, mutual_tls: 5 },
            ..ZtunnelFacts::default()
        };
        facts.flows.push(flow(99, FlowSecurity::MutualTls));
        let mut out = Vec::new();
        callers(&facts, &mut out).expect("a buffer takes all");
        let text = String::from_utf8(out).expect("UTF-8");
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        assert_eq!(lines.len(), MOST_CALLERS + 1);
        assert_eq!(lines[0], "plaintext from ingress/caller-21 to unknown: 21");
        assert_eq!(lines[MOST_CALLERS], "and 5 more in plaintext");
    }

    #[test]
    fn every_rung_has_a_line_also_those_that_were_not_reached() {
        let tried = |rung, failure| RungFacts { rung, duration: Duration::from_millis(2), failure };
        let broken = Fault::new(Reason::CertUntrusted, "unknown\nissuer").during(Phase::Tls);
        let facts = IstiodFacts {
            rungs: vec![tried(Rung::Tcp, None), tried(Rung::Tls, Some(broken))],
            due: vec![Rung::Tcp, Rung::Tls, Rung::Http2],
            ..IstiodFacts::default()
        };
        let mut shown = Vec::new();
        istiod(&facts, &mut shown).expect("memory");
        assert_eq!(
            String::from_utf8_lossy(&shown),
            "    √ tcp (2.00ms)\n    × tls (2.00ms): cert_untrusted in tls: unknown\\nissuer\n    \
             ‼ http2: not reached\n"
        );
    }

    #[test]
    fn words_of_peers_move_no_cursor() {
        let facts = HboneFacts {
            authority: Some("10.0.0.1:80".to_owned()),
            status: Some(401),
            alert: Some("a\u{1b}[2Jb".to_owned()),
            settings: Some(Http2Settings { max_frame_size: Some(1), ..Http2Settings::default() }),
            ..HboneFacts::default()
        };
        let mut shown = Vec::new();
        hbone(&facts, &mut shown).expect("memory");
        assert_eq!(
            String::from_utf8_lossy(&shown),
            "    hbone: CONNECT 10.0.0.1:80, status 401, alert a\\u{1b}[2Jb\n      frame 1\n"
        );
    }
}
