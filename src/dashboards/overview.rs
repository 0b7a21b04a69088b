//! The overview: what is broken, whether STRICT is safe, and since when.

use crate::dashboards::board::{Board, NODE, Row, VANTAGE, row};
use crate::dashboards::panel::{
    Colour, Panel, Unit, bad_from, good_from, lines, share, stat, table,
};
use crate::dashboards::{certificates, control_plane, meshprobe, paths, slo};

pub(super) const UID: &str = "meshprobe-overview";

pub(super) fn board() -> Board {
    Board {
        uid: UID,
        title: "meshprobe / Overview",
        description: "What is broken, whether STRICT is safe, and since when. Incidents and the \
                      gate come from the controllers, the rest from the agents.",
        variables: &[NODE, VANTAGE],
        rows: vec![broken(), strict(), elsewhere(), since()],
    }
}

/// Agents without their twin, as the alert `MeshprobeAgentAbsent` has it.
const ABSENT: &str = r#"sum(
  group by (node) (meshprobe_build_info{node=~"$node",vantage="plain"})
    unless on (node) group by (node) (meshprobe_build_info{vantage="ambient"})
  or group by (node) (meshprobe_build_info{node=~"$node",vantage="ambient"})
    unless on (node) group by (node) (meshprobe_build_info{vantage="plain"})
) or vector(0)"#;

