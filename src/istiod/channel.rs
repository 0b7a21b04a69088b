//! What tonic calls over: requests and responses on one HTTP/2 connection.
//!
//! No task is spawned: whoever awaits a call drives the connection, and moves its request too.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Frame;
use tonic::body::Body;
use tonic::codegen::Service;

use crate::istiod::fault::Broken;

/// The service below tonic's client. Of several calls only the last one's request is moved.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    sender: h2::client::SendRequest<Bytes>,
    call: Arc<Call>,
}

/// The call under way.
#[derive(Debug, Default)]
pub(super) struct Call {
    request: Mutex<Option<Outgoing>>,
    /// The peer itself said that the call failed.
    refused: AtomicBool,
}

/// A request whose messages are still to be sent.
#[derive(Debug)]
struct Outgoing {
    body: Body,
    stream: h2::SendStream<Bytes>,
}

/// The messages of a response.
#[derive(Debug)]
pub(super) struct Incoming {
    stream: h2::RecvStream,
    data_ended: bool,
    call: Arc<Call>,
}

impl Channel {
    pub(super) fn new(sender: h2::client::SendRequest<Bytes>) -> (Self, Arc<Call>) {
        let call = Arc::<Call>::default();
        (Self { sender, call: Arc::clone(&call) }, call)
    }
}

impl Call {
    /// Whether the status of the last call is the peer's own word.
    pub(super) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Hands the request's messages to the connection; ready when all of it is there.
    ///
    /// Nothing waits for flow control: what we send is small.
    pub(super) fn poll_sent(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut request = self.request.lock().expect("no panic while held");
        let Some(outgoing) = request.as_mut() else { return Poll::Ready(()) };
        ready!(outgoing.poll_sent(context));
        *request = None;
        Poll::Ready(())
    }

    fn begin(&self, outgoing: Outgoing) {
        self.refused.store(false, Ordering::Relaxed);
        *self.request.lock().expect("no panic while held") = Some(outgoing);
    }

    fn look(&self, status: StatusCode, fields: &HeaderMap) {
        let told = fields.get("grpc-status").is_some_and(|code| code.as_bytes() != b"0");
        if told || status != StatusCode::OK {
            self.refused.store(true, Ordering::Relaxed);
        }
    }
}

impl Outgoing {
    fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<()> {
        use hyper::body::Body as _;
        loop {
            // A stream that is gone takes nothing more: the response tells why.
            let taken = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.stream.send_data(data, false).is_ok(),
                    Err(_) => true,
                },
                Some(Err(_)) => {
                    self.stream.send_reset(h2::Reason::CANCEL);
                    false
                }
                None => {
                    let _ = self.stream.send_data(Bytes::new(), true);
                    false
                }
            };
            if !taken {
                return Poll::Ready(());
            }
        }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Broken>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.sender.poll_ready(context).map_err(Broken)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (head, body) = request.into_parts();
        let sent = self.sender.send_request(Request::from_parts(head, ()), false);
        let call = Arc::clone(&self.call);
        Box::pin(async move {
            let (response, stream) = sent.map_err(Broken)?;
            call.begin(Outgoing { body, stream });
            let response = response.await.map_err(Broken)?;
            call.look(response.status(), response.headers());
            Ok(response.map(|stream| Incoming { stream, data_ended: false, call }))
        })
    }
}

impl hyper::body::Body for Incoming {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if !self.data_ended {
            if let Some(data) = ready!(self.stream.poll_data(context)) {
                let data = data.map_err(Broken)?;
                // Refused only when the stream is already gone.
                let _ = self.stream.flow_control().release_capacity(data.len());
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.data_ended = true;
        }
        let trailers = ready!(self.stream.poll_trailers(context)).map_err(Broken)?;
        Poll::Ready(trailers.map(|trailers| {
            self.call.look(StatusCode::OK, &trailers);
            Ok(Frame::trailers(trailers))
        }))
    }
}
