//! How likely what was seen of one path is, when these causes act on it. Pure arithmetic.

use crate::diagnosis::index::Contact;
use crate::diagnosis::seen::{Tally, best};
use crate::diagnosis::signature::{LEVELS, Signature};
use crate::failure::Reason;

/// Attempts that fail though nothing is broken.
const BACKGROUND: f64 = 1e-4;
/// How likely a path is odd for a cause of its own: no path alone pulls more than its logarithm.
const ODD: f64 = 1e-8;
/// No fault is certain to fail every attempt: windows begin before it and end after it. Above
/// this share nobody can tell how much of it is a fault's, so that more costs nothing.
const MOST: f64 = 0.998;
/// Attempts of one path fail by the same cause: their reasons count as no more than so many.
const REASONS: f64 = 4.0;
/// What a path is less likely by chance alone, nats, than if its causes were made for it.
const CHANCE: f64 = 1.0;
/// How likely a fault that shows on a path meets less of its attempts than its share, how much
/// less not being known: callers keep to what they once chose.
const PARTLY: f64 = 0.02;
/// How likely a fault shows, on paths that it may leave alone, as far as that is tried.
pub(super) const SHOWS: [f64; 6] = [0.02, 0.15, 0.4, 0.7, 0.9, 0.99];

/// A broken component on a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cause {
    /// The share of attempts that it fails of those that meet it.
    pub(super) rate: f64,
    /// The share of attempts that meet it.
    pub(super) share: f64,
    /// How likely it shows there at all.
    pub(super) shows: f64,
    /// How.
    pub(super) signature: &'static Signature,
    /// Whose it is: the place among the suspects.
    pub(super) suspect: usize,
}

impl Cause {
    pub(super) fn at(contact: &Contact, rate: f64, shows: f64, suspect: usize) -> Self {
        let shows = if contact.signature.is_certain() { 1.0 } else { shows };
        let Contact { signature, share, .. } = *contact;
        Self { rate, share: f64::from(share), shows, signature, suspect }
    }

    fn acts(&self) -> f64 {
        (self.rate * self.share).min(MOST)
    }

    fn is_certain(&self) -> bool {
        self.shows >= 1.0
    }
}

/// What was seen of a path that failed, with what does not depend on causes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failing<'a> {
    met: f64,
    violated: f64,
    /// How much the reason of one attempt counts.
    weight: f64,
    /// ln of its likelihood under a cause of its own.
    pub(super) odd: f64,
    /// The same under no cause at all.
    calm: f64,
    reasons: &'a [(Reason, u64)],
}

impl<'a> Failing<'a> {
    pub(super) fn new(tally: &'a Tally) -> Self {
        let (met, violated) = (tally.met as f64, tally.violated as f64);
        let weight = (REASONS / violated).min(1.0);
        let counts = tally.reasons.iter().map(|(_, count)| *count as f64);
        let mix: f64 = counts.map(|count| count * (count / violated).ln()).sum();
        let odd = ODD.ln() + best(met, violated) + weight * mix + uniform().ln();
        let mut path = Self { met, violated, weight, odd, calm: 0.0, reasons: &tally.reasons };
        path.calm = path.mixed(std::iter::empty());
        path
    }

    /// The most that one more cause may gain beside `causes`, which say `told`. Where they are any,
    /// chance is left out, for which no other cause is needed.
    pub(super) fn pull(&self, told: f64, causes: &[Cause]) -> f64 {
        let chance = if causes.is_empty() { 0.0 } else { CHANCE };
        (best(self.met, self.violated) - self.or_odd(told) - chance).max(0.0)
    }

    /// ln of its likelihood where the causes say `told`: it may be odd.
    pub(super) fn or_odd(&self, told: f64) -> f64 {
        log_sum(told, self.odd)
    }

    /// ln of its likelihood under `causes`: of those that may leave it alone none, one or all act.
    pub(super) fn told(&self, causes: &[Cause]) -> f64 {
        if causes.is_empty() { self.calm } else { self.under(causes, None) }
    }

