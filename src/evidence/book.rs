//! What one agent told: its paths and their windows.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

use crate::digest::Digest;
use crate::evidence::path::{Named, Path, Paths};
use crate::evidence::ring::{Ring, Slice};
use crate::evidence::{Newest, Source};
use crate::observation::{Latency, Observation, Verdicts};

/// Paths of one agent that are kept: as many targets as a configuration may have.
const MOST_PATHS: usize = 10_000;
/// Bytes that the windows of one agent may take: some 20 for each of 30 windows of as many paths.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// By how many seconds an agent's clock may be off before its times are mended.
const CLOSE: i64 = 5;

/// Windows that began longer ago are not kept, however seldom a target is asked, seconds.
const LONGEST: i64 = 24 * 3600;

/// What an agent tells at once.
#[derive(Debug, Clone, Copy)]
pub struct Telling<'a> {
    /// Windows; who they are from is not taken from them.
    pub observations: &'a [Observation],
    /// Whether they are of all its paths: one that is not among them has left.
    pub whole: bool,
    /// The time by its own clock, if it tells that.
    pub as_of: Option<OffsetDateTime>,
}

/// What became of what an agent told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// Windows that were taken in.
    pub kept: usize,
    /// Windows that were not: of another time, with words longer than names are, or beyond what
    /// one agent may have kept.
    pub refused: usize,
}

/// The windows of one path.
#[derive(Debug, Default)]
struct Kept {
    ring: Ring,
    /// Whether the agent asks this no more: what was seen counts until it is too old.
    left: bool,
}

/// What one agent told.
#[derive(Debug, Default)]
pub(super) struct Book {
    rings: BTreeMap<Named, Kept>,
    bytes: usize,
    heard: Option<OffsetDateTime>,
    /// Seconds by which its clock is ahead.
    ahead: i64,
}

impl Book {
    pub(super) fn hear(
        &mut self,
        telling: Telling<'_>,
        paths: &Paths,
        windows: u32,
        now: OffsetDateTime,
    ) -> Heard {
        let Telling { observations, whole, as_of } = telling;
        self.heard = Some(now);
        let ahead = as_of.map_or(0, |as_of| (as_of - now).whole_seconds());
        // A second more or less is the way here, and times that are told must not move with it.
        if (ahead - self.ahead).abs() > CLOSE {
            self.ahead = ahead;
        }
        if whole {
            self.rings.values_mut().for_each(|kept| kept.left = true);
        }
        let mut heard = Heard::default();
        for observation in observations {
            let kept = self.tell(observation, paths, windows, now);
            heard.kept += usize::from(kept);
            heard.refused += usize::from(!kept);
        }
        heard
    }

    fn tell(
        &mut self,
        told: &Observation,
        paths: &Paths,
        windows: u32,
        now: OffsetDateTime,
    ) -> bool {
        let now = self.own(now);
        let start = told.window_start.unix_timestamp();
        let future = start > now + CLOSE;
        let old = start < now - LONGEST;
        let start = u32::try_from(start).ok().filter(|_| !future && !old);
        let Some(start) = start.filter(|_| self.bytes < MOST_BYTES) else { return false };
        let known =
            self.rings.get_key_value(told.name()).is_some_and(|(named, _)| named.0.is(told));
        if !known && !self.meet(told, paths) {
            return false;
        }
        let kept = self.rings.get_mut(told.name()).expect("it is met");
        kept.left = false;
        let before = kept.ring.bytes();
        let ring = &mut kept.ring;
        let slice = Slice {
            start,
            verdicts: told.verdicts,
            reasons: told.reasons.clone(),
            digest: told.digest.clone().filter(|digest| digest.count() > 0),
        };
        ring.tell(&slice, windows as usize);
        self.bytes = self.bytes + ring.bytes() - before;
        true
    }

    /// Makes room for the path of `told`, in the place of another of that name.
    fn meet(&mut self, told: &Observation, paths: &Paths) -> bool {
        if let Some(other) = self.rings.remove(told.name()) {
            self.bytes -= other.ring.bytes();
        }
        let fits = self.rings.len() < MOST_PATHS;
        let Some(path) = Path::of(told).filter(|_| fits) else { return false };
        self.rings.insert(Named(paths.shared(path)), Kept::default());
        true
    }

    /// Drops windows, and paths, that are too old at `now`: a path that left has as long as the
    /// windows of one that is asked all the time.
    pub(super) fn prune(&mut self, windows: u32, now: OffsetDateTime) {
        let now = self.own(now);
        self.rings.retain(|named, kept| {
            let recent = i64::from(windows) * i64::from(named.0.window_seconds);
            let age = if kept.left { recent } else { LONGEST };
            kept.ring.prune(u32::try_from((now - age).max(0)).unwrap_or(u32::MAX))
        });
        self.bytes = self.rings.values().map(|kept| kept.ring.bytes()).sum();
    }

    /// When it was last heard.
    pub(super) fn heard(&self) -> Option<OffsetDateTime> {
        self.heard
    }

