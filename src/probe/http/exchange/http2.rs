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
use crate::probe::http::fault::http2_fault;
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
    pub(super) async fn begin(mut wire: Wire) -> Result<Self, Fault> {
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
    pub(super) fn is_ready(&mut self, context: &mut Context<'_>) -> bool {
        matches!(self.sender.poll_ready(context), Poll::Ready(Ok(())))
    }

    /// Says GOAWAY, and waits for nothing.
    pub(super) async fn close(self) {
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
    pub(super) fn drive(&mut self, context: &mut Context<'_>) -> bool {
        if self.ended.is_none()
            && let Poll::Ready(result) = Pin::new(&mut self.driver).poll(context)
        {
            self.ended = Some(result);
        }
        self.ended.is_some()
    }

    pub(super) async fn head(
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

    pub(super) async fn read(
        &mut self,
        body: &mut h2::RecvStream,
        sink: &mut Sink,
    ) -> Result<u32, Fault> {
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