    /// The same with `extra`, which acts.
    pub(super) fn shown(&self, causes: &[Cause], extra: &Cause) -> f64 {
        let own = self.under(causes, Some(extra));
        if extra.is_certain() { own } else { log_sum(own, self.part(extra)) }
    }

    fn under(&self, causes: &[Cause], extra: Option<&Cause>) -> f64 {
        let certain = || causes.iter().filter(|cause| cause.is_certain()).chain(extra).copied();
        let doubtful = || causes.iter().filter(|cause| !cause.is_certain());
        let hidden: f64 = doubtful().map(|cause| (1.0 - cause.shows).ln()).sum();
        let mut told = hidden + self.mixed(certain());
        let (mut count, mut all) = (0, 0.0);
        for shown in doubtful() {
            let own = self.mixed(certain().chain([*shown]));
            let weight = hidden - (1.0 - shown.shows).ln() + shown.shows.ln();
            told = log_sum(told, weight + log_sum(own, self.part(shown)));
            all += shown.shows.ln();
            count += 1;
        }
        if count > 1 {
            told = log_sum(told, all + self.mixed(certain().chain(doubtful().copied())));
        }
        told
    }

    /// Where a cause meets more or less of the attempts than its share, and nothing else acts: the
    /// rate that fits, up to its own.
    fn part(&self, cause: &Cause) -> f64 {
        let rate = self.ratio().min(cause.rate).max(BACKGROUND);
        PARTLY.ln() + self.mixed(std::iter::once(Cause { rate, share: 1.0, ..*cause }))
    }

    /// Under causes that all act: noisy-OR of the rates. Which of several faults an attempt meets
    /// first is not known, and the same for all attempts of a path: any may be the first.
    fn mixed(&self, causes: impl Iterator<Item = Cause> + Clone) -> f64 {
        let survives: f64 = causes.clone().map(|cause| 1.0 - cause.acts()).product();
        let met = survives * (1.0 - BACKGROUND);
        let fails = self.met * met.ln() + self.violated * ln_fails(1.0 - met);
        let count = causes.clone().count();
        if count < 2 {
            return fails + self.reasons(causes, 1.0 - met);
        }
        let mut reasons = f64::NEG_INFINITY;
        for first in 0..count {
            let in_order = causes.clone().skip(first).chain(causes.clone().take(first));
            reasons = log_sum(reasons, self.reasons(in_order, 1.0 - met));
        }
        fails + reasons - (count as f64).ln()
    }

    /// ln of the likelihood of the reasons, where attempts meet `causes` in this order and `fails`
    /// of them fail.
    fn reasons(&self, causes: impl Iterator<Item = Cause> + Clone, fails: f64) -> f64 {
        let of = |(reason, count): &(Reason, u64)| {
            let (mut left, mut has) = (1.0, 0.0);
            for cause in causes.clone() {
                has += left * cause.acts() * cause.signature.likelihood(*reason);
                left *= 1.0 - cause.acts();
            }
            let share = (has + left * BACKGROUND * uniform()) / fails;
            self.weight * *count as f64 * share.min(1.0).ln()
        };
        self.reasons.iter().map(of).sum()
    }

    fn ratio(&self) -> f64 {
        self.violated / (self.violated + self.met)
    }
}

/// A failing path on which nothing acts yet, as a fault sees it that may act there: the likelihood
/// for any rate comes of a few products.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    met: f64,
    violated: f64,
    /// Weighed reasons, by how well the fault knows them.
    counts: [f64; LEVELS.len()],
    /// While the fault meets as much of the attempts as fail, and how much that is.
    part: f64,
    ratio: f64,
}

impl Row {
    pub(super) fn new(path: &Failing<'_>, signature: &'static Signature) -> Self {
        let mut counts = [0.0; LEVELS.len()];
        for (reason, count) in path.reasons {
            counts[signature.level(*reason)] += path.weight * *count as f64;
        }
        let Failing { met, violated, .. } = *path;
        let (part, ratio) = (f64::NEG_INFINITY, path.ratio());
        let mut row = Self { met, violated, counts, part, ratio };
        if !signature.is_certain() {
            row.part = row.told(&Rate::new(ratio.max(BACKGROUND))) + PARTLY.ln();
        }
        row
    }

