//! The last windows of one path in few bytes: a short text of numbers, oldest window first, that
//! is only ever read and written here.
//!
//! A window is written as the length of the rest, its start (four bytes) and variable-length
//! numbers: verdicts, reasons, bins. Most windows take some 15 bytes, and a path one allocation.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::digest::{Bin, Digest};
use crate::failure::Reason;
use crate::observation::Verdicts;

/// One window.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Slice {
    /// Seconds since 1970.
    pub(super) start: u32,
    pub(super) verdicts: Verdicts,
    pub(super) reasons: BTreeMap<Reason, u64>,
    pub(super) digest: Option<Digest>,
}

/// The windows of one path, by start.
#[derive(Debug, Default)]
pub(super) struct Ring(Vec<u8>);

/// Room that a ring is given at once beside what it needs, bytes: doubling would waste as much as
/// it holds.
const ROOM: usize = 32;

impl Ring {
    /// Takes in `slice` in the place of an older telling of the same window, and drops the oldest
    /// windows beyond `most`.
    pub(super) fn tell(&mut self, slice: &Slice, most: usize) {
        let record = written(slice);
        let mut at = self.0.len()..self.0.len();
        for (start, place) in self.places() {
            if start >= slice.start {
                at = place.start..if start == slice.start { place.end } else { place.start };
                break;
            }
        }
        let length = self.0.len() + record.len() - at.len();
        if length > self.0.capacity() {
            self.0.reserve_exact(length - self.0.len() + ROOM);
        }
        self.0.splice(at, record);
        let beyond = self.places().count().saturating_sub(most);
        let end = self.places().take(beyond).last().map_or(0, |(_, place)| place.end);
        self.0.drain(..end);
    }

    /// Drops windows that started before `oldest`; whether any is left.
    pub(super) fn prune(&mut self, oldest: u32) -> bool {
        let old = self.places().take_while(|(start, _)| *start < oldest).last();
        let end = old.map_or(0, |(_, place)| place.end);
        self.0.drain(..end);
        if self.0.capacity() > 2 * (self.0.len() + ROOM) {
            self.0.shrink_to(self.0.len() + ROOM);
        }
        !self.0.is_empty()
    }

    /// Windows that started at `since` or later, oldest first.
    pub(super) fn since(&self, since: u32) -> impl Iterator<Item = Slice> {
        let recent = self.places().filter(move |(start, _)| *start >= since);
        recent.map(|(_, place)| read(&self.0[place]))
    }

    /// The newest window.
    pub(super) fn last(&self) -> Option<Slice> {
        self.places().last().map(|(_, place)| read(&self.0[place]))
    }

    /// Start and verdicts of the newest window in which an attempt ended, and when the one before
    /// it started. Of a path whose attempts stopped, or never began, that is the last window,
    /// without any.
    pub(super) fn newest(&self) -> Option<(u32, Verdicts, Option<u32>)> {
        // While a path is asked only the window under way may have no attempts.
        let mut last: [Option<(u32, Range<usize>)>; 3] = [None, None, None];
        for place in self.places() {
            last.rotate_left(1);
            last[2] = Some(place);
        }
        let told = |at: usize| {
            let (start, place) = last[at].clone()?;
            let before = last[at - 1].as_ref().map(|(start, _)| *start);
            Some((start, verdicts(&self.0[place]), before))
        };
        let attempted = (1..=2).rev().filter_map(told).find(|(_, it, _)| it.total() > 0);
        attempted.or_else(|| told(2))
    }

    /// What it takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity()
    }

    fn places(&self) -> impl Iterator<Item = (u32, Range<usize>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let mut rest = self.0.get(at..).filter(|rest| !rest.is_empty())?;
            let length = number(&mut rest) as usize;
            let start = u32::from_le_bytes(*rest.first_chunk().expect(OWN));
            let place = at..self.0.len() - rest.len() + length;
            at = place.end;
            Some((start, place))
        })
    }
}

const OWN: &str = "as it was written here";

fn written(slice: &Slice) -> Vec<u8> {
    let mut body = slice.start.to_le_bytes().to_vec();
    let Verdicts { met, violated, inconclusive } = slice.verdicts;
    let bins = slice.digest.as_ref().map_or(&[][..], Digest::bins);
    for count in [met, violated, inconclusive, slice.reasons.len() as u64, bins.len() as u64] {
        put(&mut body, count);
    }
    for (reason, count) in &slice.reasons {
        let at = Reason::ALL.iter().position(|known| known == reason);
        put(&mut body, at.expect("ALL has every reason") as u64);
        put(&mut body, *count);
    }
    let mut last = i16::MIN;
    for (bin, count) in bins {
        put(&mut body, u64::from(bin.abs_diff(last)));
        put(&mut body, u64::from(*count));
        last = *bin;
    }
    let mut record = Vec::with_capacity(body.len() + 2);
    put(&mut record, body.len() as u64);
    record.extend(body);
    record
}

