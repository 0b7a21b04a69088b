//! Requests and responses on one connection, over HTTP/1.1 or HTTP/2.
//!
//! The connection is driven by whoever awaits its response, in the same task: no task is spawned,
//! and what happens on the wire happens inside the attempt that asked for it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};

use crate::failure::{Fault, Reason};
use crate::probe::http::body::Sink;
use crate::probe::http::fault::{http1_fault, http2_fault};
use crate::probe::http::wire::{Watch, Wire};

/// Bounds the head of an HTTP/1.1 response, and the decoded one of HTTP/2.
const HEAD_LIMIT: usize = 64 * 1024;

/// HTTP/2 flow control windows that we grant: a body is read as it comes, so this is also what
/// can lie in memory.
const WINDOW: u32 = 256 * 1024;

/// How long a peer may take to close after the last response on a connection.
const LINGER: Duration = Duration::from_millis(20);

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

pub(in crate::probe) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Option<http1::Connection<TokioIo<Wire>, Full<Bytes>>>,
    ended: Option<Result<(), hyper::Error>>,
}

pub(in crate::probe) struct Http2 {
    sender: h2::client::SendRequest<Bytes>,
    driver: h2::client::Connection<Wire, Bytes>,
    ended: Option<Result<(), h2::Error>>,
    watch: Watch,
}

impl Connection {
    /// Begins HTTP/1.1 on `wire`; nothing is sent.
    pub(in crate::probe) async fn http1(wire: Wire) -> Result<Self, Fault> {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(HEAD_LIMIT)
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|error| http1_fault(&error))?;
        Ok(Self::Http1(Box::new(Http1 { sender, driver: Some(driver), ended: None })))
    }

    /// Begins HTTP/2 on `wire`; the preface is sent, and nothing is awaited.
    pub(in crate::probe) async fn http2(mut wire: Wire) -> Result<Self, Fault> {
        wire.watch_frames();
        let watch = wire.watch();
        let (sender, driver) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(HEAD_LIMIT as u32)
            .handshake(wire)
            .await
            .map_err(|error| http2_fault(&error, watch.ended()))?;
        Ok(Self::Http2(Box::new(Http2 { sender, driver, ended: None, watch })))
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
        sink: &mut Sink,
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
            Self::Http1(connection) => match &connection.ended {
                Some(Err(error)) => Some(http1_fault(error)),
                Some(Ok(())) | None => None,
            },
            Self::Http2(connection) => connection.fault(),
        };
        failed.unwrap_or_else(|| Fault::new(Reason::Closed, "closed by the peer"))
    }

    /// Ends a connection whose last response is complete: over HTTP/1.1 by letting the peer
    /// close first, for a moment; over HTTP/2 by saying so.
    pub(in crate::probe) async fn close(self) {
        match self {
            Self::Http1(connection) => {
                if let Some(driver) = connection.driver {
                    let mut wire = driver.into_parts().io.into_inner();
                    let mut buffer = [0; 1024];
                    let drained =
                        async { while matches!(wire.read(&mut buffer).await, Ok(1..)) {} };
                    let _ = timeout_at(Instant::now() + LINGER, drained).await;
                }
            }
            Self::Http2(connection) => {
                let Http2 { sender, mut driver, .. } = *connection;
                drop(sender);
                poll_fn(|context| {
                    let _ = Pin::new(&mut driver).poll(context);
                    Poll::Ready(())
                })
                .await;
            }
        }
    }

    fn poll_idle(&mut self, context: &mut Context<'_>) -> bool {
        if self.drive(context) {
            return false;
        }
        match self {
            Self::Http1(connection) => connection.sender.is_ready(),
            Self::Http2(connection) => {
                matches!(connection.sender.poll_ready(context), Poll::Ready(Ok(())))
            }
        }
    }

    fn drive(&mut self, context: &mut Context<'_>) -> bool {
        match self {
            Self::Http1(connection) => connection.drive(context),
            Self::Http2(connection) => connection.drive(context),
        }
    }
}

impl Http1 {
    /// Moves what can be moved; whether the connection is over.
    fn drive(&mut self, context: &mut Context<'_>) -> bool {
        if self.ended.is_none()
            && let Some(driver) = &mut self.driver
            && let Poll::Ready(result) = Pin::new(driver).poll(context)
        {
            self.ended = Some(result);
        }
        self.ended.is_some()
    }