    /// ln of the likelihood where the fault acts at a rate of which this path has `own`, and `all`
    /// at the most.
    pub(super) fn shown(&self, own: &Rate, all: &Rate) -> f64 {
        let told = self.told(own);
        if self.part == f64::NEG_INFINITY {
            return told;
        }
        let part = if self.ratio < all.acts { self.part } else { PARTLY.ln() + self.told(all) };
        log_sum(told, part)
    }

    fn told(&self, rate: &Rate) -> f64 {
        let reasons: f64 =
            std::iter::zip(&self.counts, &rate.ln_shares).map(|(count, share)| count * share).sum();
        self.met * rate.ln_met + self.violated * rate.ln_fails + reasons
    }
}

/// A share of attempts that a fault fails, with the logarithms that go with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    acts: f64,
    ln_met: f64,
    ln_fails: f64,
    /// Of the failing ones those that have a reason, by how well the fault knows it.
    ln_shares: [f64; LEVELS.len()],
}

impl Rate {
    pub(super) fn new(rate: f64) -> Self {
        let acts = rate.min(MOST);
        let met = (1.0 - acts) * (1.0 - BACKGROUND);
        let share =
            |level: f64| (acts * level + (1.0 - acts) * BACKGROUND * uniform()) / (1.0 - met);
        let ln_shares = LEVELS.map(|level| share(level).min(1.0).ln());
        Self { acts, ln_met: met.ln(), ln_fails: ln_fails(1.0 - met), ln_shares }
    }

    /// ln of the likelihood that `met` attempts of one path are all met where the fault acts.
    pub(super) fn healthy(&self, met: f64) -> f64 {
        met * self.ln_met
    }
}

/// ln of the likelihood that `met` attempts of one path are all met, while nothing acts.
fn calm(met: f64) -> f64 {
    met * (1.0 - BACKGROUND).ln()
}

/// Of a path how likely it is while a fault does not act, when it is odd, and either, ln each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways {
    hidden: f64,
    odd: f64,
    before: f64,
}

impl Ways {
    pub(super) fn new(hidden: f64, odd: f64) -> Self {
        Self { hidden, odd, before: log_sum(hidden, odd) }
    }

    /// Of a healthy path.
    pub(super) fn healthy(met: f64) -> Self {
        Self::new(calm(met), ODD.ln())
    }

    /// How much likelier the path is with the fault, where it acts there for certain and `shown`
    /// is told.
    pub(super) fn gain(&self, shown: f64) -> f64 {
        log_sum(shown, self.odd) - self.before
    }

    /// The same where it acts as likely as each of [`SHOWS`] says.
    pub(super) fn gains(&self, shown: f64) -> [f64; SHOWS.len()] {
        let most = shown.max(self.hidden).max(self.odd);
        let [shown, hidden, odd] = [shown, self.hidden, self.odd].map(|way| (way - most).exp());
        let before = self.before - most;
        SHOWS.map(|shows| (shows * shown + (1.0 - shows) * hidden + odd).ln() - before)
    }
}

/// ln of the share of attempts that fail, of the most that can.
fn ln_fails(share: f64) -> f64 {
    (share / MOST).min(1.0).ln()
}

/// How likely each reason is when nothing is known.
fn uniform() -> f64 {
    1.0 / Reason::ALL.len() as f64
}

