//! Names, kinds and help texts: one table, the same as in `docs/metrics.md`.

pub(super) const ATTEMPTS: &str = "meshprobe_attempts_total";
pub(super) const FAILURES: &str = "meshprobe_failures_total";
pub(super) const PHASE_DURATION: &str = "meshprobe_phase_duration_seconds";
pub(super) const ATTEMPT_DURATION: &str = "meshprobe_attempt_duration_seconds";
pub(super) const SCHEDULE_LAG: &str = "meshprobe_schedule_lag_seconds";
pub(super) const MISSED_SLOTS: &str = "meshprobe_missed_slots_total";
pub(super) const IN_FLIGHT: &str = "meshprobe_attempts_in_flight";
pub(super) const RETRANSMITS: &str = "meshprobe_tcp_retransmits_total";
pub(super) const NOT_AFTER: &str = "meshprobe_certificate_not_after_timestamp_seconds";
pub(super) const NOT_BEFORE: &str = "meshprobe_certificate_not_before_timestamp_seconds";
pub(super) const GAPS: &str = "meshprobe_enforcement_gaps_total";
pub(super) const HOLD_DURATION: &str = "meshprobe_hold_duration_seconds";
pub(super) const RUNG_ATTEMPTS: &str = "meshprobe_istiod_rung_attempts_total";
pub(super) const RUNG_DURATION: &str = "meshprobe_istiod_rung_duration_seconds";
pub(super) const CAPTURED: &str = "meshprobe_captured";
pub(super) const MTU_SUSPECT: &str = "meshprobe_mtu_suspect";
pub(super) const ZTUNNEL_READY: &str = "meshprobe_ztunnel_ready";
pub(super) const ZTUNNEL_FLOWS: &str = "meshprobe_ztunnel_plaintext_flows";
pub(super) const ZTUNNEL_CONNECTIONS: &str = "meshprobe_ztunnel_plaintext_connections_total";
pub(super) const ZTUNNEL_DROPPED: &str = "meshprobe_ztunnel_plaintext_series_dropped";
pub(super) const ZTUNNEL_RESTARTS: &str = "meshprobe_ztunnel_restarts_total";
pub(super) const IDENTITY_EXPIRY: &str = "meshprobe_identity_certificate_expiry_timestamp_seconds";
pub(super) const IDENTITY_START: &str =
    "meshprobe_identity_certificate_not_before_timestamp_seconds";
pub(super) const IDENTITY_RENEWALS: &str = "meshprobe_identity_renewals_total";
pub(super) const IDENTITY_ROOTS: &str = "meshprobe_identity_trusted_roots";
pub(super) const PLAN_APPLIED: &str = "meshprobe_plan_applied_timestamp_seconds";
pub(super) const PLAN_CONFIRMED: &str = "meshprobe_plan_confirmed_timestamp_seconds";
pub(super) const PLAN_TARGETS: &str = "meshprobe_plan_targets";
pub(super) const PLAN_REJECTED: &str = "meshprobe_plan_rejected_total";
pub(super) const CONTROLLERS: &str = "meshprobe_controllers_connected";
pub(super) const TARGET_INFO: &str = "meshprobe_target_info";
pub(super) const BUILD_INFO: &str = "meshprobe_build_info";
pub(super) const LAST_RELOAD: &str = "meshprobe_config_last_reload_successful";
pub(super) const LAST_RELOAD_TIME: &str = "meshprobe_config_last_reload_success_timestamp_seconds";
pub(super) const RELOADS: &str = "meshprobe_config_reloads_total";
pub(super) const PROBE_REQUESTS: &str = "meshprobe_probe_requests_total";
pub(super) const RESPONDER_CONNECTIONS: &str = "meshprobe_responder_connections";
pub(super) const RESPONDER_REQUESTS: &str = "meshprobe_responder_requests_total";
pub(super) const RESPONDER_REJECTED: &str = "meshprobe_responder_rejected_total";
pub(super) const SYNCED: &str = "meshprobe_controller_synced";
pub(super) const NODES: &str = "meshprobe_controller_nodes";
pub(super) const AGENTS: &str = "meshprobe_controller_agents";
pub(super) const AGENTS_CONNECTED: &str = "meshprobe_controller_agents_connected";
pub(super) const FINDINGS: &str = "meshprobe_controller_findings";
pub(super) const UNKNOWN: &str = "meshprobe_controller_unknown";
pub(super) const DISCOVERY_STALE: &str = "meshprobe_controller_discovery_stale_seconds";
pub(super) const LEADER: &str = "meshprobe_controller_leader";
pub(super) const EVENTS: &str = "meshprobe_controller_events_total";
pub(super) const PLAN_REQUESTS: &str = "meshprobe_controller_plan_requests_total";
pub(super) const WINDOWS_PULLED: &str = "meshprobe_controller_window_pulls_total";
pub(super) const WINDOWS_REFUSED: &str = "meshprobe_controller_windows_refused_total";
pub(super) const PATHS: &str = "meshprobe_controller_paths";
pub(super) const EVIDENCE_BYTES: &str = "meshprobe_controller_evidence_bytes";
pub(super) const DIAGNOSES_ACTIVE: &str = "meshprobe_diagnosis_active";
pub(super) const SLOW_PATHS: &str = "meshprobe_diagnosis_slow_paths";
pub(super) const DIAGNOSES_OPENED: &str = "meshprobe_diagnosis_opened_total";
pub(super) const DIAGNOSES_CLOSED: &str = "meshprobe_diagnosis_closed_total";
pub(super) const FLOWS_PULLED: &str = "meshprobe_controller_flow_pulls_total";
pub(super) const CONNECTIONS: &str = "meshprobe_controller_connections_total";
pub(super) const GATE_RESULT: &str = "meshprobe_gate_result";
pub(super) const GATE_CHECK: &str = "meshprobe_gate_check";
pub(super) const GATE_MISSING: &str = "meshprobe_gate_attempts_missing";
pub(super) const GATE_CALLERS: &str = "meshprobe_gate_plaintext_callers";
pub(super) const GATE_REVERT: &str = "meshprobe_gate_revert_recommended";
pub(super) const GATE_EVALUATED: &str = "meshprobe_gate_evaluated_timestamp_seconds";
pub(super) const GATE_WEBHOOKS: &str = "meshprobe_gate_webhooks_total";

