//! `slos`: what is promised. Agents put a bound of their histograms on each threshold, controllers
//! report on it, `meshprobe rules` makes rules of it; so all of them read the same list.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::decode::{Field, Fields};
use crate::config::quantity::print_duration;
use crate::config::server::{VANTAGES, buckets};
use crate::failure::Phase;
use crate::slo::{Connection, GroupKey, Latency, Pattern, Selectors, Sli, Slo, SloName};
use crate::target::ProbeKind;

/// The most SLOs: each costs recorded series for each group, and each threshold a bucket.
pub const MAX_SLOS: usize = 50;
/// The most values of one selector.
const MAX_VALUES: usize = 100;
/// The longest description, characters.
const MAX_DESCRIPTION: usize = 1000;

pub(super) const CONNECTIONS: [(&str, Connection); 2] =
    [("cold", Connection::Cold), ("warm", Connection::Warm)];

/// `slos`, whose thresholds must be within histograms of these `bounds`, when those are known.
pub(super) fn slos(field: Option<&Field<'_>>, bounds: &[f64]) -> Vec<Slo> {
    let Some(field) = field else { return Vec::new() };
    let items = field.items();
    if items.len() > MAX_SLOS {
        let problem = format!("has {} SLOs", items.len());
        field.unvalued(problem, format!("write at most {MAX_SLOS}"));
        return Vec::new();
    }
    let mut seen: HashMap<SloName, usize> = HashMap::new();
    let mut slos = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let mut fields = item.fields();
        let name_field = fields.require("name", "write a name that is unique among the SLOs");
        let name = name_field.as_ref().and_then(|f| f.parse::<SloName>("an SLO's name"));
        if let (Some(name), Some(field)) = (&name, &name_field) {
            match seen.get(name) {
                Some(first) => field.wrong(
                    format!("is the name of slos[{first}] already"),
                    "give each SLO a name of its own",
                ),
                None => {
                    seen.insert(name.clone(), index);
                }
            }
        }
        slos.extend(slo(fields, name, bounds));
    }
    slos
}

fn slo(mut fields: Fields<'_>, name: Option<SloName>, bounds: &[f64]) -> Option<Slo> {
    let description = fields.take("description").map(|field| description(&field));
    let objective = fields.require("objective", "write the share that must be good, e.g. 99.9%");
    let objective = objective.and_then(|field| field.parse("an objective"));
    let window = fields.require("window", "write e.g. 30d, or calendar_month");
    let window = window.and_then(|field| field.parse("a window"));
    let sli = fields.require("sli", "write availability, or latency: {threshold: 250ms}");
    let sli = sli.and_then(|field| sli_of(&field, bounds));
    let select = fields.take("select").map(|field| selectors(&field)).unwrap_or_default();
    let group_by = fields.take("group_by").map(|field| group_by(&field)).unwrap_or_default();
    fields.finish();
    Some(Slo {
        name: name?,
        description: description.flatten(),
        objective: objective?,
        window: window?,
        sli: sli?,
        select,
        group_by,
    })
}

fn description(field: &Field<'_>) -> Option<String> {
    let text = field.filled()?;
    if text.chars().count() > MAX_DESCRIPTION {
        field.unvalued("is too long", format!("write at most {MAX_DESCRIPTION} characters"));
    }
    Some(text.to_owned())
}

/// `availability`, or a block `latency`.
fn sli_of(field: &Field<'_>, bounds: &[f64]) -> Option<Sli> {
    const FIX: &str = "write availability, or latency: {threshold: 250ms}";
    if !field.is_map() {
        let available = field.is_word("availability");
        if !available {
            field.wrong("is not an SLI", FIX);
        }
        return available.then_some(Sli::Availability);
    }
    let mut fields = field.fields();
    let latency = fields.require("latency", FIX).and_then(|field| latency(&field, bounds));
    fields.finish();
    latency.map(Sli::Latency)
}

