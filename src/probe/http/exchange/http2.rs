//! HTTP/2 by h2 itself: hyper's client swallows why a connection ended, and wants tasks spawned.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Body;

use super::HEAD_LIMIT;
use crate::failure::{Fault, Reason};
use crate::probe::http::body::Sink;
use crate::probe::http::fault::{http2_fault, reset_fault};
use crate::probe::http::wire::{Watch, Wire};

/// Flow control windows that we grant: a body is read as it comes, so this is also what can lie
/// in memory.
const WINDOW: u32 = 256 * 1024;

/// A connection with the driver that moves its bytes.
pub(in crate::probe) struct Http2 {
    sender: h2::client::SendRequest<Bytes>,
    driver: h2::client::Connection<Wire, Bytes>,
    ended: Option<Result<(), h2::Error>>,
    watch: Watch,
}

impl Http2 {
    /// Begins HTTP/2 on `wire`. Nothing is awaited; over TLS the preface leaves with what follows.
    pub(in crate::probe) async fn begin(mut wire: Wire) -> Result<Self, Fault> {
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
        Ok(Self { sender, driver, ended: None, watch })
    }

    /// Whether the connection takes another stream.
    pub(in crate::probe) fn is_ready(&mut self, context: &mut Context<'_>) -> bool {
        matches!(self.sender.poll_ready(context), Poll::Ready(Ok(())))
    }

    /// Says GOAWAY, and waits for nothing.
    pub(in crate::probe) async fn close(self) {
        let Self { sender, mut driver, ended, .. } = self;
        drop(sender);
        if ended.is_none() {
            poll_fn(|context| {
                let _ = Pin::new(&mut driver).poll(context);
                Poll::Ready(())
            })
            .await;
        }
    }

    /// Moves what can be moved; whether the connection is over.
    pub(in crate::probe) fn drive(&mut self, context: &mut Context<'_>) -> bool {
        if self.ended.is_none()
            && let Poll::Ready(result) = Pin::new(&mut self.driver).poll(context)
        {
            self.ended = Some(result);
        }
        self.ended.is_some()
    }

    /// Sends `head` on a stream of its own, which stays open for data unless it is `bodiless`.
    pub(in crate::probe) fn send(
        &mut self,
        head: Request<()>,
        bodiless: bool,
    ) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), Fault> {
        self.sender.send_request(head, bodiless).map_err(|error| self.told(&error))
    }

    /// The head of a response, which an end of the connection fails.
    pub(in crate::probe) fn poll_head(
        &mut self,
        response: &mut h2::client::ResponseFuture,
        context: &mut Context<'_>,
    ) -> Poll<Result<Response<h2::RecvStream>, Fault>> {
        let over = self.drive(context);
        match Pin::new(response).poll(context) {
            Poll::Ready(result) => Poll::Ready(result.map_err(|error| self.told(&error))),
            Poll::Pending if over => Poll::Ready(Err(self.end())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The next data of a body, whose room is given back to the peer; `None` is its end.
    pub(in crate::probe) fn poll_data(
        &mut self,
        body: &mut h2::RecvStream,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Fault>>> {
        let over = self.drive(context);
        match body.poll_data(context) {
            Poll::Pending if over => Poll::Ready(Some(Err(self.end()))),
            Poll::Pending => Poll::Pending,
            Poll::Ready(data) => Poll::Ready(data.map(|data| {
                let data = data.map_err(|error| self.told(&error))?;
                // Refused only when the stream is already gone.
                let _ = body.flow_control().release_capacity(data.len());
                Ok(data)
            })),
        }
    }

    /// How many bytes of `wanted` a stream takes now, at least one; waits for the peer's window.
    pub(in crate::probe) fn poll_room(
        &mut self,
        stream: &mut h2::SendStream<Bytes>,
        wanted: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<usize, Fault>> {
        stream.reserve_capacity(wanted);
        let over = self.drive(context);
        let room = match stream.capacity() {
            0 => match stream.poll_capacity(context) {
                Poll::Ready(Some(room)) => room.map_err(|error| self.told(&error)),
                Poll::Ready(None) => Err(self.refused(stream, context)),
                Poll::Pending if over => Err(self.end()),
                Poll::Pending => return Poll::Pending,
            },
            room => Ok(room),
        };
        Poll::Ready(room.map(|room| room.min(wanted)))
    }

    /// Gives `data`, for which there is room, to a stream.
    pub(in crate::probe) fn put(
        &self,
        stream: &mut h2::SendStream<Bytes>,
        data: Bytes,
    ) -> Result<(), Fault> {
        stream.send_data(data, false).map_err(|error| self.told(&error))
    }

    /// Why a stream takes no more data.
    fn refused(&self, stream: &mut h2::SendStream<Bytes>, context: &mut Context<'_>) -> Fault {
        match stream.poll_reset(context) {
            Poll::Ready(Ok(reason)) => reset_fault(reason),
            Poll::Ready(Err(error)) => self.told(&error),
            Poll::Pending => self.end(),
        }
    }

    pub(super) async fn head(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<h2::RecvStream>, Fault> {
        let (head, body) = request.into_parts();
        let bodiless = body.is_end_stream();
        let (mut response, mut stream) = self.send(Request::from_parts(head, ()), bodiless)?;
        if !bodiless {
            let data = whole(body);
            stream.send_data(data, true).map_err(|error| self.told(&error))?;
        }
        poll_fn(|context| self.poll_head(&mut response, context)).await
    }

    pub(super) async fn read(
        &mut self,
        body: &mut h2::RecvStream,
        sink: &mut Sink<'_>,
    ) -> Result<u32, Fault> {
        while let Some(data) = poll_fn(|context| self.poll_data(body, context)).await {
            sink.push(&data?)?;
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

    /// How the connection failed, if it did.
    pub(super) fn fault(&self) -> Option<Fault> {
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
