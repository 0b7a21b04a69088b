//! Verdicts, by example and by exhaustion.

use std::time::{Duration, SystemTime};

use super::*;
use crate::outcome::{Facts, HboneFacts, HttpFacts, Phases};

const POD: &str = "10.0.0.7:8080";

fn facts() -> Facts {
    Facts { remote_address: POD.parse().ok(), ..Facts::default() }
}

fn replied(status: u16) -> Outcome {
    let http = HttpFacts { status, ..HttpFacts::default() };
    Outcome {
        started_at: SystemTime::UNIX_EPOCH,
        duration: Duration::ZERO,
        phases: Phases::default(),
        failure: None,
        reply_bytes: 100,
        facts: Facts { http: Some(http), ..facts() },
    }
}

fn failed(phase: Phase, reason: Reason, reply_bytes: u64) -> Outcome {
    let failure = Failure { phase, reason, detail: String::new() };
    Outcome { failure: Some(failure), reply_bytes, facts: facts(), ..replied(0) }
}

fn verdict(expect: &str, outcome: &Outcome, control: Option<&Outcome>) -> Verdict {
    judge(&expect.parse().expect("an expectation"), outcome, control).verdict
}

#[test]
fn what_the_prober_spoiled_is_inconclusive_whatever_was_stated() {
    for reason in Reason::ALL.iter().filter(|reason| reason.blame() == Blame::Prober) {
        for expect in ["reply", "status 2xx", "denied", "connect"] {
            let outcome = failed(Phase::Processing, *reason, 0);
            let control = replied(200);
            let given = verdict(expect, &outcome, Some(&control));
            assert_eq!(given, Verdict::Inconclusive, "{expect} {reason}");
        }
    }
}

#[test]
fn any_status_is_a_reply_and_only_the_stated_ones_are_that_status() {
    assert_eq!(verdict("reply", &replied(503), None), Verdict::Met);
    assert_eq!(verdict("status 200-299,404", &replied(404), None), Verdict::Met);
    assert_eq!(verdict("status 2xx", &replied(300), None), Verdict::Violated);
    let refused = failed(Phase::Connect, Reason::Refused, 0);
    assert_eq!(verdict("status 2xx", &refused, None), Verdict::Violated);
}

#[test]
fn a_denial_is_met_only_by_silence_and_a_passing_control() {
    let (good, dead) = (replied(200), failed(Phase::Connect, Reason::Refused, 0));
    for reason in [Reason::Reset, Reason::Closed] {
        let denied = failed(Phase::Processing, reason, 0);
        assert_eq!(verdict("denied", &denied, Some(&good)), Verdict::Met);
        assert_eq!(verdict("denied", &denied, Some(&dead)), Verdict::Inconclusive);
        assert_eq!(verdict("denied", &denied, None), Verdict::Inconclusive);
    }
}

/// A control that passed: dialled `remote`, and through a tunnel to `authority` if there is one.
fn passed(remote: &str, authority: Option<&str>) -> Outcome {
    let hbone = authority.map(|authority| HboneFacts {
        authority: Some(authority.to_owned()),
        ..HboneFacts::default()
    });
    let facts = Facts { remote_address: remote.parse().ok(), hbone, ..Facts::default() };
    Outcome { facts, ..replied(200) }
}

#[test]
fn only_a_control_to_the_same_ip_and_port_is_a_sign_of_life() {
    let signs = [
        (passed(POD, None), Sign::Alive),
        (passed("[::ffff:10.0.0.7]:8080", None), Sign::Alive),
        (passed("10.0.0.7:15008", Some(POD)), Sign::Alive),
        (passed("10.0.0.8:8080", None), Sign::Elsewhere),
        (passed("10.0.0.7:8081", None), Sign::Elsewhere),
        (passed("10.0.0.7:15008", None), Sign::Elsewhere),
        (passed("10.0.0.7:15008", Some("10.0.0.7:80")), Sign::Elsewhere),
        (passed(POD, Some("10.0.0.8:8080")), Sign::Elsewhere),
        (passed("10.0.0.7:15008", Some("web.default.svc:8080")), Sign::Unknowable),
        (passed("", None), Sign::Unknowable),
    ];
    let denied = failed(Phase::Processing, Reason::Reset, 0);
    let refused = failed(Phase::Connect, Reason::Refused, 0);
    for (control, sign) in signs {
        assert_eq!(Sign::of(&denied, Some(&control)), sign, "{:?}", control.facts);
        let alive = sign == Sign::Alive;
        let met = if alive { Verdict::Met } else { Verdict::Inconclusive };
        assert_eq!(verdict("denied", &denied, Some(&control)), met);
        let other = if alive { Verdict::Violated } else { Verdict::Inconclusive };
        assert_eq!(verdict("denied", &refused, Some(&control)), other);
    }
}

