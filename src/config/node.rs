//! YAML text as a tree of nodes that know where they stand.
//!
//! Knows nothing of what the nodes mean. Every bound against hostile text is here: size, depth,
//! number of nodes, alias expansion.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{RenderOptions, SnippetMode, Spanned, UserMessageFormatter};

use crate::config::mistake::{Mistake, Position};

/// The largest text that is read, bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 250_000;

/// A node of the text.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it was written; for an alias, where the anchor is.
    pub(super) at: Position,
    /// What was written.
    pub(super) value: Value,
    span: Option<(usize, usize)>,
}

/// The shape of a node.
#[derive(Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`, without quotes.
    Flag(bool),
    /// A number without quotes.
    Number {
        /// As it was written.
        text: String,
        /// Its value when it is a whole one.
        whole: Option<u64>,
        /// Its value.
        real: f64,
    },
    /// Any other scalar.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the text, duplicates included.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// Reads `text` of at most `most` bytes, or says why it cannot be read at all.
    pub(super) fn read(text: &str, most: usize) -> Result<Self, Mistake> {
        if text.len() > most {
            let most = most / (1024 * 1024);
            return Err(Mistake::of_text(
                format!("the text has {} bytes, more than {most} MiB", text.len()),
                "use modules, anchors, or fewer targets",
            ));
        }
        let budget = serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            max_documents: 2,
        };
        let options = serde_saphyr::options! {
            budget: budget,
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            alias_limits: serde_saphyr::alias_limits! {
                max_total_replayed_events: MAX_NODES,
                max_replay_stack_depth: 8,
            },
            emit_comments: false,
            leading_zero_numbers_as_strings: true,
            underscored_numbers_as_strings: true,
            strict_booleans: true,
            reject_unsupported_tags: true,
            non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
            with_snippet: false,
        };
        let mut root: Self =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax(&error))?;
        root.restore_spelling(text);
        Ok(root)
    }

    /// Gives numbers back their spelling, which matters where a number is used as text
    /// (`version: 1.10`).
    fn restore_spelling(&mut self, source: &str) {
        match &mut self.value {
            Value::Number { text, real, .. } => {
                let written = self
                    .span
                    .and_then(|(start, length)| source.get(start..start.checked_add(length)?))
                    .map(str::trim);
                if let Some(written) = written.filter(|w| w.parse() == Ok(*real)) {
                    written.clone_into(text);
                }
            }
            Value::List(items) => items.iter_mut().for_each(|item| item.restore_spelling(source)),
            Value::Map(entries) => entries.iter_mut().for_each(|(key, value)| {
                key.restore_spelling(source);
                value.restore_spelling(source);
            }),
            Value::Null | Value::Flag(_) | Value::Text(_) => {}
        }
    }

    /// A scalar as text; `None` for nothing, lists and maps.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Flag(true) => Some("true"),
            Value::Flag(false) => Some("false"),
            Value::Number { text, .. } | Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }
}

/// What the parser could not read, on one line.
fn syntax(error: &serde_saphyr::Error) -> Mistake {
    let mut options = RenderOptions::new(&UserMessageFormatter);
    options.snippets = SnippetMode::Off;
    let message = error.render_with_options(options);
    let (line, column) =
        error.location().map_or((0, 0), |at| (at.line() as u32, at.column() as u32));
    let message = one_line(&message);
    let mistake = if matches!(error, serde_saphyr::Error::MultipleDocuments { .. }) {
        Mistake::of_text("a second document begins here", "leave one of the two out")
    } else if message.contains("too complex") {
        Mistake::of_text(message, "use fewer nodes, levels and aliases")
    } else {
        Mistake::of_text(
            format!("this cannot be read as YAML: {message}"),
            "look at indentation, quotes and brackets here and on the line before",
        )
    };
    Mistake { line, column, ..mistake }
}

