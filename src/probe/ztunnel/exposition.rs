//! One line of the Prometheus text format or of OpenMetrics. Pure; keeps nothing.
//!
//! Reads what both formats allow in a sample: label values with escapes, spaces and tabs between
//! the parts, a timestamp, an exemplar. Does not check what lines say together: types, order and
//! `# EOF` are for whoever keeps series.

use std::borrow::Cow;

/// A sample of a series.
#[derive(Debug, PartialEq)]
pub(super) struct Sample<'a> {
    /// In the order of the line.
    labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// As stated; also NaN and infinities.
    pub(super) value: f64,
}

/// A line that is no sample, by what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// Bytes that are no text.
    #[error("not UTF-8")]
    Encoding,
    /// Braces, names, commas or quotes are not where they must be.
    #[error("malformed labels")]
    Labels,
    /// No number behind the series.
    #[error("no value")]
    Value,
    /// Neither a timestamp nor an exemplar behind the value.
    #[error("malformed after the value")]
    Tail,
}

impl Sample<'_> {
    /// The value of `label`; a label that is missing is an empty one.
    pub(super) fn label(&self, label: &str) -> &str {
        let found = self.labels.iter().find(|(name, _)| name == label);
        found.map_or("", |(_, value)| value)
    }
}

/// The metric that `line` is a sample of; comments and empty lines have a name that no metric has.
pub(super) fn metric(line: &[u8]) -> &[u8] {
    let end = line.iter().position(|byte| matches!(byte, b'{' | b' ' | b'\t'));
    &line[..end.unwrap_or(line.len())]
}

/// Reads a line whose [`metric`] is known.
pub(super) fn sample(line: &[u8]) -> Result<Sample<'_>, Malformed> {
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Encoding)?;
    let rest = blank(&line[metric(line.as_bytes()).len()..]);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let (value, rest) = token(rest);
    let value = value.parse().map_err(|_| Malformed::Value)?;
    let (timestamp, rest) = match token(rest) {
        (exemplar, _) if exemplar.starts_with('#') => ("", ""),
        other => other,
    };
    let timed = timestamp.is_empty() || timestamp.parse::<f64>().is_ok();
    let ended = rest.trim().is_empty() || blank(rest).starts_with('#');
    if timed && ended { Ok(Sample { labels, value }) } else { Err(Malformed::Tail) }
}

type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The labels behind an opening brace, and what comes behind the closing one.
fn labels(mut rest: &str) -> Result<(Labels<'_>, &str), Malformed> {
    let mut labels = Vec::new();
    loop {
        rest = blank(rest);
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, after) = match rest.strip_prefix('"') {
            Some(quote) => quoted(quote)?,
            None => bare(rest)?,
        };
        let after = blank(after).strip_prefix('=').ok_or(Malformed::Labels)?;
        let after = blank(after).strip_prefix('"').ok_or(Malformed::Labels)?;
        let (value, after) = quoted(after)?;
        labels.push((name, value));
        rest = blank(after);
        if !rest.starts_with('}') {
            rest = rest.strip_prefix(',').ok_or(Malformed::Labels)?;
        }
    }
}

/// A label name without quotes.
fn bare(text: &str) -> Result<(Cow<'_, str>, &str), Malformed> {
    let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = text.find(|c| !named(c)).ok_or(Malformed::Labels)?;
    if end == 0 || text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Malformed::Labels);
    }
    Ok((Cow::Borrowed(&text[..end]), &text[end..]))
}

/// Text behind an opening quote, and what comes behind the closing one.
///
/// A backslash escapes itself, the quote, and `n` for a line feed; before anything else it stands
/// for itself.
fn quoted(text: &str) -> Result<(Cow<'_, str>, &str), Malformed> {
    let mut value = Cow::Borrowed("");
    let mut rest = text;
    loop {
        let stop = rest.find(['"', '\\']).ok_or(Malformed::Labels)?;
        value += &rest[..stop];
        let (mark, after) = rest[stop..].split_at(1);
        if mark == "\"" {
            return Ok((value, after));
        }
        let escaped = match after.as_bytes().first() {
            Some(b'n') => "\n",
            Some(b'"') => "\"",
            Some(b'\\') => "\\",
            Some(_) => {
                value += "\\";
                rest = after;
                continue;
            }
            None => return Err(Malformed::Labels),
        };
        value += escaped;
        rest = &after[1..];
    }
}

