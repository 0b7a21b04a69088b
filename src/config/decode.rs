//! From nodes to checked values, collecting every mistake on the way.
//!
//! A getter that cannot give a value has recorded why; decoding goes on with a stand-in, because a
//! configuration with a mistake is never used.

mod fields;
mod scalar;

use std::cell::RefCell;
use std::collections::BTreeMap;

use regex::bytes::Regex;

pub(super) use fields::{Entry, Fields, listed};

use crate::config::mistake::{Mistake, Mistakes, Position, nearest, quoted};
use crate::config::node::{Node, Value};

/// What decoding gathers besides values.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Everything that is wrong.
    pub(super) mistakes: Mistakes,
    /// Where the fields stand whose values are only tried when a probe is prepared, by field path.
    pub(super) places: RefCell<BTreeMap<String, Position>>,
    regexes: RefCell<BTreeMap<String, Regex>>,
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

    /// The one of `known` that `word` was probably meant to be.
    pub(super) fn guess<'k>(
        &self,
        word: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Option<&'k str> {
        if self.book.mistakes.are_many() { None } else { nearest(word, known) }
    }

    /// How many mistakes there are so far.
    pub(super) fn mistakes(&self) -> usize {
        self.book.mistakes.count()
    }
}

/// A key as part of a path: on one line, of readable length.
fn cut(name: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    name.chars().take(130).map(clean).collect()
}
