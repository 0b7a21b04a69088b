//! Plots as SVG within the page, coloured by its style.

use maud::{Markup, html};
use time::OffsetDateTime;

use crate::report::model::{Period, Place, SloReport};
use crate::report::words::{budget, count, exact, length, percent, period, seconds};

/// Width and height of a wide plot, and the room for its labels.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;
/// Nodes of the bars.
const MOST_BARS: usize = 24;
const BAR: f64 = 20.0;
/// Overspent budgets are drawn down to here.
const LOWEST: f64 = -1.0;

/// Where an instant is from left to right.
struct Axis {
    period: Period,
    width: f64,
}

impl Axis {
    fn x(&self, at: OffsetDateTime) -> f64 {
        let Period { from, to } = self.period;
        let share = (at - from).as_seconds_f64() / (to - from).as_seconds_f64().max(1.0);
        LEFT + share.clamp(0.0, 1.0) * (self.width - LEFT - RIGHT)
    }

    /// Labels at some instants.
    fn labels(&self, bottom: f64) -> Markup {
        let Period { from, to } = self.period;
        let days = (to - from).whole_hours() >= 48;
        let count = if self.width > 600.0 { 6 } else { 3 };
        let at = |index: i32| from + (to - from) * index / count;
        let label = |at: OffsetDateTime| match days {
            true => format!("{} {}", at.day(), &at.month().to_string()[..3]),
            false => format!("{:02}:{:02}", at.hour(), at.minute()),
        };
        html! {
            @for index in 0..=count {
                @let anchor = if index == 0 { "start" } else if index == count { "end" } else { "middle" };
                text x=(cut(self.x(at(index)))) y=(cut(bottom + 18.0)) text-anchor=(anchor) {
                    (label(at(index)))
                }
            }
        }
    }
}

/// A number with one decimal: more are not seen.
fn cut(number: f64) -> String {
    format!("{number:.1}")
}

fn figure(title: &str, said: &str, (width, height): (f64, f64), drawn: &Markup) -> Markup {
    html! {
        figure {
            figcaption { h3 { (title) } p .quiet { (said) } }
            svg viewBox={ "0 0 " (cut(width)) " " (cut(height)) } role="img" aria-label={ (title) ": " (said) } {
                (drawn)
            }
        }
    }
}

/// How much of the error budget was left over time.
pub(super) fn burn_down(slo: &SloReport) -> Markup {
    let all: f64 = slo.steps.iter().filter_map(|step| step.total).sum();
    let allowed = (1.0 - slo.objective) * all;
    if allowed <= 0.0 || slo.steps.len() < 2 {
        return html! {};
    }
    let mut spent = 0.0;
    let mut left = vec![(slo.period.from, 1.0)];
    for step in &slo.steps {
        spent += step.bad.unwrap_or(0.0);
        left.push((step.period.to, 1.0 - spent / allowed));
    }
    let last = left.last().map_or(1.0, |(_, left)| *left);
    let lowest = if last < 0.0 { (last * 1.05).max(LOWEST) } else { 0.0 };
    let axis = Axis { period: slo.period, width: WIDTH };
    let bottom = HEIGHT - BOTTOM;
    let y = |left: f64| {
        let share = (1.0 - left.max(lowest)) / (1.0 - lowest);
        TOP + share * (bottom - TOP)
    };
    let points: Vec<String> =
        left.iter().map(|(at, left)| format!("{},{}", cut(axis.x(*at)), cut(y(*left)))).collect();
    let (zero, end) = (cut(y(0.0)), cut(axis.x(slo.period.to)));
    let area = format!("{},{zero} {} {end},{zero}", cut(LEFT), points.join(" "));
    let drawn = html! {
        @for hole in &slo.holes {
            @let (from, to) = (axis.x(hole.from), axis.x(hole.to));
            rect .hole x=(cut(from)) y=(cut(TOP)) width=(cut((to - from).max(1.0))) height=(cut(bottom - TOP)) {
                title { "not known: " (period(hole)) }
            }
        }
        @for share in [1.0, 0.75, 0.5, 0.25] {
            line .grid x1=(cut(LEFT)) x2=(cut(WIDTH - RIGHT)) y1=(cut(y(share))) y2=(cut(y(share))) {}
            text x=(cut(LEFT - 8.0)) y=(cut(y(share) + 4.0)) text-anchor="end" { (budget(share)) }
        }
        line .even x1=(cut(LEFT)) y1=(cut(y(1.0))) x2=(cut(WIDTH - RIGHT)) y2=(cut(y(0.0))) {}
        polygon .area points=(area) {}
        polyline .curve points=(points.join(" ")) {}
        line .axis x1=(cut(LEFT)) x2=(cut(WIDTH - RIGHT)) y1=(cut(y(0.0))) y2=(cut(y(0.0))) {}
        text x=(cut(LEFT - 8.0)) y=(cut(y(0.0) + 4.0)) text-anchor="end" { "spent" }
        @for spell in slo.spells.iter().take(3) {
            @let (from, to) = (axis.x(spell.period.from), axis.x(spell.period.to));
            rect .spell x=(cut(from)) y=(cut(TOP)) width=(cut((to - from).max(2.0))) height=(cut(bottom - TOP)) {
                title { (count(spell.bad)) " bad, " (period(&spell.period)) }
            }
        }
        (axis.labels(bottom))
    };
    let mut said = "The curve is what is left, the dashed line an even spending.".to_owned();
    if !slo.spells.is_empty() {
        said += " Red: where most of it went.";
    }
    if !slo.holes.is_empty() {
        said += " Grey: nothing, or not all, is known.";
    }
    if last < LOWEST {
        said += " What is spent more than twice over is cut off.";
    }
    figure("Error budget left", &said, (WIDTH, HEIGHT), &drawn)
}