#[test]
fn a_denial_from_nowhere_has_no_control() {
    let unresolved =
        Outcome { facts: Facts::default(), ..failed(Phase::Resolve, Reason::Nxdomain, 0) };
    assert_eq!(Sign::of(&unresolved, Some(&passed(POD, None))), Sign::Unknowable);
    assert_eq!(verdict("denied", &unresolved, Some(&replied(200))), Verdict::Inconclusive);
}

#[test]
fn a_failed_control_says_nothing_wherever_it_went() {
    let denied = failed(Phase::Processing, Reason::Closed, 0);
    let dead = failed(Phase::Connect, Reason::Refused, 0);
    let elsewhere = Outcome { facts: passed("10.0.0.8:80", None).facts, ..dead.clone() };
    for control in [dead, elsewhere] {
        assert_eq!(Sign::of(&denied, Some(&control)), Sign::Failed);
    }
    assert_eq!(Sign::of(&denied, None), Sign::Missing);
}

#[test]
fn a_failure_that_is_no_denial_is_never_met() {
    let good = replied(200);
    for reason in Reason::ALL {
        for phase in Phase::ALL {
            let outcome = failed(phase, *reason, 0);
            let met = verdict("denied", &outcome, Some(&good)) == Verdict::Met;
            let silent = matches!(reason, Reason::Reset | Reason::Closed)
                && matches!(phase, Phase::Tls | Phase::Tunnel | Phase::Processing);
            let told = (*reason, phase) == (Reason::HboneDenied, Phase::Tunnel);
            assert_eq!(met, silent || told, "{reason} in {phase}");
        }
    }
}

/// An attempt through a tunnel, whose own bytes are no reply.
fn tunnelled(phase: Phase, reason: Reason, reply_bytes: Option<u64>) -> Outcome {
    let authority = Some(POD.to_owned());
    let hbone = HboneFacts { authority, reply_bytes, ..HboneFacts::default() };
    let facts = Facts { hbone: Some(hbone), ..Facts::default() };
    Outcome { facts, ..failed(phase, reason, 3000) }
}

#[test]
fn a_policy_that_answers_for_itself_needs_no_control() {
    let denied = tunnelled(Phase::Tunnel, Reason::HboneDenied, None);
    let dead = failed(Phase::Connect, Reason::Refused, 0);
    for control in [None, Some(&replied(200)), Some(&dead)] {
        assert_eq!(verdict("denied", &denied, control), Verdict::Met);
    }
}

#[test]
fn silence_in_a_tunnel_is_denied_or_dead_and_a_byte_from_its_end_is_a_gap() {
    let control = replied(200);
    for (phase, bytes) in [(Phase::Tunnel, None), (Phase::Processing, Some(0))] {
        let silent = tunnelled(phase, Reason::Reset, bytes);
        assert_eq!(verdict("denied", &silent, Some(&control)), Verdict::Met);
        assert_eq!(verdict("denied", &silent, None), Verdict::Inconclusive);
    }
    let leak = tunnelled(Phase::Processing, Reason::Reset, Some(1));
    assert_eq!(verdict("denied", &leak, Some(&control)), Verdict::Violated);
}

#[test]
fn one_byte_of_reply_is_an_enforcement_gap() {
    let leak = failed(Phase::Transfer, Reason::Reset, 1);
    for outcome in [replied(200), leak] {
        let judgement = judge(&Expectation::Denied, &outcome, Some(&replied(200)));
        assert_eq!(judgement.verdict, Verdict::Violated);
        let reason = judgement.failure.map(|failure| failure.reason);
        assert_eq!(reason, Some(Reason::UnexpectedReply));
    }
}

#[test]
fn expectations_read_back_as_written() {
    for text in ["reply", "denied", "connect", "status 2xx,404,500-503"] {
        assert_eq!(text.parse::<Expectation>().expect(text).to_string(), text);
    }
    for wrong in ["", "status", "status ", "status 2x", "status 99", "status 600", "status 300-200"]
    {
        assert!(wrong.parse::<Expectation>().is_err(), "{wrong:?}");
    }
}
