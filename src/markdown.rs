//! Text of others within Markdown as GitHub reads it. Knows nothing of what is told in it.

/// `text` as words of a paragraph or of a cell: on one line, ending no cell and starting no markup.
pub fn inert(text: &str) -> String {
    let mut inert = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() => inert.push(' '),
            '<' => inert += "&lt;",
            '>' => inert += "&gt;",
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '#' | '|' | '!' => {
                inert.extend(['\\', c]);
            }
            c => inert.push(c),
        }
    }
    inert
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_words() {
        assert_eq!(inert("a|b\n<i>[x](y)"), "a\\|b &lt;i&gt;\\[x\\](y)");
        assert_eq!(inert("{a} ![b] #1"), r"\{a\} \!\[b\] \#1");
    }
}
