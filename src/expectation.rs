//! What an attempt is expected to give, and the verdict over what it gave. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::failure::{Blame, Failure, Phase, Reason};
use crate::outcome::Outcome;

/// The statement that a target is probed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// A complete reply: bytes, never just a connect. Over HTTP any status.
    Reply,
    /// A complete HTTP response with one of these statuses.
    Status(StatusSet),
    /// The plaintext denial of a STRICT mesh: closed or reset with zero reply bytes, while a
    /// positive control to the same place passes.
    Denied,
    /// An established TCP connection and no more. Proves nothing about a destination behind
    /// ztunnel, which accepts before it dials.
    Connect,
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply => f.write_str("reply"),
            Self::Status(set) => write!(f, "status {set}"),
            Self::Denied => f.write_str("denied"),
            Self::Connect => f.write_str("connect"),
        }
    }
}

impl FromStr for Expectation {
    type Err = InvalidExpectation;

    fn from_str(text: &str) -> Result<Self, InvalidExpectation> {
        match text {
            "reply" => Ok(Self::Reply),
            "denied" => Ok(Self::Denied),
            "connect" => Ok(Self::Connect),
            _ => {
                let list = text.strip_prefix("status ").ok_or(InvalidExpectation::Word)?;
                Ok(Self::Status(list.parse()?))
            }
        }
    }
}