    async fn head(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Fault> {
        let mut response = pin!(self.sender.send_request(request));
        let result = poll_fn(|context| {
            let over = self.drive(context);
            match response.as_mut().poll(context) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                // The peer closed before the request was taken up: hyper calls that a good end.
                Poll::Pending if over => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        match result {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(http1_fault(&error)),
            None => Err(self.fault().unwrap_or_else(|| {
                Fault::new(Reason::Closed, "closed by the peer before the request")
            })),
        }
    }

    async fn read(&mut self, body: &mut Incoming, sink: &mut Sink) -> Result<u32, Fault> {
        let mut trailers = 0;
        while let Some(frame) = poll_fn(|context| self.poll_frame(body, context)).await? {
            match frame.into_data() {
                Ok(data) => sink.push(&data)?,
                Err(frame) => trailers += frame.trailers_ref().map_or(0, |all| all.len() as u32),
            }
        }
        Ok(trailers)
    }

    fn poll_frame(
        &mut self,
        body: &mut Incoming,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<hyper::body::Frame<Bytes>>, Fault>> {
        // The first poll says that the body is wanted, the second takes what came of that.
        for last in [false, true] {
            match Pin::new(&mut *body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Ok(Some(frame))),
                Poll::Ready(Some(Err(error))) => {
                    let fault = http1_fault(&error);
                    let told = fault.reason != Reason::Unclassified;
                    let cause = if told { None } else { self.fault() };
                    return Poll::Ready(Err(cause.unwrap_or(fault)));
                }
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending if last => {}
                Poll::Pending => {
                    if self.drive(context) {
                        // Without its driver the body ends one way or the other.
                        self.driver = None;
                    }
                }
            }
        }
        Poll::Pending
    }

    fn fault(&self) -> Option<Fault> {
        match &self.ended {
            Some(Err(error)) => Some(http1_fault(error)),
            Some(Ok(())) | None => None,
        }
    }
}

impl Http2 {
    fn drive(&mut self, context: &mut Context<'_>) -> bool {
        if self.ended.is_none()
            && let Poll::Ready(result) = Pin::new(&mut self.driver).poll(context)
        {
            self.ended = Some(result);
        }
        self.ended.is_some()
    }

    async fn head(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<h2::RecvStream>, Fault> {
        let (head, body) = request.into_parts();
        let bodiless = body.is_end_stream();
        let sent = self.sender.send_request(Request::from_parts(head, ()), bodiless);
        let (mut response, mut stream) = sent.map_err(|error| self.told(&error))?;
        if !bodiless {
            let data = whole(body);
            stream.send_data(data, true).map_err(|error| self.told(&error))?;
        }
        poll_fn(|context| {
            let over = self.drive(context);
            match Pin::new(&mut response).poll(context) {
                Poll::Ready(result) => Poll::Ready(result.map_err(|error| self.told(&error))),
                Poll::Pending if over => Poll::Ready(Err(self.end())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    async fn read(&mut self, body: &mut h2::RecvStream, sink: &mut Sink) -> Result<u32, Fault> {
        while let Some(data) = poll_fn(|context| {
            let over = self.drive(context);
            match body.poll_data(context) {
                Poll::Pending if over => Poll::Ready(Some(Err(self.end()))),
                Poll::Pending => Poll::Pending,
                Poll::Ready(data) => {
                    Poll::Ready(data.map(|data| data.map_err(|error| self.told(&error))))
                }
            }
        })
        .await
        {
            let data = data?;
            // Refused only when the stream is already gone.
            let _ = body.flow_control().release_capacity(data.len());
            sink.push(&data)?;
        }
        let trailers = poll_fn(|context| {
            let over = self.drive(context);
            match body.poll_trailers(context) {
                Poll::Pending if over => Poll::Ready(Err(self.end())),
                Poll::Pending => Poll::Pending,
                Poll::Ready(result) => Poll::Ready(result.map_err(|error| self.told(&error))),
            }
        })
        .await?;
        Ok(trailers.map_or(0, |all| all.len() as u32))
    }

    /// Tells an error of a stream, by that of the connection where it has only "broken pipe".
    fn told(&self, error: &h2::Error) -> Fault {
        match self.fault() {
            Some(fault) if error.is_io() => fault,
            Some(_) | None => http2_fault(error, self.watch.ended()),
        }
    }

    fn end(&self) -> Fault {
        let closed = || Fault::new(Reason::Closed, "closed by the peer");
        self.fault().or_else(|| self.watch.ended()).unwrap_or_else(closed)
    }

    fn fault(&self) -> Option<Fault> {
        match &self.ended {
            Some(Err(error)) => Some(http2_fault(error, self.watch.ended())),
            Some(Ok(())) | None => None,
        }
    }
}

/// The bytes of a body that is in memory as a whole.
fn whole(mut body: Full<Bytes>) -> Bytes {
    let mut context = Context::from_waker(std::task::Waker::noop());
    match Pin::new(&mut body).poll_frame(&mut context) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        Poll::Ready(Some(Err(never))) => match never {},
        Poll::Ready(None) | Poll::Pending => Bytes::new(),
    }
}