fn log_sum(one: f64, other: f64) -> f64 {
    let (less, more) = if one < other { (one, other) } else { (other, one) };
    // What is that much less adds nothing that a sum would show.
    if more - less > 30.0 { more } else { more + (less - more).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::component::Kind;
    use crate::diagnosis::path::{Class, End, NOWHERE, Path, Subject};
    use crate::diagnosis::signature::{every, signature};
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
        Cause { rate, share: 1.0, shows: 1.0, signature, suspect: 0 }
    }

    fn gain(tally: &Tally, rate: f64) -> f64 {
        let path = Failing::new(tally);
        path.or_odd(path.shown(&[], &blocked(rate))) - path.or_odd(path.told(&[]))
    }

    #[test]
    fn a_fault_explains_its_own_reason_better_than_another() {
        let timeouts = tally(0, &[(Reason::Timeout, 10)]);
        let refusals = tally(0, &[(Reason::Refused, 10)]);
        assert!(gain(&timeouts, 1.0) > 10.0);
        assert!(gain(&refusals, 1.0) < gain(&timeouts, 1.0));
        let against = Ways::healthy(50.0).gain(Rate::new(1.0).healthy(50.0));
        assert!(against < -15.0, "healthy paths are evidence against");
        let some = tally(90, &[(Reason::Timeout, 10)]);
        assert!(gain(&some, 0.1) > gain(&some, 1.0), "a gray fault has its rate");
    }

    #[test]
    fn one_path_alone_pulls_no_more_than_an_odd_one_may() {
        let many = tally(0, &[(Reason::Timeout, 100_000)]);
        let bound = -(ODD.ln());
        assert!(Ways::healthy(1e5).gain(Rate::new(1.0).healthy(1e5)) >= -bound - 0.01);
        assert!(gain(&many, 1.0) < bound + 10.0);
    }

    #[test]
    fn what_one_fault_explains_two_explain_no_better() {
        for failures in [vec![(Reason::Timeout, 30)], vec![(Reason::Timeout, 29)]] {
            let seen = tally(30 - failures[0].1, &failures);
            let path = Failing::new(&seen);
            let alone = path.told(&[blocked(1.0)]);
            assert!(path.shown(&[blocked(1.0)], &blocked(0.7)) - alone < 0.01);
        }
    }

    #[test]
    fn a_row_says_what_the_whole_formula_says() {
        for (met, failures) in [
            (0, vec![(Reason::Timeout, 30)]),
            (20, vec![(Reason::Timeout, 7), (Reason::Refused, 3)]),
            (29, vec![(Reason::Reset, 1)]),
        ] {
            let seen = tally(met, &failures);
            let path = Failing::new(&seen);
            for signature in every() {
                let shows = if signature.is_certain() { 1.0 } else { 0.5 };
                for (rate, share) in [(1.0, 1.0), (1.0, 0.25), (0.5, 0.5), (0.02, 1.0)] {
                    let cause = Cause { rate, share, shows, signature, suspect: 0 };
                    let whole = path.shown(&[], &cause);
                    let row = Row::new(&path, signature);
                    let row = row.shown(&Rate::new(rate * share), &Rate::new(rate));
                    assert!((whole - row).abs() < 1e-9, "{signature:?} {rate}: {whole} {row}");
                }
            }
        }
    }

    #[test]
    fn chance_alone_makes_a_doubtful_fault_no_likelier() {
        // The mean over what a fault of a fifth does, if another of a tenth is taken to be there
        // too, on paths that it may leave alone.
        let certain = blocked(0.2);
        let mut gains = [0.0; SHOWS.len()];
        for violated in 1..=30_u64 {
            let seen = tally(30 - violated, &[(Reason::Timeout, violated)]);
            let path = Failing::new(&seen);
            let (hidden, shown) = (path.told(&[certain]), path.shown(&[certain], &blocked(0.1)));
            let chosen = (1..=violated).fold(1.0, |ways, n| ways * (31 - n) as f64 / n as f64);
            let chance =
                chosen * 0.2_f64.powi(violated as i32) * 0.8_f64.powi(30 - violated as i32);
            let all = Ways::new(hidden, path.odd).gains(shown);
            for (sum, gain) in std::iter::zip(&mut gains, all) {
                *sum += chance * gain;
            }
        }
        assert!(gains.iter().all(|gain| *gain <= 0.0), "{gains:?}");
    }
}
