//! Numbers, times and lists as people read them, and the first line of a report. Pure.

use std::time::Duration;

use time::OffsetDateTime;

use crate::gate::Scope;
use crate::gate::report::{CheckReport, CheckResult, Detail, GateResult};

/// Details of one check that are told.
const MOST_DETAILS: usize = 24;
/// Names that stand in one line.
const MOST_NAMES: usize = 3;

/// The answer in one line: verdict, scope, how many checks stand in the way, and the worst of them.
pub(super) fn phrase(result: GateResult, scope: &Scope, checks: &[CheckReport]) -> String {
    let total = checks.len();
    let with = |result| checks.iter().filter(move |check| check.result == result);
    let plural = |count: usize, one: &str, many: &str| {
        format!("{count} of {total} checks {}", if count == 1 { one } else { many })
    };
    let told = |result| {
        let line = |it: &CheckReport| match it.summary.strip_prefix(it.check.as_str()) {
            Some(_) => it.summary.clone(),
            None => format!("{}: {}", it.check.as_str(), it.summary),
        };
        let lines: Vec<String> = with(result).map(line).collect();
        lines.join("; ")
    };
    match result {
        GateResult::NotReady => {
            let count = with(CheckResult::Fail).count();
            let failing = plural(count, "fails", "fail");
            format!("NOT READY for STRICT in {scope}: {failing}: {}", told(CheckResult::Fail))
        }
        GateResult::NotEnoughEvidence => {
            let count = with(CheckResult::NotEnoughEvidence).count();
            let lacking = plural(count, "needs more evidence", "need more evidence");
            let why = told(CheckResult::NotEnoughEvidence);
            format!("NOT ENOUGH EVIDENCE for STRICT in {scope}: {lacking}: {why}")
        }
        GateResult::Ready => match with(CheckResult::Warn).count() {
            0 => format!("READY for STRICT in {scope}: {total} of {total} checks pass"),
            count => {
                let passing = plural(count, "with a warning", "with warnings");
                format!("READY for STRICT in {scope}: {passing}: {}", told(CheckResult::Warn))
            }
        },
    }
}

/// Keeps the first details, with a word on how many others there are.
pub(super) fn and_more(details: &mut Vec<Detail>) {
    if details.len() > MOST_DETAILS {
        let more = details.len() - MOST_DETAILS;
        details.truncate(MOST_DETAILS);
        let result = details[MOST_DETAILS - 1].result.min(CheckResult::Warn);
        details.push(Detail { result, text: format!("and {more} more") });
    }
}

/// The first few of `names`, and how many others there are.
pub(super) fn names<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<&str> = names.iter().take(MOST_NAMES).map(AsRef::as_ref).collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(MOST_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A count with commas between thousands.
pub(super) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 node`, `2 nodes`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", number(count), if count == 1 { "" } else { "s" })
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}

/// A rate per second, or per minute or hour where that says more.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 0.1 => format!("{rate:.2}/s"),
        rate if rate * 60.0 >= 0.1 => format!("{:.2}/min", rate * 60.0),
        rate if rate > 0.0 => format!("{:.2}/h", rate * 3600.0),
        _ => "0/s".to_owned(),
    }
}

/// A length of time in its largest unit.
pub(super) fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 7_200 => format!("{} min", seconds.div_ceil(60)),
        seconds if seconds < 172_800 => format!("{} h", seconds.div_ceil(3_600)),
        seconds => format!("{} days", seconds.div_ceil(86_400)),
    }
}

/// A time of day, with its date.
pub(super) fn minute(at: OffsetDateTime) -> String {
    format!("{} {:02}:{:02}", at.date(), at.hour(), at.minute())
}

/// How long before `now` something was.
pub(super) fn ago(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let span_ = Duration::try_from(now - at).unwrap_or_default();
    format!("{} ago", span(span_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_people_write_them() {
        let shown = [0, 999, 1_000, 1_234_567].map(number);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.001, 0.000_999, 0.5, 0.0].map(percent), ["0.1 %", "0.1 %", "50 %", "0 %"]);
        assert_eq!([2.0, 0.02, 0.000_1, 0.0].map(rate), ["2.00/s", "1.20/min", "0.36/h", "0/s"]);
        let spans = [59, 300, 7_300, 200_000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["59 s", "5 min", "3 h", "3 days"]);
        assert_eq!(names(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }
}
