//! The projected service account token. Its text is shown to istiod and to nobody else.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use http::HeaderValue;

use crate::failure::{Fault, Reason};

/// Tokens of Kubernetes have one or two KiB.
const MAX_TOKEN: usize = 64 * 1024;
/// The parts of a JWT: header, payload, signature.
const PARTS: usize = 3;
/// A part shorter than this is no secret, and may be a word of its own.
const MIN_HIDDEN: usize = 8;

/// A service account token, as it was in its file at one time.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Reads the token in the file at `path`; kubelet replaces it every so often, so read it anew
    /// for each use.
    ///
    /// Anything that cannot be a whole token is `no_identity`. The detail names the path, never
    /// the contents.
    pub async fn read(path: &Path) -> Result<Self, Fault> {
        let file = path.to_owned();
        let read = tokio::task::spawn_blocking(move || bounded(&file)).await;
        let problem = match read.map_err(io::Error::other).flatten() {
            Ok(bytes) => match Self::parse(&bytes) {
                Ok(token) => return Ok(token),
                Err(problem) => problem.to_owned(),
            },
            Err(error) => error.to_string(),
        };
        let detail = format!("the token {} cannot be used: {problem}", path.display());
        Err(Fault::new(Reason::NoIdentity, detail))
    }

    /// A token from what a file holds: white space around it is not part of it.
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() > MAX_TOKEN {
            return Err("larger than 64 KiB, which no token is");
        }
        let text = bytes.trim_ascii();
        if text.is_empty() {
            return Err("the file is empty");
        }
        let parts: Vec<_> = text.split(|byte| *byte == b'.').collect();
        if parts.len() != PARTS || !parts.iter().all(|part| is_base64url(part)) {
            return Err("no whole JWT (three parts of base64url between dots)");
        }
        let text = String::from_utf8(text.to_vec()).expect("base64url and dots are ASCII");
        Ok(Self(text))
    }

    /// `Bearer <token>`, marked so that no library shows or indexes it.
    pub(super) fn authorization(&self) -> HeaderValue {
        let text = format!("Bearer {}", self.0);
        let mut value = HeaderValue::try_from(text).expect("base64url and dots are ASCII");
        value.set_sensitive(true);
        value
    }

    /// `text` without the token or a part of it, should a peer send it back.
    pub(super) fn hidden_in(&self, text: &str) -> String {
        let parts = self.0.split('.').filter(|part| part.len() >= MIN_HIDDEN);
        parts.fold(text.to_owned(), |text, part| text.replace(part, "[token]"))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// Base64url without padding: a lone last character stands for no byte.
fn is_base64url(part: &[u8]) -> bool {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !part.is_empty() && part.len() % 4 != 1 && part.iter().all(known)
}

/// The content of a regular file, up to one byte more than a token may have; a pipe would never
/// end.
fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_TOKEN as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn white_space_around_a_token_is_not_part_of_it() {
        let token = Token::parse(b"\n aGVhZA.Ym9keQ.c2ln \r\n").expect("a token");
        assert_eq!(token.authorization().as_bytes(), b"Bearer aGVhZA.Ym9keQ.c2ln");
        assert!(token.authorization().is_sensitive());
    }

    #[test]
    fn what_was_written_only_in_part_is_no_token() {
        for text in ["", " \n", "aGVhZA", "aGVhZA.", "aGVhZA.Ym9keQ", "aGVhZA.Ym9keQ.", "a.b.c"] {
            assert!(Token::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        for text in ["aGVhZA.Ym9keQ.c2ln.c2ln", "aGVhZA.Ym9\nkeQ.c2ln", "aG VhZA.Ym9keQ.c2ln"] {
            assert!(Token::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(Token::parse(&vec![b'a'; MAX_TOKEN + 1]).is_err());
    }

    #[test]
    fn no_part_of_a_token_is_shown() {
        let token = Token::parse(b"aGVhZGhlYWQ.Ym9keWJvZHk.c2lnbmF0dXJl").expect("a token");
        assert_eq!(format!("{token:?}"), "Token(hidden)");
        let echoed = token.hidden_in("bad aGVhZGhlYWQ.Ym9keWJvZHk.c2lnbmF0dXJl, c2lnbmF0dXJl!");
        assert_eq!(echoed, "bad [token].[token].[token], [token]!");
    }

    proptest! {
        #[test]
        fn no_bytes_make_parsing_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(token) = Token::parse(&bytes) {
                token.authorization();
            }
        }
    }
}
