//! What is wrong with a configuration, told so that it can be mended: where, what, and how.
//!
//! Knows nothing of any particular field.

use std::cell::RefCell;
use std::fmt;

/// Mistakes beyond this many are only counted.
const MOST: usize = 1000;

/// A place in the text of a configuration, both counted from 1; 0 is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Line, from 1; 0 when it is not about one place of the text.
    pub line: u32,
    /// Column in characters, from 1; 0 when it is not about one place of the text.
    pub column: u32,
    /// The field, e.g. `targets[3].http.tls.ca`; empty for the text as a whole.
    pub path: String,
    /// What was written, quoted and cut to a readable length; never a secret.
    pub value: Option<String>,
    /// What is wrong with it, to be read after the value.
    pub problem: String,
    /// What to write instead.
    pub fix: String,
}

impl Mistake {
    /// A mistake about the text as a whole.
    pub fn of_text(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            line: 0,
            column: 0,
            path: String::new(),
            value: None,
            problem: problem.into(),
            fix: fix.into(),
        }
    }

    /// Shows the mistake behind the name of its file: `config.yaml:14:5: …`.
    pub fn in_file<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        InFile { file, mistake: self }
    }

    /// The field without what is around it: `ca` of `targets[3].http.tls.ca`.
    fn field(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }
}

/// `14:5: targets[3].interval: "5 minutes" is not a duration; write …`, on one line.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        if let Some(value) = &self.value {
            write!(f, "{value} ")?;
        }
        write!(f, "{}; {}", self.problem, self.fix)
    }
}

struct InFile<'a> {
    file: &'a str,
    mistake: &'a Mistake,
}

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.mistake.line > 0 { "" } else { " " };
        write!(f, "{}:{space}{}", self.file, self.mistake)
    }
}

/// Puts mistakes into the order of the file and leaves each out that says the same of the same
/// place as one before it (an anchor used many times, a module prepared for many targets).
pub fn tidy(mut mistakes: Vec<Mistake>) -> Vec<Mistake> {
    // Mistakes about no one place come last; the sort is stable.
    mistakes.sort_by_key(|m| (m.line == 0, m.line, m.column));
    let mut kept: Vec<Mistake> = Vec::with_capacity(mistakes.len());
    for mistake in mistakes {
        let same = |other: &Mistake| {
            other.problem == mistake.problem
                && other.value == mistake.value
                && other.field() == mistake.field()
                && (mistake.line > 0 || other.path == mistake.path)
        };
        let here = kept
            .iter()
            .rev()
            .take_while(|other| (other.line, other.column) == (mistake.line, mistake.column));
        if !here.into_iter().any(same) {
            kept.push(mistake);
        }
    }
    kept
}

/// Collects mistakes while decoding goes on.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    kept: RefCell<Vec<Mistake>>,
    more: std::cell::Cell<usize>,
}

impl Mistakes {
    /// Adds one.
    pub(super) fn add(&self, mistake: Mistake) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < MOST {
            kept.push(mistake);
        } else {
            self.more.set(self.more.get() + 1);
        }
    }

    /// Whether further ones are only counted: they need no good words.
    pub(super) fn are_many(&self) -> bool {
        self.kept.borrow().len() >= MOST
    }

    /// How many there are so far: a part was sound when decoding it leaves the count as it was.
    pub(super) fn count(&self) -> usize {
        self.kept.borrow().len() + self.more.get()
    }

    /// All of them, in the order of the file.
    pub(super) fn into_sorted(self) -> Vec<Mistake> {
        let mut mistakes = tidy(self.kept.into_inner());
        if self.more.get() > 0 {
            mistakes.push(Mistake::of_text(
                format!("{} more mistakes are not shown", self.more.get()),
                "mend these first",
            ));
        }
        mistakes
    }
}

/// Quotes what was written for a message: escaped, on one line, cut to a readable length.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{start:?}…")
}

/// The known word nearest to `word`, when one is near enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    const MOST: usize = 500;
    let word = word.to_lowercase();
    if word.len() > LONGEST {
        return None;
    }
    known
        .into_iter()
        .take(MOST)
        .filter(|known| known.len() <= LONGEST)
        .filter(|known| known.len().abs_diff(word.len()) <= known.len().div_ceil(3))
        .map(|known| (distance(&word, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= known.chars().count().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Insertions, deletions, replacements and swaps of neighbours that make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(from != to);
            let mut best = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *to && b[j - 1] == *from {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["interval", "timeout", "timeouts", "name", "v4", "v6"];
        let nearest = |word| nearest(word, known);
        assert_eq!(nearest("intervall"), Some("interval"));
        assert_eq!(nearest("tiemout"), Some("timeout"));
        assert_eq!(nearest("Name"), Some("name"));
        assert_eq!(nearest("v5"), Some("v4"));
        assert_eq!(nearest("frequency"), None);
        assert_eq!(nearest(""), None);
    }

    #[test]
    fn long_values_are_cut_and_control_characters_escaped() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert_eq!(quoted(&"é".repeat(100)), format!("\"{}\"…", "é".repeat(60)));
    }

    #[test]
    fn mistakes_beyond_the_bound_are_counted() {
        let mistakes = Mistakes::default();
        for line in 1..=MOST as u32 + 7 {
            mistakes.add(Mistake { line, ..Mistake::of_text("is wrong", "mend it") });
        }
        let all = mistakes.into_sorted();
        assert_eq!(all.len(), MOST + 1);
        assert_eq!(all[MOST].to_string(), "7 more mistakes are not shown; mend these first");
    }
}