fn latency(field: &Field<'_>, bounds: &[f64]) -> Option<Latency> {
    let mut fields = field.fields();
    let threshold = fields.require("threshold", "write a duration, e.g. 250ms");
    let threshold = threshold.and_then(|field| {
        let longest = Duration::from_secs(3600);
        let threshold = field.duration(Duration::from_millis(1)..=longest)?;
        within(&field, threshold, bounds)
    });
    let phases = Phase::ALL.map(|phase| (phase.as_str(), phase));
    let phase = fields.take("phase").and_then(|field| field.word(&phases));
    let connection = fields.take("connection").and_then(|field| field.word(&CONNECTIONS));
    fields.finish();
    Some(Latency { threshold: threshold?, phase, connection })
}

/// The threshold, unless it is outside of what the histograms tell apart.
fn within(field: &Field<'_>, threshold: Duration, bounds: &[f64]) -> Option<Duration> {
    let seconds = threshold.as_millis() as f64 / 1000.0;
    let Some((first, last)) = bounds.first().zip(bounds.last()) else { return Some(threshold) };
    let inside = (*first..=*last).contains(&seconds);
    if !inside {
        let shown = |bound: &f64| match Duration::try_from_secs_f64(*bound) {
            Ok(bound) if bound.as_millis() > 0 => print_duration(bound),
            Ok(_) | Err(_) => format!("{bound} s"),
        };
        let fix = format!("write {} to {}, or extend buckets", shown(first), shown(last));
        field.wrong("is outside of the histograms' range", fix);
    }
    inside.then_some(threshold)
}

fn selectors(field: &Field<'_>) -> Selectors {
    let mut fields = field.fields();
    let probes = ProbeKind::ALL.map(|kind| (kind.as_str(), kind));
    let mut patterns = |key| {
        let field = fields.take(key);
        field.map(|field| values(&field, |item| item.parse::<Pattern>("a label's value")))
    };
    let target = patterns("target");
    let node = patterns("node");
    let zone = patterns("zone");
    let namespace = patterns("namespace");
    let probe = fields.take("probe").map(|field| values(&field, |item| item.word(&probes)));
    let vantage = fields.take("vantage");
    let vantage = vantage.map(|field| values(&field, |item| item.word(&VANTAGES)));
    fields.finish();
    Selectors {
        probe: probe.unwrap_or_default(),
        target: target.unwrap_or_default(),
        vantage: vantage.unwrap_or_default(),
        node: node.unwrap_or_default(),
        zone: zone.unwrap_or_default(),
        namespace: namespace.unwrap_or_default(),
    }
}

/// One value, or a list of them without an equal pair. None at all would select everything, which
/// is what leaving the key out is for.
fn values<'a, T: PartialEq>(field: &Field<'a>, read: impl Fn(&Field<'a>) -> Option<T>) -> Vec<T> {
    let items = if field.is_list() { field.items() } else { vec![field.clone()] };
    if items.is_empty() || items.len() > MAX_VALUES {
        let problem = format!("has {} values", items.len());
        field.wrong(problem, format!("write 1 to {MAX_VALUES} of them, or leave the key out"));
        return Vec::new();
    }
    let mut values = Vec::new();
    for item in &items {
        match read(item) {
            Some(value) if values.contains(&value) => {
                item.wrong("is listed twice", "leave one of the two out");
            }
            Some(value) => values.push(value),
            None => {}
        }
    }
    values
}

fn group_by(field: &Field<'_>) -> Vec<GroupKey> {
    let keys = GroupKey::ALL.map(|key| (key.as_str(), key));
    if field.is_list() && field.items().is_empty() {
        return Vec::new();
    }
    values(field, |item| item.word(&keys))
}

/// `buckets`, and the bounds that thresholds are held against: none when they are wrong themselves.
pub(super) fn bounds(field: Option<&Field<'_>>) -> (Vec<f64>, Vec<f64>) {
    let before = field.map(Field::mistakes);
    let bounds = buckets(field);
    let sound = field.map(Field::mistakes) == before;
    (bounds.clone(), if sound { bounds } else { Vec::new() })
}

/// `bounds` with one on each threshold of `slos`, ascending.
pub(super) fn with_thresholds(bounds: &[f64], slos: &[Slo]) -> Vec<f64> {
    let thresholds = slos.iter().filter_map(|slo| match &slo.sli {
        Sli::Latency(latency) => Some(latency.seconds()),
        Sli::Availability => None,
    });
    let mut all: Vec<f64> = bounds.iter().copied().chain(thresholds).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}
