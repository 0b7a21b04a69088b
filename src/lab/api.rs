//! What a controller would answer of this mesh: its page, `/v1/diagnoses`, `/v1/flows`,
//! `/v1/gate/strict`, `/v1/slo`, `/metrics`; and where agents are, for a Prometheus to find them.
//!
//! Each question goes to the task that hears the lab, so that nothing is shared.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gate::answer::Ask;
use crate::gate::{Report, Scope};
use crate::lab::gate::SETTINGS;
use crate::net::http::serve as serve_http;
use crate::observation::Observation;
use crate::page::{Known, PageBody, Pages, Past, Source, Whose};

/// Connections at once: a browser takes a few for each page that it shows.
const CONNECTIONS: u32 = 64;
/// Questions that wait.
const WAITING: usize = 64;
const INDEX: &str = "meshprobe lab\n\n/\n/v1/diagnoses\n/v1/flows\n/v1/gate/strict?namespace=\n\
                     /v1/slo\n/metrics\n/prometheus/targets\n";

/// The text format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is asked, and where the answer goes.
#[derive(Debug)]
pub(super) enum Question {
    /// What is broken, in JSON.
    Diagnoses(oneshot::Sender<String>),
    /// What became of SLOs, in JSON.
    Slos(oneshot::Sender<String>),
    /// Who calls whom without mTLS, in JSON.
    Flows(oneshot::Sender<String>),
    /// Incidents and the gate, in the text format of Prometheus.
    Metrics(oneshot::Sender<String>),
    /// Where agents serve their metrics, as Prometheus's HTTP service discovery reads it.
    Targets(oneshot::Sender<String>),
    /// Whether STRICT is safe.
    Gate(Ask, oneshot::Sender<Report>),
    /// What a page is made from.
    Known(oneshot::Sender<Known>),
    /// The last attempts of some paths, each as a window of its own.
    Attempts(Whose, oneshot::Sender<Vec<Observation>>),
}

/// Whom questions are put to.
#[derive(Debug, Clone)]
struct Lab(mpsc::Sender<Question>);

/// Why there is no answer.
const ENDING: &str = "the lab is ending";

/// Serves until `stop`; questions come out of the receiver.
pub(super) fn serve(
    listener: TcpListener,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> mpsc::Receiver<Question> {
    let (asking, asked) = mpsc::channel(WAITING);
    let lab = Lab(asking);
    let pages = Arc::new(Pages::new(lab.clone(), tasks.clone(), stop.clone()));
    let answer = move |request: Request<Incoming>| {
        let (lab, pages) = (lab.clone(), Arc::clone(&pages));
        async move { answered(&request, &lab, &pages).await }
    };
    tasks.spawn(serve_http(listener, CONNECTIONS, answer, stop, tasks.clone()));
    asked
}

async fn answered(
    request: &Request<Incoming>,
    lab: &Lab,
    pages: &Arc<Pages<Lab>>,
) -> Response<PageBody> {
    if request.method() != Method::GET {
        return reply(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    if let Some(page) = pages.answer(request.uri()).await {
        return page;
    }
    let query = request.uri().query().unwrap_or_default();
    let json = match request.uri().path() {
        "/v1" => return reply(StatusCode::OK, INDEX.to_owned()),
        "/v1/diagnoses" => lab.ask(Question::Diagnoses).await,
        "/v1/slo" => lab.ask(Question::Slos).await,
        "/v1/flows" => lab.ask(Question::Flows).await,
        "/v1/gate/strict" => {
            let asked = Ask::read(query, SETTINGS).map_err(|problem| problem.to_string());
            let judged = match asked {
                Ok(ask) => lab
                    .ask(|answering| Question::Gate(ask, answering))
                    .await
                    .ok_or(ENDING.to_owned()),
                Err(problem) => Err(problem),
            };
            Some(crate::gate::answer::json(&judged))
        }
        "/prometheus/targets" => lab.ask(Question::Targets).await,
        "/metrics" => {
            return match lab.ask(Question::Metrics).await {
                Some(text) => typed(text, METRICS),
                None => reply(StatusCode::SERVICE_UNAVAILABLE, format!("{ENDING}\n")),
            };
        }
        path => return reply(StatusCode::NOT_FOUND, format!("{path}: nothing is here\n")),
    };
    let Some(json) = json else {
        return reply(StatusCode::SERVICE_UNAVAILABLE, format!("{ENDING}\n"));
    };
    typed(json, "application/json")
}

fn typed(body: String, kind: &'static str) -> Response<PageBody> {
    let mut reply = reply(StatusCode::OK, body);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

impl Lab {
    /// The answer to a question; `None` while the lab is ending.
    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Option<T> {
        let (answering, answer) = oneshot::channel();
        self.0.send(question(answering)).await.ok()?;
        answer.await.ok()
    }
}

impl Source for Lab {
    async fn known(&self) -> Known {
        let known = self.ask(Question::Known).await;
        known.unwrap_or_else(|| Known::blind(ENDING, OffsetDateTime::now_utc()))
    }

    async fn past(&self, _at: OffsetDateTime) -> Result<Past, String> {
        Err("A lab remembers no instants: only a controller with a Prometheus can tell.".to_owned())
    }

    async fn gate(&self, scope: Scope) -> Result<Report, String> {
        let ask = Ask { scope, settings: SETTINGS };
        self.ask(|answering| Question::Gate(ask, answering)).await.ok_or(ENDING.to_owned())
    }

    async fn windows(&self, whose: Whose) -> Vec<Observation> {
        self.ask(|answering| Question::Attempts(whose, answering)).await.unwrap_or_default()
    }
}

fn reply(status: StatusCode, body: String) -> Response<PageBody> {
    let mut reply = Response::new(PageBody::from(Full::new(Bytes::from(body))));
    *reply.status_mut() = status;
    reply
}
