//! What the arithmetic and the queries hold to.

use std::time::Duration;

use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::failure::Phase;
use crate::target::{ProbeKind, Vantage};

fn objective(text: &str) -> Objective {
    text.parse().expect("an objective")
}

fn counts(bad: f64, total: f64) -> Counts {
    Counts::new(bad, total, 0.0).expect("sound counts")
}

fn slo(sli: Sli) -> Slo {
    Slo {
        name: "it".parse().expect("a name"),
        description: None,
        objective: objective("99.9%"),
        window: Window::rolling(30).expect("a window"),
        sli,
        select: Selectors::default(),
        group_by: Vec::new(),
    }
}

fn latency(millis: u64) -> Sli {
    let threshold = Duration::from_millis(millis);
    Sli::Latency(Latency { threshold, phase: None, connection: None })
}

#[test]
fn objectives_are_percentages_or_shares_and_say_what_else_they_are_not() {
    for (text, millionths) in
        [("99.9%", 999_000), ("0.999", 999_000), ("99.9 %", 999_000), ("50%", 500_000)]
    {
        assert_eq!(text.parse().map(Objective::millionths), Ok(millionths), "{text}");
    }
    assert_eq!("99.9999%".parse::<Objective>().map(Objective::millionths), Ok(999_999));
    for (text, error) in [
        ("100%", InvalidObjective::Everything),
        ("1", InvalidObjective::Everything),
        ("1.0", InvalidObjective::Everything),
        ("0%", InvalidObjective::Nothing),
        ("0", InvalidObjective::Nothing),
        ("99.9", InvalidObjective::WithoutSign("99.9".to_owned())),
        ("99.99999%", InvalidObjective::TooFine),
        ("101%", InvalidObjective::Unreadable),
        ("-1", InvalidObjective::Unreadable),
        ("three nines", InvalidObjective::Unreadable),
        ("", InvalidObjective::Unreadable),
        ("99999999999999999999%", InvalidObjective::Unreadable),
    ] {
        assert_eq!(text.parse::<Objective>(), Err(error), "{text}");
    }
}

#[test]
fn the_budget_is_exact() {
    assert_eq!(objective("99.9%").budget(), 0.001);
    assert_eq!(objective("99.95%").share(), 0.9995);
    assert_eq!(objective("99.9%").fewest_attempts(), 1000);
    assert_eq!(objective("66%").fewest_attempts(), 3);
}

#[test]
fn windows_are_days_or_a_month() {
    for text in ["7d", "30d", "1d", "366d", "calendar_month"] {
        assert_eq!(text.parse::<Window>().map(|it| it.to_string()), Ok(text.to_owned()));
    }
    for text in ["0d", "367d", "7", "1w", "30 days", "-1d", "+1d", "d", "month", "99999999d"] {
        assert_eq!(text.parse::<Window>(), Err(InvalidWindow), "{text}");
    }
}

#[test]
fn a_month_begins_at_midnight_utc_and_follows_the_one_before() {
    let month = Window::CalendarMonth;
    let at = datetime!(2024-03-01 01:30 +02:00);
    assert_eq!(month.start(at), datetime!(2024-02-01 00:00 UTC));
    let previous = (datetime!(2024-01-01 00:00 UTC), datetime!(2024-02-01 00:00 UTC));
    assert_eq!(month.previous(at), previous);
    let january = datetime!(2024-01-15 00:00 UTC);
    let previous = (datetime!(2023-12-01 00:00 UTC), datetime!(2024-01-01 00:00 UTC));
    assert_eq!(month.previous(january), previous);
    let week = Window::rolling(7).expect("a window");
    assert_eq!(week.start(january), datetime!(2024-01-08 00:00 UTC));
    let previous = (datetime!(2024-01-01 00:00 UTC), datetime!(2024-01-08 00:00 UTC));
    assert_eq!(week.previous(january), previous);
}

#[test]
fn nothing_is_said_of_nothing_and_too_little_is_said_to_be_so() {
    let of = |bad, total| attainment(objective("99.9%"), &counts(bad, total));
    let nothing = of(0.0, 0.0);
    assert_eq!((nothing.attained, nothing.budget_left), (None, None));
    assert_eq!(nothing.standing, Standing::NoData);
    assert_eq!(of(0.0, 999.0).standing, Standing::TooLittleData);
    assert_eq!(of(0.0, 999.99).standing, Standing::Kept);
    assert_eq!(of(1.0, 1000.0).standing, Standing::Kept);
    assert_eq!(of(2.0, 1000.0).standing, Standing::Broken);
    assert_eq!(of(2.0, 1000.0).budget_left, Some(-1.0));
    assert_eq!(of(0.0, 5000.0).budget_left, Some(1.0));
}

