//! What a reader must know before believing a report.

use time::OffsetDateTime;

use crate::observation::rfc3339;
use crate::promql::Prometheus;
use crate::report::LEAST_COVERED;
use crate::report::ask::Asker;
use crate::report::count::{Counted, Counting, From};
use crate::report::detail::MOST_DETAILED;
use crate::report::model::SloReport;
use crate::report::words::{budget, count, length, percent, period};
use crate::slo::{GroupKey, MOST_INCONCLUSIVE, Slo};

/// Clocks that are further apart than this are told of, seconds.
const SKEW: i64 = 30;
/// Holes that are told one by one.
const MOST_HOLES: usize = 5;

/// What the clocks say: a report up to now may miss, or count, what is of another time.
pub(super) fn of_clock(
    prometheus: &Prometheus,
    to: OffsetDateTime,
    now: OffsetDateTime,
) -> Vec<String> {
    let skew = prometheus.skew_seconds();
    let matters = (now - to).whole_seconds().abs() < 2 * 3600;
    let word = if skew > 0 { "ahead of" } else { "behind" };
    let note = format!(
        "The clock of Prometheus is {} s {word} this machine's: the end of this report is off by as \
         much.",
        skew.abs()
    );
    (matters && skew.abs() > SKEW).then_some(note).into_iter().collect()
}

/// What makes the report of one SLO less than whole.
pub(super) async fn of_slo(
    asker: &Asker<'_>,
    counting: &Counting<'_>,
    report: &SloReport,
    counted: &Counted,
    to: OffsetDateTime,
) -> Vec<String> {
    let mut notes = Vec::new();
    let slo = counting.slo;
    if counted.groups.is_empty() && counted.unsound == 0 {
        notes.extend(nothing(asker, slo, to).await);
    } else if counting.from == From::Agents {
        notes.push(
            "Counted from the agents' own series, as no rules record this SLO here: load what \
             `meshprobe rules` writes, so that reports are quick and know more of the past."
                .to_owned(),
        );
    }
    if counted.unsound > 0 {
        notes.push(format!(
            "{} counts of steps cannot be (negative, or more bad attempts than there were) and are \
             left out.",
            count(counted.unsound as f64)
        ));
    }
    notes.extend(holes(report));
    notes.extend(ahead(asker, counting, to).await);
    if let Some(share) = report.whole.inconclusive_share.filter(|share| *share > MOST_INCONCLUSIVE)
    {
        notes.push(format!(
            "{} of the attempts could not tell. They count neither for nor against, and what is left \
             is no fair sample.",
            percent(share)
        ));
    }
    let misgrouped = |at: usize| counted.groups.keys().all(|key| key[at].is_empty());
    for (at, key) in slo.group_by.iter().enumerate() {
        if !counted.groups.is_empty() && misgrouped(at) {
            notes.push(format!(
                "No series has the label {}, by which this SLO is divided: the rules that are loaded \
                 may be older than the configuration.",
                key.as_str()
            ));
        }
    }
    if report.groups.len() > MOST_DETAILED {
        notes.push(format!(
            "Latencies and phases are told of the {MOST_DETAILED} worst of {} groups.",
            report.groups.len()
        ));
    }
    if report.incidents.is_none() {
        notes.push(
            "No controller was asked, so what was diagnosed meanwhile is left out (give --server)."
                .to_owned(),
        );
    }
    notes.extend(asker.notes());
    notes
}

/// What makes the time before less than whole, of which so much is known.
pub(super) fn of_earlier(counted: &Counted, covered: f64) -> Vec<String> {
    let mut notes = Vec::new();
    if counted.unsound > 0 {
        notes.push(format!(
            "{} counts of the time before cannot be, or are there in part only, and are left out.",
            count(counted.unsound as f64)
        ));
    }
    if covered < LEAST_COVERED {
        notes.push(format!(
            "Nothing is compared: {} of the time before is known, which is too little.",
            budget(covered)
        ));
    }
    notes
}

fn holes(report: &SloReport) -> Vec<String> {
    if report.holes.is_empty() || report.whole.total == 0.0 {
        return Vec::new();
    }
    let told: Vec<String> = report
        .holes
        .iter()
        .take(MOST_HOLES)
        .map(|hole| format!("{} ({})", period(hole), length(hole)))
        .collect();
    let more = match report.holes.len().saturating_sub(MOST_HOLES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let covered = report.whole.covered;
    let weight = match covered < LEAST_COVERED {
        true => " That is too little for a result.",
        false => "",
    };
    let told = told.join(", ");
    vec![format!(
        "{} of the time is known; nothing, or not all, was recorded {told}{more}.{weight}",
        budget(covered)
    )]
}

/// Samples of a time that is to come: some clock is wrong, and they are in no report yet.
async fn ahead(asker: &Asker<'_>, counting: &Counting<'_>, to: OffsetDateTime) -> Option<String> {
    let now = OffsetDateTime::now_utc();
    if (now - to).whole_seconds().abs() > 3600 {
        return None;
    }
    let series = match counting.from {
        From::Rules => counting.slo.recorded("total:rate5m"),
        From::Agents => counting.slo.series("meshprobe_attempts_total", &[], &[]),
    };
    // A day from a minute after now.
    let ahead = format!("max(count_over_time({series}[1d] offset -86460s))");
    let samples = asker.instant(&ahead, now).await.first().map(|sample| sample.value)?;
    Some(format!(
        "Prometheus holds {} samples of a time that is to come: some clock is wrong. They are not \
         counted.",
        count(samples)
    ))
}

/// Why nothing may have been counted: what the SLO selects, one by one.
async fn nothing(asker: &Asker<'_>, slo: &Slo, to: OffsetDateTime) -> Vec<String> {
    let metric = "meshprobe_attempts_total";
    let known = |series: String| async move {
        let expression = format!("count(last_over_time({series}[1h]))");
        !asker.instant(&expression, to).await.is_empty()
    };
    if !known(metric.to_owned()).await {
        let rules = slo.recorded("total:increase1h");
        return vec![format!(
            "Prometheus has neither {rules} nor {metric} up to {}: it scrapes no agents, or they are \
             in another Prometheus.",
            rfc3339::seconds(to)
        )];
    }
    let mut notes = Vec::new();
    for key in GroupKey::ALL {
        let Some(one) = slo.only(key) else { continue };
        let series = one.series(metric, &[], &[]);
        if !known(series.clone()).await {
            notes.push(format!("No agent tells of {} as selected: {series}.", key.as_str()));
        }
    }
    if notes.is_empty() {
        notes.push("Agents are there, and none of their attempts counts for this SLO.".to_owned());
    }
    notes
}
