//! The controller's HTTP API: the page, what it knows of the fleet, what is wrong, the gate, plans,
//! metrics, health.
//!
//! Read-only, GET and HEAD only. Ready says that plans can be served, and nothing of the mesh.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::form_urlencoded;

use crate::channel::{Meter, Peers};
use crate::controller::machines::hook;
use crate::controller::page::Told;
use crate::controller::{API_CONNECTIONS, Shared};
use crate::metrics::FleetState;
use crate::net::http::serve as serve_http;
use crate::page::{PageBody, Pages};
use crate::target::Vantage;

pub(super) type Reply = Response<Full<Bytes>>;

const INDEX: &str = "meshprobe controller\n\n/\n/v1/nodes\n/v1/nodes/NAME\n\
                     /v1/diagnoses\n/v1/flows?namespace=\n/v1/gate/strict?namespace=\n\
                     /v1/flagger/confirm-rollout\n/v1/flagger/pre-rollout\n\
                     /v1/flagger/rollback\n/v1/slo\n/v1/plan?node=&vantage=&pod=\n/metrics\n/livez\n/readyz\n";
pub(super) const JSON: &str = "application/json";
pub(super) const PLAIN: &str = "text/plain; charset=utf-8";

/// Serves until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    told: Told,
    channel: (Peers, Meter),
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let (channel, shared) = (Arc::new(channel), Arc::clone(&told.shared));
    let pages = Arc::new(Pages::new(told, tasks.clone(), stop.clone()));
    let answer = move |request: Request<Incoming>| {
        let (shared, channel, pages) =
            (Arc::clone(&shared), Arc::clone(&channel), Arc::clone(&pages));
        async move {
            if [Method::GET, Method::HEAD].contains(request.method())
                && request.body().is_end_stream()
                && let Some(page) = pages.answer(request.uri()).await
            {
                return page;
            }
            shared.answer(request, &channel).await.map(PageBody::from)
        }
    };
    serve_http(listener, API_CONNECTIONS, answer, stop, tasks).await;
}

impl Shared {
    async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        channel: &(Peers, Meter),
    ) -> Reply {
        if let Some(hook) = hook(request.uri().path()) {
            return self.hooked(hook, request).await;
        }
        let mut reply = self.route(&request, channel).await;
        if request.method() == Method::HEAD {
            *reply.body_mut() = Full::default();
        }
        reply
    }

    async fn route(
        self: &Arc<Self>,
        request: &Request<Incoming>,
        channel: &(Peers, Meter),
    ) -> Reply {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut reply = reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n");
            reply.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("a valid value"));
            return reply;
        }
        if !request.body().is_end_stream() {
            return reply(StatusCode::PAYLOAD_TOO_LARGE, PLAIN, "nothing here takes a body\n");
        }
        match request.uri().path() {
            "/v1" => reply(StatusCode::OK, PLAIN, INDEX),
            "/livez" => reply(StatusCode::OK, PLAIN, "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => self.scrape(channel),
            "/v1/nodes" => self.nodes(None),
            "/v1/diagnoses" => in_json(&*self.analysis.latest()),
            "/v1/slo" => in_json(&self.promises()),
            "/v1/gate/strict" => self.show_gate(request.uri().query().unwrap_or_default()).await,
            "/v1/flows" => self.show_flows(request.uri().query().unwrap_or_default()),
            "/v1/plan" => match self.show_plan(request.uri().query().unwrap_or_default()) {
                Ok(plan) => reply(StatusCode::OK, JSON, plan),
                Err((status, problem)) => reply(status, PLAIN, problem),
            },
            path => match path.strip_prefix("/v1/nodes/") {
                Some(node) => self.nodes(Some(node)),
                None => reply(StatusCode::NOT_FOUND, PLAIN, format!("{path}: nothing is here\n")),
            },
        }
    }

    fn ready(&self) -> Reply {
        if self.planned.borrow().is_some() {
            return reply(StatusCode::OK, PLAIN, "ok\n");
        }
        let snapshot = self.snapshots.borrow().clone();
        let waiting: Vec<String> = snapshot.waiting.iter().map(ToString::to_string).collect();
        let told = format!("not read yet: {}\n", waiting.join(", "));
        reply(StatusCode::SERVICE_UNAVAILABLE, PLAIN, told)
    }

    fn nodes(&self, only: Option<&str>) -> Reply {
        let view = self.view(only);
        if let Some(name) = only.filter(|_| view.nodes.is_empty()) {
            let told = format!("no node is called {name}\n");
            return reply(StatusCode::NOT_FOUND, PLAIN, told);
        }
        in_json(&view)
    }

    fn show_flows(&self, query: &str) -> Reply {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let namespace = pairs.find(|(name, _)| name == "namespace").map(|(_, value)| value);
        in_json(&self.flows(namespace.as_deref()))
    }

    fn scrape(&self, (peers, meter): &(Peers, Meter)) -> Reply {
        let snapshot = self.snapshots.borrow().clone();
        let mut agents: BTreeMap<Vantage, u64> = BTreeMap::new();
        for agent in &snapshot.cluster.agents {
            *agents.entry(agent.vantage).or_default() += 1;
        }
        let mut findings: BTreeMap<&'static str, u64> = BTreeMap::new();
        for finding in &snapshot.cluster.findings {
            *findings.entry(finding.reason.as_str()).or_default() += 1;
        }
        let planned = self.planned.borrow().clone();
        let unknown = planned.as_ref().map_or(0, |planned| planned.unknown().len());
        let counts = meter.counts();
        let (events, held) = (*self.events.borrow(), self.evidence.held());
        self.metrics.fleet(&FleetState {
            synced: planned.is_some(),
            nodes: snapshot.cluster.nodes.len() as u64,
            agents: Vantage::ALL.map(|side| (side, agents.get(&side).copied().unwrap_or(0))),
            connected: peers.len() as u64,
            findings,
            unknown: unknown as u64,
            stale: self.watches.oldest_contact().map(|at| at.elapsed()),
            leads: *self.leads.borrow(),
            events: [events.written, events.failed],
            connections: [counts.accepted, counts.failed, counts.refused],
            paths: held.paths as u64,
            evidence_bytes: held.bytes as u64,
        });
        let body: String = self.metrics.exposition().collect();
        reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body)
    }
}

fn in_json(told: &impl Serialize) -> Reply {
    match serde_json::to_vec(told) {
        Ok(json) => reply(StatusCode::OK, JSON, json),
        Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
    }
}

pub(super) fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, kind.parse().expect("a valid value"));
    let sniff = HeaderName::from_static("x-content-type-options");
    headers.insert(sniff, "nosniff".parse().expect("a valid value"));
    reply
}
