//! One question and its answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout_at};
use url::form_urlencoded::Serializer;

use crate::net;
use crate::promql::{Prometheus, Unanswered};
use crate::spec::IpPreference;
use crate::target::Host;

/// What an expression is at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its series.
    pub samples: Vec<Sample>,
    /// Why it may not be the whole; empty when it is.
    pub warnings: Vec<String>,
}

/// A series at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

#[derive(Deserialize)]
struct Body {
    status: String,
    data: Option<Data>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "snake_case")]
enum Data {
    Vector(Vec<Series>),
    Scalar((f64, String)),
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Prometheus {
    /// What `expression` is at `at`. A scalar is one series without labels.
    pub async fn instant(
        &self,
        expression: &str,
        at: OffsetDateTime,
    ) -> Result<Answer, Unanswered> {
        let deadline = Instant::now() + self.timeout;
        let asked = timeout_at(deadline, self.ask(expression, at)).await;
        let answer = asked.map_err(|_| Unanswered::Timeout(self.timeout))??;
        let status = answer.status();
        let read = serde_json::from_slice::<Body>(answer.body());
        // A proxy before it may answer in its own words.
        let refused = |problem| Unanswered::Refused { status: status.as_u16(), problem };
        let body = match read {
            Err(_) if !status.is_success() => {
                let told = String::from_utf8_lossy(answer.body());
                return Err(refused(told.trim().chars().take(200).collect()));
            }
            read => read.map_err(Unanswered::Malformed)?,
        };
        let data = body.data.filter(|_| status.is_success() && body.status == "success");
        let Some(data) = data else { return Err(refused(body.error.unwrap_or_default())) };
        let samples = match data {
            Data::Vector(list) => list,
            Data::Scalar(value) => vec![Series { metric: BTreeMap::new(), value }],
        };
        let sample = |series: Series| {
            let value = series.value.1.parse().unwrap_or(f64::NAN);
            Sample { labels: series.metric, value }
        };
        Ok(Answer { samples: samples.into_iter().map(sample).collect(), warnings: body.warnings })
    }

    async fn ask(
        &self,
        expression: &str,
        at: OffsetDateTime,
    ) -> Result<Response<Bytes>, Unanswered> {
        let http = |error: &dyn std::fmt::Display| Unanswered::Http(error.to_string());
        let at = at.unix_timestamp_nanos() as f64 / 1e9;
        let form = Serializer::new(String::new())
            .append_pair("query", expression)
            .append_pair("time", &format!("{at:.3}"))
            .append_pair("timeout", &format!("{}ms", self.timeout.as_millis()))
            .finish();
        // By POST: an expression may be longer than a URL.
        let mut request = Request::post(format!("{}/api/v1/query", self.prefix))
            .header(HOST, self.endpoint.to_string())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .map_err(|error| http(&error))?;
        if let Some(value) = self.bearer().await? {
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
            let body = Limited::new(body, self.most).collect().await;
            Ok(Response::from_parts(head, body.map_err(|error| http(&error))?.to_bytes()))
        };
        let answered = answered.await;
        connection.abort();
        answered
    }

    async fn bearer(&self) -> Result<Option<HeaderValue>, Unanswered> {
        let Some(path) = &self.token else { return Ok(None) };
        let wrong = |problem| Unanswered::Token { path: path.clone(), problem };
        let text = tokio::fs::read_to_string(path).await;
        let text = text.map_err(|error| wrong(error.to_string()))?;
        let value = HeaderValue::from_str(&format!("Bearer {}", text.trim()));
        let mut value = value.map_err(|_| wrong("holds no bearer token".to_owned()))?;
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
