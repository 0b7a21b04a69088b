//! The controller's short memory: the last few minutes of every path, as agents told them.
//!
//! A path is what one agent asks of one target: source node, vantage, name. Agents tell a window
//! again while it grows, so the newest telling of a window takes the place of the older one and
//! nothing counts twice. What an agent asks no more ages out, and of what it asks seldom the last
//! windows are kept for a day. Pure bookkeeping: time is an argument,
//! and nothing is judged here. History lives in Prometheus.

mod book;
mod path;
mod ring;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use time::OffsetDateTime;

use crate::observation::{Expected, Observation, Verdicts};
use crate::target::Vantage;
use book::Book;
use path::Paths;

pub use book::{Heard, Telling};

/// Windows of a path that are kept unless stated otherwise.
pub const WINDOWS: u32 = 30;

/// An agent's place: what its observations are from, whichever pod fills it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// Its node.
    pub node: String,
    /// Its side of the mesh.
    pub vantage: Vantage,
}

/// An agent that is expected to tell and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Who.
    pub source: Source,
    /// When it was last heard; `None` when it never was.
    pub since: Option<OffsetDateTime>,
}

/// What the memory holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Agents that were heard.
    pub sources: usize,
    /// Their paths.
    pub paths: usize,
    /// Different ones among them, but for who asks.
    pub different: usize,
    /// Bytes of their windows.
    pub bytes: usize,
}

/// The newest window of a path in which an attempt ended, or the last one when attempts stopped.
#[derive(Debug, Clone, Copy)]
pub struct Newest<'a> {
    /// The target's name within its agent's plan.
    pub name: &'a str,
    /// What it is an observation of.
    pub target: &'a str,
    /// Node of the far end.
    pub destination_node: Option<&'a str>,
    /// What had to come back.
    pub expect: Expected,
    /// Its attempts by verdict.
    pub verdicts: Verdicts,
    /// When it ended, or will.
    pub ended_at: OffsetDateTime,
    /// How long after the one before it began; `None` for the first.
    pub rhythm: Option<Duration>,
}

impl<'a> Newest<'a> {
    /// That of a path of which nothing but `observation` is known.
    pub fn of(observation: &'a Observation) -> Self {
        Self {
            name: observation.name(),
            target: &observation.target,
            destination_node: observation.destination_node.as_deref(),
            expect: observation.expect,
            verdicts: observation.verdicts,
            ended_at: observation.window_end(),
            rhythm: None,
        }
    }
}

/// What was told in the last few minutes.
#[derive(Debug)]
pub struct Evidence {
    windows: u32,
    paths: Paths,
    sources: Mutex<BTreeMap<Source, Arc<Mutex<Book>>>>,
}

impl Default for Evidence {
    fn default() -> Self {
        Self::new(WINDOWS)
    }
}

impl Evidence {
    /// A memory of the last so many `windows` of each path.
    pub fn new(windows: u32) -> Self {
        Self { windows, paths: Paths::default(), sources: Mutex::default() }
    }

    /// `source` told this at `now`. An agent's clock that is off does not matter: times are told by
    /// the clock of `now`.
    pub fn hear(&self, source: &Source, telling: Telling<'_>, now: OffsetDateTime) -> Heard {
        let book = {
            let mut sources = self.sources.lock().expect("no panic while held");
            match sources.get(source) {
                Some(book) => Arc::clone(book),
                None => Arc::clone(sources.entry(source.clone()).or_default()),
            }
        };
        let mut book = book.lock().expect("no panic while held");
        book.hear(telling, &self.paths, self.windows, now)
    }

    /// Forgets every source of which `stays` says no, and paths that are told no more at `now`.
    pub fn retain(&self, stays: impl Fn(&Source) -> bool, now: OffsetDateTime) {
        self.sources.lock().expect("no panic while held").retain(|source, _| stays(source));
        for (_, book) in self.all() {
            book.lock().expect("no panic while held").prune(self.windows, now);
        }
        self.paths.sweep();
    }

    /// Gives every window that ended at `since` or later to `each`, by source, path and time.
    ///
    /// One agent's memory is locked at a time, so what is told is of no one instant.
    pub fn each(&self, since: OffsetDateTime, mut each: impl FnMut(&Source, Observation)) {
        for (source, book) in self.all() {
            let book = book.lock().expect("no panic while held");
            book.each(&source, since, |observation| each(&source, observation));
        }
    }

