//! What a controller would answer of this mesh: `/v1/diagnoses`, `/v1/flows`, `/v1/gate/strict`.
//!
//! Each question goes to the task that hears the lab, so that nothing is shared.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::net::http::serve as serve_http;

/// Connections at once.
const CONNECTIONS: u32 = 16;
/// Questions that wait.
const WAITING: usize = 16;

/// What is asked.
#[derive(Debug)]
pub(super) enum Ask {
    /// What is broken.
    Diagnoses,
    /// Who calls whom without mTLS.
    Flows,
    /// Whether STRICT is safe, by the query of the request.
    Gate(String),
}

/// A question, and where its answer in JSON goes.
pub(super) type Question = (Ask, oneshot::Sender<String>);

/// Serves until `stop`; questions come out of the receiver.
pub(super) fn serve(
    listener: TcpListener,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> mpsc::Receiver<Question> {
    let (asking, asked) = mpsc::channel(WAITING);
    let answer = move |request: Request<Incoming>| {
        let asking = asking.clone();
        async move { answered(&request, asking).await }
    };
    tasks.spawn(serve_http(listener, CONNECTIONS, answer, stop, tasks.clone()));
    asked
}

async fn answered(
    request: &Request<Incoming>,
    asking: mpsc::Sender<Question>,
) -> Response<Full<Bytes>> {
    let ask = match request.uri().path() {
        "/v1/diagnoses" => Ask::Diagnoses,
        "/v1/flows" => Ask::Flows,
        "/v1/gate/strict" => Ask::Gate(request.uri().query().unwrap_or_default().to_owned()),
        path => return reply(StatusCode::NOT_FOUND, format!("{path}: nothing is here\n")),
    };
    if request.method() != Method::GET {
        return reply(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    let (answering, answer) = oneshot::channel();
    let asked = asking.send((ask, answering)).await;
    match (asked, answer.await) {
        (Ok(()), Ok(json)) => {
            let mut reply = reply(StatusCode::OK, json);
            let kind = "application/json".parse().expect("a valid value");
            reply.headers_mut().insert(CONTENT_TYPE, kind);
            reply
        }
        _ => reply(StatusCode::SERVICE_UNAVAILABLE, "the lab is ending\n".to_owned()),
    }
}

fn reply(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply
}
