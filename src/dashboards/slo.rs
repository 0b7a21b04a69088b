//! SLOs: what was attained, what is left of the budgets, and how fast they are spent.

use crate::dashboards::board::{Board, Row, SLO, row};
use crate::dashboards::panel::{Colour, Unit, bad_from, good_from, lines, table};

pub(super) const UID: &str = "meshprobe-slo";

const CHOSEN: &str = r#"slo=~"$slo""#;
const BUDGET: &str = "on (slo) group_left () (1 - max by (slo) (meshprobe:slo_objective:ratio))";

pub(super) fn board() -> Board {
    Board {
        uid: UID,
        title: "meshprobe / SLOs",
        description: "What is promised in `slos` of the configuration. A budget is only told once \
                      there is enough data in the window.",
        variables: &[SLO],
        rows: vec![window(), burn(), data()],
    }
}

/// A recorded series of the chosen SLOs.
fn recorded(name: &str) -> String {
    format!("meshprobe:slo_{name}{{{CHOSEN}}}")
}

/// The share of `name` in what it is a part of, nothing where that is 0.
fn ratio(name: &str, all: &str, over: &str) -> String {
    format!(
        "{} / ({} > 0)",
        recorded(&format!("{name}:{over}")),
        recorded(&format!("{all}:{over}"))
    )
}

fn window() -> Row {
    row(
        "Over the window of each",
        [
            table("Objectives", "The share of attempts that must be good.")
                .ask("objective", format!("max by (slo) ({})", recorded("objective:ratio")))
                .unit(Unit::Share)
                .size(6, 9),
            table("Budget left", "1 when nothing was bad, 0 when just as much as is allowed, below 0 when more; the twenty with the least.")
                .ask("budget left", format!("bottomk(20, {})", recorded("budget_left:ratio")))
                .unit(Unit::Share)
                .steps(&[(f64::NEG_INFINITY, Colour::Red), (0.0, Colour::Orange), (0.25, Colour::Green)])
                .size(9, 9)
                .runbooks(&["MeshprobeSloBudgetBurn"]),
            table("Attained", "Good attempts, of those that count; the twenty that attained least.")
                .ask("attained", format!("bottomk(20, 1 - {})", ratio("bad", "total", "window")))
                .unit(Unit::Share)
                .size(9, 9),
            lines("Budget left", "The twenty with the least.")
                .ask("{{slo}} {{node}} {{zone}} {{vantage}} {{namespace}} {{target}} {{probe}}", format!("bottomk(20, {})", recorded("budget_left:ratio")))
                .unit(Unit::Share)
                .steps(good_from!(0.0, 0.25))
                .size(24, 9)
                .runbooks(&["MeshprobeSloBudgetBurn"]),
        ],
    )
}

fn burn() -> Row {
    let legend = "{{slo}} {{node}} {{zone}} {{vantage}} {{namespace}} {{target}} {{probe}}";
    let rate = |errors: String| format!("topk(20, ({errors}) / {BUDGET})");
    row(
        "How fast budgets are spent",
        [
            lines(
                "Burn rate over 5 minutes",
                "At 1 a budget lasts for just one window; the twenty that are spent fastest.",
            )
            .ask(legend, rate(recorded("errors:ratio5m")))
            .unit(Unit::Times)
            .runbooks(&["MeshprobeSloBudgetBurn"]),
            lines(
                "Burn rate over one hour",
                "At 14.4, two hundredths of a budget of 30 days are gone in that hour.",
            )
            .ask(legend, rate(ratio("bad", "total", "increase1h")))
            .unit(Unit::Times)
            .steps(&[
                (f64::NEG_INFINITY, Colour::Green),
                (6.0, Colour::Orange),
                (14.4, Colour::Red),
            ])
            .runbooks(&["MeshprobeSloBudgetBurn"]),
            lines("Bad attempts", "Per second, over five minutes.")
                .ask(legend, format!("topk(20, {})", recorded("bad:rate5m")))
                .unit(Unit::PerSecond)
                .size(24, 7),
        ],
    )
}

fn data() -> Row {
    let unsure = format!(
        "sum by (slo) ({unsure})\n/ (sum by (slo) ({unsure}) + sum by (slo) ({total}) > 0)",
        unsure = recorded("inconclusive:increase1h"),
        total = recorded("total:increase1h"),
    );
    row(
        "How much is known",
        [
            lines("Attempts that count", "Per second, over five minutes.")
                .ask("{{slo}}", format!("sum by (slo) ({})", recorded("total:rate5m")))
                .unit(Unit::PerSecond)
                .runbooks(&["MeshprobeSloNoData"]),
            lines(
                "Inconclusive share",
                "Of all attempts of the last hour; they count neither for nor against.",
            )
            .ask("{{slo}}", unsure)
            .unit(Unit::Share)
            .steps(bad_from!(0.2))
            .runbooks(&["MeshprobeSloInconclusive"]),
            table("Attempts of the window", "That count, that were bad, and that could not tell.")
                .ask("count", format!("sum by (slo) ({})", recorded("total:window")))
                .ask("bad", format!("sum by (slo) ({})", recorded("bad:window")))
                .ask("inconclusive", format!("sum by (slo) ({})", recorded("inconclusive:window"))),
        ],
    )
}
