//! From nodes to checked values, collecting every mistake on the way.
//!
//! A getter that cannot give a value has recorded why; decoding goes on with a stand-in, because a
//! configuration with a mistake is never used.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};

use crate::config::mistake::{Mistake, Mistakes, Position, nearest, quoted};
use crate::config::node::{Node, Value};
use crate::config::quantity::{parse_duration, parse_size, print_duration, print_size};

/// What decoding gathers besides values.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Everything that is wrong.
    pub(super) mistakes: Mistakes,
    /// Where the fields stand whose values are only tried when a probe is prepared, by field path.
    pub(super) places: RefCell<BTreeMap<String, Position>>,
}

/// A value at a field path.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    /// E.g. `targets[3].http.tls.ca`.
    pub(super) path: String,
    /// Where the value stands.
    pub(super) at: Position,
    node: &'a Node,
    book: &'a Book,
    secret: bool,
}

impl<'a> Field<'a> {
    /// The whole text.
    pub(super) fn root(node: &'a Node, book: &'a Book) -> Self {
        Self { path: String::new(), at: node.at, node, book, secret: false }
    }

    /// The same field, its value never shown.
    pub(super) fn hidden(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Records a mistake about this field's value.
    pub(super) fn wrong(&self, problem: impl Into<String>, fix: impl Into<String>) {
        let value = match &self.node.value {
            Value::Null | Value::List(_) | Value::Map(_) => None,
            Value::Flag(_) | Value::Number { .. } | Value::Text(_) if self.secret => {
                Some("<secret>".to_owned())
            }
            Value::Text(text) => Some(quoted(text)),
            Value::Flag(_) | Value::Number { .. } => self.node.as_text().map(str::to_owned),
        };
        self.book.mistakes.add(Mistake {
            line: self.at.line,
            column: self.at.column,
            path: self.path.clone(),
            value,
            problem: problem.into(),
            fix: fix.into(),
        });
    }

    /// Records that the value has another shape than it must have.
    fn wrong_shape(&self, fix: &str) {
        let problem = match &self.node.value {
            Value::Null => "has no value",
            Value::Flag(_) => "is a flag",
            Value::Number { .. } => "is a number",
            Value::Text(_) => "is text",
            Value::List(_) => "is a list",
            Value::Map(_) => "is a map",
        };
        if self.path.is_empty() {
            self.unvalued(format!("the configuration {problem}"), fix);
        } else {
            self.wrong(problem, fix);
        }
    }

    fn child(&self, path: String, node: &'a Node) -> Self {
        Self { path, at: node.at, node, book: self.book, secret: self.secret }
    }

    /// A scalar as text.
    pub(super) fn text(&self) -> Option<&'a str> {
        let text = self.node.as_text();
        if text.is_none() {
            self.wrong_shape("write a single value, or leave the key out");
        }
        text
    }

    /// Text that is not empty.
    pub(super) fn filled(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.is_empty() {
            self.wrong("is empty", "write a value, or leave the key out");
        }
        (!text.is_empty()).then_some(text)
    }

    /// Text that `T` reads; its errors must say what it must be.
    pub(super) fn parse<T>(&self, what: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.text()?;
        self.accept(text.parse(), what)
    }

    /// The value of `result`, or a mistake made of its error.
    pub(super) fn accept<T, E: Display>(&self, result: Result<T, E>, what: &str) -> Option<T> {
        result
            .map_err(|error| {
                let fix = error.to_string();
                let it = if fix.starts_with("must ") { "it " } else { "" };
                self.wrong(format!("is not {what}"), format!("{it}{fix}"));
            })
            .ok()
    }

