//! meshprobe itself: whether what it says can be believed.

use crate::dashboards::board::{Board, NODE, Row, VANTAGE, row};
use crate::dashboards::panel::{Colour, Unit, bad_from, good_from, lines, share, stat, table};

pub(super) const UID: &str = "meshprobe-itself";

const CHOSEN: &str = r#"node=~"$node",vantage=~"$vantage""#;

pub(super) fn board() -> Board {
    Board {
        uid: UID,
        title: "meshprobe / Itself",
        description: "Whether what meshprobe says can be believed: agents, their time, their plans, \
                      and the controllers.",
        variables: &[NODE, VANTAGE],
        rows: vec![agents(), time(), plans(), controllers(), served()],
    }
}

fn agents() -> Row {
    row(
        "Agents",
        [
            stat("Heard", "Agents that Prometheus scrapes, by vantage.")
                .ask("{{vantage}}", format!("count by (vantage) (meshprobe_build_info{{{CHOSEN}}})"))
                .size(6, 5)
                .runbooks(&["MeshprobeAgentAbsent"]),
            stat("Bad configurations", "Agents whose last configuration had mistakes: an older one keeps running.")
                .ask("agents", format!("count(meshprobe_config_last_reload_successful{{{CHOSEN}}} == 0) or vector(0)"))
                .steps(bad_from!(1.0))
                .size(6, 5)
                .runbooks(&["MeshprobeConfigReloadFailed"]),
            stat("Oldest configuration", "Since a good configuration was last read.")
                .ask("age", format!("time() - min(meshprobe_config_last_reload_success_timestamp_seconds{{{CHOSEN}}})"))
                .unit(Unit::Seconds)
                .size(6, 5),
            stat("Failures without a name", "Failures in the last hour with the reason unclassified: a bug of meshprobe.")
                .ask("failures", format!("ceil(sum(increase(meshprobe_failures_total{{{CHOSEN},reason=\"unclassified\"}}[1h]))) or vector(0)"))
                .steps(bad_from!(1.0))
                .size(6, 5)
                .runbooks(&["MeshprobeUnclassifiedReason"]),
            table("Versions", "Agents and controllers by version.")
                .ask("instances", "count by (version) (meshprobe_build_info)")
                .size(12, 6),
            lines("Configurations read, by result", "Per hour.")
                .ask("{{result}}", format!("sum by (result) (increase(meshprobe_config_reloads_total{{{CHOSEN}}}[1h]))"))
                .size(12, 6)
                .runbooks(&["MeshprobeConfigReloadFailed"]),
        ],
    )
}

