//! The verdicts over the single rungs of the ladder to istiod. Pure.

use crate::expectation::Verdict;
use crate::failure::Blame;
use crate::outcome::{IstiodFacts, Rung, RungFacts};

/// The verdict of every rung that was tried or was to be tried, lowest first.
///
/// A rung above a broken one is inconclusive, and so is one that this side spoiled. A rung that
/// was not to be tried has none.
pub fn rung_verdicts(facts: &IstiodFacts) -> Vec<(Rung, Verdict)> {
    let tried = |rung| facts.rungs.iter().find(|tried| tried.rung == rung);
    let verdict = |rung| match tried(rung) {
        Some(tried) => Some((rung, of_tried(tried))),
        None => facts.due.contains(&rung).then_some((rung, Verdict::Inconclusive)),
    };
    Rung::ALL.into_iter().filter_map(verdict).collect()
}

fn of_tried(tried: &RungFacts) -> Verdict {
    match tried.failure.as_ref().map(|failure| failure.reason.blame()) {
        None => Verdict::Met,
        Some(Blame::Network) => Verdict::Violated,
        Some(Blame::Prober) => Verdict::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::failure::{Fault, Phase, Reason};

    /// The ladder without resolve, of which the last rung tried broke for `reason`, if any.
    fn ladder(tried: usize, reason: Option<Reason>) -> IstiodFacts {
        let due = Rung::ALL[1..].to_vec();
        let rungs = due[..tried].iter().enumerate().map(|(index, rung)| RungFacts {
            rung: *rung,
            duration: Duration::from_millis(1),
            failure: reason
                .filter(|_| index + 1 == tried)
                .map(|reason| Fault::new(reason, "").during(Phase::Processing)),
        });
        IstiodFacts { rungs: rungs.collect(), due, ..IstiodFacts::default() }
    }

    #[test]
    fn rungs_above_a_broken_one_are_inconclusive() {
        assert_eq!(
            rung_verdicts(&ladder(3, Some(Reason::Timeout))),
            [
                (Rung::Tcp, Verdict::Met),
                (Rung::Tls, Verdict::Met),
                (Rung::Http2, Verdict::Violated),
                (Rung::Xds, Verdict::Inconclusive),
                (Rung::Csr, Verdict::Inconclusive),
            ]
        );
    }

    #[test]
    fn a_rung_that_this_side_spoiled_is_inconclusive_and_those_below_are_met() {
        let verdicts = rung_verdicts(&ladder(4, Some(Reason::NoIdentity)));
        assert_eq!(verdicts[2], (Rung::Http2, Verdict::Met));
        assert_eq!(verdicts[3], (Rung::Xds, Verdict::Inconclusive));
    }

    #[test]
    fn a_rung_that_was_not_due_has_no_verdict() {
        let mut facts = ladder(4, None);
        facts.due.pop();
        let verdicts = rung_verdicts(&facts);
        assert_eq!(verdicts.len(), 4);
        assert!(verdicts.iter().all(|(_, verdict)| *verdict == Verdict::Met));
    }
}
