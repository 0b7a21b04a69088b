//! The mesh's roots from their file, which changes while we run.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::config::{self, Watch};
use crate::identity::Status;
use crate::tls::Mesh;

/// The text of the trust bundle; a pipe would never end.
pub(super) fn read(path: &Path) -> io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    config::read(path)
}

/// Trusts what each change of the bundle says, and notifies `trusted`; runs until it is dropped.
pub(super) async fn follow(
    mut watch: Watch,
    mesh: Arc<Mesh>,
    status: Arc<watch::Sender<Status>>,
    trusted: Arc<Notify>,
) {
    loop {
        let changed = watch.changed().await;
        if take(&mesh, &status, changed) {
            trusted.notify_one();
        }
    }
}

/// Trusts the roots in `text` from now on; whether it does. What is broken changes no trust.
pub(super) fn take(mesh: &Mesh, status: &watch::Sender<Status>, text: io::Result<String>) -> bool {
    let text = text.map_err(|error| error.to_string());
    let trusted = text.and_then(|text| mesh.trust(text.as_bytes()));
    match &trusted {
        Ok(roots) => tracing::info!(roots, "the mesh's roots are read"),
        Err(problem) => {
            let trusted = mesh.roots_count();
            tracing::warn!(problem, trusted, "the mesh's roots cannot be read: the old ones stay");
        }
    }
    status.send_modify(|status| {
        status.roots = mesh.roots_count();
        status.roots_problem = trusted.as_ref().err().cloned();
    });
    trusted.is_ok()
}