#[test]
fn numbers_that_cannot_be_counts_are_refused() {
    for (bad, total, inconclusive) in [
        (-1.0, 1.0, 0.0),
        (2.0, 1.0, 0.0),
        (f64::NAN, 1.0, 0.0),
        (0.0, f64::INFINITY, 0.0),
        (0.0, 1.0, f64::NAN),
    ] {
        assert_eq!(Counts::new(bad, total, inconclusive), None, "{bad} {total} {inconclusive}");
    }
    assert_eq!(counts(1.000_000_1, 1.0).bad(), 1.0, "what rounding explains is mended");
}

#[test]
fn the_conditions_of_30_days_are_those_of_the_book_and_others_spend_as_much() {
    let told = |window: Window| {
        burns(window).map(|burn| {
            let [long, short] = [burn.long, burn.short].map(promql_duration);
            format!("{} {long} {short} {:.3}", burn.factor, burn.budget_spent(window))
        })
    };
    let month = ["14.4 1h 5m 0.020", "6 6h 30m 0.050", "1 3d 6h 0.100"];
    assert_eq!(told(Window::rolling(30).expect("a window")), month);
    assert_eq!(told(Window::CalendarMonth), month);
    let week = ["14.4 15m 5m 0.021", "6 85m 10m 0.051", "1 1010m 85m 0.100"];
    assert_eq!(told(Window::rolling(7).expect("a window")), week);
}

#[test]
fn a_burn_rate_that_no_outage_reaches_is_known() {
    let [page, _, ticket] = burns(Window::CalendarMonth);
    assert_eq!(page.threshold(objective("99.9%")), 0.0144);
    assert!(!page.is_reachable(objective("90%")) && ticket.is_reachable(objective("90%")));
}

#[test]
fn availability_counts_verdicts_and_leaves_the_inconclusive_out() {
    let Expressions { bad, total, inconclusive } =
        slo(Sli::Availability).expressions(Function::Rate, "5m", &[]);
    assert_eq!(bad, "sum(rate(meshprobe_attempts_total{verdict=\"violated\"}[5m]))");
    assert_eq!(total, "sum(rate(meshprobe_attempts_total{verdict=~\"met|violated\"}[5m]))");
    assert_eq!(inconclusive, "sum(rate(meshprobe_attempts_total{verdict=\"inconclusive\"}[5m]))");
}

#[test]
fn latency_counts_by_the_bucket_of_the_threshold_path_by_path() {
    let mut slo = slo(Sli::Latency(Latency {
        threshold: Duration::from_millis(1300),
        phase: Some(Phase::Tls),
        connection: Some(Connection::Cold),
    }));
    slo.select.vantage = vec![Vantage::Ambient];
    let Expressions { bad, total, inconclusive } =
        slo.expressions(Function::Increase, "30d", &[GroupKey::Node]);
    let series = |le: &str| {
        format!(
            "meshprobe_phase_duration_seconds_bucket{{vantage=\"ambient\",le=\"{le}\",\
             phase=\"tls\",connection=\"cold\"}}"
        )
    };
    let bucket = |le: &str| format!("increase({}[30d])", series(le));
    let then = |le: &str| format!("{} offset 30d", series(le));
    let (fast, all) = (bucket("1.3"), bucket("+Inf"));
    // What went on when its bound began is left out.
    let unbound = format!("({} unless ignoring (le) {})", then("+Inf"), then("1.3"));
    let all = format!("({all} unless ignoring (le) {unbound})");
    assert_eq!(bad, format!("clamp_min(sum by (node) ({all} - ignoring (le) {fast}), 0)"));
    assert_eq!(total, format!("sum by (node) ({all} and ignoring (le) {fast})"));
    assert!(inconclusive.contains("connection=\"cold\"") && !inconclusive.contains("phase"));
}

