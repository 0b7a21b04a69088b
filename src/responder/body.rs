//! The body of an answer, all in memory. Knows nothing of what is in it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

/// A whole body, which may let the head of its response go first.
///
/// A head in a segment of its own gets through where full segments do not: then it says that
/// the request arrived, and that the way back is the broken one.
#[derive(Debug)]
pub(super) struct Reply {
    bytes: Full<Bytes>,
    after_head: bool,
}

impl Reply {
    /// `bytes`, in a segment behind the head's if `after_head`, else as the kernel packs them.
    pub(super) fn new(bytes: Full<Bytes>, after_head: bool) -> Self {
        Self { bytes, after_head }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // A server flushes what it has when its body is not ready.
        if std::mem::take(&mut self.after_head) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.bytes).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}