    /// Paths, and bytes of their windows.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.rings.len(), self.bytes)
    }

    /// Gives each window that ended at `since` or later.
    pub(super) fn each(
        &self,
        source: &Source,
        since: OffsetDateTime,
        mut each: impl FnMut(Observation),
    ) {
        for (Named(path), Kept { ring, .. }) in &self.rings {
            for slice in ring.since(self.first(path, since)) {
                each(self.observation(source, path, slice, path.window_seconds.into()));
            }
        }
    }

    /// The newest window of each path that the agent asks.
    pub(super) fn latest(&self, source: &Source) -> Vec<Observation> {
        let asked = self.rings.iter().filter(|(_, kept)| !kept.left);
        let last = asked.filter_map(|(Named(path), kept)| {
            let slice = kept.ring.last()?;
            Some(self.observation(source, path, slice, path.window_seconds.into()))
        });
        last.collect()
    }

    /// Gives the newest window with an attempt of each path that the agent asks, or the last one
    /// without any where attempts stopped.
    pub(super) fn newest(&self, mut each: impl FnMut(&Newest<'_>)) {
        for (Named(path), kept) in self.rings.iter().filter(|(_, kept)| !kept.left) {
            let Some((start, verdicts, before)) = kept.ring.newest() else { continue };
            let end = i64::from(start) + i64::from(path.window_seconds) - self.ahead;
            each(&Newest {
                name: &path.name,
                target: &path.target,
                destination_node: path.destination_node.as_deref(),
                expect: path.expect,
                verdicts,
                ended_at: OffsetDateTime::from_unix_timestamp(end)
                    .unwrap_or(OffsetDateTime::UNIX_EPOCH),
                rhythm: before.map(|before| Duration::from_secs((start - before).into())),
            });
        }
    }

    /// Gives the last `most` windows of each path that the agent asks, or of that called `name`,
    /// however old they are.
    pub(super) fn lately(
        &self,
        source: &Source,
        name: Option<&str>,
        most: usize,
        mut each: impl FnMut(Observation),
    ) {
        let wanted = self
            .rings
            .iter()
            .filter(|(named, kept)| !kept.left && name.is_none_or(|name| *named.0.name == *name));
        for (Named(path), kept) in wanted {
            let slices: Vec<Slice> = kept.ring.since(0).collect();
            for slice in slices.into_iter().rev().take(most).rev() {
                each(self.observation(source, path, slice, path.window_seconds.into()));
            }
        }
    }

    /// Gives each path's windows that ended at `since` or later as one.
    pub(super) fn totals(
        &self,
        source: &Source,
        since: OffsetDateTime,
        mut each: impl FnMut(Observation),
    ) {
        for (Named(path), Kept { ring, .. }) in &self.rings {
            let mut sum: Option<(Slice, u32)> = None;
            for slice in ring.since(self.first(path, since)) {
                let end = slice.start + path.window_seconds;
                sum = Some(match sum {
                    None => (slice, end),
                    Some((sum, _)) => (added(sum, slice), end),
                });
            }
            if let Some((slice, end)) = sum {
                let seconds = u64::from(end - slice.start);
                each(self.observation(source, path, slice, seconds));
            }
        }
    }

    /// The start of the first window of `path` that ended at `since` or later.
    fn first(&self, path: &Path, since: OffsetDateTime) -> u32 {
        let start = self.own(since) - i64::from(path.window_seconds);
        u32::try_from(start.max(0)).unwrap_or(u32::MAX)
    }

    fn observation(
        &self,
        source: &Source,
        path: &Path,
        slice: Slice,
        window_seconds: u64,
    ) -> Observation {
        let quantile = |share| slice.digest.as_ref()?.quantile(share);
        let start = i64::from(slice.start) - self.ahead;
        let start = OffsetDateTime::from_unix_timestamp(start);
        Observation {
            source_node: source.node.clone(),
            vantage: Some(source.vantage),
            probe: path.probe,
            target: path.target.to_string(),
            name: Some(path.name.to_string()),
            destination_node: path.destination_node.as_ref().map(ToString::to_string),
            via: path.via,
            expect: path.expect,
            window_start: start.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            window_seconds,
            attempts: slice.verdicts.total(),
            verdicts: slice.verdicts,
            latency_seconds: quantile(0.5)
                .zip(quantile(0.99))
                .map(|(p50, p99)| Latency { p50, p99 }),
            reasons: slice.reasons,
            digest: slice.digest,
        }
    }

    /// `time` by the agent's clock, seconds since 1970.
    fn own(&self, time: OffsetDateTime) -> i64 {
        time.unix_timestamp().saturating_add(self.ahead)
    }
}

fn added(mut sum: Slice, other: Slice) -> Slice {
    let add = u64::saturating_add;
    sum.verdicts = Verdicts {
        met: add(sum.verdicts.met, other.verdicts.met),
        violated: add(sum.verdicts.violated, other.verdicts.violated),
        inconclusive: add(sum.verdicts.inconclusive, other.verdicts.inconclusive),
    };
    for (reason, count) in other.reasons {
        let known = sum.reasons.entry(reason).or_default();
        *known = add(*known, count);
    }
    if let Some(digest) = other.digest {
        sum.digest.get_or_insert_with(Digest::default).merge(&digest);
    }
    sum
}
