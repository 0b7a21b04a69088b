//! istiod and CoreDNS: the ladder to istiod rung by rung, and every replica of CoreDNS by itself.

use crate::dashboards::board::{Board, NODE, Row, VANTAGE, row};
use crate::dashboards::panel::{Unit, bad_from, good_from, lines, matrix, share, stat};
use crate::dashboards::paths;

pub(super) const UID: &str = "meshprobe-control-plane";

/// The chosen agents.
const CHOSEN: &str = r#"node=~"$node",vantage=~"$vantage""#;
/// Targets that ask one replica of CoreDNS, by either transport.
const REPLICAS: &str = r#"target=~"coredns-(?:udp|tcp)/.+""#;

pub(super) fn board() -> Board {
    Board {
        uid: UID,
        title: "meshprobe / istiod and CoreDNS",
        description: "What every node depends on: the ladder to istiod, rung by rung, and names.",
        variables: &[NODE, VANTAGE],
        rows: vec![istiod(), rungs(), coredns(), names()],
    }
}

/// The share of the chosen agents' attempts of this kind that were violated, by these labels.
fn violated(by: &str, probe: &str) -> String {
    let of = |verdict| {
        format!("meshprobe:node_attempts:rate5m{{{CHOSEN},probe=\"{probe}\",verdict{verdict}}}")
    };
    share(by, &of("=\"violated\""), &of("=~\"met|violated\""))
}

fn istiod() -> Row {
    let all = violated("probe", "istiod");
    row(
        "istiod",
        [
            stat(
                "Ladders violated",
                "The share of all ladders to istiod that broke, over five minutes.",
            )
            .ask("violated", all)
            .unit(Unit::Share)
            .steps(bad_from!(0.05))
            .size(6, 8)
            .runbooks(&["MeshprobeIstiodDown"]),
            stat(
                "Nodes that do not reach it",
                "Nodes with more than half of their ladders broken.",
            )
            .ask("nodes", format!("count(({}) > 0.5) or vector(0)", violated("node", "istiod")))
            .steps(bad_from!(1.0))
            .size(6, 8)
            .runbooks(&["MeshprobeIstiodLinkDown"]),
            lines(
                "Share of ladders violated, by node",
                "All nodes at once: istiod. One of them: its way there.",
            )
            .ask("{{node}} {{vantage}}", violated("node, vantage", "istiod"))
            .unit(Unit::Share)
            .runbooks(&["MeshprobeIstiodDown", "MeshprobeIstiodLinkDown"])
            .opens(paths::UID, &["node"]),
        ],
    )
}

fn rungs() -> Row {
    let rungs = |verdict| {
        format!("rate(meshprobe_istiod_rung_attempts_total{{{CHOSEN},verdict{verdict}}}[5m])")
    };
    row(
        "The ladder to istiod, rung by rung",
        [
            matrix(["node", "rung"], "Node by rung", "The share of attempts at each rung that held, over five minutes. What is above a broken rung is not tried.")
                .ask("held", share("node, rung", &rungs("=\"met\""), &rungs("=~\"met|violated\"")))
                .unit(Unit::Share)
                .steps(good_from!(0.95, 0.999)),
            lines("Rungs that broke", "The lowest is the one to look at.")
                .ask("{{vantage}} {{rung}}", format!("sum by (vantage, rung) ({})", rungs("=\"violated\"")))
                .unit(Unit::PerSecond),
            lines("Rungs, p95", "How long rungs took that held.")
                .ask("{{rung}}", format!("histogram_quantile(0.95, sum by (le, rung) (rate(meshprobe_istiod_rung_duration_seconds_bucket{{{CHOSEN}}}[$__rate_interval])))"))
                .unit(Unit::Seconds),
        ],
    )
}

fn coredns() -> Row {
    let replica = |by: &str, verdict: &str| {
        let attempts =
            format!("meshprobe:attempts:increase1m{{{CHOSEN},{REPLICAS},verdict{verdict}}}");
        format!(
            "sum by ({by}) (label_replace({attempts}, \"replica\", \"$1\", \"target\", \"coredns-(?:udp|tcp)/(.+)\"))"
        )
    };
    let met = |by| {
        let (met, all) = (replica(by, "=\"met\""), replica(by, "=~\"met|violated\""));
        format!("{met}\n/ ({all} > 0)")
    };
    let bad = {
        let (bad, all) =
            (replica("replica", "=\"violated\""), replica("replica", "=~\"met|violated\""));
        format!("{bad}\n/ ({all} > 0)")
    };
    row(
        "CoreDNS, replica by replica",
        [
            matrix(["node", "replica"], "Node by replica", "The share of questions that were answered as they must be, over the last minute.")
                .ask("answered", met("node, replica"))
                .unit(Unit::Share)
                .steps(good_from!(0.95, 0.999))
                .size(12, 8)
                .runbooks(&["MeshprobeCoreDnsReplicaFailing"]),
            lines("Share of questions violated, by replica", "Clients meet a failing replica by chance, one question in as many as there are replicas.")
                .ask("{{replica}}", bad)
                .unit(Unit::Share)
                .steps(bad_from!(0.1))
                .runbooks(&["MeshprobeCoreDnsReplicaFailing"]),
        ],
    )
}

fn names() -> Row {
    let dns =
        r#"meshprobe:zone_attempt_duration_seconds_bucket:rate5m{vantage=~"$vantage",probe="dns"}"#;
    row(
        "Names",
        [
            lines("Share of questions violated, by node", "Of all that ask for names, captured or not.")
                .ask("{{node}} {{vantage}}", violated("node, vantage", "dns"))
                .unit(Unit::Share)
                .opens(paths::UID, &["node"]),
            lines("Questions, p50 and p99", "Of the whole fleet, over five minutes.")
                .ask("{{vantage}} p50", format!("histogram_quantile(0.5, sum by (le, vantage) ({dns}))"))
                .ask("{{vantage}} p99", format!("histogram_quantile(0.99, sum by (le, vantage) ({dns}))"))
                .unit(Unit::Seconds),
            lines("Questions, p99, by target", "Of the last minute; of all nodes the slowest.")
                .ask("{{vantage}} {{target}}", format!("max by (vantage, target) (meshprobe:latency_seconds:p99_1m{{{CHOSEN},probe=\"dns\"}})"))
                .unit(Unit::Seconds),
            lines("Failures of questions, by phase and reason", "No line: none failed.")
                .ask("{{phase}} {{reason}}", format!("sum by (phase, reason) (meshprobe:node_failures:rate5m{{{CHOSEN},probe=\"dns\"}})"))
                .unit(Unit::PerSecond),
        ],
    )
}