/// What a metric is to Prometheus.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Every metric, in the order of a scrape.
pub(super) const TABLE: &[(&str, Kind, &str)] = &[
    (ATTEMPTS, Kind::Counter, "Attempts by verdict: met, violated, inconclusive."),
    (FAILURES, Kind::Counter, "Attempts that failed, by phase and reason."),
    (PHASE_DURATION, Kind::Histogram, "How long each phase took in attempts that succeeded."),
    (ATTEMPT_DURATION, Kind::Histogram, "How long attempts took that succeeded, start to end."),
    (SCHEDULE_LAG, Kind::Histogram, "How much later than their slots attempts began."),
    (
        MISSED_SLOTS,
        Kind::Counter,
        "Slots without an attempt, by cause: late, in_flight, agent_in_flight.",
    ),
    (IN_FLIGHT, Kind::Gauge, "Attempts under way."),
    (RETRANSMITS, Kind::Counter, "Segments that the kernel sent again on connections of attempts."),
    (
        NOT_AFTER,
        Kind::Gauge,
        "End of validity of the chain last seen: of its leaf, and the earliest of all.",
    ),
    (NOT_BEFORE, Kind::Gauge, "Start of validity of the leaf last seen."),
    (GAPS, Kind::Counter, "Replies that came where a denial was stated."),
    (HOLD_DURATION, Kind::Histogram, "How long held connections lived, by how they ended."),
    (RUNG_ATTEMPTS, Kind::Counter, "Rungs of the ladder to istiod that were due, by verdict."),
    (RUNG_DURATION, Kind::Histogram, "How long rungs took that held."),
    (CAPTURED, Kind::Gauge, "Whether this pod's dns and tcp are captured, and its hbone is there."),
    (MTU_SUSPECT, Kind::Gauge, "Whether small bodies passed and large ones stalled."),
    (ZTUNNEL_READY, Kind::Gauge, "Whether the ztunnel says that it is ready."),
    (
        ZTUNNEL_FLOWS,
        Kind::Gauge,
        "Pairs of workloads of which this node's ztunnel counted plaintext, without probers.",
    ),
    (
        ZTUNNEL_CONNECTIONS,
        Kind::Counter,
        "Plaintext connections that this node's ztunnel counted, without those of probers.",
    ),
    (ZTUNNEL_DROPPED, Kind::Gauge, "Plaintext series of this node's ztunnel that were not kept."),
    (ZTUNNEL_RESTARTS, Kind::Counter, "Restarts that the counters of this node's ztunnel showed."),
    (IDENTITY_EXPIRY, Kind::Gauge, "End of validity of the agent's own mesh certificate."),
    (IDENTITY_START, Kind::Gauge, "Start of validity of the agent's own mesh certificate."),
    (IDENTITY_RENEWALS, Kind::Counter, "Certificates that the agent asked for, by result."),
    (IDENTITY_ROOTS, Kind::Gauge, "Roots of the mesh that the agent trusts."),
    (PLAN_APPLIED, Kind::Gauge, "When the plan was taken that is followed now."),
    (PLAN_CONFIRMED, Kind::Gauge, "When a controller last said what the plan is."),
    (PLAN_TARGETS, Kind::Gauge, "Targets of the plan that are probed."),
    (PLAN_REJECTED, Kind::Counter, "Plans that were refused as a whole."),
    (CONTROLLERS, Kind::Gauge, "Controllers that the agent is connected to."),
    (
        TARGET_INFO,
        Kind::Gauge,
        "1, with what observations of the target are of and what is expected of it.",
    ),
    (BUILD_INFO, Kind::Gauge, "1, with the version of meshprobe."),
    (LAST_RELOAD, Kind::Gauge, "Whether the last configuration read was good."),
    (LAST_RELOAD_TIME, Kind::Gauge, "When a good configuration was last read."),
    (RELOADS, Kind::Counter, "Configurations read, by result."),
    (PROBE_REQUESTS, Kind::Counter, "Requests to /probe, by HTTP status."),
    (RESPONDER_CONNECTIONS, Kind::Gauge, "Connections that the responder holds."),
    (RESPONDER_REQUESTS, Kind::Counter, "Requests that the responder answered."),
    (
        RESPONDER_REJECTED,
        Kind::Counter,
        "Connections and requests that the responder turned away, by cause.",
    ),
    (
        SYNCED,
        Kind::Gauge,
        "Whether the cluster was read completely once, so that plans can be served.",
    ),
    (NODES, Kind::Gauge, "Nodes of the cluster."),
    (AGENTS, Kind::Gauge, "Agents' pods in the cluster, by vantage."),
    (AGENTS_CONNECTED, Kind::Gauge, "Connections that agents hold to this controller."),
    (FINDINGS, Kind::Gauge, "What was asked for and cannot be had, by reason."),
    (UNKNOWN, Kind::Gauge, "What is not probed because nobody can say what must come back."),
    (DISCOVERY_STALE, Kind::Gauge, "How long ago the quietest watch was last heard of."),
    (LEADER, Kind::Gauge, "Whether this controller holds the Lease and writes Events."),
    (EVENTS, Kind::Counter, "Events, by result."),
    (PLAN_REQUESTS, Kind::Counter, "Plans that agents asked for, by HTTP status."),
    (WINDOWS_PULLED, Kind::Counter, "Windows that were asked of agents, by result."),
    (DIAGNOSES_ACTIVE, Kind::Gauge, "Incidents that are open, by kind of component."),
    (SLOW_PATHS, Kind::Gauge, "Paths whose replies take much longer than they did."),
    (
        DIAGNOSES_OPENED,
        Kind::Counter,
        "Incidents that were opened, by kind of component and fault.",
    ),
    (DIAGNOSES_CLOSED, Kind::Counter, "Incidents that are over, by kind of component and fault."),
    (FLOWS_PULLED, Kind::Counter, "Flows that were asked of plain agents, by result."),
    (
        WINDOWS_REFUSED,
        Kind::Counter,
        "Windows of agents that were not taken in: unreadable, of another time, or beyond the \
         bounds.",
    ),
    (
        PATHS,
        Kind::Gauge,
        "Paths (what one agent asks of one target) whose last windows are remembered.",
    ),
    (EVIDENCE_BYTES, Kind::Gauge, "What those windows take in memory."),
    (
        CONNECTIONS,
        Kind::Counter,
        "Connections to the control channel, by result: accepted, failed, refused.",
    ),
    (GATE_RESULT, Kind::Gauge, "Whether the gate came out so."),
    (GATE_CHECK, Kind::Gauge, "Whether a check of the gate came out so."),
    (GATE_MISSING, Kind::Gauge, "Attempts that the node still needs that needs most."),
    (GATE_CALLERS, Kind::Gauge, "Workloads that call in plaintext and are no probers."),
    (GATE_REVERT, Kind::Gauge, "Whether it is recommended to take STRICT back."),
    (GATE_EVALUATED, Kind::Gauge, "When the gate was last judged."),
    (GATE_WEBHOOKS, Kind::Counter, "Webhooks that were answered, by HTTP status."),
];

/// Where `name` stands in the table.
pub(super) fn position(name: &str) -> usize {
    TABLE.iter().position(|(known, ..)| *known == name).expect("every metric is in the table")
}
