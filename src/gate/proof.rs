//! Whether attempts prove what a check states: of every node, of all together, and right now.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::gate::Evidence;
use crate::gate::bound::{lower, missing, proves, upper};
use crate::gate::check::Check;
use crate::gate::recent::{PathKey, Recent, Seen};
use crate::gate::report::{Counts, Row};
use crate::gate::tally::{Count, plus};
use crate::gate::text::{counted, minute, names, number, percent, span};
use crate::observation::{Expected, Verdicts};
use crate::target::Vantage;

/// What a check demands of every node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    pub(super) check: Check,
    pub(super) expect: Expected,
    /// What the attempts are, for people: `calls`.
    pub(super) what: &'static str,
    /// The sides of the mesh from which each node must have been seen just now.
    pub(super) vantages: &'static [Vantage],
}

/// Says in `row` what attempts prove of `demand`.
///
/// Pooled are all attempts of a node, and of all nodes. A node fails when its failure rate is above
/// what is allowed with all the confidence that is asked for, shared by the nodes, so that many
/// nodes do not make one of them fail by chance; one failure alone is never enough for that.
pub(super) fn prove(row: &mut Row, demand: Demand, evidence: &Evidence<'_>, recent: &Recent<'_>) {
    let Demand { check, expect, what, .. } = demand;
    let tallied = evidence.tally.nodes(check, expect, &evidence.scope);
    let now = recent.nodes(check, expect);
    silent(row, demand, evidence, &now);
    failing(row, demand, evidence, &now, &tallied);
    dead(row, recent.of_check(check).filter(|(key, _)| key.expect == expect));
    let nodes = evidence.nodes();
    let (allowed, confidence) = (evidence.allowed(), evidence.settings.confidence);
    let mut all = Verdicts::default();
    let mut short: Vec<(u64, Option<u64>, &str)> = Vec::new();
    for node in &nodes {
        let count = tallied.get(node).copied();
        let verdicts = count.map(|count| count.verdicts).unwrap_or_default();
        all = plus(all, verdicts);
        let more = missing(verdicts.violated, verdicts.conclusive(), allowed, confidence);
        let more = more.unwrap_or(u64::MAX);
        if more > 0 {
            let seconds = count.and_then(|count| takes(more, count, evidence));
            short.push((more, seconds, node));
        }
    }
    short.sort_by_key(|(more, ..)| std::cmp::Reverse(*more));
    let counts = Counts {
        expect,
        attempts: all.conclusive(),
        violated: all.violated,
        inconclusive: all.inconclusive,
        failure_rate_upper: upper(all.violated, all.conclusive(), confidence),
        nodes: nodes.len() as u64,
        nodes_proven: (nodes.len() - short.len()) as u64,
        attempts_missing: short.first().map_or(0, |(more, ..)| *more),
        seconds_missing: short.first().and_then(|(_, seconds, _)| *seconds),
    };
    let possible = percent(counts.failure_rate_upper);
    let since = tallied.values().map(|count| count.since).min();
    let during = since.map(|since| Duration::try_from(evidence.now - since).unwrap_or_default());
    let during = during.map_or_else(|| "so far".to_owned(), |it| format!("in {}", span(it)));
    let seen = match all.conclusive() {
        0 => format!("no {what} were counted yet"),
        total => format!("{} of {} {what} met {during}", number(all.met), number(total)),
    };
    if let Some((more, seconds, node)) = short.first() {
        let took = seconds.map(|it| format!(", about {}", span(Duration::from_secs(it))));
        row.lack(format!(
            "{seen}; {} of {} lack attempts for {} at {}: {node} needs {} more without a \
             failure{}",
            number(short.len() as u64),
            counted(nodes.len() as u64, "node"),
            percent(evidence.settings.objective),
            percent(confidence),
            number(*more),
            took.unwrap_or_default(),
        ));
    } else if nodes.is_empty() {
        row.lack("no node is known that could prove it");
    } else if !proves(all.violated, all.conclusive(), allowed, confidence) {
        row.lack(format!("{seen}; of all nodes together {possible} may still fail"));
    } else {
        row.pass(format!("{seen}; at most {possible} fail, of every node and of all together"));
    }
    row.counts.push(counts);
}