#[test]
fn a_whole_bound_is_found_however_prometheus_spells_it() {
    let bad = slo(latency(1000)).expressions(Function::Rate, "5m", &[]).bad;
    assert!(bad.contains(r#"sum without (le) (rate("#), "{bad}");
    assert!(bad.contains(r#"le=~"1(?:\\.0)?""#), "{bad}");
}

#[test]
fn selectors_are_matchers_and_namespaces_are_read_from_names() {
    let mut slo = slo(Sli::Availability);
    slo.select = Selectors {
        probe: vec![ProbeKind::Http, ProbeKind::Tcp],
        target: vec!["peer/node-1".parse().expect("a pattern")],
        node: vec!["eu-*.a".parse().expect("a pattern"), "us".parse().expect("a pattern")],
        namespace: vec!["team-*".parse().expect("a pattern")],
        ..Selectors::default()
    };
    assert_eq!(
        slo.series("m", &[], &[]),
        r#"m{probe=~"http|tcp",target="peer/node-1",node=~"eu-.*\\.a|us",target=~"(?:service|hbone-service|waypoint)/(?:team-[^/]*)/.+"}"#
    );
    slo.select = Selectors::default();
    let total = slo.expressions(Function::Rate, "5m", &[GroupKey::Namespace]).total;
    assert!(total.starts_with("sum by (namespace) (label_replace(rate("), "{total}");
    assert!(total.contains("service|hbone-service|waypoint)/[^/]+/.+"), "{total}");
}

fn regex_of(pattern: &Pattern) -> regex::Regex {
    regex::Regex::new(&format!("^(?:{})$", pattern.regex())).expect("a regex")
}

proptest! {
    #[test]
    fn objectives_read_back(millionths in 1u32..1_000_000) {
        let objective = Objective::of_millionths(millionths).expect("in range");
        prop_assert_eq!(objective.to_string().parse(), Ok(objective));
        prop_assert_eq!(objective.share().to_string().parse(), Ok(objective));
        prop_assert!((objective.share() + objective.budget() - 1.0).abs() < 1e-15);
    }

    #[test]
    fn any_text_is_an_objective_a_window_a_name_or_refused(text in "\\PC{0,40}|[0-9.%d ]{0,12}") {
        let _ = (text.parse::<Objective>(), text.parse::<Window>(), text.parse::<SloName>());
    }

    #[test]
    fn patterns_match_what_their_regex_matches(
        pattern in "[a-c.*+|/-]{1,8}", text in "[a-c.+|/-]{0,10}",
    ) {
        let pattern: Pattern = pattern.parse().expect("a pattern");
        prop_assert_eq!(pattern.matches(&text), regex_of(&pattern).is_match(&text));
    }

    #[test]
    fn more_bad_attempts_leave_less_and_never_more_than_all(
        millionths in 1u32..1_000_000, total in 1.0f64..1e9, one in 0.0f64..=1.0, more in 0.0f64..=1.0,
    ) {
        let objective = Objective::of_millionths(millionths).expect("in range");
        let (few, many) = (one.min(more) * total, one.max(more) * total);
        let left = |bad| attainment(objective, &counts(bad, total)).budget_left.expect("there are");
        prop_assert!(left(many) <= left(few) && left(few) <= 1.0);
        let burnt = burn_rate(objective, &counts(few, total)).expect("there are");
        prop_assert!((left(few) - (1.0 - burnt)).abs() < 1e-9);
    }

    #[test]
    fn inconclusive_attempts_count_neither_for_nor_against(
        millionths in 1u32..1_000_000, bad in 0.0f64..1e6, good in 0.0f64..1e6, unsure in 0.0f64..1e6,
    ) {
        let objective = Objective::of_millionths(millionths).expect("in range");
        let with = Counts::new(bad, bad + good, unsure).expect("sound");
        let without = Counts::new(bad, bad + good, 0.0).expect("sound");
        let (with, without) = (attainment(objective, &with), attainment(objective, &without));
        prop_assert_eq!(with.attained, without.attained);
        prop_assert_eq!(with.budget_left, without.budget_left);
        prop_assert_eq!(with.standing, without.standing);
        if let Some(share) = with.inconclusive {
            prop_assert!((0.0..=1.0).contains(&share));
        }
    }

    #[test]
    fn what_is_kept_is_what_was_promised(
        millionths in 1u32..1_000_000, bad in 0u32..100_000, good in 0u32..10_000_000,
    ) {
        let objective = Objective::of_millionths(millionths).expect("in range");
        let total = u64::from(bad) + u64::from(good);
        let allowed = u128::from(total) * u128::from(1_000_000 - millionths);
        let kept = u128::from(bad) * 1_000_000 <= allowed;
        let expected = match total {
            0 => Standing::NoData,
            few if few < objective.fewest_attempts() => Standing::TooLittleData,
            _ if kept => Standing::Kept,
            _ => Standing::Broken,
        };
        let counts = counts(bad.into(), total as f64);
        prop_assert_eq!(attainment(objective, &counts).standing, expected);
    }

    #[test]
    fn conditions_are_ordered_and_of_whole_steps(days in 1u16..=366) {
        let burns = burns(Window::rolling(days).expect("in range"));
        for burn in &burns {
            prop_assert!(burn.short < burn.long);
            prop_assert_eq!(burn.short.as_secs() % 300 + burn.long.as_secs() % 300, 0);
        }
        prop_assert!(burns.windows(2).all(|two| two[0].long <= two[1].long));
        prop_assert!(burns.windows(2).all(|two| two[0].factor > two[1].factor));
    }
}
