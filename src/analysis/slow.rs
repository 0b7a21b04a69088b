//! Paths that take longer than they did, and what they have in common. No component is blamed for
//! them: many causes, such as load, make a path slow and break nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::detection::{Alarm, Symptom};
use crate::observation::rfc3339;
use crate::target::Vantage;

/// Paths that are named.
const MOST: usize = 10;
/// What fewer paths have in common may be chance.
const FEWEST: usize = 3;
/// So many of the slow paths must have it.
const NEARLY_ALL: f64 = 0.8;

/// Paths whose replies take much longer than they did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Slow {
    /// How many.
    pub paths: usize,
    /// Since when the first of them is.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub since: Option<OffsetDateTime>,
    /// What nearly all of them share and nothing else does, in words: an end or a target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common: Option<String>,
    /// The ones with the most slow replies, at most 10.
    pub worst: Vec<SlowPath>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlowPath {
    /// The node that asks.
    pub source_node: String,
    /// From which side of the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vantage: Option<Vantage>,
    /// The target's name within its agent's plan.
    pub target: String,
    /// The far end's node, where it is on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_node: Option<String>,
    /// Since when.
    #[serde(with = "rfc3339")]
    pub since: OffsetDateTime,
    /// Replies since then.
    pub replies: u32,
    /// Those that took longer than 99 of 100 did before.
    pub slow_replies: u32,
    /// That is, seconds.
    pub usual_p99_seconds: f64,
}

impl Slow {
    /// Those of `alarms` that tell of slow replies.
    pub fn of(alarms: impl Iterator<Item = Alarm>) -> Self {
        let mut slow: Vec<SlowPath> = alarms.filter_map(path).collect();
        slow.sort_by(|a, b| {
            let order = b.slow_replies.cmp(&a.slow_replies).then_with(|| a.target.cmp(&b.target));
            order.then_with(|| a.source_node.cmp(&b.source_node))
        });
        let common = common(&slow);
        let since = slow.iter().map(|it| it.since).min();
        let paths = slow.len();
        slow.truncate(MOST);
        Self { paths, since, common, worst: slow }
    }

    /// In a sentence; `None` when nothing is slow.
    pub fn words(&self) -> Option<String> {
        let worst = self.worst.first()?;
        let (are, much) = match self.paths {
            1 => ("1 path takes".to_owned(), "it"),
            paths => (format!("{paths} paths take"), "they"),
        };
        let since = self.since.map(|at| format!(" since {}", rfc3339::seconds(at)));
        let common = self.common.as_ref().map(|common| format!(", {common}"));
        Some(format!(
            "{are} longer than {much} did{}{}; most of all {}",
            since.unwrap_or_default(),
            common.unwrap_or_default(),
            worst.words()
        ))
    }
}

impl SlowPath {
    fn words(&self) -> String {
        let side = self.vantage.map(|it| format!(" ({it})")).unwrap_or_default();
        format!(
            "{} from {}{side}: {} of {} replies took more than {:.1} ms, which 99 % did not",
            self.target,
            self.source_node,
            self.slow_replies,
            self.replies,
            self.usual_p99_seconds * 1e3
        )
    }
}

fn path(alarm: Alarm) -> Option<SlowPath> {
    let Symptom::Slow { usual_seconds } = alarm.symptom else { return None };
    Some(SlowPath {
        source_node: alarm.source_node.to_string(),
        vantage: alarm.vantage,
        target: alarm.asked.name.to_string(),
        destination_node: alarm.asked.destination_node.as_deref().map(str::to_owned),
        since: alarm.since,
        replies: alarm.attempts,
        slow_replies: alarm.events,
        usual_p99_seconds: f64::from(usual_seconds),
    })
}

