//! Observations as JSON lines: each line is read for itself, so that a broken one costs itself
//! only.

use std::io::{self, BufRead, Read};

use crate::observation::Observation;

/// The longest line that is read, bytes.
pub const MAX_LINE: usize = 64 * 1024;

/// One line.
#[derive(Debug)]
pub enum Line {
    /// An observation.
    Read(Box<Observation>),
    /// None: its number, counted from 1, and why.
    Malformed {
        /// Its number.
        number: u64,
        /// What is wrong with it.
        problem: String,
    },
}

/// Tells `tell` every line of `input` that is not blank. An error ends the reading.
pub fn lines(mut input: impl BufRead, mut tell: impl FnMut(Line)) -> io::Result<()> {
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        number += 1;
        let most = MAX_LINE as u64 + 1;
        if input.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.len() > MAX_LINE && line.last() != Some(&b'\n') {
            input.skip_until(b'\n')?;
            let problem = format!("longer than {MAX_LINE} bytes");
            tell(Line::Malformed { number, problem });
            continue;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        tell(match serde_json::from_slice(&line) {
            Ok(observation) => Line::Read(Box::new(observation)),
            Err(error) => Line::Malformed { number, problem: at_column(&error) },
        });
    }
}

/// Every line is a text of its own to the parser: only the column is of use.
fn at_column(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    format!("{} at column {}", &text[..end], error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"source_node":"a","vantage":"plain","probe":"http","target":"underlay","destination_node":"b","via":"pod_ip","expect":"reply","window_start":"2026-01-01T00:00:00Z","window_seconds":10,"attempts":1,"verdicts":{"met":1,"violated":0,"inconclusive":0},"reasons":{}}"#;

    fn read(text: &str) -> (usize, Vec<(u64, String)>) {
        let (mut good, mut bad) = (0, Vec::new());
        let told = lines(text.as_bytes(), |line| match line {
            Line::Read(_) => good += 1,
            Line::Malformed { number, problem } => bad.push((number, problem)),
        });
        told.expect("memory is read");
        (good, bad)
    }

    #[test]
    fn malformed_lines_are_told_by_number_and_the_rest_is_used() {
        let long = "x".repeat(MAX_LINE + 10);
        let text = format!("{GOOD}\n\n{{\"probe\":1}}\n{long}\nnot json\n{GOOD}");
        let (good, bad) = read(&text);
        assert_eq!(good, 2);
        let numbers: Vec<u64> = bad.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [3, 4, 5]);
        assert!(bad[1].1.contains("longer than"), "{bad:?}");
        assert!(bad[2].1.contains("column 2"), "{bad:?}");
    }

    #[test]
    fn an_empty_file_has_no_lines() {
        assert_eq!(read(""), (0, Vec::new()));
    }
}