/// The share of bad attempts of each node.
pub(super) fn nodes(slo: &SloReport) -> Markup {
    if slo.nodes.is_empty() {
        return html! {};
    }
    let shown = &slo.nodes[..slo.nodes.len().min(MOST_BARS)];
    let share = |place: &Place| place.bad / place.total;
    let allowed = 1.0 - slo.objective;
    let most = shown.iter().map(share).fold(allowed * 1.5, f64::max);
    let width = WIDTH / 2.0;
    let label = shown.iter().map(|place| place.name.chars().count()).max().unwrap_or(0).min(24);
    let left = label as f64 * 7.2 + 8.0;
    let room = width - left - 76.0;
    let x = |share: f64| left + share / most * room;
    let height = shown.len() as f64 * BAR + TOP + BOTTOM;
    let bottom = height - BOTTOM;
    let drawn = html! {
        line .limit x1=(cut(x(allowed))) x2=(cut(x(allowed))) y1=(cut(TOP)) y2=(cut(bottom)) {}
        @for (at, place) in shown.iter().enumerate() {
            @let y = TOP + at as f64 * BAR;
            @let name: String = place.name.chars().take(24).collect();
            @let class = if share(place) > allowed { "bar over" } else { "bar" };
            text x=(cut(left - 6.0)) y=(cut(y + 14.0)) text-anchor="end" { (name) }
            rect class=(class) x=(cut(left)) y=(cut(y + 3.0)) width=(cut((x(share(place)) - left).max(1.0)))
                height=(cut(BAR - 6.0)) {
                title { (place.name) ": " (count(place.bad)) " bad of " (count(place.total)) }
            }
            text x=(cut(x(share(place)) + 5.0)) y=(cut(y + 14.0)) { (percent(share(place))) }
        }
        text x=(cut(x(allowed))) y=(cut(bottom + 16.0)) text-anchor="middle" { "allowed " (exact(allowed)) }
    };
    let more = match slo.nodes.len() - shown.len() {
        0 => String::new(),
        more => format!(" {more} nodes with fewer are not drawn."),
    };
    let said = format!("The share of bad attempts from each node, the worst first.{more}");
    figure("Nodes", &said, (width, height), &drawn)
}

/// How long attempts took over time.
pub(super) fn heat_map(slo: &SloReport) -> Markup {
    let Some(map) = &slo.heat_map else { return html! {} };
    let rows = map.bounds.len() + 1;
    let used = |row: usize| {
        map.columns.iter().any(|column| {
            let all: f64 = column.counts.iter().sum();
            column.counts.get(row).is_some_and(|count| *count > all * 0.0005)
        })
    };
    let Some(first) = (0..rows).find(|row| used(*row)) else { return html! {} };
    let last = (0..rows).rfind(|row| used(*row)).unwrap_or(first);
    let width = WIDTH / 2.0;
    let height = (last - first + 1) as f64 * BAR + TOP + BOTTOM;
    let bottom = height - BOTTOM;
    let axis = Axis { period: slo.period, width };
    let y = |row: usize| bottom - (row - first + 1) as f64 * BAR;
    let name = |row: usize| match map.bounds.get(row) {
        Some(bound) => seconds(*bound),
        None => "more".to_owned(),
    };
    let drawn = html! {
        rect .ground x=(cut(LEFT)) y=(cut(TOP)) width=(cut(width - LEFT - RIGHT)) height=(cut(bottom - TOP)) {}
        @for column in &map.columns {
            @let (from, to) = (axis.x(column.period.from), axis.x(column.period.to));
            @let all: f64 = column.counts.iter().sum();
            @if all <= 0.0 {
                rect .hole x=(cut(from)) y=(cut(TOP)) width=(cut(to - from)) height=(cut(bottom - TOP)) {}
            }
            @for row in first..=last {
                @let share = column.counts.get(row).map_or(0.0, |count| count / all.max(1e-9));
                @if share > 0.0005 {
                    rect .heat x=(cut(from)) y=(cut(y(row))) width=(cut(to - from)) height=(cut(BAR))
                        fill-opacity=(format!("{:.2}", (share.sqrt() * 1.1).min(1.0))) {}
                }
            }
        }
        @for row in first..=last {
            text x=(cut(LEFT - 6.0)) y=(cut(y(row) + 4.0)) text-anchor="end" { (name(row)) }
        }
        (axis.labels(bottom))
    };
    let step = map.columns.last().map(|column| length(&column.period)).unwrap_or_default();
    let said = format!(
        "Each column is {step} of successful attempts, each row a time that they took at most: the stronger the colour, the more."
    );
    figure("Latency", &said, (width, height), &drawn)
}
