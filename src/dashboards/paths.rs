//! Paths: vantage by target, node by node, and how long each takes.

use crate::dashboards::board::{Board, NODE, Row, TARGET, VANTAGE, row};
use crate::dashboards::panel::{Unit, bad_from, good_from, heatmap, lines, matrix, share, table};

pub(super) const UID: &str = "meshprobe-paths";

/// The chosen paths.
const CHOSEN: &str = r#"node=~"$node",vantage=~"$vantage",target=~"$target""#;

pub(super) fn board() -> Board {
    Board {
        uid: UID,
        title: "meshprobe / Paths",
        description: "What each agent asks of each target, over the last minute. A cell without a \
                      value: nothing conclusive was seen. Choose nodes in a large fleet.",
        variables: &[NODE, VANTAGE, TARGET],
        rows: vec![matrices(), failing(), latency(), links()],
    }
}

/// Attempts of the last minute, with further matchers.
fn attempts(more: &str) -> String {
    format!("meshprobe:attempts:increase1m{{{CHOSEN},{more}}}")
}

fn matrices() -> Row {
    let met = |by, more: &str| {
        let of = |verdict| attempts(&format!("{more}verdict{verdict}"));
        share(by, &of("=\"met\""), &of("=~\"met|violated\""))
    };
    let targets =
        matrix(["target", "vantage"], "Target by vantage", "The share of attempts that were met.")
            .ask("met", met("target, vantage", ""))
            .unit(Unit::Share)
            .steps(good_from!(0.95, 0.999))
            .size(8, 16);
    let nodes = matrix(["node", "destination_node"], "Node by node", "From rows to columns, the share of attempts that were met, of all targets that are on one node.")
        .ask("met", met("node, destination_node", "destination_node!=\"\","))
        .unit(Unit::Share)
        .steps(good_from!(0.95, 0.999))
        .size(16, 8);
    let slow = matrix(["node", "destination_node"], "Node by node, p99", "The slowest path from node to node: its 99th percentile over the last minute, successful attempts only.")
        .ask(
            "p99",
            format!("max by (node, destination_node) (\n  max by (node, vantage, target) (meshprobe:latency_seconds:p99_1m{{{CHOSEN}}})\n  * on (node, vantage, target) group_left (destination_node) meshprobe:target:info{{destination_node!=\"\"}}\n)"),
        )
        .unit(Unit::Seconds)
        .size(16, 8);
    row("Who reaches whom", [targets, nodes, slow])
}

fn failing() -> Row {
    let violated = share(
        "vantage, target",
        &attempts("verdict=\"violated\""),
        &attempts("verdict=~\"met|violated\""),
    );
    let violated =
        lines("Share of attempts violated, by target", "Inconclusive attempts are left out.")
            .ask("{{vantage}} {{target}}", violated)
            .unit(Unit::Share)
            .runbooks(&["MeshprobeTargetViolated"]);
    let reasons = lines(
        "Failures in the last minute, by target and reason",
        "Also failures that had to come, where a denial is stated.",
    )
    .ask(
        "{{vantage}} {{target}} {{reason}}",
        format!("sum by (vantage, target, reason) (meshprobe:failures:increase1m{{{CHOSEN}}})"),
    );
    let by = "node, vantage, target, destination_node";
    let worst =
        share(by, &attempts("verdict=\"violated\""), &attempts("verdict=~\"met|violated\""));
    let worst =
        table("Worst paths", "By the share of attempts that were violated in the last minute.")
            .ask("violated", format!("topk(20, {worst})"))
            .unit(Unit::Share)
            .steps(bad_from!(0.05))
            .opens(UID, &["node", "vantage", "target"]);
    row("What fails", [violated, reasons, worst])
}

fn latency() -> Row {
    let quantile = |name: &str| {
        format!("max by (vantage, target) (meshprobe:latency_seconds:{name}_1m{{{CHOSEN}}})")
    };
    let buckets = "meshprobe:zone_attempt_duration_seconds_bucket:rate5m{vantage=~\"$vantage\"}";
    let phases = "meshprobe:zone_phase_duration_seconds_bucket:rate5m{vantage=~\"$vantage\"}";
    row(
        "How long it takes",
        [
            lines(
                "Attempts, p50, by target",
                "Successful attempts of the last minute; of all nodes the slowest.",
            )
            .ask("{{vantage}} {{target}}", quantile("p50"))
            .unit(Unit::Seconds),
            lines(
                "Attempts, p99, by target",
                "Successful attempts of the last minute; of all nodes the slowest.",
            )
            .ask("{{vantage}} {{target}}", quantile("p99"))
            .unit(Unit::Seconds),
            lines(
                "Attempts, p99, by kind of probe, cold and warm",
                "Of the whole fleet, over five minutes.",
            )
            .ask(
                "{{vantage}} {{probe}} {{connection}}",
                format!(
                    "histogram_quantile(0.99, sum by (le, vantage, probe, connection) ({buckets}))"
                ),
            )
            .unit(Unit::Seconds),
            lines(
                "Phases, p95",
                "Of the whole fleet, over five minutes; a phase that did not run counts nowhere.",
            )
            .ask(
                "{{vantage}} {{phase}} {{connection}}",
                format!(
                    "histogram_quantile(0.95, sum by (le, vantage, phase, connection) ({phases}))"
                ),
            )
            .unit(Unit::Seconds),
            heatmap(
                "Attempts by duration",
                "How many attempts per second took how long, of the whole fleet.",
            )
            .ask("{{le}}", format!("sum by (le) ({buckets})"))
            .unit(Unit::PerSecond)
            .size(24, 8),
        ],
    )
}

fn links() -> Row {
    row(
        "Connections",
        [
            lines("TCP retransmits, by node", "Segments that the kernel sent again on connections of attempts.")
                .ask("{{node}}", format!("sum by (node) (rate(meshprobe_tcp_retransmits_total{{{CHOSEN}}}[$__rate_interval]))"))
                .unit(Unit::PerSecond),
            lines("Held connections that ended, by how", "held: as long as they had to last.")
                .ask("{{target}} {{end}}", format!("sum by (target, end) (rate(meshprobe_hold_duration_seconds_count{{{CHOSEN}}}[$__rate_interval]))"))
                .unit(Unit::PerSecond),
            lines("MTU suspected", "1 when small bodies passed and large ones stalled.")
                .ask("{{node}} {{target}}", format!("max by (node, target) (meshprobe_mtu_suspect{{{CHOSEN}}})"))
                .steps(bad_from!(1.0)),
            lines("ztunnel ready", "0 also when it says nothing. No evidence of working mTLS.")
                .ask("{{node}}", r#"min by (node) (meshprobe_ztunnel_ready{node=~"$node"})"#)
                .steps(good_from!(0.5, 1.0)),
            lines("Captured", "Whether the ambient agent's dns and tcp are captured, and ztunnel's hbone socket is there.")
                .ask("{{node}} {{what}}", r#"min by (node, what) (meshprobe_captured{node=~"$node",vantage="ambient"})"#)
                .steps(good_from!(0.5, 1.0))
                .runbooks(&["MeshprobeCaptureLost"]),
            lines("Inconclusive share, by target", "They count neither for nor against.")
                .ask("{{vantage}} {{target}}", share("vantage, target", &attempts("verdict=\"inconclusive\""), &format!("meshprobe:attempts:increase1m{{{CHOSEN}}}")))
                .unit(Unit::Share)
                .runbooks(&["MeshprobeSloInconclusive"]),
        ],
    )
}