/// The first line of `message`, without the place that the parser adds to it.
fn one_line(message: &str) -> String {
    let line = message.lines().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or_default().trim();
    let end = line.find(" at line ").unwrap_or(line.len());
    line[..end].trim_end_matches([',', ' ']).to_owned()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, defined, .. } = Spanned::<Value>::deserialize(deserializer)?;
        let span = defined.span();
        let start = span.byte_offset().zip(span.byte_len());
        Ok(Self {
            at: Position { line: defined.line() as u32, column: defined.column() as u32 },
            value,
            span: start.map(|(start, length)| (start as usize, length as usize)),
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number { text: number.to_string(), whole: Some(number), real: number as f64 })
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number {
            text: number.to_string(),
            whole: u64::try_from(number).ok(),
            real: number as f64,
        })
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number { text: number.to_string(), whole: None, real: number })
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key()? {
            entries.push((key, access.next_value()?));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(node: &Node) -> String {
        let Position { line, column } = node.at;
        let value = match &node.value {
            Value::List(items) => {
                let items: Vec<_> = items.iter().map(outline).collect();
                format!("[{}]", items.join(" "))
            }
            Value::Map(entries) => {
                let entry =
                    |(key, value): &(Node, Node)| format!("{}={}", outline(key), outline(value));
                let entries: Vec<_> = entries.iter().map(entry).collect();
                format!("{{{}}}", entries.join(" "))
            }
            Value::Null => "null".to_owned(),
            Value::Flag(_) | Value::Number { .. } | Value::Text(_) => {
                node.as_text().expect("a scalar").to_owned()
            }
        };
        format!("{value}@{line}:{column}")
    }

    fn read(text: &str) -> String {
        Node::read(text, MAX_BYTES)
            .map_or_else(|mistake| mistake.to_string(), |node| outline(&node))
    }

    #[test]
    fn nodes_know_where_they_stand() {
        assert_eq!(
            read("a: 1\nlist:\n  - x: 1.10\n    y: [t, 'u']\n"),
            "{a@1:1=1@1:4 list@2:1=[{x@3:5=1.10@3:8 y@4:5=[t@4:9 u@4:12]@4:8}@3:5]@3:3}@1:1"
        );
    }

    #[test]
    fn numbers_keep_their_spelling_and_quotes_make_text() {
        let kind = |text: &str| match Node::read(text, MAX_BYTES).expect("readable").value {
            Value::Number { text, whole, .. } => format!("number {text} {whole:?}"),
            Value::Text(text) => format!("text {text}"),
            Value::Flag(flag) => format!("flag {flag}"),
            Value::Null => "null".to_owned(),
            Value::List(_) | Value::Map(_) => "else".to_owned(),
        };
        assert_eq!(kind("1.10"), "number 1.10 None");
        assert_eq!(kind("\u{feff}1.10"), "number 1.10 None");
        assert_eq!(kind("é: 1"), "else");
        assert_eq!(kind("0x10"), "number 16 Some(16)");
        assert_eq!(kind("\"5\""), "text 5");
        assert_eq!(kind("007"), "text 007");
        assert_eq!(kind("1_000"), "text 1_000");
        assert_eq!(kind(".inf"), "text .inf");
        assert_eq!(kind("-3"), "number -3 None");
        assert_eq!(kind("off"), "text off");
        assert_eq!(kind("true"), "flag true");
        assert_eq!(kind("'true'"), "text true");
        assert_eq!(kind("~"), "null");
    }

    #[test]
    fn duplicate_keys_anchors_and_merges_reach_the_decoder() {
        assert_eq!(read("a: 1\na: 2\n"), "{a@1:1=1@1:4 a@2:1=2@2:4}@1:1");
        assert_eq!(
            read("a: &x {k: 1}\nb: *x\nc:\n  <<: *x\n  l: 2\n"),
            "{a@1:1={k@1:8=1@1:11}@1:7 b@2:1={k@1:8=1@1:11}@1:7 \
             c@3:1={l@5:3=2@5:6 k@1:8=1@1:11}@4:3}@1:1"
        );
    }

    /// Place and problem of the one mistake that `text` is.
    fn mistake(text: &str) -> (u32, u32, String) {
        let mistake = Node::read(text, MAX_BYTES).expect_err("unreadable");
        (mistake.line, mistake.column, mistake.problem)
    }

    #[test]
    fn unreadable_text_is_one_mistake_at_its_place() {
        let deep = "[".repeat(100);
        for (text, line, column, word) in [
            ("a: [1\nb: 2", 2, 2, "illegal placement of ':'"),
            ("a:\n\t- b", 2, 2, "tabs"),
            ("a: *nowhere", 1, 4, "unknown value"),
            ("a: !foo b", 1, 9, "unsupported tag `!foo`"),
            ("a: 1\n---\nb: 2", 3, 1, "second document"),
            (deep.as_str(), 1, 33, "recursion limit"),
        ] {
            let (at_line, at_column, problem) = mistake(text);
            assert_eq!((at_line, at_column), (line, column), "{text:?}: {problem}");
            assert!(problem.contains(word) && !problem.contains('\n'), "{text:?}: {problem}");
        }
    }

    #[test]
    fn a_billion_laughs_are_cut_short() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 9].join(",");
            text += &format!("a{level}: &a{level} [{aliases}]\n");
        }
        let (_, _, problem) = mistake(&text);
        assert!(problem.contains("too large or too complex"), "{problem}");
    }
}
