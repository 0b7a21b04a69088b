//! A report's numbers and sentences, for people.

use crate::config::print_duration;
use crate::failure::Phase;
use crate::observation::rfc3339;
use crate::report::model::{Figures, Period, Quantile, SloReport, Standing};
use crate::slo::{Connection, Latency, Objective, Selectors, Sli, Slo, Window};

/// A share as a percentage, cut rather than rounded: what is not all never reads 100 %.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    // A share of 0.9995 is a hair less in binary.
    let cut = ((percent.abs() + 1e-9) * 1000.0).floor() / 1000.0;
    let sign = if percent < 0.0 && cut > 0.0 { "−" } else { "" };
    let digits = if (1.0..99.0).contains(&cut) { 1 } else { 3 };
    let text = match digits {
        3 => format!("{cut:.3}"),
        _ => format!("{:.1}", (cut * 10.0).floor() / 10.0),
    };
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{sign}{text} %")
}

/// A share of whole millionths, such as an objective, to its last digit; any other as a percentage.
pub(super) fn exact(share: f64) -> String {
    let millionths = (share * 1e6).round();
    let objective = Objective::of_millionths(millionths as u32);
    // What a controller of another make tells may be none.
    match objective.filter(|_| (share * 1e6 - millionths).abs() < 1e-3) {
        Some(objective) => objective.to_string().replace('%', " %"),
        None => percent(share),
    }
}

/// A share of a budget, in whole percents; above 0 when anything is left.
pub(super) fn budget(share: f64) -> String {
    let percent = share * 100.0;
    let sign = if percent < 0.0 { "−" } else { "" };
    let whole = match percent {
        it if it > 0.0 && it < 1.0 => return "under 1 %".to_owned(),
        // Cut, so that what is spent in part never reads as untouched.
        it if it >= 0.0 => (it + 1e-9).floor(),
        it => it.abs().ceil(),
    };
    format!("{sign}{whole} %")
}

/// A difference of shares in percentage points.
pub(super) fn points(difference: f64) -> String {
    let points = (difference * 1e5).round() / 1e3;
    let sign = match points {
        it if it > 0.0 => "+",
        it if it < 0.0 => "−",
        _ => "±",
    };
    format!("{sign}{:.3}", points.abs())
}

/// A time in seconds as people read it.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        it if it < 0.001 => format!("{:.0} µs", it * 1e6),
        it if it < 0.1 => format!("{:.1} ms", it * 1e3),
        it if it < 1.0 => format!("{:.0} ms", it * 1e3),
        it => format!("{it:.2} s"),
    }
}

/// A quantile; above the last bound of the histogram only that is known.
pub(super) fn quantile(quantile: &Quantile) -> String {
    let told = seconds(quantile.seconds);
    if quantile.above { format!("> {told}") } else { told }
}