/// The verdicts of a window: what is read of many.
fn verdicts(mut record: &[u8]) -> Verdicts {
    number(&mut record);
    let (_, mut rest) = record.split_first_chunk::<4>().expect(OWN);
    let mut next = || number(&mut rest);
    Verdicts { met: next(), violated: next(), inconclusive: next() }
}

fn read(mut record: &[u8]) -> Slice {
    number(&mut record);
    let (start, mut rest) = record.split_first_chunk().expect(OWN);
    let mut next = || number(&mut rest);
    let verdicts = Verdicts { met: next(), violated: next(), inconclusive: next() };
    let (reasons, bins) = (next(), next());
    let reasons = (0..reasons).map(|_| (Reason::ALL[next() as usize], next())).collect();
    let mut last = i16::MIN;
    let bins: Vec<Bin> = (0..bins)
        .map(|_| {
            last = last.wrapping_add_unsigned(next() as u16);
            (last, next() as u32)
        })
        .collect();
    let digest = (!bins.is_empty()).then(|| Digest::of(bins).expect(OWN));
    Slice { start: u32::from_le_bytes(*start), verdicts, reasons, digest }
}

/// Seven bits a byte, the lowest first; the last byte has the eighth clear.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number(rest: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first().expect(OWN);
        *rest = tail;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn slice() -> impl Strategy<Value = Slice> {
        let count = prop_oneof![0u64..5, any::<u64>()];
        let verdicts = (count.clone(), count.clone(), count.clone());
        let reasons = prop::collection::btree_map(prop::sample::select(Reason::ALL), count, 0..4);
        let latencies = prop::collection::vec(0u64..10_000_000_000, 0..6);
        (0u32..40, verdicts, reasons, latencies).prop_map(
            |(start, (met, violated, inconclusive), reasons, latencies)| {
                let mut digest = Digest::default();
                latencies.iter().for_each(|nanos| digest.add(Duration::from_nanos(*nanos)));
                let digest = (digest.count() > 0).then_some(digest);
                let verdicts = Verdicts { met, violated, inconclusive };
                Slice { start: start * 10, verdicts, reasons, digest }
            },
        )
    }

    proptest! {
        #[test]
        fn the_newest_telling_of_each_window_is_kept(
            told in prop::collection::vec(slice(), 0..60),
            oldest in 0u32..200,
        ) {
            let (mut ring, mut expected) = (Ring::default(), BTreeMap::new());
            for slice in &told {
                ring.tell(slice, usize::MAX);
                expected.insert(slice.start, slice.clone());
            }
            prop_assert_eq!(ring.last(), expected.values().last().cloned());
            let all: Vec<Slice> = ring.since(0).collect();
            prop_assert_eq!(&all, &expected.values().cloned().collect::<Vec<_>>());
            let recent: Vec<Slice> = ring.since(oldest).collect();
            expected.retain(|start, _| *start >= oldest);
            prop_assert_eq!(ring.prune(oldest), !expected.is_empty());
            prop_assert_eq!(&ring.since(0).collect::<Vec<_>>(), &recent);
            prop_assert_eq!(recent, expected.into_values().collect::<Vec<_>>());
        }

        #[test]
        fn the_oldest_go_when_there_are_too_many(
            told in prop::collection::vec(slice(), 1..60),
            most in 1usize..10,
        ) {
            let (mut ring, mut all) = (Ring::default(), BTreeMap::new());
            for slice in told {
                ring.tell(&slice, most);
                all.insert(slice.start, slice);
                while all.len() > most {
                    all.pop_first();
                }
                let kept: Vec<Slice> = ring.since(0).collect();
                prop_assert_eq!(kept, all.values().cloned().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_window_of_two_attempts_takes_few_bytes() {
        let mut digest = Digest::default();
        [1_234, 5_678].iter().for_each(|micros| digest.add(Duration::from_micros(*micros)));
        let verdicts = Verdicts { met: 2, ..Verdicts::default() };
        let slice = Slice { verdicts, digest: Some(digest), ..Slice::default() };
        assert_eq!(written(&slice).len(), 16);
    }
}
