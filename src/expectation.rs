//! What an attempt is expected to give, and the verdict over what it gave. Pure.

mod rungs;
mod settling;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use crate::failure::{Blame, Failure, Phase, Reason};
use crate::outcome::Outcome;

pub use rungs::rung_verdicts;
pub use settling::unsettled;

/// The statement that a target is probed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// A complete reply: bytes, never just a connect. Over HTTP any status.
    Reply,
    /// A complete HTTP response with one of these statuses.
    Status(StatusSet),
    /// The plaintext denial of a STRICT mesh: closed or reset with zero reply bytes, while a
    /// positive control to the same ip:port passes.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    if is_explicit_denial(failure) {
        return Judgement {
            verdict: Verdict::Met,
            failure: Some(failure.clone()),
            because: Some("a policy said so itself: no control is needed"),
        };
    }
    if outcome.answer_bytes() > 0 {
        return gap(&format!("{} bytes came back before: {failure}", outcome.answer_bytes()));
    }
    let (verdict, because) = match (is_denial(failure), Sign::of(outcome, control)) {
        (true, Sign::Alive) => (Verdict::Met, "denied, and the positive control passed"),
        (false, Sign::Alive) => {
            (Verdict::Violated, "failed in another way than a denial while the control passed")
        }
        (true, Sign::Failed) => {
            (Verdict::Inconclusive, "the positive control failed too: denied or dead")
        }
        (false, Sign::Failed) => (Verdict::Inconclusive, "no denial, and the control failed too"),
        (true, Sign::Missing) => (Verdict::Inconclusive, "no positive control: denied or dead"),
        (false, Sign::Missing) => (Verdict::Inconclusive, "no denial, and no positive control"),
        (true | false, Sign::Elsewhere) => (
            Verdict::Inconclusive,
            "the positive control reached another ip:port than this attempt",
        ),
        (true | false, Sign::Unknowable) => (
            Verdict::Inconclusive,
            "a host name hides whether the positive control reached the same ip:port",
        ),
    };
    Judgement { verdict, failure: Some(failure.clone()), because: Some(because) }
}

/// What a positive control says of the place that a denial came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// It passed, at the same ip:port.
    Alive,
    /// It failed.
    Failed,
    /// It passed, at another ip:port: no word about this one.
    Elsewhere,
    /// It passed, and nobody knows where.
    Unknowable,
    /// There was none.
    Missing,
}

impl Sign {
    fn of(denied: &Outcome, control: Option<&Outcome>) -> Self {
        match control {
            None => Self::Missing,
            Some(control) if control.failure.is_some() => Self::Failed,
            Some(control) => match (reached(denied), reached(control)) {
                (Some(denied), Some(control)) if denied == control => Self::Alive,
                (Some(_), Some(_)) => Self::Elsewhere,
                (None, _) | (_, None) => Self::Unknowable,
            },
        }
    }
}

/// The ip and port that `outcome` speaks of: through an HBONE tunnel what CONNECT named, else what
/// was dialled. `None` when that was a host name, or nothing at all.
fn reached(outcome: &Outcome) -> Option<(IpAddr, u16)> {
    let tunnelled = outcome.facts.hbone.as_ref().and_then(|hbone| hbone.authority.as_deref());
    let address = match tunnelled {
        Some(authority) => authority.parse().ok(),
        None => outcome.facts.remote_address,
    };
    address.map(|address: SocketAddr| (address.ip().to_canonical(), address.port()))
}

/// Whether `failure` is of the class that STRICT denial, closed port and missing endpoint share,
/// provided that there were zero reply bytes.
pub fn is_denial(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::Closed | Reason::Reset)
        && matches!(failure.phase, Phase::Tls | Phase::Tunnel | Phase::Processing)
}

/// Whether `failure` is a policy's own answer, which no dead port can give.
pub fn is_explicit_denial(failure: &Failure) -> bool {
    failure.reason == Reason::HboneDenied && failure.phase == Phase::Tunnel
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
mod tests;