fn time() -> Row {
    let of = |verdict: &str| format!("meshprobe:node_attempts:rate5m{{{CHOSEN}{verdict}}}");
    let missed = format!("rate(meshprobe_missed_slots_total{{{CHOSEN}}}[$__rate_interval])");
    row(
        "Do they get their time?",
        [
            lines("Attempts", "Per second, over five minutes.")
                .ask("{{vantage}} {{probe}}", format!("sum by (vantage, probe) ({})", of("")))
                .unit(Unit::PerSecond),
            lines("Inconclusive share, by node", "Attempts that could not tell: too late, or the agent lacked something.")
                .ask("{{node}} {{vantage}}", share("node, vantage", &of(",verdict=\"inconclusive\""), &of("")))
                .unit(Unit::Share)
                .runbooks(&["MeshprobeSloInconclusive"]),
            lines("Schedule lag, p99", "How much later than their slots attempts began.")
                .ask("{{node}} {{vantage}}", format!("histogram_quantile(0.99, sum by (node, vantage, le) (rate(meshprobe_schedule_lag_seconds_bucket{{{CHOSEN}}}[$__rate_interval])))"))
                .unit(Unit::Seconds)
                .steps(&[(f64::NEG_INFINITY, Colour::Green), (0.1, Colour::Orange), (0.25, Colour::Red)])
                .runbooks(&["MeshprobeScheduleLag"]),
            lines("Slots missed, by cause", "Slots without an attempt.")
                .ask("{{node}} {{vantage}} {{cause}}", format!("sum by (node, vantage, cause) ({missed})"))
                .unit(Unit::PerSecond)
                .runbooks(&["MeshprobeSlotsMissed"]),
            lines("Attempts in flight", "Under way at the time of the scrape.")
                .ask("{{node}} {{vantage}}", format!("max by (node, vantage) (meshprobe_attempts_in_flight{{{CHOSEN}}})")),
            lines("Plaintext series dropped", "Above 0, the pairs that call in plaintext are not everybody.")
                .ask("{{node}}", r#"max by (node) (meshprobe_ztunnel_plaintext_series_dropped{node=~"$node"})"#)
                .steps(bad_from!(1.0)),
        ],
    )
}

fn plans() -> Row {
    row(
        "Plans",
        [
            stat("Agents without a controller", "Agents that are connected to none: they go on by the last good plan.")
                .ask("agents", format!("count(meshprobe_controllers_connected{{{CHOSEN}}} == 0) or vector(0)"))
                .steps(bad_from!(1.0))
                .size(6, 8)
                .runbooks(&["MeshprobePlanStale"]),
            stat("Plans refused", "Over the time shown: plans that were refused as a whole, and caches that held none.")
                .ask("plans", format!("ceil(sum(increase(meshprobe_plan_rejected_total{{{CHOSEN}}}[$__range]))) or vector(0)"))
                .steps(bad_from!(1.0))
                .size(6, 8),
            lines("Since plans were confirmed", "Since a controller last said what the plan is, of each vantage the longest.")
                .ask("{{vantage}}", format!("max by (vantage) (time() - meshprobe_plan_confirmed_timestamp_seconds{{{CHOSEN}}})"))
                .unit(Unit::Seconds)
                .steps(&[(f64::NEG_INFINITY, Colour::Green), (300.0, Colour::Orange)])
                .runbooks(&["MeshprobePlanStale"]),
            lines("Targets of plans", "The fewest and the most that an agent has.")
                .ask("{{vantage}} fewest", format!("min by (vantage) (meshprobe_plan_targets{{{CHOSEN}}})"))
                .ask("{{vantage}} most", format!("max by (vantage) (meshprobe_plan_targets{{{CHOSEN}}})")),
            lines("Plans taken", "How long ago the plan was taken that is followed now; of each vantage the newest.")
                .ask("{{vantage}}", format!("time() - max by (vantage) (meshprobe_plan_applied_timestamp_seconds{{{CHOSEN}}})"))
                .unit(Unit::Seconds),
        ],
    )
}

fn controllers() -> Row {
    row(
        "Controllers",
        [
            stat("Synced", "Controllers that have read the cluster, of all.")
                .ask("synced", "sum(meshprobe_controller_synced)")
                .ask("of", "count(meshprobe_controller_synced)")
                .steps(good_from!(1.0, 1.0)),
            stat("Leaders", "Controllers that hold the Lease and write Events: one.")
                .ask("leaders", "sum(meshprobe_controller_leader)")
                .steps(&[(f64::NEG_INFINITY, Colour::Red), (1.0, Colour::Green), (2.0, Colour::Red)]),
            stat("Nodes", "Of the cluster.").ask("nodes", "max(meshprobe_controller_nodes)"),
            stat("Agents' pods", "In the cluster, by vantage.")
                .ask("{{vantage}}", "max by (vantage) (meshprobe_controller_agents)"),
            stat("Not probed", "What is not probed because nobody can say what must come back.")
                .ask("unknown", "max(meshprobe_controller_unknown)"),
            stat("Watches stale", "How long ago the quietest watch was last heard of, of all controllers.")
                .ask("stale", "max(meshprobe_controller_discovery_stale_seconds)")
                .unit(Unit::Seconds)
                .steps(&[(f64::NEG_INFINITY, Colour::Green), (600.0, Colour::Orange)]),
            table("Findings", "What was asked for and cannot be had, by reason.")
                .ask("findings", "max by (reason) (meshprobe_controller_findings)")
                .size(12, 8),
            lines("Agents connected", "To each controller.")
                .ask("{{instance}}", "sum by (instance) (meshprobe_controller_agents_connected)"),
            lines("Windows and flows asked of agents, by result", "Per second.")
                .ask("windows {{result}}", "sum by (result) (rate(meshprobe_controller_window_pulls_total[$__rate_interval]))")
                .ask("flows {{result}}", "sum by (result) (rate(meshprobe_controller_flow_pulls_total[$__rate_interval]))")
                .unit(Unit::PerSecond),
            lines("Windows not taken in", "Unreadable, of another time, or beyond the bounds.")
                .ask("{{instance}}", "sum by (instance) (rate(meshprobe_controller_windows_refused_total[$__rate_interval]))")
                .unit(Unit::PerSecond),
            lines("Paths remembered", "Whose last windows are kept.")
                .ask("{{instance}}", "max by (instance) (meshprobe_controller_paths)"),
            lines("What they take in memory", "The windows of those paths.")
                .ask("{{instance}}", "max by (instance) (meshprobe_controller_evidence_bytes)")
                .unit(Unit::Bytes),
            lines("Plans asked for, by HTTP status", "Per second.")
                .ask("{{code}}", "sum by (code) (rate(meshprobe_controller_plan_requests_total[$__rate_interval]))")
                .unit(Unit::PerSecond),
            lines("Connections and Events, by result", "Connections to the control channel, Events in Kubernetes; per second.")
                .ask("connections {{result}}", "sum by (result) (rate(meshprobe_controller_connections_total[$__rate_interval]))")
                .ask("Events {{result}}", "sum by (result) (rate(meshprobe_controller_events_total[$__rate_interval]))")
                .unit(Unit::PerSecond),
        ],
    )
}

fn served() -> Row {
    row(
        "What agents serve",
        [
            lines("Requests to responders", "Per second, by vantage.")
                .ask("{{vantage}}", format!("sum by (vantage) (rate(meshprobe_responder_requests_total{{{CHOSEN}}}[$__rate_interval]))"))
                .unit(Unit::PerSecond)
                .size(8, 7),
            lines("Turned away by responders", "Connections and requests, by cause.")
                .ask("{{cause}}", format!("sum by (cause) (rate(meshprobe_responder_rejected_total{{{CHOSEN}}}[$__rate_interval]))"))
                .unit(Unit::PerSecond)
                .size(8, 7),
            lines("Connections that responders hold", "Of each vantage the most.")
                .ask("{{vantage}}", format!("max by (vantage) (meshprobe_responder_connections{{{CHOSEN}}})"))
                .size(8, 7),
        ],
    )
}