/// A count, with spaces between thousands.
pub(super) fn count(count: f64) -> String {
    let digits = format!("{:.0}", count);
    let (first, mut text) = (digits.len() % 3, String::new());
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// A burn rate.
pub(super) fn burn(rate: f64) -> String {
    if rate > 0.0 && rate < 0.05 {
        return "< 0.1×".to_owned();
    }
    if rate >= 100.0 { format!("{rate:.0}×") } else { format!("{rate:.1}×") }
}

/// A time from begin to end.
pub(super) fn period(period: &Period) -> String {
    format!("{} to {}", rfc3339::seconds(period.from), rfc3339::seconds(period.to))
}

/// How long a time is, in its largest units.
pub(super) fn length(period: &Period) -> String {
    let seconds = (period.to - period.from).whole_seconds().max(0);
    match (seconds / 86_400, seconds % 86_400 / 3600, seconds % 3600 / 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// What is good, and of which attempts.
pub(super) fn sli(slo: &Slo) -> String {
    let good = match &slo.sli {
        Sli::Availability => "attempts whose outcome was as expected".to_owned(),
        Sli::Latency(latency) => {
            let Latency { threshold, phase, connection } = latency;
            let phase = phase.map(|it: Phase| format!("{} of ", it.as_str())).unwrap_or_default();
            let connection = match connection {
                Some(Connection::Cold) => ", on fresh connections",
                Some(Connection::Warm) => ", on kept connections",
                None => "",
            };
            let threshold = print_duration(*threshold);
            format!("{phase}successful attempts within {threshold}{connection}")
        }
    };
    let select = selected(&slo.select);
    if select.is_empty() { good } else { format!("{good}; {select}") }
}

fn selected(select: &Selectors) -> String {
    let Selectors { probe, target, vantage, node, zone, namespace } = select;
    let mut parts: Vec<String> = Vec::new();
    let mut part = |name: &str, values: Vec<String>| {
        if !values.is_empty() {
            parts.push(format!("{name} {}", values.join(" or ")));
        }
    };
    part("probe", probe.iter().map(|it| it.as_str().to_owned()).collect());
    part("vantage", vantage.iter().map(|it| it.as_str().to_owned()).collect());
    for (name, patterns) in
        [("target", target), ("node", node), ("zone", zone), ("namespace", namespace)]
    {
        part(name, patterns.iter().map(ToString::to_string).collect());
    }
    parts.join(", ")
}

/// What became of it, for whoever reads nothing else.
pub(super) fn sentence(slo: &Slo, report: &SloReport, default_window: bool) -> String {
    let Figures { total, attained, budget_left, covered, .. } = &report.whole;
    let (Some(attained), Some(left)) = (attained, budget_left) else {
        return "Nothing is known: no attempt counted in this time.".to_owned();
    };
    let good = match &slo.sli {
        Sli::Availability => "test calls went as they must".to_owned(),
        Sli::Latency(Latency { threshold, phase, .. }) => {
            let what = match phase {
                Some(phase) => format!("the phase {} of successful test calls", phase.as_str()),
                None => "successful test calls".to_owned(),
            };
            format!("{what} took at most {}", print_duration(*threshold))
        }
    };
    let promised = exact(report.objective);
    let mut text = format!("{} of {good}; {promised} is promised. ", percent(*attained));
    let whose = match (default_window, slo.window) {
        (true, Window::CalendarMonth) => "the month's".to_owned(),
        (true, Window::Rolling(days)) if days.count() == 1 => "the day's".to_owned(),
        (true, Window::Rolling(days)) => format!("the {} days'", days.count()),
        (false, _) => "this time's".to_owned(),
    };
    let left = match left {
        left if *left >= 0.0 => format!("{} of {whose} error budget is left.", budget(*left)),
        left => format!("{whose} error budget is spent {:.1} times over.", 1.0 - left),
    };
    text += &match report.groups.is_empty() {
        true => capital(&left),
        false => format!("Taken together, {left}"),
    };
    let fewest = slo.objective.fewest_attempts() as f64;
    if report.standing == Standing::TooLittleData {
        text += &match covered {
            covered if *covered < super::LEAST_COVERED => {
                format!(" That is no result yet: only {} of the time is known.", budget(*covered))
            }
            _ => match report.groups.is_empty() && total.round() < fewest {
                true => format!(" That is no result: {} attempts are too few.", count(*total)),
                false => " That is no result yet for all of it.".to_owned(),
            },
        };
    }
    text + &groups(slo, report)
}

fn groups(slo: &Slo, report: &SloReport) -> String {
    if report.groups.is_empty() {
        return String::new();
    }
    let of = |standing| report.groups.iter().filter(move |it| it.figures.standing == standing);
    let noun = match slo.group_by.as_slice() {
        [key] => format!("{}s", key.as_str()),
        _ => "groups".to_owned(),
    };
    let (missed, all) = (of(Standing::Missed).count(), report.groups.len());
    let mut text = format!(" {} of {all} {noun} keep it.", of(Standing::Met).count());
    if missed > 0 {
        let names: Vec<String> =
            of(Standing::Missed).take(3).map(|group| name(&group.labels)).collect();
        let more = if missed > 3 { format!(" and {} more", missed - 3) } else { String::new() };
        text += &format!(" Missed by {}{more}.", names.join(", "));
    }
    text
}

/// The name of a group.
pub(super) fn name(labels: &[String]) -> String {
    let told = |label: &String| if label.is_empty() { "unknown".to_owned() } else { label.clone() };
    labels.iter().map(told).collect::<Vec<_>>().join(" · ")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_all_never_reads_as_all() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.999_999_9), "99.999 %");
        assert_eq!(percent(0.9995), "99.95 %");
        assert_eq!(percent(0.5), "50 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(budget(0.999), "99 %");
        assert_eq!(budget(1.0), "100 %");
        assert_eq!(budget(0.001), "under 1 %");
        assert_eq!(budget(-0.001), "−1 %");
    }

    #[test]
    fn what_is_promised_is_told_to_its_last_digit() {
        for (text, told) in [("97.25%", "97.25 %"), ("99.9%", "99.9 %"), ("50.0001%", "50.0001 %")]
        {
            let objective: Objective = text.parse().expect("an objective");
            assert_eq!(exact(objective.share()), told);
            assert_eq!(exact(objective.budget()), exact(1.0 - objective.share()));
        }
        assert_eq!(exact(0.123_456_78), percent(0.123_456_78));
        assert_eq!(exact(1.0), "100 %");
    }

    #[test]
    fn times_are_told_in_two_units_at_most() {
        let of = |seconds| {
            let from = time::OffsetDateTime::UNIX_EPOCH;
            length(&Period { from, to: from + time::Duration::seconds(seconds) })
        };
        let told = [0, 35, 60, 3599, 3600, 5400, 86_400, 90_000].map(of);
        assert_eq!(told, ["0 s", "35 s", "1 min", "59 min", "1 h", "1 h 30 min", "1 d", "1 d 1 h"]);
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(count(1_234_567.4), "1\u{2009}234\u{2009}567");
        assert_eq!(count(12.0), "12");
        assert_eq!(points(-0.0012), "−0.120");
        assert_eq!(seconds(0.0123), "12.3 ms");
        assert_eq!(quantile(&Quantile { seconds: 10.0, above: true }), "> 10.00 s");
    }
}
