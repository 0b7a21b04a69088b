//! One HTTP request to a controller from outside the cluster, through the API's port-forward.
//!
//! Not the API server's service proxy: its request would come from the control plane's network,
//! which a STRICT mesh or a NetworkPolicy denies, while a port-forward is dialled by kubelet
//! inside the pod. It needs the verbs `list` on `pods`, and `create` (API servers since 1.35) and
//! `get` (older ones) on `pods/portforward`.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Portforwarder};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use crate::discovery::access::Client;
use crate::discovery::fault::ApiFault;
use crate::discovery::reduce;
use crate::discovery::text::line;

/// Selects controllers.
const CONTROLLERS: &str = "app.kubernetes.io/name=meshprobe,app.kubernetes.io/component=controller";
/// How many controllers are tried.
const MOST_TRIES: usize = 3;
/// How many pods are looked at.
const MOST_PODS: u32 = 50;

/// What is asked, and how much of it is waited for and taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The controllers' namespace.
    pub namespace: String,
    /// The port that they listen on.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// How long everything may take.
    pub timeout: Duration,
    /// The largest body that is taken, in bytes.
    pub most: usize,
}

/// Why there is no answer of a controller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForwardFault {
    /// No ready controller.
    #[error("no ready pod of {CONTROLLERS} in namespace {0}: is meshprobe installed there?")]
    NoController(String),
    /// The API server would not help.
    #[error(transparent)]
    Api(#[from] ApiFault),
    /// The path cannot be asked for.
    #[error("{0:?} is not a path")]
    BadPath(String),
    /// The way to the pod's port broke.
    #[error("port-forward to pod {pod}: {message}")]
    Broken {
        /// The pod.
        pod: String,
        /// What happened.
        message: String,
    },
    /// The body is larger than was wanted.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// Not all of it came within this time.
    #[error("no complete answer within {0:?}")]
    Timeout(Duration),
}

/// Asks a ready controller; another one if the way to the first is broken. Any status is an answer.
pub async fn get(client: &Client, ask: &Ask) -> Result<Response<Bytes>, ForwardFault> {
    let deadline = Instant::now() + ask.timeout;
    let result = timeout_at(deadline, first_answer(client, ask)).await;
    result.unwrap_or(Err(ForwardFault::Timeout(ask.timeout)))
}

async fn first_answer(client: &Client, ask: &Ask) -> Result<Response<Bytes>, ForwardFault> {
    let api = Api::<Pod>::namespaced(client.0.clone(), &ask.namespace);
    let parameters = ListParams::default().labels(CONTROLLERS).limit(MOST_PODS);
    let pods = api.list(&parameters).await.map_err(ApiFault::from)?;
    let ready = pods.items.into_iter().filter_map(reduce::pod).filter(|pod| pod.pod.ready);
    let mut fault = ForwardFault::NoController(ask.namespace.clone());
    for pod in ready.take(MOST_TRIES) {
        match forwarded(&api, &pod.pod.name, ask).await {
            Err(broken @ (ForwardFault::Broken { .. } | ForwardFault::Api(_))) => fault = broken,
            answered => return answered,
        }
    }
    Err(fault)
}

async fn forwarded(api: &Api<Pod>, pod: &str, ask: &Ask) -> Result<Response<Bytes>, ForwardFault> {
    let forward = api.portforward(pod, &[ask.port]).await;
    let mut forward = Forward(forward.map_err(ApiFault::from)?);
    let stream = forward.0.take_stream(ask.port).expect("the port that was asked for");
    let error = forward.0.take_error(ask.port).expect("the port that was asked for");
    let mut error = std::pin::pin!(error);
    let answered = tokio::select! {
        // kubelet tells that it could not dial, and then leaves the stream open.
        Some(told) = &mut error => Err(Unanswered::Broken(line(&told))),
        answered = exchange(stream, ask) => answered,
    };
    answered.map_err(|why| match why {
        Unanswered::Broken(message) => ForwardFault::Broken { pod: pod.to_owned(), message },
        Unanswered::TooLarge => ForwardFault::TooLarge(ask.most),
        Unanswered::BadPath => ForwardFault::BadPath(line(&ask.path)),
    })
}

/// A port-forward; nothing of it goes on when it is dropped.
struct Forward(Portforwarder);

impl Drop for Forward {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Unanswered {
    Broken(String),
    TooLarge,
    BadPath,
}

/// One exchange over a stream that somebody opened.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ask: &Ask,
) -> Result<Response<Bytes>, Unanswered> {
    let broken = |error: &dyn std::error::Error| Unanswered::Broken(line(&error.to_string()));
    let request = Request::get(&ask.path)
        .header(header::HOST, format!("localhost:{}", ask.port))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| Unanswered::BadPath)?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ask.most).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { Unanswered::TooLarge } else { broken(&*error) }
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    // Both in this task: when the caller gives up, nothing goes on.
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(broken(&error)),
        },
    }
}
