//! Maps: keys taken one by one, unknown and missing ones told.

use crate::config::decode::Field;
use crate::config::mistake::Position;

/// A key with its value.
#[derive(Debug)]
pub(in crate::config) struct Entry<'a> {
    /// The key.
    pub(in crate::config) name: &'a str,
    /// Where the key stands.
    pub(in crate::config) at: Position,
    /// The value.
    pub(in crate::config) field: Field<'a>,
}

impl<'a> Entry<'a> {
    /// The field at the place of its key.
    pub(in crate::config) fn key(&self) -> Field<'a> {
        Field { at: self.at, ..self.field.clone() }
    }
}

/// A map whose keys are taken one by one; [`Self::finish`] reports the others.
#[derive(Debug)]
pub(in crate::config) struct Fields<'a> {
    parent: Field<'a>,
    entries: Vec<Entry<'a>>,
    asked: Vec<&'static str>,
    missing: Vec<(Vec<&'static str>, String)>,
}

impl<'a> Field<'a> {
    /// The entries of a map whose keys are known.
    pub(in crate::config) fn fields(&self) -> Fields<'a> {
        Fields {
            parent: self.clone(),
            entries: self.entries(),
            asked: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// The fields of a block that is not there: none.
    pub(in crate::config) fn nothing(&self) -> Fields<'a> {
        Fields { parent: self.clone(), entries: Vec::new(), asked: Vec::new(), missing: Vec::new() }
    }
}

impl<'a> Fields<'a> {
    /// The value of `key`, if it is there.
    pub(in crate::config) fn take(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.asked.push(key);
        let index = self.entries.iter().position(|entry| entry.name == key)?;
        Some(self.entries.remove(index).field)
    }

    /// The value of `key`, which is yet to be taken.
    pub(in crate::config) fn peek(&self, key: &'static str) -> Option<&Field<'a>> {
        Some(&self.entries.iter().find(|entry| entry.name == key)?.field)
    }

    /// The value of `key`, whose absence is a mistake.
    pub(in crate::config) fn require(&mut self, key: &'static str, fix: &str) -> Option<Field<'a>> {
        let field = self.take(key);
        if field.is_none() {
            self.missing.push((vec![key], fix.to_owned()));
        }
        field
    }

    /// Says that one of `keys`, all asked for and not there, must be.
    pub(in crate::config) fn one_of_is_missing(&mut self, keys: &[&'static str], fix: &str) {
        self.missing.push((keys.to_vec(), fix.to_owned()));
    }

    /// The map itself.
    pub(in crate::config) fn parent(&self) -> &Field<'a> {
        &self.parent
    }

    /// Reports every key that was not asked for, and every missing one that none of these looks
    /// like.
    pub(in crate::config) fn finish(self) {
        let mut meant = Vec::new();
        for entry in &self.entries {
            let guess = self.parent.guess(entry.name, self.asked.iter().copied());
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
pub(in crate::config) fn listed(mut words: Vec<String>, joint: &str) -> String {
    let last = words.pop().unwrap_or_default();
    if words.is_empty() {
        return last;
    }
    format!("{} {joint} {last}", words.join(", "))
}
