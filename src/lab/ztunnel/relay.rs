//! Bytes between two connections, until both directions have ended.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::state::Setting;

const BUFFER: usize = 16 * 1024;

/// Relays between a connection of this node and one that leaves it.
///
/// Each direction ends by itself, and its end is passed on; errors count as ends. What goes out
/// stalls as [`super::Condition::stall_after`] says.
pub(super) async fn relay<L, O>(local: L, outside: O, setting: watch::Receiver<Setting>)
where
    L: AsyncRead + AsyncWrite,
    O: AsyncRead + AsyncWrite,
{
    let (mut local_read, mut local_write) = tokio::io::split(local);
    let (mut outside_read, mut outside_write) = tokio::io::split(outside);
    let path = Path { setting, sent: AtomicU64::new(0) };
    let out = async {
        let mut buffer = vec![0; BUFFER];
        while let Ok(length @ 1..) = local_read.read(&mut buffer).await {
            let arrives = path.admit(length);
            if outside_write.write_all(&buffer[..arrives]).await.is_err() {
                break;
            }
            if arrives < length {
                path.healed().await;
                if outside_write.write_all(&buffer[arrives..length]).await.is_err() {
                    break;
                }
            }
        }
        let _ = outside_write.shutdown().await;
    };
    let back = async {
        let mut buffer = vec![0; BUFFER];
        while let Ok(length @ 1..) = outside_read.read(&mut buffer).await {
            path.sent.store(0, Ordering::Relaxed);
            if local_write.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
        let _ = local_write.shutdown().await;
    };
    tokio::join!(out, back);
}

/// The way out of this node.
struct Path {
    setting: watch::Receiver<Setting>,
    /// Bytes that went out since the other side last said something.
    sent: AtomicU64,
}

impl Path {
    /// How many of the next `length` bytes arrive.
    fn admit(&self, length: usize) -> usize {
        let sent = self.sent.fetch_add(length as u64, Ordering::Relaxed);
        let limit = self.setting.borrow().condition.stall_after;
        let left = limit.map(|limit| limit.saturating_sub(sent));
        left.map_or(length, |left| usize::try_from(left).unwrap_or(usize::MAX).min(length))
    }

    /// Waits until nothing stalls any more.
    async fn healed(&self) {
        let healthy = |setting: &Setting| setting.condition.stall_after.is_none();
        // An error means that the stand-in is gone, and this connection with it.
        let _ = self.setting.clone().wait_for(healthy).await;
    }
}