fn broken() -> Row {
    let incidents =
        stat("Open incidents", "What the controllers conclude to be broken, of all components.")
            .ask(
                "incidents",
                "sum(max by (component_kind) (meshprobe_diagnosis_active)) or vector(0)",
            )
            .steps(bad_from!(1.0));
    let gaps = stat(
        "Enforcement gaps",
        "Replies that came where a denial was stated, over the time shown.",
    )
    .ask(
        "gaps",
        r#"ceil(sum(increase(meshprobe_enforcement_gaps_total{node=~"$node",vantage=~"$vantage"}[$__range]))) or vector(0)"#,
    )
    .steps(bad_from!(1.0))
    .runbooks(&["MeshprobeEnforcementGap"]);
    let violated = stat("Paths violated", "Paths (what one agent asks of one target) with a violated attempt in the last minute.")
        .ask(
            "paths",
            r#"count(sum by (node, vantage, target) (meshprobe:attempts:increase1m{node=~"$node",vantage=~"$vantage",verdict="violated"}) >= 0.5) or vector(0)"#,
        )
        .steps(bad_from!(1.0))
        .runbooks(&["MeshprobeTargetViolated"])
        .opens(paths::UID, &[]);
    let captured = stat("Not captured", "Nodes whose ambient agent is enrolled and yet not captured.")
        .ask("nodes", r#"count(min by (node) (meshprobe_captured{node=~"$node",vantage="ambient"}) == 0) or vector(0)"#)
        .steps(bad_from!(1.0))
        .runbooks(&["MeshprobeCaptureLost", "MeshprobeOwnZtunnelRefused"]);
    let absent = stat(
        "Agents absent",
        "Nodes where one agent is heard and its twin of the other vantage is not.",
    )
    .ask("nodes", ABSENT)
    .steps(bad_from!(1.0))
    .runbooks(&["MeshprobeAgentAbsent"]);
    let heard = stat("Agents heard", "Agents that Prometheus scrapes, by vantage.").ask(
        "{{vantage}}",
        r#"count by (vantage) (meshprobe_build_info{node=~"$node",vantage=~"$vantage"})"#,
    );
    let alerts = table("Alerts", "Alerts of meshprobe that fire; each leads to its runbook.")
        .ask("", r#"max by (alertname, severity, node, vantage, target, slo) (ALERTS{alertname=~"Meshprobe.+",alertstate="firing"})"#)
        .size(12, 8)
        .opens_runbook();
    let kinds = lines(
        "Open incidents, by kind of component",
        "As the controllers conclude; no line: none was ever open.",
    )
    .ask("{{component_kind}}", "max by (component_kind) (meshprobe_diagnosis_active) or vector(0)");
    row("What is broken", [incidents, gaps, violated, captured, absent, heard, alerts, kinds])
}

fn strict() -> Row {
    let gate = table("The gate", "Whether STRICT is safe; an empty namespace is the mesh.")
        .ask("", "max by (namespace, result) (meshprobe_gate_result) == 1")
        .size(6, 8);
    let checks = table("Its checks", "How each check of the gate came out.")
        .ask("", "max by (namespace, check, result) (meshprobe_gate_check) == 1")
        .size(10, 8);
    let callers = stat("Plaintext callers", "Workloads that call in plaintext and are no probers: STRICT would deny them. At most 100 are counted.")
        .ask("callers {{namespace}}", "max by (namespace) (meshprobe_gate_plaintext_callers)")
        .steps(bad_from!(1.0));
    let revert =
        stat("Revert recommended", "1 when something got worse since STRICT came into force.")
            .ask("revert {{namespace}}", "max by (namespace) (meshprobe_gate_revert_recommended)")
            .steps(bad_from!(1.0));
    let missing = stat(
        "Attempts missing",
        "Attempts without a failure that the node still needs that needs most.",
    )
    .ask("{{check}}", "max by (check) (meshprobe_gate_attempts_missing)");
    let judged = stat("Judged", "How long ago the gate was judged; one scope is, every 10 s.")
        .ask(
            "ago {{namespace}}",
            "time() - max by (namespace) (meshprobe_gate_evaluated_timestamp_seconds)",
        )
        .unit(Unit::Seconds)
        .steps(&[(f64::NEG_INFINITY, Colour::Green), (300.0, Colour::Orange)]);
    let plaintext = lines("Plaintext connections, by node", "As the nodes' ztunnels count them, probes left out.")
        .ask("{{node}}", r#"sum by (node) (rate(meshprobe_ztunnel_plaintext_connections_total{node=~"$node"}[$__rate_interval]))"#)
        .unit(Unit::PerSecond)
        .size(24, 7);
    row("Is STRICT safe?", [gate, checks, callers, revert, missing, judged, plaintext])
}

/// One number of each other dashboard, which it leads to.
fn elsewhere() -> Row {
    let of = |verdict| {
        let attempts = "meshprobe:node_attempts:rate5m{node=~\"$node\",vantage=~\"$vantage\"";
        format!("{attempts},probe=\"istiod\",verdict{verdict}}}")
    };
    let ladders = share("probe", &of("=\"violated\""), &of("=~\"met|violated\""));
    let (attempts, unsure) = (attempts("=~\".+\""), attempts("=\"inconclusive\""));
    row(
        "Look closer",
        [
            stat("Ladders to istiod violated", "The share of all, over five minutes.")
                .ask("violated", ladders)
                .unit(Unit::Share)
                .steps(bad_from!(0.05))
                .size(6, 4)
                .runbooks(&["MeshprobeIstiodDown", "MeshprobeIstiodLinkDown"])
                .opens(control_plane::UID, &[]),
            stat("Least life left of a certificate", "Of leaf certificates that targets show. Workloads renew at half.")
                .ask("left", certificates::least_left(r#"node=~"$node",vantage=~"$vantage""#))
                .unit(Unit::Share)
                .steps(good_from!(0.25, 0.4))
                .size(6, 4)
                .runbooks(&["MeshprobeCertificateExpiring"])
                .opens(certificates::UID, &[]),
            stat("Least budget left of an SLO", "Over the window of each. Below 0 the promise is broken.")
                .ask("left", "min(meshprobe:slo_budget_left:ratio)")
                .unit(Unit::Share)
                .steps(good_from!(0.0, 0.25))
                .size(6, 4)
                .runbooks(&["MeshprobeSloBudgetBurn"])
                .opens(slo::UID, &[]),
            stat("Inconclusive share", "Attempts that could not tell, over five minutes: whether all this can be believed.")
                .ask("inconclusive", format!("sum({unsure}) / sum({attempts})"))
                .unit(Unit::Share)
                .steps(bad_from!(0.2))
                .size(6, 4)
                .runbooks(&["MeshprobeSloInconclusive"])
                .opens(meshprobe::UID, &[]),
        ],
    )
}

/// Attempts per second of the chosen agents, with this matcher of verdicts.
fn attempts(verdict: &str) -> String {
    format!(
        r#"meshprobe:node_attempts:rate5m{{node=~"$node",vantage=~"$vantage",verdict{verdict}}}"#
    )
}

fn since() -> Row {
    let verdicts = |by| share(by, &attempts("=\"violated\""), &attempts("=~\"met|violated\""));
    let violated: Panel = lines(
        "Share of attempts violated, by kind of probe",
        "Inconclusive attempts are left out.",
    )
    .ask("{{vantage}} {{probe}}", verdicts("vantage, probe"))
    .unit(Unit::Share)
    .opens(paths::UID, &["vantage"]);
    let failures = lines("Failures, by phase and reason", "Attempts that failed; what each reason means is in docs/reasons.md. Where a denial is stated, its failure is as it must be.")
        .ask("{{phase}} {{reason}}", r#"sum by (phase, reason) (meshprobe:node_failures:rate5m{node=~"$node",vantage=~"$vantage"})"#)
        .unit(Unit::PerSecond);
    let nodes = table(
        "Worst nodes",
        "By the share of their attempts that were violated in the last five minutes.",
    )
    .ask("violated", format!("topk(20, {})", verdicts("node, zone, vantage")))
    .unit(Unit::Share)
    .steps(bad_from!(0.05))
    .opens(paths::UID, &["node", "vantage"]);
    row("Since when, and where", [violated, failures, nodes])
}
