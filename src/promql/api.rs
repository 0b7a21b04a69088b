//! Questions and their answers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use url::form_urlencoded::Serializer;

use crate::promql::{Prometheus, Unanswered};

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

/// Instants at which an expression is looked at: `start`, and on every `step` up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub start: OffsetDateTime,
    /// No instant is later.
    pub end: OffsetDateTime,
    /// Between two, whole seconds.
    pub step: Duration,
}

/// What an expression is over a range.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matrix {
    /// Its series.
    pub tracks: Vec<Track>,
    /// Why it may not be the whole; empty when it is.
    pub warnings: Vec<String>,
}

/// A series over a range.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Unix time in seconds, and the value then; instants without a value are left out.
    pub points: Vec<(i64, f64)>,
}

#[derive(Deserialize)]
struct Body<D> {
    status: String,
    data: Option<D>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "snake_case")]
enum Instant {
    Vector(Vec<Series>),
    Scalar((f64, String)),
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "snake_case")]
enum Ranged {
    Matrix(Vec<Values>),
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

#[derive(Deserialize)]
struct Values {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

impl Prometheus {
    /// What `expression` is at `at`. A scalar is one series without labels.
    pub async fn instant(
        &self,
        expression: &str,
        at: OffsetDateTime,
    ) -> Result<Answer, Unanswered> {
        let form = [("query", expression.to_owned()), ("time", seconds(at))];
        let (data, warnings) = self.question::<Instant>("query", &form).await?;
        let samples = match data {
            Instant::Vector(list) => list,
            Instant::Scalar(value) => vec![Series { metric: BTreeMap::new(), value }],
        };
        let sample =
            |series: Series| Sample { labels: series.metric, value: number(&series.value) };
        Ok(Answer { samples: samples.into_iter().map(sample).collect(), warnings })
    }

    /// What `expression` is over `range`, which has at most 11,000 instants.
    pub async fn range(&self, expression: &str, range: Range) -> Result<Matrix, Unanswered> {
        let form = [
            ("query", expression.to_owned()),
            ("start", seconds(range.start)),
            ("end", seconds(range.end)),
            ("step", range.step.as_secs().to_string()),
        ];
        let (Ranged::Matrix(list), warnings) =
            self.question::<Ranged>("query_range", &form).await?;
        let track = |values: Values| Track {
            labels: values.metric,
            points: values.values.iter().map(|it| (it.0.round() as i64, number(it))).collect(),
        };
        Ok(Matrix { tracks: list.into_iter().map(track).collect(), warnings })
    }

    async fn question<D: DeserializeOwned>(
        &self,
        endpoint: &str,
        pairs: &[(&str, String)],
    ) -> Result<(D, Vec<String>), Unanswered> {
        let timeout = format!("{}ms", self.timeout.as_millis());
        let form = Serializer::new(String::new())
            .extend_pairs(pairs)
            .append_pair("timeout", &timeout)
            .finish();
        let answer = self.exchange(endpoint, &form).await?;
        let status = answer.status();
        let read = serde_json::from_slice::<Body<D>>(answer.body());
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
        let data = data.ok_or_else(|| refused(body.error.unwrap_or_default()))?;
        Ok((data, body.warnings))
    }
}

fn seconds(at: OffsetDateTime) -> String {
    format!("{:.3}", at.unix_timestamp_nanos() as f64 / 1e9)
}

fn number((_, text): &(f64, String)) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}
