//! Certificate after certificate, for as long as it runs.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::identity::issue::Issuer;
use crate::identity::{Certificate, Status, rhythm};
use crate::tls::Credential;

/// How long one attempt may take in all.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Obtains a certificate, renews it at half of its life, and tries again after failures, more and
/// more seldom; runs until it is dropped.
///
/// When `trusted` says that the roots are others, there is no waiting after a failure, nor with a
/// certificate that does not stand under them.
pub(super) async fn run(issuer: Issuer, status: Arc<watch::Sender<Status>>, trusted: Arc<Notify>) {
    let mut failures = 0;
    loop {
        let obtained = issuer.obtain(Instant::now() + ATTEMPT_TIMEOUT).await;
        let wait = match &obtained {
            Ok(credential) => {
                failures = 0;
                rhythm::until_renewal(credential.not_after, SystemTime::now(), random())
            }
            Err(_) => {
                failures += 1;
                rhythm::until_retry(failures, random())
            }
        };
        tell(&status, &obtained, wait);
        let next = Instant::now() + wait;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => break,
                () = trusted.notified() => if failures > 0 || !issuer.stands() { break },
            }
        }
    }
}

fn tell(
    status: &watch::Sender<Status>,
    obtained: &Result<Arc<Credential>, Failure>,
    wait: Duration,
) {
    match obtained {
        Ok(credential) => {
            let (id, end) = (&credential.spiffe_id, credential.not_after);
            tracing::info!(spiffe_id = ?id, not_after = ?end, next = ?wait, "mesh certificate obtained");
            status.send_modify(|status| {
                status.certificate = Some(Certificate::of(credential));
                status.renewals += 1;
                status.last_failure = None;
            });
        }
        Err(failure) => {
            tracing::warn!(%failure, next = ?wait, "no mesh certificate obtained");
            status.send_modify(|status| {
                status.failed_renewals += 1;
                status.last_failure = Some(failure.clone());
            });
        }
    }
}

/// From 0 to 1; the standard library seeds its hashers at random.
fn random() -> f64 {
    let word = RandomState::new().hash_one(0);
    (word >> 11) as f64 / (1u64 << 53) as f64
}
