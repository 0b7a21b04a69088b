//! Scalars: each getter gives a checked value, or records why it cannot.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};

use crate::config::decode::{Field, listed};
use crate::config::node::Value;
use crate::config::quantity::{parse_duration, parse_size, print_duration, print_size};

/// The most memory that one compiled regular expression may take, bytes.
const LARGEST_REGEX: usize = 256 * 1024;

impl<'a> Field<'a> {
    /// A scalar as text.
    pub(in crate::config) fn text(&self) -> Option<&'a str> {
        let text = self.node.as_text();
        if text.is_none() {
            self.wrong_shape("write a single value, or leave the key out");
        }
        text
    }

    /// Text that is not empty.
    pub(in crate::config) fn filled(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.is_empty() {
            self.wrong("is empty", "write a value, or leave the key out");
        }
        (!text.is_empty()).then_some(text)
    }

    /// Text that `T` reads; its errors must say what it must be.
    pub(in crate::config) fn parse<T>(&self, what: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.text()?;
        self.accept(text.parse(), what)
    }

    /// The value of `result`, or a mistake made of its error.
    pub(in crate::config) fn accept<T, E: Display>(
        &self,
        result: Result<T, E>,
        what: &str,
    ) -> Option<T> {
        result
            .map_err(|error| {
                let fix = error.to_string();
                let it = if fix.starts_with("must ") { "it " } else { "" };
                self.wrong(format!("is not {what}"), format!("{it}{fix}"));
            })
            .ok()
    }

    /// One of `words`.
    pub(in crate::config) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let known = words.iter().map(|(word, _)| *word);
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let all = listed(known.clone().map(str::to_owned).collect(), "or");
            let guess = self.guess(text, known).map(|word| format!("did you mean {word}? "));
            let fix = format!("{}write {all}", guess.unwrap_or_default());
            self.wrong("is not a known word", fix);
        }
        found.map(|(_, value)| *value)
    }

    /// Whether the value is this one word.
    pub(in crate::config) fn is_word(&self, word: &str) -> bool {
        self.node.as_text() == Some(word)
    }

    /// `true` or `false`.
    pub(in crate::config) fn flag(&self) -> Option<bool> {
        match self.node.value {
            Value::Flag(flag) => Some(flag),
            Value::Null
            | Value::Number { .. }
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_) => {
                self.wrong_shape("write true or false, without quotes");
                None
            }
        }
    }

    /// A whole number in `range`.
    pub(in crate::config) fn whole<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<u64> + PartialOrd + Display + Copy,
    {
        let (low, high) = (*range.start(), *range.end());
        let fix = format!("write a whole number from {low} to {high}, without quotes");
        match &self.node.value {
            Value::Number { whole, real, .. } => {
                let number = whole.and_then(|whole| T::try_from(whole).ok());
                let inside = number.filter(|number| range.contains(number));
                if inside.is_none() {
                    let whole = real.fract() == 0.0;
                    self.wrong(if whole { "is out of range" } else { "is not whole" }, fix);
                }
                inside
            }
            Value::Null | Value::Flag(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_shape(&fix);
                None
            }
        }
    }

    /// A number in `range`.
    pub(in crate::config) fn real(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let fix = format!("write a number from {} to {}", range.start(), range.end());
        match &self.node.value {
            Value::Number { real, .. } => {
                if !range.contains(real) {
                    self.wrong("is out of range", fix);
                }
                Some(*real).filter(|real| range.contains(real))
            }
            Value::Null | Value::Flag(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_shape(&fix);
                None
            }
        }
    }

    /// A regular expression over bytes; equal ones share their memory.
    pub(in crate::config) fn regex(&self) -> Option<Regex> {
        let text = self.filled()?;
        if let Some(regex) = self.book.regexes.borrow().get(text) {
            return Some(regex.clone());
        }
        match RegexBuilder::new(text).size_limit(LARGEST_REGEX).build() {
            Ok(regex) => {
                self.book.regexes.borrow_mut().insert(text.to_owned(), regex.clone());
                Some(regex)
            }
            Err(error) => {
                let message = error.to_string();
                let last = message.lines().rfind(|line| !line.trim().is_empty());
                let cause = last.unwrap_or_default().trim();
                let cause = cause.trim_start_matches("error: ").trim_end_matches('.');
                self.wrong(
                    format!("is not a regular expression: {cause}"),
                    "mend it; a literal ( [ { . * + ? needs a backslash",
                );
                None
            }
        }
    }

    /// A duration in `range`.
    pub(in crate::config) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let duration = parse_duration(self.text()?);
        match duration {
            None => self.wrong("is not a duration", "write a number with ms, s, m or h, e.g. 5s"),
            Some(duration) if !range.contains(&duration) => {
                let (low, high) = (print_duration(*range.start()), print_duration(*range.end()));
                self.wrong("is out of range", format!("write {low} to {high}"));
            }
            Some(_) => return duration,
        }
        None
    }

    /// A size in bytes, at most `most`.
    pub(in crate::config) fn size(&self, most: u64) -> Option<u64> {
        let size = parse_size(self.text()?);
        match size {
            None => self.wrong(
                "is not a size",
                "write bytes, or a number with KiB, MiB or GiB, e.g. 64KiB",
            ),
            Some(size) if size > most => {
                let fix = format!("write at most {}", print_size(most));
                self.wrong("is out of range", fix);
            }
            Some(_) => return size,
        }
        None
    }

    /// Notes where the field stands: its value can yet turn out to be wrong.
    pub(in crate::config) fn noted(self) -> Self {
        self.book.places.borrow_mut().insert(self.path.clone(), self.at);
        self
    }

    /// The path of a file.
    pub(in crate::config) fn file(self) -> Option<PathBuf> {
        self.noted().filled().map(PathBuf::from)
    }
}
