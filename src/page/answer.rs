//! Answers requests for the page, its files and its events.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use time::OffsetDateTime;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gate::Report;
use crate::observation::Observation;
use crate::page::html::{Facts, Rendered, document, render};
use crate::page::known::{Known, Past, Source, Whose};
use crate::page::lines::lines;
use crate::page::live::Rhythm;
use crate::page::query::{Query, View};

/// How long what is known is shown again before it is asked for anew, at least.
const KEPT: Duration = Duration::from_secs(1);
/// And how much longer than it took to ask.
const REST: u32 = 10;
/// But never longer.
const LONGEST: Duration = Duration::from_secs(10);
/// Pages of what is known now that are kept for whoever asks for the same.
const MOST_SHOWN: usize = 8;
/// Those who follow the events at once; more are told so, and may reload.
pub(super) const MOST_FOLLOWERS: usize = 32;

/// Only what is served here runs and shows: nothing is inline, nothing comes from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                      connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";

/// What never changes: path, kind, text.
const FILES: [(&str, &str, &str); 3] = [
    ("/page.css", "text/css; charset=utf-8", include_str!("assets/page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("assets/page.js")),
    ("/icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Serves the page of one source.
#[derive(Debug)]
pub struct Pages<S> {
    pub(super) source: S,
    kept: Mutex<Option<Kept>>,
    past: Mutex<Option<(OffsetDateTime, Arc<Past>)>>,
    shown: Mutex<Vec<Shown>>,
    pub(super) followers: Arc<Semaphore>,
    pub(super) rhythm: Rhythm,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// What was known a moment ago.
#[derive(Debug)]
struct Kept {
    known: Arc<Known>,
    until: Instant,
}

/// A page that was made.
#[derive(Debug)]
struct Shown {
    query: Query,
    known: Arc<Known>,
    rendered: Arc<Rendered>,
}

/// A body: whole, or events as they come.
#[derive(Debug)]
pub enum PageBody {
    /// All at once.
    Whole(Full<Bytes>),
    /// Until whoever sends has enough.
    Events(mpsc::Receiver<Bytes>),
}

impl Body for PageBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Events(events) => {
                events.poll_recv(context).map(|event| event.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(body) if body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

impl<S: Source> Pages<S> {
    /// Serves what `source` knows until `stop`; who follows is a task of `tasks`.
    pub fn new(source: S, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            source,
            kept: Mutex::default(),
            past: Mutex::default(),
            shown: Mutex::default(),
            followers: Arc::new(Semaphore::new(MOST_FOLLOWERS)),
            rhythm: Rhythm::default(),
            stop,
            tasks,
        }
    }

    /// The answer to a GET of `uri`; `None` when it is not of the page.
    pub async fn answer(self: &Arc<Self>, uri: &Uri) -> Option<Response<PageBody>> {
        if let Some((_, kind, text)) = FILES.iter().find(|(path, ..)| *path == uri.path()) {
            return Some(reply(StatusCode::OK, kind, *text));
        }
        let text = uri.query().unwrap_or_default();
        if uri.path() == "/events" {
            return Some(self.follow(Query::read(View::Overview, text)));
        }
        let query = Query::read(View::at(uri.path())?, text);
        let rendered = self.render(&query).await;
        let page = match &rendered {
            Ok(rendered) => document(rendered, &query, query.at.is_none()),
            Err(why) => document(&untold(why), &query, false),
        };
        let status = if rendered.is_ok() { StatusCode::OK } else { StatusCode::BAD_GATEWAY };
        Some(reply(status, HTML, page))
    }

    /// The page that `query` asks for, without its frame; why there is none of that instant.
    pub(super) async fn render(&self, query: &Query) -> Result<Arc<Rendered>, String> {
        let (known, windows, gate) = match query.at {
            Some(at) => {
                let past = self.past(at).await?;
                let windows = whose(query).map(|whose| {
                    past.windows.iter().filter(|it| whose.holds(it)).cloned().collect()
                });
                let gate = (query.view == View::Overview).then(|| Err(NO_GATE.to_owned()));
                (Arc::new(past.known.clone()), windows.unwrap_or_default(), gate)
            }
            None => {
                let gate = match query.view {
                    View::Overview => Some(self.source.gate(query.scope()).await),
                    View::Node | View::Target => None,
                };
                let windows = match whose(query) {
                    Some(whose) => self.source.windows(whose).await,
                    None => Vec::new(),
                };
                // Asked for last, so that nothing else is newer.
                (self.known().await, windows, gate)
            }
        };
        self.shown(query, known, windows, gate).await
    }

    /// The page that `query` asks for of that: one is made at a time, and the last ones of the same
    /// `known` are shown to all who ask for the same.
    pub(super) async fn shown(
        &self,
        query: &Query,
        known: Arc<Known>,
        windows: Vec<Observation>,
        gate: Option<Result<Report, String>>,
    ) -> Result<Arc<Rendered>, String> {
        let mut shown = self.shown.lock().await;
        let is_it = |it: &&Shown| it.query == *query && Arc::ptr_eq(&it.known, &known);
        if let Some(it) = shown.iter().find(is_it) {
            return Ok(Arc::clone(&it.rendered));
        }
        let (of, at) = (query.clone(), Arc::clone(&known));
        // Of a large fleet it is much work: nobody else is to wait for it.
        let rendered = tokio::task::spawn_blocking(move || {
            let lines = lines(&windows, &at);
            render(&Facts { known: &at, gate: gate.as_ref(), lines: &lines }, &of)
        });
        let rendered = rendered.await.map_err(|error| format!("the page failed: {error}"))?;
        let rendered = Arc::new(rendered);
        if query.at.is_none() {
            shown.retain(|it| Arc::ptr_eq(&it.known, &known));
            if shown.len() >= MOST_SHOWN {
                shown.remove(0);
            }
            shown.push(Shown { query: query.clone(), known, rendered: Arc::clone(&rendered) });
        }
        Ok(rendered)
    }

    /// What was known at `at`: the last such instant is kept, and one is asked for at a time.
    async fn past(&self, at: OffsetDateTime) -> Result<Arc<Past>, String> {
        let mut last = self.past.lock().await;
        if let Some((_, past)) = last.as_ref().filter(|(of, _)| *of == at) {
            return Ok(Arc::clone(past));
        }
        let past = Arc::new(self.source.past(at).await?);
        *last = Some((at, Arc::clone(&past)));
        Ok(past)
    }

    /// What is known now, asked for once for all who look at the same time.
    async fn known(&self) -> Arc<Known> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| Instant::now() < kept.until) {
            return Arc::clone(&kept.known);
        }
        let began = Instant::now();
        let known = Arc::new(self.source.known().await);
        let until = Instant::now() + lasts(began.elapsed());
        *kept = Some(Kept { known: Arc::clone(&known), until });
        known
    }
}

/// How long what it `took` so long to ask is kept.
fn lasts(took: Duration) -> Duration {
    took.saturating_mul(REST).clamp(KEPT, LONGEST)
}

/// Why the gate is not told of the past.
const NO_GATE: &str = "Whether STRICT was safe then is not known: the gate judges by policies and \
                       by hours of attempts, which are kept of now only.";

/// Whose windows `query` shows.
fn whose(query: &Query) -> Option<Whose> {
    let name = query.name.clone()?;
    match query.view {
        View::Overview => None,
        View::Node => Some(Whose::Node(name)),
        View::Target => query.vantage.map(|vantage| Whose::Target { vantage, name }),
    }
}

/// A page that says why there is none.
fn untold(why: &str) -> Rendered {
    let title = "unknown · meshprobe".to_owned();
    Rendered { title, sections: vec![super::html::problem(why)] }
}

/// A reply of the page's own, with everything forbidden that it does not need.
pub(super) fn reply(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<PageBody> {
    let mut reply = Response::new(PageBody::Whole(Full::new(body.into())));
    *reply.status_mut() = status;
    guard(&mut reply, kind);
    reply
}

/// Sets the headers that every reply of the page has.
pub(super) fn guard(reply: &mut Response<PageBody>, kind: &'static str) {
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

/// A body that another API answers with.
impl From<Full<Bytes>> for PageBody {
    fn from(body: Full<Bytes>) -> Self {
        Self::Whole(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_kept_for_longer_than_it_took_and_never_for_long() {
        let kept = [0, 300, 5_000].map(|millis| lasts(Duration::from_millis(millis)));
        assert_eq!(kept, [KEPT, Duration::from_secs(3), LONGEST]);
    }
}
