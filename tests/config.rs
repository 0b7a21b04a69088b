//! The configuration: what is read, what is refused and with which words, what is printed.

#[path = "config/bad.rs"]
mod bad;
#[path = "config/controller_file.rs"]
mod controller_file;
#[path = "config/docs.rs"]
mod docs;
#[path = "config/good.rs"]
mod good;
#[path = "config/openslo.rs"]
mod openslo;
#[path = "config/random.rs"]
mod random;
#[path = "config/slos.rs"]
mod slos;
#[path = "config/watch.rs"]
mod watch;

use std::collections::BTreeMap;

use meshprobe::config::{self, Config};

/// Reads `text` in an empty environment.
fn parse(text: &str) -> Result<Config, Vec<String>> {
    config::parse(text, &BTreeMap::new())
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

/// The configuration of `text`, which must be good.
fn good(text: &str) -> Config {
    parse(text).unwrap_or_else(|mistakes| panic!("{}\n{text}", mistakes.join("\n")))
}