impl Serialize for Expectation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Text that states nothing known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExpectation {
    /// Not one of the words.
    #[error("must be reply, denied, connect, or `status` with a list such as `status 2xx,404`")]
    Word,
    /// The list behind `status` is wrong.
    #[error(transparent)]
    Status(#[from] InvalidStatusSet),
}

/// HTTP statuses: single codes, classes such as `2xx`, ranges such as `200-299`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSet(Vec<(u16, u16)>);

impl StatusSet {
    /// Whether `status` is one of the set.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(low, high)| (*low..=*high).contains(&status))
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (low, high)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match (low, high) {
                (low, high) if low == high => write!(f, "{comma}{low}")?,
                (low, high) if low % 100 == 0 && *high == low + 99 => {
                    write!(f, "{comma}{}xx", low / 100)?;
                }
                (low, high) => write!(f, "{comma}{low}-{high}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for StatusSet {
    type Err = InvalidStatusSet;

    fn from_str(text: &str) -> Result<Self, InvalidStatusSet> {
        let parse = |item: &str| {
            if let Some(class) = item.strip_suffix("xx") {
                let class: u16 = class.parse().ok()?;
                return Some((class * 100, class.checked_mul(100)?.checked_add(99)?));
            }
            match item.split_once('-') {
                Some((low, high)) => Some((low.trim().parse().ok()?, high.trim().parse().ok()?)),
                None => item.parse().ok().map(|code| (code, code)),
            }
        };
        let ranges = text
            .split(',')
            .map(|item| {
                let item = item.trim();
                parse(item)
                    .filter(|(low, high)| *low >= 100 && low <= high && *high <= 599)
                    .ok_or_else(|| InvalidStatusSet(item.to_owned()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self(ranges))
    }
}

/// An item that is no HTTP status, class or range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no HTTP status: write codes from 100 to 599, classes (2xx) or ranges (200-299)")]
pub struct InvalidStatusSet(String);

/// The statement held against what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As stated.
    Met,
    /// Not as stated, and the network or the target did it.
    Violated,
    /// The attempt cannot tell.
    Inconclusive,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 3] = [Self::Met, Self::Violated, Self::Inconclusive];

    /// The name in metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Violated => "violated",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// The mark in front of a line for people, as `linkerd check` has them.
    pub fn mark(self) -> char {
        match self {
            Self::Met => '√',
            Self::Violated => '×',
            Self::Inconclusive => '‼',
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verdict with what explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Met, violated or inconclusive.
    pub verdict: Verdict,
    /// The failure to report, which may be the judge's own (`status`, `unexpected_reply`).
    pub failure: Option<Failure>,
    /// What a reader could not guess from verdict and failure alone.
    pub because: Option<&'static str>,
}

/// Judges `outcome`. `control` is the outcome of the positive control of a denial, when there
/// was one; other expectations ignore it.
pub fn judge(expect: &Expectation, outcome: &Outcome, control: Option<&Outcome>) -> Judgement {
    if let Some(failure) = outcome.failure.as_ref().filter(|f| f.reason.blame() == Blame::Prober) {
        return Judgement {
            verdict: Verdict::Inconclusive,
            failure: Some(failure.clone()),
            because: Some("the prober itself spoiled this attempt"),
        };
    }
    match expect {
        Expectation::Reply | Expectation::Connect => as_is(outcome.failure.clone()),
        Expectation::Status(set) => {
            as_is(outcome.failure.clone().or_else(|| wrong_status(set, outcome)))
        }
        Expectation::Denied => judge_denial(outcome, control),
    }
}

fn as_is(failure: Option<Failure>) -> Judgement {
    let verdict = if failure.is_none() { Verdict::Met } else { Verdict::Violated };
    Judgement { verdict, failure, because: None }
}

fn wrong_status(set: &StatusSet, outcome: &Outcome) -> Option<Failure> {
    let status = outcome.facts.http.as_ref()?.status;
    (!set.contains(status)).then(|| Failure {
        phase: Phase::Processing,
        reason: Reason::Status,
        detail: format!("status {status}, expected {set}"),
    })
}

fn judge_denial(outcome: &Outcome, control: Option<&Outcome>) -> Judgement {
    let Some(failure) = &outcome.failure else {
        return gap("a complete reply came where a denial was stated");
    };
    if outcome.reply_bytes > 0 {
        return gap(&format!("{} bytes came back before: {failure}", outcome.reply_bytes));
    }
    let (verdict, because) = match (is_denial(failure), control.map(|c| c.failure.is_none())) {
        (true, Some(true)) => (Verdict::Met, "denied, and the positive control passed"),
        (true, Some(false)) => {
            (Verdict::Inconclusive, "the positive control failed too: denied or dead")
        }
        (true, None) => (Verdict::Inconclusive, "no positive control: denied or dead"),
        (false, Some(true)) => {
            (Verdict::Violated, "failed in another way than a denial while the control passed")
        }
        (false, Some(false)) => (Verdict::Inconclusive, "no denial, and the control failed too"),
        (false, None) => (Verdict::Inconclusive, "no denial, and no positive control"),
    };
    Judgement { verdict, failure: Some(failure.clone()), because: Some(because) }
}

/// Whether `failure` is of the class that STRICT denial, closed port and missing endpoint share,
/// provided that there were zero reply bytes.
pub fn is_denial(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::Closed | Reason::Reset)
        && matches!(failure.phase, Phase::Tls | Phase::Processing)
}

fn gap(detail: &str) -> Judgement {
    Judgement {
        verdict: Verdict::Violated,
        failure: Some(Failure {
            phase: Phase::Processing,
            reason: Reason::UnexpectedReply,
            detail: detail.to_owned(),
        }),
        because: Some("enforcement gap"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::outcome::{Facts, HttpFacts, Phases};

    fn replied(status: u16) -> Outcome {
        let http = HttpFacts { status, ..HttpFacts::default() };
        Outcome {
            started_at: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            phases: Phases::default(),
            failure: None,
            reply_bytes: 100,
            facts: Facts { http: Some(http), ..Facts::default() },
        }
    }

    fn failed(phase: Phase, reason: Reason, reply_bytes: u64) -> Outcome {
        let failure = Failure { phase, reason, detail: String::new() };
        Outcome { failure: Some(failure), reply_bytes, facts: Facts::default(), ..replied(0) }
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

    #[test]
    fn a_failure_that_is_no_denial_is_never_met() {
        let good = replied(200);
        for reason in Reason::ALL {
            for phase in Phase::ALL {
                let outcome = failed(phase, *reason, 0);
                let met = verdict("denied", &outcome, Some(&good)) == Verdict::Met;
                let denial = matches!(reason, Reason::Reset | Reason::Closed)
                    && matches!(phase, Phase::Tls | Phase::Processing);
                assert_eq!(met, denial, "{reason} in {phase}");
            }
        }
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
        for wrong in
            ["", "status", "status ", "status 2x", "status 99", "status 600", "status 300-200"]
        {
            assert!(wrong.parse::<Expectation>().is_err(), "{wrong:?}");
        }
    }
}
