//! Follows the file with the channel's key: a new Secret is taken up without a restart.
//!
//! Connections that were made with the old key stay: agents get the new one when their kubelet
//! delivers it, each at its own time, and a fleet that had to dial again would wait for the last.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::channel::{Key, Lock};
use crate::config::Watch;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Has `lock` go by the key in the file at `path`, which is `held` now, until `stop`. A file that
/// is no key is told, and the old key goes on.
pub(super) async fn run(path: PathBuf, held: Key, lock: Lock, stop: CancellationToken) {
    let mut watch = Watch::new(path.clone(), LOOK);
    // It may have changed since it was read at the start.
    let mut held = take_up(&path, held, &lock);
    loop {
        // What it says of the file's text is not used: a key need not be text.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = watch.changed() => held = take_up(&path, held, &lock),
        }
    }
}

fn take_up(path: &Path, held: Key, lock: &Lock) -> Key {
    match Key::load(path) {
        Ok(key) if key == held => held,
        Ok(key) => {
            lock.rekey(Some(&key));
            tracing::info!(path = %path.display(), "a new key holds for connections from now on");
            key
        }
        Err(error) => {
            tracing::error!(%error, "channel.key: the old key goes on");
            held
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::time::Instant;

    use super::*;
    use crate::channel::{Bounds, Dialer, Fault, Listener, Peer};

    /// Longer than a look, its settling and a handshake take on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    async fn dial(address: SocketAddr, key: &Key) -> Result<Peer, Fault> {
        let deadline = Instant::now() + PATIENCE;
        Dialer::new().expect("a socket").dial(address, Some(key), deadline).await
    }

    #[tokio::test]
    async fn a_new_key_in_the_file_lets_in_who_holds_it_and_garbage_changes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("writable");
            path
        };
        let path = write("key", "a".repeat(44));
        let old = Key::load(&path).expect("a key");
        let new = Key::load(&write("other", "b".repeat(44))).expect("a key");
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(free, Some(&old), Bounds::default()).expect("loopback");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let following = run(path.clone(), old.clone(), listener.lock(), stop.clone());
        let following = tokio::spawn(following);
        let early = dial(address, &old).await.expect("the old key");

        write("key", "short".to_owned());
        // The next change is seen after this one.
        write("key", "b".repeat(44));
        let deadline = Instant::now() + PATIENCE;
        while dial(address, &new).await.is_err() {
            assert!(Instant::now() < deadline, "the new key is not taken up");
            tokio::task::yield_now().await;
        }
        let refused = dial(address, &old).await;
        assert!(matches!(refused, Err(Fault::Key(_))), "{refused:?}");
        assert!(early.is_open(), "who was in stays in");
        stop.cancel();
        following.await.expect("no panic");
    }

    #[test]
    fn a_file_that_is_no_key_leaves_the_old_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let _inside = runtime.enter();
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "a".repeat(44)).expect("writable");
        let held = Key::load(file.path()).expect("a key");
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(free, Some(&held), Bounds::default()).expect("loopback");
        std::fs::write(file.path(), "short").expect("writable");
        assert_eq!(take_up(file.path(), held.clone(), &listener.lock()), held);
    }
}
