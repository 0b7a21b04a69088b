//! Requests and responses on one connection, over HTTP/1.1 or HTTP/2.
//!
//! The connection is driven by whoever awaits its response, in the same task: no task is spawned,
//! and what happens on the wire happens inside the attempt that asked for it.

mod http1;
mod http2;

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::failure::{Fault, Reason};
use crate::probe::http::body::Sink;
use crate::probe::http::wire::Wire;
use http1::Http1;
pub(in crate::probe) use http2::Http2;

/// Bounds the head of an HTTP/1.1 response, and the decoded one of HTTP/2.
const HEAD_LIMIT: usize = 64 * 1024;

/// A connection that speaks HTTP.
pub(in crate::probe) enum Connection {
    /// HTTP/1.1.
    Http1(Box<Http1>),
    /// HTTP/2.
    Http2(Box<Http2>),
}

/// The body of a response that is still to be read.
pub(in crate::probe) enum Reply {
    /// Over HTTP/1.1.
    Http1(Incoming),
    /// Over HTTP/2.
    Http2(h2::RecvStream),
}

impl Connection {
    /// Begins HTTP/1.1 on `wire`; nothing is sent.
    pub(in crate::probe) async fn http1(wire: Wire) -> Result<Self, Fault> {
        Ok(Self::Http1(Box::new(Http1::begin(wire).await?)))
    }

    /// Begins HTTP/2 on `wire`; the preface is sent, and nothing is awaited.
    pub(in crate::probe) async fn http2(wire: Wire) -> Result<Self, Fault> {
        Ok(Self::Http2(Box::new(Http2::begin(wire).await?)))
    }

    /// Sends `request` and awaits the head of its response.
    pub(in crate::probe) async fn head(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Reply>, Fault> {
        match self {
            Self::Http1(connection) => Ok(connection.head(request).await?.map(Reply::Http1)),
            Self::Http2(connection) => Ok(connection.head(request).await?.map(Reply::Http2)),
        }
    }

    /// Reads a body to its end into `sink`; returns the number of trailer fields.
    pub(in crate::probe) async fn read(
        &mut self,
        reply: &mut Reply,
        sink: &mut Sink<'_>,
    ) -> Result<u32, Fault> {
        match (self, reply) {
            (Self::Http1(connection), Reply::Http1(body)) => connection.read(body, sink).await,
            (Self::Http2(connection), Reply::Http2(body)) => connection.read(body, sink).await,
            (Self::Http1(_), Reply::Http2(_)) | (Self::Http2(_), Reply::Http1(_)) => {
                unreachable!("a reply is read on the connection that it came on")
            }
        }
    }

    /// Whether another request could be sent now. Looks at what arrived meanwhile.
    pub(in crate::probe) async fn is_ready(&mut self) -> bool {
        poll_fn(|context| Poll::Ready(self.poll_idle(context))).await
    }

    /// Completes when the peer ends an idle connection, with how it did.
    pub(in crate::probe) async fn ended(&mut self) -> Fault {
        poll_fn(|context| if self.drive(context) { Poll::Ready(()) } else { Poll::Pending }).await;
        let failed = match self {
            Self::Http1(connection) => connection.fault(),
            Self::Http2(connection) => connection.fault(),
        };
        failed.unwrap_or_else(|| Fault::new(Reason::Closed, "closed by the peer"))
    }

    /// Ends a connection whose last response is complete: over HTTP/1.1 by letting the peer
    /// close first, for a moment; over HTTP/2 by saying so.
    pub(in crate::probe) async fn close(self) {
        match self {
            Self::Http1(connection) => connection.close().await,
            Self::Http2(connection) => connection.close().await,
        }
    }

    fn poll_idle(&mut self, context: &mut Context<'_>) -> bool {
        if self.drive(context) {
            return false;
        }
        match self {
            Self::Http1(connection) => connection.is_ready(),
            Self::Http2(connection) => connection.is_ready(context),
        }
    }

    fn drive(&mut self, context: &mut Context<'_>) -> bool {
        match self {
            Self::Http1(connection) => connection.drive(context),
            Self::Http2(connection) => connection.drive(context),
        }
    }
}
