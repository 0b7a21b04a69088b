//! `meshprobe lab` as a process of its own, until it is dropped.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A lab that serves the API of a controller.
pub(crate) struct Lab {
    process: Child,
    /// Where, as `http://ADDRESS:PORT`.
    pub(crate) url: String,
}

impl Lab {
    /// One with an attempt of each target every 500 ms; `flags` say the rest.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_meshprobe"))
            .args(["lab", "--interval", "500ms", "--listen", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary");
        let shown = BufReader::new(process.stdout.take().expect("piped"));
        let mut lines = shown.lines().map_while(Result::ok);
        let found = lines.by_ref().take(20).find_map(|line| {
            let (_, url) = line.split_once("A controller's API is on ")?;
            Some(url.trim_end_matches('.').to_owned())
        });
        // It goes on telling, and would end if nobody read it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url: found.expect("it says where") }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