    /// One of `words`.
    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let known = words.iter().map(|(word, _)| *word);
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let all = listed(known.clone().map(str::to_owned).collect(), "or");
            let guess = nearest(text, known).map(|word| format!("did you mean {word}? "));
            let fix = format!("{}write {all}", guess.unwrap_or_default());
            self.wrong("is not a known word", fix);
        }
        found.map(|(_, value)| *value)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
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
    pub(super) fn whole<T>(&self, range: RangeInclusive<T>) -> Option<T>
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
    pub(super) fn real(&self, range: RangeInclusive<f64>) -> Option<f64> {
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

    /// A regular expression over bytes.
    pub(super) fn regex(&self) -> Option<Regex> {
        let text = self.filled()?;
        let regex = RegexBuilder::new(text).size_limit(1 << 20).build();
        regex
            .map_err(|error| {
                let message = error.to_string();
                let last = message.lines().rfind(|line| !line.trim().is_empty());
                let cause = last
                    .unwrap_or_default()
                    .trim()
                    .trim_start_matches("error: ")
                    .trim_end_matches('.');
                self.wrong(
                    format!("is not a regular expression: {cause}"),
                    "mend it; a literal ( [ { . * + ? needs a backslash",
                );
            })
            .ok()
    }

    /// A duration in `range`.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
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
    pub(super) fn size(&self, most: u64) -> Option<u64> {
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
    pub(super) fn noted(self) -> Self {
        self.book.places.borrow_mut().insert(self.path.clone(), self.at);
        self
    }

    /// The path of a file.
    pub(super) fn file(self) -> Option<PathBuf> {
        self.noted().filled().map(PathBuf::from)
    }

    /// Whether the value is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// Whether the value is a map.
    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// Whether there is no value.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    /// The items of a list; nothing is an empty list.
    pub(super) fn items(&self) -> Vec<Self> {
        match &self.node.value {
            Value::Null => Vec::new(),
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| self.child(format!("{}[{index}]", self.path), item))
                .collect(),
            Value::Flag(_) | Value::Number { .. } | Value::Text(_) | Value::Map(_) => {
                self.wrong_shape("write a list: [a, b], or one item a line after a dash");
                Vec::new()
            }
        }
    }

    /// The entries of a map in the order of the text, without duplicates; nothing is an empty map.
    pub(super) fn entries(&self) -> Vec<Entry<'a>> {
        let entries = match &self.node.value {
            Value::Null => return Vec::new(),
            Value::Map(entries) => entries,
            Value::Flag(_) | Value::Number { .. } | Value::Text(_) | Value::List(_) => {
                self.wrong_shape("write a map: {key: value}, or one `key: value` a line");
                return Vec::new();
            }
        };
        let mut kept: BTreeMap<&str, Position> = BTreeMap::new();
        let mut list = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            let Some(name) = key.as_text() else {
                let key = self.child(self.path.clone(), key);
                key.wrong("there is a key that is no text", "write `key: value`");
                continue;
            };
            let path = match self.path.as_str() {
                "" => cut(name),
                parent => format!("{parent}.{}", cut(name)),
            };
            let mut field = self.child(path, node);
            if let Some(first) = kept.get(name) {
                field.at = key.at;
                let problem = format!("is written twice, first on line {}", first.line);
                field.unvalued(problem, "leave one of the two out");
                continue;
            }
            kept.insert(name, key.at);
            list.push(Entry { name, at: key.at, field });
        }
        list
    }

    /// The entries of a map whose keys are known.
    pub(super) fn fields(&self) -> Fields<'a> {
        Fields {
            parent: self.clone(),
            entries: self.entries(),
            asked: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Records a mistake that is not about the value.
    pub(super) fn unvalued(&self, problem: impl Into<String>, fix: impl Into<String>) {
        self.book.mistakes.add(Mistake {
            line: self.at.line,
            column: self.at.column,
            path: self.path.clone(),
            value: None,
            problem: problem.into(),
            fix: fix.into(),
        });
    }

    /// How many mistakes there are so far.
    pub(super) fn mistakes(&self) -> usize {
        self.book.mistakes.count()
    }
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// The key.
    pub(super) name: &'a str,
    /// Where the key stands.
    pub(super) at: Position,
    /// The value.
    pub(super) field: Field<'a>,
}

impl<'a> Entry<'a> {
    /// The field at the place of its key.
    pub(super) fn key(&self) -> Field<'a> {
        Field { at: self.at, ..self.field.clone() }
    }
}

/// A map whose keys are taken one by one; [`Self::finish`] reports the others.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    parent: Field<'a>,
    entries: Vec<Entry<'a>>,
    asked: Vec<&'static str>,
    missing: Vec<(Vec<&'static str>, String)>,
}

impl<'a> Fields<'a> {
    /// The value of `key`, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.asked.push(key);
        let index = self.entries.iter().position(|entry| entry.name == key)?;
        Some(self.entries.remove(index).field)
    }

    /// The value of `key`, whose absence is a mistake.
    pub(super) fn require(&mut self, key: &'static str, fix: &str) -> Option<Field<'a>> {
        let field = self.take(key);
        if field.is_none() {
            self.missing.push((vec![key], fix.to_owned()));
        }
        field
    }

    /// Says that one of `keys`, all asked for and not there, must be.
    pub(super) fn one_of_is_missing(&mut self, keys: &[&'static str], fix: &str) {
        self.missing.push((keys.to_vec(), fix.to_owned()));
    }

    /// The map itself.
    pub(super) fn parent(&self) -> &Field<'a> {
        &self.parent
    }

    /// Reports every key that was not asked for, and every missing one that none of these looks
    /// like.
    pub(super) fn finish(self) {
        let mut meant = Vec::new();
        for entry in &self.entries {
            let guess = nearest(entry.name, self.asked.iter().copied());
            meant.extend(guess);
            let fix = match guess {
                Some(known) => format!("did you mean {known}?"),
                None => {
                    let known = self.asked.iter().map(|&key| key.to_owned()).collect();
                    format!("leave it out; the keys here are {}", listed(known, "and"))
                }
            };
            entry.key().unvalued("is not a known key", fix);
        }
        if !self.parent.is_map() && !self.parent.is_null() {
            return;
        }
        for (keys, fix) in self.missing {
            if keys.iter().any(|key| meant.contains(key)) {
                continue;
            }
            let mut missing = self.parent.clone();
            if let [key] = keys.as_slice() {
                let dot = if missing.path.is_empty() { "" } else { "." };
                missing.path = format!("{}{dot}{key}", missing.path);
                missing.unvalued("is missing", fix);
            } else {
                let keys = keys.iter().map(|&key| key.to_owned()).collect();
                missing.unvalued(format!("has none of {}", listed(keys, "and")), fix);
            }
        }
    }
}

/// `a, b or c`.
pub(super) fn listed(mut words: Vec<String>, joint: &str) -> String {
    let last = words.pop().unwrap_or_default();
    if words.is_empty() {
        return last;
    }
    format!("{} {joint} {last}", words.join(", "))
}

/// A key as part of a path: on one line, of readable length.
fn cut(name: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    name.chars().take(130).map(clean).collect()
}
