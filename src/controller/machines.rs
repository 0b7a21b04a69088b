//! What machines ask of the gate over HTTP: `/v1/gate/strict` and Flagger's webhooks.

use std::sync::Arc;
use std::time::Duration;

use http::header::ALLOW;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::controller::Shared;
use crate::controller::api::{JSON, PLAIN, Reply, reply};
use crate::gate::Report;
use crate::gate::answer::{self, Ask, Hook, MOST_BODY};

/// How long a webhook's body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// The webhook at `path`.
pub(super) fn hook(path: &str) -> Option<Hook> {
    let name = path.strip_prefix("/v1/flagger/")?;
    Hook::ALL.into_iter().find(|hook| hook.as_str() == name)
}

impl Shared {
    /// `/v1/gate/strict`: 200 whatever the answer, for those who read no body of another status.
    pub(super) async fn show_gate(self: &Arc<Self>, query: &str) -> Reply {
        let asked = Ask::read(query, self.gate.settings()).map_err(|problem| problem.to_string());
        let answered = match asked {
            Ok(ask) => self.report(ask).await,
            Err(problem) => Err(problem),
        };
        let answered = answered.map(|report| Report::clone(&report));
        reply(StatusCode::OK, JSON, answer::json(&answered))
    }

    /// One of Flagger's webhooks: 200 or 403, with one line that Flagger shows in its events.
    pub(super) async fn hooked(self: &Arc<Self>, hook: Hook, request: Request<Incoming>) -> Reply {
        if request.method() != Method::POST {
            let mut reply = reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only POST\n");
            reply.headers_mut().insert(ALLOW, "POST".parse().expect("a valid value"));
            return reply;
        }
        let report = match self.ask_of(request).await {
            Ok(ask) => self.report(ask).await,
            Err(problem) => Err(problem),
        };
        let approves = hook.approves(report.as_deref().ok());
        let status = if approves { StatusCode::OK } else { StatusCode::FORBIDDEN };
        self.metrics.hook_answered(hook.as_str(), status.as_u16());
        let line = match &report {
            Ok(report) => match &report.change {
                Some(change) => format!("{}; {}\n", report.summary, change.summary),
                None => format!("{}\n", report.summary),
            },
            Err(problem) => format!("{problem}\n"),
        };
        reply(status, PLAIN, line)
    }

    async fn ask_of(&self, request: Request<Incoming>) -> Result<Ask, String> {
        let (head, body) = request.into_parts();
        let deadline = Instant::now() + BODY_TIMEOUT;
        let body = timeout_at(deadline, Limited::new(body, MOST_BODY).collect()).await;
        let body = body.map_err(|_| format!("no complete body within {BODY_TIMEOUT:?}"))?;
        let body = body.map_err(|error| format!("the body: {error}"))?.to_bytes();
        let query = head.uri.query().unwrap_or_default();
        Ask::hooked(query, &body, self.gate.settings()).map_err(|problem| problem.to_string())
    }
}
