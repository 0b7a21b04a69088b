//! Names and record data as a zone file has them (RFC 1035, 5.1).
//!
//! hickory escapes bytes in octal where the RFC has decimal, and decodes IDNA; people compare this
//! text with their zone files.

use std::fmt::Write as _;

use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData};

/// With its trailing dot.
pub(super) fn name(name: &Name) -> String {
    if name.is_root() {
        return ".".to_owned();
    }
    let mut text = String::new();
    for label in name {
        label.iter().for_each(|byte| push(&mut text, *byte, b". \"()@;$"));
        text.push('.');
    }
    text
}

/// Of any type.
pub(super) fn data(data: &RData) -> String {
    match data {
        RData::CNAME(target) => name(&target.0),
        RData::PTR(target) => name(&target.0),
        RData::SRV(srv) => {
            let target = name(&srv.target);
            format!("{} {} {} {target}", srv.priority, srv.weight, srv.port)
        }
        RData::TXT(txt) => quoted(txt),
        other => other.to_string(),
    }
}

fn quoted(txt: &TXT) -> String {
    let mut text = String::new();
    for (index, string) in txt.txt_data.iter().enumerate() {
        text.push_str(if index == 0 { "\"" } else { " \"" });
        string.iter().for_each(|byte| push(&mut text, *byte, b"\""));
        text.push('"');
    }
    text
}

/// Appends `byte`, behind a backslash if it is one or `special`, as a number if not printable.
fn push(text: &mut String, byte: u8, special: &[u8]) {
    match byte {
        b' '..=b'~' => {
            if byte == b'\\' || special.contains(&byte) {
                text.push('\\');
            }
            text.push(char::from(byte));
        }
        _ => write!(text, "\\{byte:03}").expect("strings take everything"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_and_escaped() {
        let txt = TXT::from_bytes(vec![b"a \"b\"\\".as_slice(), b"\x07\xff".as_slice()]);
        assert_eq!(data(&RData::TXT(txt)), r#""a \"b\"\\" "\007\255""#);
    }

    #[test]
    fn names_keep_their_spelling_and_escape_what_would_read_otherwise() {
        let labels = [b"-_Web*".as_slice(), b"a.b", b"\xc3\xa4", b"xn--4ca"];
        let spelled = Name::from_labels(labels).expect("short labels");
        assert_eq!(name(&spelled), r"-_Web*.a\.b.\195\164.xn--4ca.");
        assert_eq!(name(&Name::root()), ".");
    }
}
