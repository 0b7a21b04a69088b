//! Text of strangers, made fit for a message: one line, printable, short.

use crate::cluster::{Finding, FindingReason, ObjectRef};

/// The longest message of a finding, in characters.
pub const MAX_MESSAGE: usize = 512;
/// The longest part of a stranger's value that is shown, in characters.
const MAX_QUOTED: usize = 64;

/// `value` in quotes: its beginning, with everything that is not printable escaped.
pub(super) fn quoted(value: &str) -> String {
    let end = value.char_indices().nth(MAX_QUOTED).map_or(value.len(), |(at, _)| at);
    let more = if end < value.len() { "…" } else { "" };
    format!("{:?}{more}", &value[..end])
}

/// What an API server or a library says, as one line.
pub(super) fn line(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    cut(text.chars().take(MAX_MESSAGE + 1).map(shown).collect())
}

/// A finding; the message is cut where it is too long.
pub(super) fn finding(object: ObjectRef, reason: FindingReason, message: &str) -> Finding {
    Finding { object, reason, message: line(message) }
}

fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(MAX_MESSAGE) {
        let last = text[..at].char_indices().next_back().map_or(0, |(at, _)| at);
        text.truncate(last);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_quoted_value_is_printable_ascii_or_letters(value in any::<String>()) {
            let shown = quoted(&value);
            prop_assert!(!shown.chars().any(char::is_control), "{shown}");
            prop_assert!(shown.chars().count() <= MAX_QUOTED * 10 + 3);
        }

        #[test]
        fn a_line_is_one_line_of_512_characters_at_most(text in "(?s).{0,1000}") {
            let shown = line(&text);
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert!(shown.chars().count() <= MAX_MESSAGE);
        }
    }

    #[test]
    fn direction_marks_do_not_reach_the_terminal() {
        assert_eq!(quoted("a\u{202e}b"), "\"a\\u{202e}b\"");
    }
}
