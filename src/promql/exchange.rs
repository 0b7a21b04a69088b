//! One request over a connection of its own, and again while the other side is overloaded.

use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::{Instant, timeout_at};

use crate::net;
use crate::promql::{Credentials, Prometheus, Unanswered};
use crate::spec::IpPreference;
use crate::target::Host;

/// The first pause before another try; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(250);
/// No pause is longer, whatever `Retry-After` says.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Prometheus {
    /// The answer to `form` at an endpoint of the API, whatever its status; asked again, as often as
    /// [`Prometheus::retrying`] says, when that may help.
    pub(super) async fn exchange(
        &self,
        endpoint: &str,
        form: &str,
    ) -> Result<Response<Bytes>, Unanswered> {
        let mut pause = PAUSE;
        for left in (0..=self.retries).rev() {
            let deadline = Instant::now() + self.timeout;
            let asked = timeout_at(deadline, self.ask(endpoint, form)).await;
            let answer = asked.unwrap_or(Err(Unanswered::Timeout(self.timeout)));
            if left == 0 || !is_passing(&answer) {
                return answer;
            }
            let told = answer.as_ref().ok().and_then(|it| retry_after(it.headers()));
            tokio::time::sleep(told.unwrap_or(pause).min(LONGEST_PAUSE)).await;
            pause *= 2;
        }
        unreachable!("the last try returns")
    }

    async fn ask(&self, endpoint: &str, form: &str) -> Result<Response<Bytes>, Unanswered> {
        let http = |error: &dyn std::fmt::Display| Unanswered::Http(error.to_string());
        // By POST: an expression may be longer than a URL.
        let mut request = Request::post(format!("{}/api/v1/{endpoint}", self.prefix))
            .header(HOST, self.endpoint.to_string())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form.to_owned())))
            .map_err(|error| http(&error))?;
        if let Some(value) = self.authorization().await? {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| http(&error))?;
        let connection = tokio::spawn(connection);
        let answered = async {
            let answer = sender.send_request(request).await.map_err(|error| http(&error))?;
            let (head, body) = answer.into_parts();
            self.look_at_clock(&head.headers);
            let body = Limited::new(body, self.most).collect().await;
            Ok(Response::from_parts(head, body.map_err(|error| http(&error))?.to_bytes()))
        };
        let answered = answered.await;
        connection.abort();
        answered
    }

    fn look_at_clock(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.map(|date| date.replace("GMT", "+0000"));
        if let Some(theirs) = date.and_then(|date| OffsetDateTime::parse(&date, &Rfc2822).ok()) {
            let ahead = (theirs - OffsetDateTime::now_utc()).whole_seconds();
            self.skew.store(ahead, Ordering::Relaxed);
        }
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, Unanswered> {
        let Some(credentials) = &self.credentials else { return Ok(None) };
        let (Credentials::Bearer(path) | Credentials::Basic(path)) = credentials;
        let wrong = |problem| Unanswered::Credentials { path: path.clone(), problem };
        let text = tokio::fs::read_to_string(path).await;
        let text = text.map_err(|error| wrong(error.to_string()))?;
        let text = text.trim();
        let value = match credentials {
            Credentials::Bearer(_) => format!("Bearer {text}"),
            Credentials::Basic(_) if !text.contains(':') || text.contains('\n') => {
                return Err(wrong("must hold one line, USER:PASSWORD".to_owned()));
            }
            Credentials::Basic(_) => format!("Basic {}", STANDARD.encode(text)),
        };
        let value = HeaderValue::from_str(&value).ok().filter(|_| !text.is_empty());
        let mut value = value.ok_or_else(|| wrong("holds no bearer token".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn connect(&self) -> Result<net::Stream, Unanswered> {
        let port = self.endpoint.port;
        let ips = match &self.endpoint.host {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => {
                let found = self.resolver.resolve_all(name, IpPreference::default()).await;
                found.map_err(Unanswered::Connection)?
            }
        };
        let mut last = Unanswered::Http("the name has no address".to_owned());
        for ip in ips {
            match net::connect((ip, port).into()).await {
                Ok(stream) => return Ok(stream),
                Err(fault) => last = Unanswered::Connection(fault),
            }
        }
        Err(last)
    }
}

/// Whether another try may go better.
fn is_passing(answer: &Result<Response<Bytes>, Unanswered>) -> bool {
    match answer {
        Ok(answer) => matches!(answer.status().as_u16(), 429 | 502 | 503 | 504),
        Err(Unanswered::Timeout(_) | Unanswered::Connection(_) | Unanswered::Http(_)) => true,
        Err(
            Unanswered::Credentials { .. } | Unanswered::Malformed(_) | Unanswered::Refused { .. },
        ) => false,
    }
}

/// What `Retry-After` says, when it says seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
