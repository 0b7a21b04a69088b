//! A tree written as YAML that every reader of YAML 1.1 and 1.2 takes for the same.

use std::fmt::Write;

/// A value to be written.
#[derive(Debug)]
pub(crate) enum Yaml {
    /// A scalar as it is to stand.
    Plain(String),
    /// Text of one or more lines, each as it is.
    Block(String),
    /// A sequence.
    List(Vec<Yaml>),
    /// A mapping in this order.
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    /// Text, quoted when it must be.
    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        if is_plain(text) {
            return Self::Plain(text.to_owned());
        }
        let mut quoted = "\"".to_owned();
        for c in text.chars() {
            match c {
                '"' | '\\' => quoted.extend(['\\', c]),
                '\n' => quoted += "\\n",
                '\r' => quoted += "\\r",
                '\t' => quoted += "\\t",
                ' '..='~' => quoted.push(c),
                _ if c.is_alphanumeric() => quoted.push(c),
                _ => quoted += &format!("\\U{:08x}", u32::from(c)),
            }
        }
        Self::Plain(quoted + "\"")
    }

    /// Text that is easier to read unquoted, on lines of its own; of one line when it can be.
    pub(crate) fn block(text: &str) -> Self {
        let awkward = text.lines().any(|line| line.is_empty() || line.starts_with(' '));
        let inert = text.chars().all(|c| c == '\n' || !c.is_control());
        if awkward || !inert || text.is_empty() || text.ends_with('\n') {
            return Self::text(text);
        }
        Self::Block(text.to_owned())
    }

    /// A number or a flag.
    pub(crate) fn value(value: impl ToString) -> Self {
        Self::Plain(value.to_string())
    }

    /// A list of texts.
    pub(crate) fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Self {
        let texts = items.into_iter().map(|item| Self::text(item.to_string()));
        Self::List(texts.collect())
    }

    /// The whole text of a document.
    pub(crate) fn document(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 0);
        text
    }

    /// Writes the value behind `key:` or `-`, up to its newline.
    fn write(&self, text: &mut String, indent: usize) {
        match self {
            Self::Plain(plain) => {
                let _ = writeln!(text, " {plain}");
            }
            Self::Block(lines) => {
                text.push_str(" |-\n");
                for line in lines.lines() {
                    let _ = writeln!(text, "{}{line}", " ".repeat(indent));
                }
            }
            Self::List(items) if items.iter().all(|item| matches!(item, Self::Plain(_))) => {
                let plain = items.iter().filter_map(|item| match item {
                    Self::Plain(plain) => Some(plain.as_str()),
                    Self::Block(_) | Self::List(_) | Self::Map(_) => None,
                });
                let _ = writeln!(text, " [{}]", plain.collect::<Vec<_>>().join(", "));
            }
            Self::List(items) => {
                text.push('\n');
                for item in items {
                    // The first key of a map stands on the line of its dash.
                    let mut inner = String::new();
                    item.write(&mut inner, indent + 2);
                    let dash = format!("{}- ", " ".repeat(indent));
                    let _ = write!(text, "{dash}{}", inner.trim_start());
                }
            }
            Self::Map(entries) if entries.is_empty() => text.push_str(" {}\n"),
            Self::Map(entries) => {
                if indent > 0 {
                    text.push('\n');
                }
                for (key, value) in entries {
                    let _ = write!(text, "{}{key}:", " ".repeat(indent));
                    value.write(text, indent + 2);
                }
            }
        }
    }
}

/// Whether `text` can stand without quotes, as text.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 11] =
        ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"];
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._/:<>".contains(c);
    let word = WORDS.contains(&text.to_ascii_lowercase().as_str());
    match text.chars().next() {
        Some('a'..='z' | 'A'..='Z' | '/') => {
            let spaced = text.split(' ').all(|part| !part.is_empty() && !part.ends_with(':'));
            !word && spaced && text.replace(' ', "").chars().all(allowed)
        }
        // Durations and sizes; never a number, a time or a date.
        Some('0'..='9') => {
            let unit = text.ends_with(['s', 'm', 'h', 'B']);
            unit && !text.starts_with("0x") && text.chars().all(|c| c.is_ascii_alphanumeric())
        }
        Some(_) | None => false,
    }
}
