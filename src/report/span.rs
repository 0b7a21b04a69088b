//! The time of a report, cut into steps and pieces.

use std::time::Duration;

use time::OffsetDateTime;

use crate::promql::Range;
use crate::report::model::Period;

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// Steps of a plot, about.
const STEPS: u64 = 120;
/// From here on counts are read by the hour, below by the minute.
const COARSE: u64 = DAY;
/// The shortest time that can be told of.
const SHORTEST: u64 = 5 * MINUTE;

/// A time that is a whole number of what it is read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Unix seconds.
    from: i64,
    to: i64,
    /// Seconds.
    step: u64,
}

/// Steps that are asked for at once, all of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// The ends of its steps.
    pub(super) range: Range,
}

impl Span {
    /// What of `from` to `to` can be told: whole hours, or whole 5 minutes of a time below a day.
    /// `None` when that is nothing.
    pub(super) fn of(from: OffsetDateTime, to: OffsetDateTime) -> Option<Self> {
        let (from, to) = (from.unix_timestamp(), to.unix_timestamp());
        let length = u64::try_from(to - from).ok()?;
        let unit = if length >= COARSE { HOUR } else { SHORTEST };
        let down = |at: i64| at - at.rem_euclid(unit as i64);
        let (from, to) = (down(from), down(to));
        let length = u64::try_from(to - from).ok().filter(|length| *length > 0)?;
        let step = (length / STEPS).max(1).next_multiple_of(unit);
        Some(Self { from, to, step })
    }

    /// Just `from` to `to`, to the second, as one step; of a day or longer whole hours, by which it is
    /// read. `None` when that is nothing.
    pub(super) fn exact(from: OffsetDateTime, to: OffsetDateTime) -> Option<Self> {
        let (begin, end) = (from.unix_timestamp(), to.unix_timestamp());
        let length = u64::try_from(end - begin).ok().filter(|length| *length > 0)?;
        match length >= COARSE {
            true => Self::of(from, to),
            false => Some(Self { from: begin, to: end, step: length }),
        }
    }

    pub(super) fn period(self) -> Period {
        Period { from: instant(self.from), to: instant(self.to) }
    }

    fn seconds(self) -> u64 {
        (self.to - self.from).unsigned_abs()
    }

    /// Whether it is read by the hour.
    pub(super) fn is_coarse(self) -> bool {
        self.seconds() >= COARSE
    }

    /// Whether steps of at least an hour make sense.
    pub(super) fn has_hours(self) -> bool {
        self.seconds() >= 3 * HOUR
    }

    /// The same with steps of whole hours.
    pub(super) fn by_hours(self) -> Self {
        Self { step: self.step.next_multiple_of(HOUR), ..self }
    }

    /// The same with the finest steps that there are.
    pub(super) fn by_units(self) -> Self {
        Self { step: if self.is_coarse() { HOUR } else { SHORTEST }, ..self }
    }

    /// Its steps as they follow each other: the first one is shorter when they do not fit.
    pub(super) fn steps(self) -> Vec<Period> {
        let mut ends: Vec<i64> = Vec::new();
        let mut end = self.to;
        while end > self.from {
            ends.push(end);
            end -= self.step as i64;
        }
        ends.reverse();
        let starts = std::iter::once(self.from).chain(ends.iter().copied());
        starts
            .zip(&ends)
            .map(|(from, to)| Period { from: instant(from), to: instant(*to) })
            .collect()
    }

    /// The step that ends at `end`, unix seconds.
    pub(super) fn index(self, end: i64) -> Option<usize> {
        let back = u64::try_from(self.to - end).ok()?;
        let count = self.seconds().div_ceil(self.step);
        let index = count.checked_sub(1)?.checked_sub(back / self.step)?;
        back.is_multiple_of(self.step).then_some(index as usize)
    }

    /// All steps, in pieces that are no longer than `longest` each, or one step.
    pub(super) fn pieces(self, longest: Duration) -> Vec<Piece> {
        let most = (longest.as_secs() / self.step).max(1);
        let whole = self.seconds() / self.step;
        let mut pieces = Vec::new();
        let rest = self.seconds() % self.step;
        if rest > 0 {
            let end = instant(self.from + rest as i64);
            let step = Duration::from_secs(rest);
            pieces.push(Piece { range: Range { start: end, end, step } });
        }
        let mut done = 0;
        while done < whole {
            let count = most.min(whole - done);
            let at = |steps: u64| instant(self.from + (rest + steps * self.step) as i64);
            let step = Duration::from_secs(self.step);
            let range = Range { start: at(done + 1), end: at(done + count), step };
            pieces.push(Piece { range });
            done += count;
        }
        pieces
    }

    /// The same in as few steps as are no longer than `longest`.
    pub(super) fn by_long(self, longest: Duration) -> Self {
        let hours = (longest.as_secs() / HOUR).max(1) * HOUR;
        Self { step: self.seconds().min(hours), ..self }
    }

    /// The whole, in as few steps as are no longer than `longest`.
    pub(super) fn long_pieces(self, longest: Duration) -> Vec<Piece> {
        self.by_long(longest).pieces(longest)
    }
}

fn instant(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const AT: OffsetDateTime = datetime!(2026-06-30 12:34:56 UTC);

    fn span(seconds: i64) -> Span {
        Span::of(AT - time::Duration::seconds(seconds), AT).expect("long enough")
    }

    #[test]
    fn a_month_has_steps_of_six_hours_and_an_hour_of_five_minutes() {
        let month = span(30 * 86_400);
        assert_eq!((month.steps().len(), month.step), (120, 6 * HOUR));
        assert_eq!(month.period().to, datetime!(2026-06-30 12:00 UTC));
        let hour = span(3600);
        assert_eq!((hour.steps().len(), hour.step), (12, 300));
        assert_eq!(hour.period().to, datetime!(2026-06-30 12:30 UTC));
        assert_eq!(Span::of(AT, AT), None);
        assert_eq!(Span::exact(AT, AT), None);
        let exact = Span::exact(AT - time::Duration::seconds(37), AT).expect("long enough");
        assert_eq!((exact.steps().len(), exact.period().to, exact.seconds()), (1, AT, 37));
        assert_eq!(Span::exact(AT - time::Duration::DAY, AT), Some(span(86_400)));
        assert_eq!(Span::of(AT, AT - time::Duration::DAY), None);
    }

    proptest! {
        #[test]
        fn pieces_are_just_the_steps(seconds in 600i64..400 * 86_400, longest in 1u64..40) {
            let span = span(seconds);
            let steps = span.steps();
            let longest = Duration::from_secs(longest * DAY);
            for pieces in [span.pieces(longest), span.long_pieces(longest)] {
                let mut covered = span.from;
                for Piece { range } in pieces {
                    let mut end = range.start.unix_timestamp();
                    while end <= range.end.unix_timestamp() {
                        prop_assert_eq!(end - range.step.as_secs() as i64, covered);
                        covered = end;
                        end += range.step.as_secs() as i64;
                    }
                }
                prop_assert_eq!(covered, span.to);
            }
            for (index, step) in steps.iter().enumerate() {
                prop_assert_eq!(span.index(step.to.unix_timestamp()), Some(index));
            }
            prop_assert_eq!(steps[0].from, span.period().from);
        }
    }
}