/// What stands before the next blank, and what comes from there on.
fn token(text: &str) -> (&str, &str) {
    let text = blank(text);
    let end = text.find([' ', '\t', '\r']).unwrap_or(text.len());
    text.split_at(end)
}

fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(line: &str) -> Result<f64, Malformed> {
        sample(line.as_bytes()).map(|sample| sample.value)
    }

    #[test]
    fn a_sample_may_have_labels_a_timestamp_and_an_exemplar() {
        for line in [
            "a_total 7",
            "a_total\t7\r",
            "a_total{} 7.0",
            "a_total {b=\"c\",} +7e0",
            "a_total{ b = \"c\" , d=\"e\" } 0.7e1 1520879607.789",
            "a_total{b=\"c\"} 7 -1520879607",
            "a_total{b=\"c\"} 7 # {trace_id=\"x y\"} 0.5 1520879607.789",
            "a_total{b=\"c\"} 7 1520879607 # {trace_id=\"x\"} 0.5",
            "a_total{\"b.c\"=\"d\"} 7",
        ] {
            assert_eq!(value(line), Ok(7.0), "{line}");
            assert_eq!(metric(line.as_bytes()), b"a_total");
        }
        assert!(value("a NaN").expect("a value").is_nan());
        assert_eq!(value("a +Inf"), Ok(f64::INFINITY));
    }

    #[test]
    fn escapes_are_undone() {
        let line = r#"a{b="\"\\n\n\t}, c=\"d",e="{é}"} 1"#;
        let sample = sample(line.as_bytes()).expect("a sample");
        assert_eq!(sample.label("b"), "\"\\n\n\\t}, c=\"d");
        assert_eq!(sample.label("e"), "{é}");
        assert_eq!(sample.label("absent"), "");
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told() {
        for (line, wrong) in [
            ("a", Malformed::Value),
            ("a ", Malformed::Value),
            ("a{} x", Malformed::Value),
            ("a{b=\"c\"}", Malformed::Value),
            ("a{b=\"c\" 1", Malformed::Labels),
            ("a{b=\"c} 1", Malformed::Labels),
            ("a{b=\"c\\", Malformed::Labels),
            ("a{b=c} 1", Malformed::Labels),
            ("a{b} 1", Malformed::Labels),
            ("a{=\"c\"} 1", Malformed::Labels),
            ("a{1b=\"c\"} 1", Malformed::Labels),
            ("a{b=\"c\"d=\"e\"} 1", Malformed::Labels),
            ("a{,} 1", Malformed::Labels),
            ("a{", Malformed::Labels),
            ("a 1 x", Malformed::Tail),
            ("a 1 2 3", Malformed::Tail),
        ] {
            assert_eq!(value(line), Err(wrong), "{line}");
        }
        assert_eq!(sample(b"a{b=\"\xff\"} 1"), Err(Malformed::Encoding));
    }

    fn escape(text: &str) -> String {
        text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_sample_or_malformed(line in any::<Vec<u8>>()) {
            let _ = sample(&line);
        }

        #[test]
        fn any_text_near_a_sample_is_one_or_malformed(line in r#"a\{(b="[\\"n,}]{0,6}",?){0,3}\}? ?[0-9eE+.#-]{0,8}"#) {
            let _ = sample(line.as_bytes());
        }

        #[test]
        fn label_values_and_numbers_read_back_as_written(
            values in prop::collection::vec(any::<String>(), 0..5),
            number in any::<f64>().prop_filter("equal to itself", |number| !number.is_nan()),
        ) {
            let label = |(index, value): (usize, &String)| format!("l{index}=\"{}\"", escape(value));
            let labels: Vec<String> = values.iter().enumerate().map(label).collect();
            let line = format!("m{{{}}} {number:e}", labels.join(","));
            let sample = sample(line.as_bytes()).expect("a sample");
            prop_assert_eq!(sample.value, number);
            for (index, value) in values.iter().enumerate() {
                prop_assert_eq!(sample.label(&format!("l{index}")), value);
            }
        }
    }
}
