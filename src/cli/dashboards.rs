//! `meshprobe dashboards`: what Grafana shows, as files.

use std::fs;
use std::io::Write;

use anyhow::Context;

use crate::cli::Exit;
use crate::cli::flags::DashboardsFlags;
use crate::dashboards::{Dashboard, dashboards};

/// Writes every dashboard, and tells its path on `out`.
pub(crate) fn run(flags: &DashboardsFlags, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let folder = &flags.out;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for Dashboard { uid, json } in dashboards(&flags.runbooks) {
        let path = folder.join(format!("{uid}.json"));
        fs::write(&path, json).with_context(|| path.display().to_string())?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(Exit::Met)
}
