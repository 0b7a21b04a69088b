//! What the probes that know the mesh add to an attempt's metrics, and the own identity's.

use std::time::SystemTime;

use metrics::{Key, Label};
use metrics_util::registry::Registry;

use crate::attempt::Attempt;
use crate::expectation::{Verdict, rung_verdicts};
use crate::metrics::cells::Cells;
use crate::metrics::series::Series;
use crate::metrics::{Metrics, names, unix_seconds};

/// Records what `attempt` found in the mesh.
pub(super) fn attempt(registry: &Registry<Key, Cells>, series: &mut Series, attempt: &Attempt) {
    let facts = &attempt.facts;
    if let Some(istiod) = &facts.istiod {
        for (rung, verdict) in rung_verdicts(istiod) {
            for verdict in Verdict::ALL {
                series.rung(registry, rung, verdict);
            }
            series.rung(registry, rung, verdict).increment(1);
        }
        for tried in istiod.rungs.iter().filter(|tried| tried.failure.is_none()) {
            series.rung_duration(registry, tried.rung).record(tried.duration.as_secs_f64());
        }
    }
    if let Some(capture) = &facts.capture {
        let found = [("dns", capture.dns), ("tcp", capture.tcp), ("hbone", capture.hbone)];
        for (what, captured) in found {
            if let Some(captured) = captured {
                series.flag(registry, names::CAPTURED, what).set(flag(captured));
            }
        }
    }
    if facts.mtu.is_some() && (facts.mtu_suspect || attempt.success) {
        series.flag(registry, names::MTU_SUSPECT, "").set(flag(facts.mtu_suspect));
    }
    if let Some(ztunnel) = &facts.ztunnel {
        // One that says nothing is not ready either; what we spoiled tells nothing.
        let silent = (attempt.verdict == Verdict::Violated).then_some(false);
        if let Some(ready) = ztunnel.ready.or(silent) {
            series.flag(registry, names::ZTUNNEL_READY, "").set(flag(ready));
        }
    }
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

impl Metrics {
    /// This node's ztunnel was looked at: plaintext pairs that are known, connections of them since
    /// the look before, and series that were not kept; nothing of probers.
    pub fn flows(&self, pairs: u64, connections: u64, dropped: u64) {
        self.set(&Key::from_static_name(names::ZTUNNEL_FLOWS), pairs as f64);
        self.add(&Key::from_static_name(names::ZTUNNEL_CONNECTIONS), connections);
        self.set(&Key::from_static_name(names::ZTUNNEL_DROPPED), dropped as f64);
    }

    /// Whether this node's ztunnel `restarted` since the look before; the counter exists from the
    /// first look on.
    pub fn ztunnel_restarted(&self, restarted: bool) {
        self.add(&Key::from_static_name(names::ZTUNNEL_RESTARTS), u64::from(restarted));
    }

    /// The own mesh identity as it stands: trusted roots, begin and end of the certificate if there
    /// is one, and how many renewals succeeded and failed since the start.
    pub fn identity(&self, roots: usize, validity: [Option<SystemTime>; 2], renewals: [u64; 2]) {
        self.set(&Key::from_static_name(names::IDENTITY_ROOTS), roots as f64);
        for (name, time) in
            [names::IDENTITY_START, names::IDENTITY_EXPIRY].into_iter().zip(validity)
        {
            if let Some(time) = time {
                self.set(&Key::from_static_name(name), unix_seconds(time));
            }
        }
        for (result, count) in ["success", "failure"].into_iter().zip(renewals) {
            let labels = vec![Label::new("result", result)];
            self.absolute(&Key::from_parts(names::IDENTITY_RENEWALS, labels), count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::attempt::Subject;
    use crate::expectation::Expectation;
    use crate::failure::{Fault, Phase, Reason};
    use crate::metrics::Settings;
    use crate::outcome::{
        CaptureFacts, Facts, IstiodFacts, MtuFacts, Outcome, Rung, RungFacts, ZtunnelFacts,
    };
    use crate::target::{ProbeKind, TargetName};

    fn name() -> TargetName {
        "t".parse().expect("a name")
    }

    fn metrics(probe: ProbeKind) -> Metrics {
        let metrics = Metrics::new(&Settings { buckets: vec![1.0], ..Settings::default() });
        metrics.joined(&name(), probe, None);
        metrics
    }

    fn page(metrics: &Metrics) -> String {
        metrics.exposition().collect()
    }

    /// The value of the series of `name` that has all of `labels`.
    fn value(metrics: &Metrics, name: &str, labels: &[&str]) -> Option<f64> {
        let page = page(metrics);
        let line = page.lines().find(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        })?;
        line.rsplit(' ').next()?.parse().ok()
    }

    fn record(metrics: &Metrics, probe: ProbeKind, facts: Facts, fault: Option<Fault>) {
        let mut outcome =
            Outcome::spoiled(UNIX_EPOCH, Duration::ZERO, Fault::new(Reason::Closed, ""));
        outcome.failure = fault.map(|fault| fault.during(Phase::Processing));
        outcome.facts = facts;
        let (target, expect) = (&name(), &Expectation::Reply);
        let subject = Subject { probe, target, vantage: None, via: None, expect };
        metrics.attempt(&Attempt::judged(subject, outcome, None, Duration::ZERO));
    }

    fn ladder(tried: &[Rung], broken: bool) -> Facts {
        let rungs = tried.iter().map(|rung| RungFacts {
            rung: *rung,
            duration: Duration::from_millis(500),
            failure: (broken && Some(rung) == tried.last())
                .then(|| Fault::new(Reason::GrpcStatus, "").during(Phase::Processing)),
        });
        let due = vec![Rung::Tcp, Rung::Tls, Rung::Http2, Rung::Xds];
        let istiod = IstiodFacts { rungs: rungs.collect(), due, ..IstiodFacts::default() };
        Facts { istiod: Some(istiod), ..Facts::default() }
    }

    #[test]
    fn every_rung_is_a_series_of_its_own_and_only_what_succeeded_has_a_duration() {
        let metrics = metrics(ProbeKind::Istiod);
        let broken = ladder(&[Rung::Tcp, Rung::Tls], true);
        record(&metrics, ProbeKind::Istiod, broken, Some(Fault::new(Reason::Timeout, "")));
        record(
            &metrics,
            ProbeKind::Istiod,
            ladder(&[Rung::Tcp, Rung::Tls, Rung::Http2, Rung::Xds], false),
            None,
        );
        for (rung, verdicts) in
            [("tcp", [2, 0, 0]), ("tls", [1, 1, 0]), ("http2", [1, 0, 1]), ("xds", [1, 0, 1])]
        {
            for (verdict, count) in Verdict::ALL.iter().zip(verdicts) {
                let labels = [format!("rung=\"{rung}\""), format!("verdict=\"{verdict}\"")];
                let labels = labels.each_ref().map(String::as_str);
                let counted = value(&metrics, "meshprobe_istiod_rung_attempts_total", &labels);
                assert_eq!(counted, Some(count.into()), "{rung} {verdict}");
            }
        }
        let lasted =
            |rung| value(&metrics, "meshprobe_istiod_rung_duration_seconds_count", &[rung]);
        assert_eq!(lasted("rung=\"tcp\""), Some(2.0));
        assert_eq!(lasted("rung=\"tls\""), Some(1.0));
        assert!(!page(&metrics).contains("rung=\"csr\""), "it was not due");
    }

    #[test]
    fn what_was_found_in_the_mesh_is_a_gauge_and_leaves_with_its_target() {
        let metrics = metrics(ProbeKind::Capture);
        let capture = CaptureFacts { dns: Some(true), tcp: Some(false), hbone: None };
        let facts = Facts {
            capture: Some(capture),
            mtu: Some(MtuFacts::default()),
            mtu_suspect: true,
            ztunnel: Some(ZtunnelFacts { ready: Some(true), ..ZtunnelFacts::default() }),
            ..Facts::default()
        };
        record(&metrics, ProbeKind::Capture, facts, Some(Fault::new(Reason::Timeout, "")));
        let captured = |what| value(&metrics, "meshprobe_captured", &[what]);
        assert_eq!(captured("what=\"dns\""), Some(1.0));
        assert_eq!(captured("what=\"tcp\""), Some(0.0));
        assert_eq!(captured("what=\"hbone\""), None, "it was not tried");
        assert_eq!(value(&metrics, "meshprobe_mtu_suspect", &["target=\"t\""]), Some(1.0));
        assert_eq!(value(&metrics, "meshprobe_ztunnel_ready", &["target=\"t\""]), Some(1.0));
        metrics.left(&HashSet::from([name()]));
        assert!(!page(&metrics).contains("target=\"t\""));
    }

    #[test]
    fn a_ztunnel_that_says_nothing_is_not_ready_unless_we_spoiled_the_attempt() {
        let metrics = metrics(ProbeKind::Ztunnel);
        let facts = |ready| {
            let ztunnel = ZtunnelFacts { ready, ..ZtunnelFacts::default() };
            Facts { ztunnel: Some(ztunnel), ..Facts::default() }
        };
        let ready = |metrics| value(metrics, "meshprobe_ztunnel_ready", &[]);
        record(&metrics, ProbeKind::Ztunnel, facts(Some(true)), None);
        assert_eq!(ready(&metrics), Some(1.0));
        let spoiled = Fault::new(Reason::LocalResource, "");
        record(&metrics, ProbeKind::Ztunnel, facts(None), Some(spoiled));
        assert_eq!(ready(&metrics), Some(1.0));
        record(&metrics, ProbeKind::Ztunnel, facts(None), Some(Fault::new(Reason::Refused, "")));
        assert_eq!(ready(&metrics), Some(0.0));
    }

    #[test]
    fn an_identity_without_a_certificate_has_no_end() {
        let metrics = metrics(ProbeKind::Hbone);
        metrics.identity(1, [None, None], [0, 2]);
        let of = |name, labels: &[&str]| value(&metrics, name, labels);
        let end = "meshprobe_identity_certificate_expiry_timestamp_seconds";
        let renewals = "meshprobe_identity_renewals_total";
        assert_eq!(of("meshprobe_identity_trusted_roots", &[]), Some(1.0));
        assert_eq!(of(renewals, &["result=\"failure\""]), Some(2.0));
        assert_eq!(of(renewals, &["result=\"success\""]), Some(0.0));
        assert_eq!(of(end, &[]), None);
        let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
        metrics.identity(2, [at(4), at(9)], [1, 2]);
        assert_eq!(of(end, &[]), Some(9.0));
        let start = "meshprobe_identity_certificate_not_before_timestamp_seconds";
        assert_eq!(of(start, &[]), Some(4.0));
    }
}
