//! The objects of one watch, as they were last told, and how the watch itself is doing. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// A kind that was listed before is not believed to be forbidden or gone sooner: an API server that
/// has just started refuses everybody until it has read its roles, and knows no custom kind until
/// it has read its definition.
pub const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Refusals in a row after which a kind that was never listed is forbidden.
const REFUSED_TIMES: u32 = 2;

/// Namespace and name; the namespace of what has none is empty.
pub type Key = (String, String);

/// What one watch knows: objects reduced to what is used of them.
#[derive(Debug, Clone)]
pub struct Watched<T> {
    objects: BTreeMap<Key, T>,
    /// How the watch is doing.
    pub health: Health,
}

/// How a watch is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// How far it got.
    pub standing: Standing,
    /// When the API server last answered: a list, an event, a bookmark, or the end of a watch.
    pub contact: Option<Instant>,
    /// Since when it fails without a success in between, and the latest failure as one line.
    pub failing: Option<(Instant, String)>,
    /// Since when the API forbids it, or has no such kind, and nothing else; and how often it said so.
    pub refused: Option<(Instant, u32)>,
    /// Complete lists.
    pub lists: u64,
    /// Changes told by the watch.
    pub events: u64,
    /// Failures of whatever kind, an expired watch (410) among them.
    pub failures: u64,
}

/// How far a watch got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// It was never listed: nothing is known.
    #[default]
    Waiting,
    /// It was listed; what is known is what was last told.
    Listed,
    /// The API has no such kind.
    Absent,
    /// The API forbids it, and not only for a moment; what was known before stays.
    Forbidden,
}

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), health: Health::default() }
    }
}

impl<T: PartialEq> Watched<T> {
    /// The objects by namespace and name.
    pub fn objects(&self) -> &BTreeMap<Key, T> {
        &self.objects
    }

    /// The object, if it is there.
    pub fn find(&self, namespace: &str, name: &str) -> Option<&T> {
        self.objects.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Takes a complete list at `now`. Whether anything is other than before.
    pub fn replace(&mut self, objects: BTreeMap<Key, T>, now: Instant) -> bool {
        let changed = self.health.standing != Standing::Listed || self.objects != objects;
        self.objects = objects;
        self.health.standing = Standing::Listed;
        self.health.lists += 1;
        self.touch(now);
        changed
    }

    /// Takes an object that was added or changed at `now`; `None`: it is of no use any more.
    /// Whether anything is other than before.
    pub fn apply(&mut self, key: Key, object: Option<T>, now: Instant) -> bool {
        self.health.events += 1;
        self.touch(now);
        let Some(object) = object else { return self.objects.remove(&key).is_some() };
        if self.objects.get(&key) == Some(&object) {
            return false;
        }
        self.objects.insert(key, object);
        true
    }

    /// The API server answered at `now`.
    pub fn touch(&mut self, now: Instant) {
        self.health.contact = Some(now);
        self.health.failing = None;
        self.health.refused = None;
    }

    /// The watch failed at `now`, for `why`. `standing` is what that makes of it; an absent kind
    /// has no objects. Whether anything is other than before.
    pub fn fail(&mut self, standing: Option<Standing>, why: String, now: Instant) -> bool {
        self.health.failures += 1;
        let since = self.health.failing.take().map_or(now, |(since, _)| since);
        self.health.failing = Some((since, why));
        let refused = self.health.refused.take();
        let Some(standing) = standing else { return false };
        // An answer, if not the one that was hoped for.
        self.health.contact = Some(now);
        if matches!(standing, Standing::Forbidden | Standing::Absent) {
            let (since, times) = refused.map_or((now, 1), |(since, times)| (since, times + 1));
            self.health.refused = Some((since, times));
            let listed = self.health.standing == Standing::Listed;
            let long = now.duration_since(since) >= REFUSED_FOR;
            // A kind that the API does not know is known from the first answer on, unless it was
            // there before.
            let few = standing == Standing::Forbidden && times < REFUSED_TIMES;
            if (listed && !long) || few {
                return false;
            }
        }
        if standing == Standing::Absent {
            self.objects.clear();
        }
        let changed = self.health.standing != standing;
        self.health.standing = standing;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(watched: &mut Watched<u8>, now: Instant) -> Standing {
        watched.fail(Some(Standing::Forbidden), String::new(), now);
        watched.health.standing
    }

    #[test]
    fn a_moment_of_refusals_is_not_believed() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut watched = Watched::default();
        watched.replace([(Key::default(), 7)].into(), start);
        for seconds in [1, 2, 4, 8] {
            assert_eq!(refuse(&mut watched, after(seconds)), Standing::Listed);
        }
        watched.touch(after(9));
        assert_eq!(refuse(&mut watched, after(11)), Standing::Listed);
        watched.fail(None, "unreachable".to_owned(), after(20));
        assert_eq!(refuse(&mut watched, after(25)), Standing::Listed);
        assert_eq!(refuse(&mut watched, after(35)), Standing::Forbidden);
        assert_eq!(watched.objects().len(), 1, "what was known stays");
    }

    #[test]
    fn a_kind_that_was_there_is_gone_only_when_that_lasts() {
        let start = Instant::now();
        let mut watched = Watched::default();
        watched.replace([(Key::default(), 7)].into(), start);
        let mut gone = |seconds| {
            let now = start + Duration::from_secs(seconds);
            watched.fail(Some(Standing::Absent), String::new(), now);
            (watched.health.standing, watched.objects().len())
        };
        assert_eq!(gone(1), (Standing::Listed, 1));
        assert_eq!(gone(5), (Standing::Listed, 1));
        assert_eq!(gone(12), (Standing::Absent, 0));
        let mut never: Watched<u8> = Watched::default();
        never.fail(Some(Standing::Absent), String::new(), start);
        assert_eq!(never.health.standing, Standing::Absent);
    }

    #[test]
    fn what_was_never_listed_is_forbidden_after_the_second_refusal() {
        let now = Instant::now();
        let mut watched = Watched::default();
        assert_eq!(refuse(&mut watched, now), Standing::Waiting);
        assert_eq!(refuse(&mut watched, now), Standing::Forbidden);
    }
}
