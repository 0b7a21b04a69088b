//! When the text of a configuration, or a file that it names, has other bytes than before.
//!
//! Polls content, not file events: a rewrite, a rename over the file and the swap of the `..data`
//! symlink by which kubelet updates a ConfigMap volume all look the same. Does not know what is in
//! the files.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::load::{content, utf8};

/// How long the files must stay the same before a change is believed: a file that is being
/// written is not yet one.
const SETTLE: Duration = Duration::from_millis(100);
/// Changes in a row after which the latest is taken as it is.
const MOST_ROUNDS: u32 = 10;

/// Watches a configuration file and the files that it names.
///
/// Make it before the configuration is first read, and call [`Self::follow`] before the named
/// files are read: then no change is lost in between.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    every: Duration,
    known: State,
    /// A change that has yet to settle, and how often it has not.
    pending: Option<(State, u32)>,
    next: Instant,
}

/// What the files were when they were last looked at.
#[derive(Debug, Clone, PartialEq)]
struct State {
    config: Seen,
    files: BTreeMap<PathBuf, Seen>,
}

/// One file at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    Bytes { length: usize, hash: u64 },
    Unreadable(io::ErrorKind),
}

impl Watch {
    /// Watches the file at `path`, looking at it `every` so often; what it holds now is no change.
    pub fn new(path: PathBuf, every: Duration) -> Self {
        let config = Seen::of(&look(&path));
        Self {
            path,
            every,
            known: State { config, files: BTreeMap::new() },
            pending: None,
            next: Instant::now() + every,
        }
    }

    /// Also watches `files`, and no others; what a new one among them holds now is no change.
    pub fn follow(&mut self, files: Vec<PathBuf>) {
        let mut known = std::mem::take(&mut self.known.files);
        self.known.files = files
            .into_iter()
            .map(|path| {
                let seen = known.remove(&path);
                let seen = seen.unwrap_or_else(|| Seen::of(&look(&path)));
                (path, seen)
            })
            .collect();
        self.pending = None;
    }

    /// Waits for the next change and gives the text of the configuration, which is the same as
    /// before when only a file that it names has changed, or why the text cannot be read: once,
    /// until that changes.
    ///
    /// Cancel safe.
    pub async fn changed(&mut self) -> Result<String, io::Error> {
        loop {
            tokio::time::sleep_until(self.next).await;
            let path = self.path.clone();
            let files: Vec<_> = self.known.files.keys().cloned().collect();
            let (state, config) = tokio::task::spawn_blocking(move || take(&path, files)).await?;
            if self.settled(state) {
                return config.and_then(utf8);
            }
        }
    }

    /// Whether `state` is a change that has settled, which it is known to be from then on.
    fn settled(&mut self, state: State) -> bool {
        let now = Instant::now();
        if state == self.known {
            self.pending = None;
            self.next = now + self.every;
            return false;
        }
        let rounds = match self.pending.take() {
            Some((pending, rounds)) if pending == state || rounds == MOST_ROUNDS => {
                self.known = state;
                self.next = now + self.every;
                return true;
            }
            Some((_, rounds)) => rounds + 1,
            None => 0,
        };
        self.pending = Some((state, rounds));
        self.next = now + SETTLE.min(self.every);
        false
    }
}

impl Seen {
    fn of(content: &io::Result<Vec<u8>>) -> Self {
        match content {
            Ok(bytes) => {
                let mut hasher = DefaultHasher::new();
                bytes.hash(&mut hasher);
                Self::Bytes { length: bytes.len(), hash: hasher.finish() }
            }
            Err(error) => Self::Unreadable(error.kind()),
        }
    }
}

/// Looks at all files at once.
fn take(path: &Path, files: Vec<PathBuf>) -> (State, io::Result<Vec<u8>>) {
    let config = look(path);
    let files = files.into_iter().map(|path| {
        let seen = Seen::of(&look(&path));
        (path, seen)
    });
    let state = State { config: Seen::of(&config), files: files.collect() };
    (state, config)
}

/// The content of a regular file; a pipe would be emptied by looking at it.
fn look(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        let problem = "not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    content(path)
}
