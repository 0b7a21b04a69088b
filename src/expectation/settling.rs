//! What an attempt can tell while what is expected of its target is new. Pure.

use crate::expectation::{Judgement, Verdict, is_explicit_denial};
use crate::failure::{Failure, Reason};

const BECAUSE: &str =
    "what is expected here changed a moment ago, and the mesh may not know it yet";

/// `judgement` of an attempt that began within the grace after a change of its expectation.
///
/// What is violated is inconclusive: policies take a while to reach every ztunnel. What is met
/// stays met, since only a mesh that knows the change can answer so; but for a denial that is mere
/// silence. A port that does not listen yet, or a workload that its ztunnel does not know yet,
/// closes just like a policy, and the control asked right after may already find it there. A
/// denial that a policy utters itself is believed.
pub fn unsettled(judgement: Judgement) -> Judgement {
    let believed = match (judgement.verdict, &judgement.failure) {
        (Verdict::Met, None) | (Verdict::Inconclusive, _) => true,
        (Verdict::Met, Some(failure)) => is_explicit_denial(failure),
        (Verdict::Violated, _) => false,
    };
    let Some(failure) = judgement.failure.clone().filter(|_| !believed) else {
        return judgement;
    };
    let detail = format!("within the grace after a change: {}: {}", failure.reason, failure.detail);
    let failure = Failure { phase: failure.phase, reason: Reason::Settling, detail };
    let verdict = Verdict::Inconclusive;
    Judgement { verdict, failure: Some(failure), because: Some(BECAUSE) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Fault, Phase};

    fn judgement(verdict: Verdict, failed: Option<(Reason, Phase)>) -> Judgement {
        let failure = failed.map(|(reason, phase)| Fault::new(reason, "told").during(phase));
        Judgement { verdict, failure, because: None }
    }

    #[track_caller]
    fn assert_settling(judgement: Judgement) {
        let Judgement { verdict, failure, because } = unsettled(judgement);
        let failure = failure.expect("a failure");
        assert_eq!((verdict, failure.reason), (Verdict::Inconclusive, Reason::Settling));
        assert!(failure.detail.ends_with("told") && because.is_some(), "{failure}");
    }

    #[test]
    fn what_is_violated_cannot_tell_yet() {
        let closed = Some((Reason::Closed, Phase::Processing));
        assert_settling(judgement(Verdict::Violated, closed));
        let gap = Some((Reason::UnexpectedReply, Phase::Processing));
        assert_settling(judgement(Verdict::Violated, gap));
    }

    #[test]
    fn a_reply_that_came_as_expected_is_believed() {
        let met = judgement(Verdict::Met, None);
        assert_eq!(unsettled(met.clone()), met);
    }

    #[test]
    fn silence_is_no_denial_yet_and_a_policys_own_word_is() {
        let silence = judgement(Verdict::Met, Some((Reason::Closed, Phase::Processing)));
        assert_settling(silence);
        let word = judgement(Verdict::Met, Some((Reason::HboneDenied, Phase::Tunnel)));
        assert_eq!(unsettled(word.clone()), word);
    }

    #[test]
    fn what_could_not_tell_anyway_keeps_its_own_reason() {
        let spoiled = Some((Reason::LocalResource, Phase::Connect));
        let spoiled = judgement(Verdict::Inconclusive, spoiled);
        assert_eq!(unsettled(spoiled.clone()), spoiled);
    }
}
