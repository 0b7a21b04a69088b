//! How likely what was seen of one path is, when these causes act on it. Pure arithmetic.

use crate::diagnosis::seen::{Tally, best};
use crate::diagnosis::signature::Signature;
use crate::failure::Reason;

/// Attempts that fail though nothing is broken.
const BACKGROUND: f64 = 1e-4;
/// How likely a path is odd for a cause of its own: no path alone pulls more than its logarithm.
const ODD: f64 = 1e-8;
/// No fault is certain to fail every attempt: windows begin before it and end after it.
const MOST: f64 = 0.998;
/// Attempts of one path fail by the same cause: their reasons count as no more than so many.
const REASONS: f64 = 4.0;

/// A broken component on a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cause {
    /// The share of attempts that it fails.
    pub(super) rate: f64,
    /// How.
    pub(super) signature: &'static Signature,
    /// Whose it is: the place among the suspects.
    pub(super) suspect: usize,
}

impl Cause {
    fn rate(&self) -> f64 {
        self.rate.min(MOST)
    }

    /// How strongly it acts, so that causes add up.
    fn strength(&self) -> f64 {
        -(-self.rate()).ln_1p()
    }
}

/// ln of the likelihood of `tally` under `causes` together with `extra`.
pub(super) fn log_likelihood(tally: &Tally, causes: &[Cause], extra: Option<&Cause>) -> f64 {
    let acting = || causes.iter().chain(extra);
    let certain = |cause: &&Cause| cause.signature.shows >= 1.0;
    let hides = |cause: &Cause| (1.0 - cause.signature.shows).ln();
    let doubtful = || acting().filter(|cause| !certain(cause));
    let hidden: f64 = doubtful().map(hides).sum();
    let mut told = hidden + mixed(tally, acting().filter(certain));
    for shown in doubtful() {
        let own = mixed(tally, acting().filter(certain).chain([shown]));
        // A path may meet only a part of it. That it shows costs nothing: where it shows and
        // where not is one question for all paths, not one for each.
        told = told.max(hidden - hides(shown) + own.max(part(tally, shown)));
    }
    log_sum(&[told, ODD.ln() + odd(tally)])
}

/// Under causes that all act: noisy-OR of the rates, and reasons by the strength of each.
fn mixed<'a>(tally: &Tally, causes: impl Iterator<Item = &'a Cause> + Clone) -> f64 {
    let survives: f64 = causes.clone().map(|cause| 1.0 - cause.rate()).product();
    let met = survives * (1.0 - BACKGROUND);
    let mut sum = tally.met as f64 * met.ln();
    if tally.violated == 0 {
        return sum;
    }
    sum += tally.violated as f64 * (1.0 - met).ln();
    let weight = weight(tally);
    let strengths: f64 = BACKGROUND + causes.clone().map(Cause::strength).sum::<f64>();
    for (reason, count) in &tally.reasons {
        let own: f64 = causes
            .clone()
            .map(|cause| cause.strength() * cause.signature.likelihood(*reason))
            .sum();
        let share = (BACKGROUND * uniform() + own) / strengths;
        sum += weight * *count as f64 * share.ln();
    }
    sum
}

/// Under a cause that meets a part of the attempts only: the rate that fits, up to its own.
fn part(tally: &Tally, cause: &Cause) -> f64 {
    if tally.violated == 0 {
        return f64::NEG_INFINITY;
    }
    let rate = tally.violated as f64 / (tally.violated + tally.met) as f64;
    let rate = rate.min(cause.rate()).max(BACKGROUND);
    let partly = Cause { rate, ..*cause };
    mixed(tally, std::iter::once(&partly)) - 0.5
}

/// Under a cause of its own, about which nothing is known.
fn odd(tally: &Tally) -> f64 {
    if tally.violated == 0 {
        return 0.0;
    }
    let (met, violated) = (tally.met as f64, tally.violated as f64);
    let reasons = tally.reasons.iter().map(|(_, count)| *count as f64);
    let mix: f64 = reasons.map(|count| count * (count / violated).ln()).sum();
    best(met, violated) + weight(tally) * mix + uniform().ln()
}

/// How much the reason of one attempt counts.
fn weight(tally: &Tally) -> f64 {
    (REASONS / tally.violated as f64).min(1.0)
}

/// How likely each reason is when nothing is known.
fn uniform() -> f64 {
    1.0 / Reason::ALL.len() as f64
}

fn log_sum(parts: &[f64]) -> f64 {
    let most = parts.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + parts.iter().map(|part| (part - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::component::Kind;
    use crate::diagnosis::path::{Class, End, NOWHERE, Path, Subject};
    use crate::diagnosis::signature::signature;
    use crate::target::Vantage;

    fn tally(met: u64, failures: &[(Reason, u64)]) -> Tally {
        let violated = failures.iter().map(|(_, count)| count).sum();
        Tally { met, violated, reasons: failures.to_vec(), since: None }
    }

    fn blocked(rate: f64) -> Cause {
        let path = Path {
            source: 0,
            far: NOWHERE,
            vantage: Vantage::Plain,
            class: Class::Tunnel,
            subject: Subject::Peer,
            large: false,
        };
        let signature = signature(Kind::Blocked, End::To, &path).expect("it shows");
        Cause { rate, signature, suspect: 0 }
    }

    #[test]
    fn a_fault_explains_its_own_reason_better_than_another() {
        let gain = |tally: &Tally, rate: f64| {
            log_likelihood(tally, &[], Some(&blocked(rate))) - log_likelihood(tally, &[], None)
        };
        let timeouts = tally(0, &[(Reason::Timeout, 10)]);
        let refusals = tally(0, &[(Reason::Refused, 10)]);
        assert!(gain(&timeouts, 1.0) > 10.0);
        assert!(gain(&refusals, 1.0) < gain(&timeouts, 1.0));
        assert!(gain(&tally(50, &[]), 1.0) < -15.0, "healthy paths are evidence against");
        let some = tally(90, &[(Reason::Timeout, 10)]);
        assert!(gain(&some, 0.1) > gain(&some, 1.0), "a gray fault has its rate");
    }

    #[test]
    fn one_path_alone_pulls_no_more_than_an_odd_one_may() {
        let many = tally(0, &[(Reason::Timeout, 100_000)]);
        let healthy = tally(100_000, &[]);
        let bound = -(ODD.ln());
        let against = log_likelihood(&healthy, &[], Some(&blocked(1.0)));
        assert!(against >= -bound - 0.01);
        let with = log_likelihood(&many, &[], Some(&blocked(1.0)));
        let gain = with - log_likelihood(&many, &[], None);
        assert!(gain < bound + 10.0, "{gain}");
    }
}
