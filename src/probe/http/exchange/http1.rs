//! HTTP/1.1 by hyper.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};

use super::HEAD_LIMIT;
use crate::failure::{Fault, Reason};
use crate::probe::http::body::Sink;
use crate::probe::http::fault::http1_fault;
use crate::probe::http::wire::Wire;

/// How long a peer may take to close after the last response on a connection.
const LINGER: Duration = Duration::from_millis(20);

/// A connection with the driver that moves its bytes.
pub(in crate::probe) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Option<http1::Connection<TokioIo<Wire>, Full<Bytes>>>,
    ended: Option<Result<(), hyper::Error>>,
}

impl Http1 {
    pub(super) async fn begin(wire: Wire) -> Result<Self, Fault> {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(HEAD_LIMIT)
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|error| http1_fault(&error))?;
        Ok(Self { sender, driver: Some(driver), ended: None })
    }

    /// Whether the connection awaits a request.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits for the peer to close, for a moment.
    pub(super) async fn close(self) {
        let Some(driver) = self.driver else { return };
        let mut wire = driver.into_parts().io.into_inner();
        let mut buffer = [0; 1024];
        let drained = async { while matches!(wire.read(&mut buffer).await, Ok(1..)) {} };
        let _ = timeout_at(Instant::now() + LINGER, drained).await;
    }

    /// Moves what can be moved; whether the connection is over.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) -> bool {
        if self.ended.is_none()
            && let Some(driver) = &mut self.driver
            && let Poll::Ready(result) = Pin::new(driver).poll(context)
        {
            self.ended = Some(result);
        }
        self.ended.is_some()
    }

    pub(super) async fn head(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Fault> {
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

    pub(super) async fn read(
        &mut self,
        body: &mut Incoming,
        sink: &mut Sink<'_>,
    ) -> Result<u32, Fault> {
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
    ) -> Poll<Result<Option<Frame<Bytes>>, Fault>> {
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

    /// How the connection failed, if it did.
    pub(super) fn fault(&self) -> Option<Fault> {
        match &self.ended {
            Some(Err(error)) => Some(http1_fault(error)),
            Some(Ok(())) | None => None,
        }
    }
}
