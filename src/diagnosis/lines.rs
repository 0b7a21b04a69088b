//! Observations from JSON lines: what is malformed is told by its line, the rest is used.

use std::io::{self, BufRead, Read};

use crate::observation::Observation;

/// The longest line that is read, bytes.
const LONGEST: u64 = 64 * 1024;

/// A line that is no observation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Malformed {
    /// Counted from 1.
    pub line: u64,
    /// What is wrong with it, and how to mend it where that is known.
    pub problem: String,
}

/// Every observation of `input`, and every line that is none. Empty lines are passed over.
///
/// # Errors
/// Fails when `input` cannot be read, not because of what is in it.
pub fn read_observations(
    mut input: impl BufRead,
) -> io::Result<(Vec<Observation>, Vec<Malformed>)> {
    let (mut observations, mut malformed) = (Vec::new(), Vec::new());
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read = input.by_ref().take(LONGEST).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            break;
        }
        let mut wrong = |problem: String| malformed.push(Malformed { line, problem });
        if read as u64 == LONGEST && !bytes.ends_with(b"\n") {
            input.skip_until(b'\n')?;
            wrong(format!("is longer than {LONGEST} bytes: write one observation per line"));
            continue;
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Observation>(&bytes) {
            Ok(observation) => match check(&observation) {
                Ok(()) => observations.push(observation),
                Err(problem) => wrong(problem),
            },
            Err(error) => wrong(format!("is no observation: {error}")),
        }
    }
    Ok((observations, malformed))
}

/// What is wrong with numbers that contradict each other.
fn check(observation: &Observation) -> Result<(), String> {
    let total = observation.verdicts.total();
    if total != observation.attempts {
        let attempts = observation.attempts;
        return Err(format!("has {attempts} attempts and {total} verdicts: each attempt has one"));
    }
    if observation.source_node.is_empty() || observation.target.is_empty() {
        return Err("has an empty source_node or target: name both".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"source_node":"a","probe":"http","target":"peer","expect":"reply","window_start":"2026-01-01T00:00:00Z","window_seconds":10,"attempts":1,"verdicts":{"met":1}}"#;

    #[test]
    fn malformed_lines_are_told_by_number_and_the_rest_is_used() {
        let contradiction = GOOD.replace("\"attempts\":1", "\"attempts\":2");
        let long = format!("{{\"source_node\":\"{}\"}}", "a".repeat(100_000));
        let text = format!("{GOOD}\n\nnot json\n{contradiction}\n{long}\n{GOOD}");
        let (observations, malformed) = read_observations(text.as_bytes()).expect("in memory");
        assert_eq!(observations.len(), 2);
        let lines: Vec<u64> = malformed.iter().map(|it| it.line).collect();
        assert_eq!(lines, [3, 4, 5]);
        assert!(malformed[1].problem.contains("2 attempts and 1 verdicts"), "{malformed:?}");
    }

    #[test]
    fn what_is_no_text_is_malformed_and_no_panic() {
        let (observations, malformed) =
            read_observations(&b"\xff\xfe\x00{}\n[]\n\"x\"\n1e999"[..]).expect("in memory");
        assert_eq!((observations.len(), malformed.len()), (0, 4));
    }
}
