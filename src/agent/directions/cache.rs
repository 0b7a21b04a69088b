//! The last good plan on disk, for an agent that starts while no controller can be reached.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::config::MAX_PLAN_BYTES;

/// The plan in the cache at `path`; `None` when there is no such file.
pub(in crate::agent) fn kept(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MAX_PLAN_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Keeps `text` at `path`, as a whole or not at all: a reader never sees half of it.
pub(in crate::agent) fn keep(path: &Path, text: &str) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_last_is_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("plan.json");
        assert_eq!(kept(&path).expect("no file is no error"), None);
        keep(&path, "one").expect("writable");
        keep(&path, "two").expect("writable");
        assert_eq!(kept(&path).expect("readable").as_deref(), Some("two"));
        assert_eq!(std::fs::read_dir(directory.path()).expect("readable").count(), 1);
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), b"\xff\xfe").expect("writable");
        assert!(kept(file.path()).is_err());
    }
}
