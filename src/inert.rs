//! Text that others wrote, made fit to stand among our own. Pure.

/// Whether `letter` moves or hides what stands around it: a control, but for the end of a line, or
/// a mark of direction or width.
pub fn moves(letter: char) -> bool {
    letter.is_control() && letter != '\n'
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(letter, '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
}

/// `text` with U+FFFD in the place of each letter that [`moves`].
pub fn replaced(text: &str) -> String {
    text.chars().map(|letter| if moves(letter) { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_text_is_replaced_and_all_else_stays() {
        assert_eq!(
            replaced("a\u{202e}b\u{7}\r\u{200d}\u{feff}"),
            "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}\u{fffd}"
        );
        let plain = "two lines:\nżółć ✓ 漢字 <b>";
        assert_eq!(replaced(plain), plain);
    }
}