/// What nearly all of `slow` share, when no second thing is shared by as many.
fn common(slow: &[SlowPath]) -> Option<String> {
    let mut shared: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    for path in slow {
        let far = path.destination_node.as_deref().filter(|far| *far != path.source_node);
        for end in [Some(path.source_node.as_str()), far].into_iter().flatten() {
            *shared.entry((true, end)).or_default() += 1;
        }
        // A target on a node is told by its node.
        if far.is_none() {
            *shared.entry((false, &path.target)).or_default() += 1;
        }
    }
    let most = shared.values().copied().max().filter(|most| *most >= FEWEST)?;
    let mut best = shared.iter().filter(|(_, count)| **count == most);
    let (((is_node, name), _), None) = (best.next()?, best.next()) else { return None };
    if (most as f64) < NEARLY_ALL * slow.len() as f64 {
        return None;
    }
    let of = if most == slow.len() { "all".to_owned() } else { format!("{most} of them") };
    Some(if *is_node { format!("{of} from or to {name}") } else { format!("{of} to {name}") })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use time::macros::datetime;

    use super::*;
    use crate::detection::Asked;
    use crate::observation::Expected;
    use crate::target::ProbeKind;

    fn alarm(from: &str, target: &str, to: Option<&str>, events: u32) -> Alarm {
        let asked = Asked {
            name: target.into(),
            target: target.into(),
            destination_node: to.map(Arc::from),
            probe: ProbeKind::Http,
            via: None,
            expect: Expected::Reply,
        };
        Alarm {
            source_node: from.into(),
            vantage: Some(Vantage::Ambient),
            asked: Arc::new(asked),
            symptom: Symptom::Slow { usual_seconds: 0.0081 },
            since: datetime!(2026-01-01 00:00:05 UTC),
            attempts: 20,
            events,
        }
    }

    fn peer(from: &str, to: &str) -> Alarm {
        alarm(from, &format!("peer/{to}"), Some(to), 9)
    }

    #[test]
    fn the_end_that_slow_paths_share_is_named() {
        let paths = [peer("a", "b"), peer("b", "c"), peer("d", "b")];
        let slow = Slow::of(paths.clone().into_iter());
        assert_eq!((slow.paths, slow.common.as_deref()), (3, Some("all from or to b")));
        let most = [&paths[..], &[peer("c", "b"), peer("a", "d")]].concat();
        let slow = Slow::of(most.into_iter());
        assert_eq!(slow.common.as_deref(), Some("4 of them from or to b"));
    }

    #[test]
    fn a_target_that_is_on_no_node_is_named_too() {
        let asks = |from| alarm(from, "service/default/web:80", None, 9);
        let slow = Slow::of(["a", "b", "c"].map(asks).into_iter());
        assert_eq!(slow.common.as_deref(), Some("all to service/default/web:80"));
    }

    #[test]
    fn few_paths_and_those_that_share_two_things_or_none_have_nothing_in_common() {
        let of = |alarms: &[Alarm]| Slow::of(alarms.iter().cloned()).common;
        assert_eq!(of(&[peer("a", "b"), peer("b", "c")]), None);
        // Both ends of all.
        assert_eq!(of(&[peer("a", "b"), peer("b", "a"), peer("a", "b")]), None);
        assert_eq!(of(&[peer("a", "b"), peer("b", "c"), peer("b", "d"), peer("e", "f")]), None);
    }

    #[test]
    fn it_is_told_in_a_sentence_by_the_worst() {
        assert_eq!(Slow::of(std::iter::empty()).words(), None);
        let failing = Alarm { symptom: Symptom::Failing { usual: 0.1 }, ..peer("a", "b") };
        assert_eq!(Slow::of([failing].into_iter()), Slow::default());
        let alarms = [peer("a", "b"), alarm("a", "names", None, 18)];
        assert_eq!(
            Slow::of(alarms.into_iter()).words().as_deref(),
            Some(
                "2 paths take longer than they did since 2026-01-01T00:00:05Z; most of all names from a \
                 (ambient): 18 of 20 replies took more than 8.1 ms, which 99 % did not"
            )
        );
    }

    #[test]
    fn of_many_the_worst_are_named() {
        let alarms = (0..50).map(|at| alarm(&format!("n{at}"), "names", None, at));
        let slow = Slow::of(alarms);
        assert_eq!((slow.paths, slow.worst.len()), (50, MOST));
        assert_eq!(slow.worst[0].source_node, "n49");
    }
}
