//! Names, units and help texts: one table, the same as in `docs/metrics.md`.

use metrics::{Recorder, Unit};

pub(super) const ATTEMPTS: &str = "meshprobe_attempts_total";
pub(super) const FAILURES: &str = "meshprobe_failures_total";
pub(super) const PHASE_DURATION: &str = "meshprobe_phase_duration_seconds";
pub(super) const ATTEMPT_DURATION: &str = "meshprobe_attempt_duration_seconds";
pub(super) const SCHEDULE_LAG: &str = "meshprobe_schedule_lag_seconds";
pub(super) const MISSED_SLOTS: &str = "meshprobe_missed_slots_total";
pub(super) const IN_FLIGHT: &str = "meshprobe_attempts_in_flight";
pub(super) const RETRANSMITS: &str = "meshprobe_tcp_retransmits_total";
pub(super) const NOT_AFTER: &str = "meshprobe_certificate_not_after_timestamp_seconds";
pub(super) const GAPS: &str = "meshprobe_enforcement_gaps_total";
pub(super) const HOLD_DURATION: &str = "meshprobe_hold_duration_seconds";
pub(super) const BUILD_INFO: &str = "meshprobe_build_info";
pub(super) const LAST_RELOAD: &str = "meshprobe_config_last_reload_successful";
pub(super) const LAST_RELOAD_TIME: &str = "meshprobe_config_last_reload_success_timestamp_seconds";
pub(super) const RELOADS: &str = "meshprobe_config_reloads_total";
pub(super) const PROBE_REQUESTS: &str = "meshprobe_probe_requests_total";
pub(super) const RESPONDER_CONNECTIONS: &str = "meshprobe_responder_connections";
pub(super) const RESPONDER_REQUESTS: &str = "meshprobe_responder_requests_total";
pub(super) const RESPONDER_REJECTED: &str = "meshprobe_responder_rejected_total";

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

const TABLE: &[(&str, Kind, Unit, &str)] = &[
    (ATTEMPTS, Kind::Counter, Unit::Count, "Attempts by verdict: met, violated, inconclusive."),
    (FAILURES, Kind::Counter, Unit::Count, "Attempts that failed, by phase and reason."),
    (
        PHASE_DURATION,
        Kind::Histogram,
        Unit::Seconds,
        "How long each phase took in attempts that succeeded.",
    ),
    (
        ATTEMPT_DURATION,
        Kind::Histogram,
        Unit::Seconds,
        "How long attempts took that succeeded, start to end.",
    ),
    (
        SCHEDULE_LAG,
        Kind::Histogram,
        Unit::Seconds,
        "How much later than their slots attempts began.",
    ),
    (
        MISSED_SLOTS,
        Kind::Counter,
        Unit::Count,
        "Slots without an attempt, by cause: late, in_flight, agent_in_flight.",
    ),
    (IN_FLIGHT, Kind::Gauge, Unit::Count, "Attempts under way."),
    (
        RETRANSMITS,
        Kind::Counter,
        Unit::Count,
        "Segments that the kernel sent again on connections of attempts.",
    ),
    (
        NOT_AFTER,
        Kind::Gauge,
        Unit::Seconds,
        "End of validity of the chain last seen: of its leaf, and the earliest of all.",
    ),
    (GAPS, Kind::Counter, Unit::Count, "Replies that came where a denial was stated."),
    (
        HOLD_DURATION,
        Kind::Histogram,
        Unit::Seconds,
        "How long held connections lived, by how they ended.",
    ),
    (BUILD_INFO, Kind::Gauge, Unit::Count, "1, with the version of meshprobe."),
    (LAST_RELOAD, Kind::Gauge, Unit::Count, "Whether the last configuration read was good."),
    (LAST_RELOAD_TIME, Kind::Gauge, Unit::Seconds, "When a good configuration was last read."),
    (RELOADS, Kind::Counter, Unit::Count, "Configurations read, by result."),
    (PROBE_REQUESTS, Kind::Counter, Unit::Count, "Requests to /probe, by HTTP status."),
    (RESPONDER_CONNECTIONS, Kind::Gauge, Unit::Count, "Connections that the responder holds."),
    (RESPONDER_REQUESTS, Kind::Counter, Unit::Count, "Requests that the responder answered."),
    (
        RESPONDER_REJECTED,
        Kind::Counter,
        Unit::Count,
        "Connections and requests that the responder turned away, by cause.",
    ),
];

/// Tells `recorder` kind, unit and help of every metric.
pub(super) fn describe(recorder: &impl Recorder) {
    for (name, kind, unit, help) in TABLE {
        let (name, unit, help) = ((*name).into(), Some(*unit), (*help).into());
        match kind {
            Kind::Counter => recorder.describe_counter(name, unit, help),
            Kind::Gauge => recorder.describe_gauge(name, unit, help),
            Kind::Histogram => recorder.describe_histogram(name, unit, help),
        }
    }
}