    /// Every window that ended at `since` or later; large for a large fleet, see [`Self::each`].
    pub fn observations(&self, since: OffsetDateTime) -> Vec<Observation> {
        let mut all = Vec::new();
        self.each(since, |_, observation| all.push(observation));
        all
    }

    /// The windows of one source that ended at `since` or later.
    pub fn of(&self, source: &Source, since: OffsetDateTime) -> Vec<Observation> {
        let book = self.sources.lock().expect("no panic while held").get(source).map(Arc::clone);
        let mut all = Vec::new();
        if let Some(book) = book {
            let book = book.lock().expect("no panic while held");
            book.each(source, since, |observation| all.push(observation));
        }
        all
    }

    /// The newest window of each path that `source` asks.
    pub fn latest(&self, source: &Source) -> Vec<Observation> {
        let book = self.sources.lock().expect("no panic while held").get(source).map(Arc::clone);
        let latest =
            |book: Arc<Mutex<Book>>| book.lock().expect("no panic while held").latest(source);
        book.map(latest).unwrap_or_default()
    }

    /// Gives the newest window with an attempt of each path of each source to `each`, or the last
    /// one without any where attempts stopped.
    pub fn newest(&self, mut each: impl FnMut(&Source, &Newest<'_>)) {
        for (source, book) in self.all() {
            book.lock().expect("no panic while held").newest(|newest| each(&source, newest));
        }
    }

    /// The last `most` windows of each path that `source` asks, or of that called `name`, however
    /// old they are.
    pub fn lately(&self, source: &Source, name: Option<&str>, most: usize) -> Vec<Observation> {
        let book = self.sources.lock().expect("no panic while held").get(source).map(Arc::clone);
        let mut all = Vec::new();
        if let Some(book) = book {
            let book = book.lock().expect("no panic while held");
            book.lately(source, name, most, |observation| all.push(observation));
        }
        all
    }

    /// Everybody who was heard.
    pub fn sources(&self) -> Vec<Source> {
        self.sources.lock().expect("no panic while held").keys().cloned().collect()
    }

    /// Every path with all its windows that ended at `since` or later as one: from the start of
    /// the first to the end of the last, counts added and digests merged.
    pub fn totals(&self, since: OffsetDateTime) -> Vec<Observation> {
        let mut all: Vec<Observation> = Vec::new();
        for (source, book) in self.all() {
            book.lock().expect("no panic while held").totals(&source, since, |it| all.push(it));
        }
        all
    }

    /// When `source` was last heard; `None` when it never was.
    pub fn heard(&self, source: &Source) -> Option<OffsetDateTime> {
        let book = self.sources.lock().expect("no panic while held").get(source).map(Arc::clone)?;
        book.lock().expect("no panic while held").heard()
    }

    /// Those of `expected` that were not heard for `patience` at `now`.
    pub fn silent(
        &self,
        expected: impl IntoIterator<Item = Source>,
        patience: Duration,
        now: OffsetDateTime,
    ) -> Vec<Silence> {
        let sources = self.sources.lock().expect("no panic while held");
        let silence = |source: Source| {
            let book = sources.get(&source);
            let since = book.and_then(|book| book.lock().expect("no panic while held").heard());
            let quiet = since.is_none_or(|since| now - since >= patience);
            quiet.then_some(Silence { source, since })
        };
        expected.into_iter().filter_map(silence).collect()
    }

    /// How much it holds.
    pub fn held(&self) -> Held {
        let all = self.all();
        let mut held = Held { sources: all.len(), different: self.paths.len(), ..Held::default() };
        for (_, book) in all {
            let (paths, bytes) = book.lock().expect("no panic while held").size();
            held.paths += paths;
            held.bytes += bytes;
        }
        held
    }

    fn all(&self) -> Vec<(Source, Arc<Mutex<Book>>)> {
        let sources = self.sources.lock().expect("no panic while held");
        sources.iter().map(|(source, book)| (source.clone(), Arc::clone(book))).collect()
    }
}

#[cfg(test)]
mod tests;
