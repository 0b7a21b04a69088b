//! The share that must be good, kept exactly: in millionths.

use std::fmt;
use std::str::FromStr;

/// One, in millionths.
const WHOLE: u32 = 1_000_000;

/// A share above 0 and below 1, in whole millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Objective(u32);

impl Objective {
    /// Of so many millionths; `None` unless that is above 0 and below 1.
    pub fn of_millionths(millionths: u32) -> Option<Self> {
        (1..WHOLE).contains(&millionths).then_some(Self(millionths))
    }

    /// In millionths.
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// The share that must be good, e.g. 0.999.
    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }

    /// The share that may be bad, e.g. 0.001: the error budget.
    pub fn budget(self) -> f64 {
        f64::from(WHOLE - self.0) / f64::from(WHOLE)
    }

    /// The fewest attempts whose budget allows a bad one.
    ///
    /// With fewer, a single bad attempt breaks the objective, and none keeps it by chance.
    pub fn fewest_attempts(self) -> u64 {
        u64::from(WHOLE.div_ceil(WHOLE - self.0))
    }
}

/// As a percentage: `99.9%`.
impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 10_000, self.0 % 10_000);
        let digits = format!("{part:04}");
        match digits.trim_end_matches('0') {
            "" => write!(f, "{whole}%"),
            digits => write!(f, "{whole}.{digits}%"),
        }
    }
}

impl FromStr for Objective {
    type Err = InvalidObjective;

    /// Reads a percentage with its sign (`99.9%`) or a share (`0.999`).
    fn from_str(text: &str) -> Result<Self, InvalidObjective> {
        let text = text.trim();
        let (number, decimals) = match text.strip_suffix('%') {
            Some(number) => (number.trim_end(), 4),
            None => (text, 6),
        };
        let millionths = millionths(number, decimals)?;
        match millionths {
            0 => Err(InvalidObjective::Nothing),
            _ if millionths == u64::from(WHOLE) => Err(InvalidObjective::Everything),
            1..1_000_000 => Ok(Self(millionths as u32)),
            _ if decimals == 6 && millionths <= 100 * u64::from(WHOLE) => {
                Err(InvalidObjective::WithoutSign(text.to_owned()))
            }
            _ => Err(InvalidObjective::Unreadable),
        }
    }
}

/// `number` without its decimal point, filled up to `decimals` of them.
fn millionths(number: &str, decimals: usize) -> Result<u64, InvalidObjective> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 9 || !digits(whole) || !digits(part) {
        return Err(InvalidObjective::Unreadable);
    }
    let part = part.trim_end_matches('0');
    if part.len() > decimals {
        return Err(InvalidObjective::TooFine);
    }
    format!("{whole}{part:0<decimals$}").parse().map_err(|_| InvalidObjective::Unreadable)
}

/// What is no objective; says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObjective {
    /// 100 %.
    #[error("must leave a budget: 100 % allows no single bad attempt; write e.g. 99.9%")]
    Everything,
    /// 0 %.
    #[error("must promise something: 0 % is kept by an outage; write e.g. 99.9%")]
    Nothing,
    /// A percentage without its sign.
    #[error("must be a percentage with its sign or a share below 1; did you mean {0}%?")]
    WithoutSign(String),
    /// More decimals than are kept.
    #[error("must have at most 4 decimals as a percentage, 6 as a share")]
    TooFine,
    /// No number.
    #[error("must be a percentage between 0 and 100 or a share between 0 and 1, e.g. 99.9%")]
    Unreadable,
}
