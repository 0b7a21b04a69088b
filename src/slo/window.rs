//! Over what time a promise holds.

use std::fmt;
use std::str::FromStr;

use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// The longest rolling window, days.
const LONGEST: u16 = 366;
/// The name of a calendar month in configuration.
const MONTH: &str = "calendar_month";

/// The time over which attempts count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// The last so many days, 1 to 366.
    Rolling(Days),
    /// The month of the calendar, UTC, so far.
    CalendarMonth,
}

/// A number of days, 1 to 366.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Days(u16);

impl Days {
    /// The number.
    pub fn count(self) -> u16 {
        self.0
    }
}

impl Window {
    /// The last `days` days; `None` unless 1 to 366.
    pub fn rolling(days: u16) -> Option<Self> {
        (1..=LONGEST).contains(&days).then_some(Self::Rolling(Days(days)))
    }

    /// How long it is, days; a month of the calendar counts as 30.
    pub fn days(self) -> u16 {
        match self {
            Self::Rolling(days) => days.0,
            Self::CalendarMonth => 30,
        }
    }

    /// When the window began that is current at `at`. It ends at `at`.
    pub fn start(self, at: OffsetDateTime) -> OffsetDateTime {
        let at = at.to_offset(UtcOffset::UTC);
        match self {
            Self::Rolling(days) => at - time::Duration::days(days.0.into()),
            Self::CalendarMonth => midnight(at.year(), at.month()),
        }
    }

    /// Begin and end of the window before the one that is current at `at`: as many days, or the
    /// whole month.
    pub fn previous(self, at: OffsetDateTime) -> (OffsetDateTime, OffsetDateTime) {
        let end = self.start(at);
        let start = match self {
            Self::Rolling(days) => end - time::Duration::days(days.0.into()),
            Self::CalendarMonth => {
                let january = end.month() == Month::January;
                midnight(end.year() - i32::from(january), end.month().previous())
            }
        };
        (start, end)
    }
}

/// The first instant of a month. Years are those of timestamps: within the range of dates.
fn midnight(year: i32, month: Month) -> OffsetDateTime {
    let first = Date::from_calendar_date(year, month, 1).expect("every month has a first day");
    first.with_time(Time::MIDNIGHT).assume_utc()
}

/// As in configuration: `30d`, `calendar_month`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rolling(days) => write!(f, "{}d", days.0),
            Self::CalendarMonth => f.write_str(MONTH),
        }
    }
}

impl FromStr for Window {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        if text == MONTH {
            return Ok(Self::CalendarMonth);
        }
        let days = text.strip_suffix('d').filter(|days| days.bytes().all(|b| b.is_ascii_digit()));
        days.and_then(|days| Self::rolling(days.parse().ok()?)).ok_or(InvalidWindow)
    }
}

/// What is no window; says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be whole days from 1d to 366d, e.g. 30d, or calendar_month")]
pub struct InvalidWindow;