/// How long `more` attempts take at the rate at which they were counted, seconds.
fn takes(more: u64, count: Count, evidence: &Evidence<'_>) -> Option<u64> {
    let elapsed = (evidence.now - count.since).as_seconds_f64();
    let rate = count.verdicts.conclusive() as f64 / elapsed;
    (elapsed > 0.0 && rate > 0.0).then(|| (more as f64 / rate).ceil() as u64)
}

/// Nodes of which nothing was heard just now: what was counted of them is of before.
fn silent(
    row: &mut Row,
    demand: Demand,
    evidence: &Evidence<'_>,
    now: &BTreeMap<(&str, Option<Vantage>), Seen>,
) {
    for vantage in demand.vantages {
        let heard = |node: &&str| {
            now.get(&(*node, Some(*vantage))).is_some_and(|it| it.verdicts.conclusive() > 0)
        };
        let nodes = evidence.nodes();
        let silent: Vec<&str> = nodes.iter().copied().filter(|node| !heard(node)).collect();
        if silent.is_empty() {
            continue;
        }
        row.lack(format!(
            "no {} told {} in the last {}: {}{}",
            demand.what,
            from(*vantage),
            span(evidence.window),
            names(&silent),
            why(&silent, *vantage, evidence),
        ));
    }
}

/// The side of the mesh, as people say it.
fn from(vantage: Vantage) -> &'static str {
    match vantage {
        Vantage::Ambient => "from inside the mesh",
        Vantage::Plain => "from outside the mesh",
    }
}

/// What is known of the agent that should have told it.
fn why(silent: &[&str], vantage: Vantage, evidence: &Evidence<'_>) -> String {
    let Some(node) = silent.first() else { return String::new() };
    let mut agents = evidence.agents.iter();
    match agents.find(|it| it.node == *node && it.vantage == vantage) {
        None => format!(" (no {vantage} agent is on {node})"),
        Some(it) if !it.linked => match it.age {
            Some(age) => format!(" (the agent on {node} is not heard of for {})", span(age)),
            None => format!(" (the agent on {node} was never heard of)"),
        },
        Some(_) => String::new(),
    }
}

/// Nodes that fail more than is allowed, now or over hours.
fn failing(
    row: &mut Row,
    demand: Demand,
    evidence: &Evidence<'_>,
    now: &BTreeMap<(&str, Option<Vantage>), Seen>,
    tallied: &BTreeMap<&str, Count>,
) {
    let nodes = evidence.nodes().len().max(1) as f64;
    let confidence = 1.0 - (1.0 - evidence.settings.confidence) / nodes;
    let too_much = |verdicts: Verdicts| {
        let Verdicts { violated, .. } = verdicts;
        violated > 1 && lower(violated, verdicts.conclusive(), confidence) > evidence.allowed()
    };
    for ((node, vantage), seen) in now.iter().filter(|(_, seen)| seen.verdicts.violated > 0) {
        let side = vantage.map(|vantage| format!(" ({vantage})")).unwrap_or_default();
        let told = format!(
            "{node}{side}: {} of {} {} not met in the last {}{}",
            number(seen.verdicts.violated),
            number(seen.verdicts.conclusive()),
            demand.what,
            span(evidence.window),
            seen.because(),
        );
        if too_much(seen.verdicts) {
            row.fail(told);
        } else {
            row.warn(told);
        }
    }
    for (node, count) in tallied.iter().filter(|(_, count)| too_much(count.verdicts)) {
        row.fail(format!(
            "{node}: {} of {} {} not met since {} (UTC): more than {} fail",
            number(count.verdicts.violated),
            number(count.verdicts.conclusive()),
            demand.what,
            minute(count.since),
            percent(evidence.allowed()),
        ));
    }
}

/// Paths that only fail, however many others of their node do not.
pub(super) fn dead<'a>(row: &mut Row, paths: impl Iterator<Item = (&'a PathKey<'a>, &'a Seen)>) {
    for (path, seen) in paths.filter(|(_, seen)| seen.is_dead()) {
        row.fail(format!("{path}: nothing else but failures{}", seen.because()));
    }
}
