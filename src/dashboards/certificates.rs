//! Certificates: those that peers show, and the agents' own.

use crate::dashboards::board::{Board, NODE, Row, TARGET, VANTAGE, row};
use crate::dashboards::panel::{Unit, bad_from, good_from, lines, stat, table};

pub(super) const UID: &str = "meshprobe-certificates";

const CHOSEN: &str = r#"node=~"$node",vantage=~"$vantage",target=~"$target""#;
const OWN: &str = r#"node=~"$node",vantage=~"$vantage""#;
const RUNBOOK: &[&str] = &["MeshprobeCertificateExpiring"];

pub(super) fn board() -> Board {
    Board {
        uid: UID,
        title: "meshprobe / Certificates",
        description: "What is left of the life of certificates: those that targets show, and the \
                      agents' own, which istiod signs as it signs those of ztunnel.",
        variables: &[NODE, VANTAGE, TARGET],
        rows: vec![shown(), own()],
    }
}

/// The share of its life that each certificate of a target has left, of these labels the least.
fn left(by: &str) -> String {
    format!("min by ({by}) ({})", life_left(CHOSEN))
}

/// The least of the certificates that `chosen` selects.
pub(super) fn least_left(chosen: &str) -> String {
    format!("min({})", life_left(chosen))
}

fn life_left(chosen: &str) -> String {
    let end =
        format!("meshprobe_certificate_not_after_timestamp_seconds{{{chosen},position=\"leaf\"}}");
    let start = format!("meshprobe_certificate_not_before_timestamp_seconds{{{chosen}}}");
    format!("({end} - time()) / ({end} - {start})")
}

/// The least of the agents' own.
fn own_left() -> String {
    let end = format!("meshprobe_identity_certificate_expiry_timestamp_seconds{{{OWN}}}");
    let start = format!("meshprobe_identity_certificate_not_before_timestamp_seconds{{{OWN}}}");
    format!("min(({end} - time()) / ({end} - {start}))")
}

fn shown() -> Row {
    let until = format!("meshprobe_certificate_not_after_timestamp_seconds{{{CHOSEN}}}");
    row(
        "As targets show them",
        [
            stat("Least life left", "The share of its life that the certificate has left which has least. Workloads renew at half.")
                .ask("left", least_left(CHOSEN))
                .unit(Unit::Share)
                .steps(good_from!(0.25, 0.4))
                .size(6, 8)
                .runbooks(RUNBOOK),
            stat("Ends first", "Until the certificate ends that ends first, issuers in the chain included.")
                .ask("left", format!("min({until}) - time()"))
                .unit(Unit::Seconds)
                .size(6, 8)
                .runbooks(RUNBOOK),
            lines("Share of life left, by target", "A saw: it rises with every renewal.")
                .ask("{{vantage}} {{target}}", left("vantage, target"))
                .unit(Unit::Share)
                .runbooks(RUNBOOK),
            table("Least life left", "Leaf certificates as last seen, the twenty with the least.")
                .ask("life left", format!("bottomk(20, {})", left("node, vantage, target")))
                .unit(Unit::Share)
                .steps(good_from!(0.25, 0.4)),
            lines("Time left, by target and position", "leaf: the target's own; earliest: of the whole chain.")
                .ask("{{target}} {{position}}", format!("min by (target, position) ({until}) - time()"))
                .unit(Unit::Seconds)
                .size(24, 8),
        ],
    )
}

fn own() -> Row {
    let expiry = format!("meshprobe_identity_certificate_expiry_timestamp_seconds{{{OWN}}}");
    row(
        "The agents' own",
        [
            stat("Least life left", "Of all agents that have a certificate of the mesh.")
                .ask("left", own_left())
                .unit(Unit::Share)
                .steps(good_from!(0.25, 0.4))
                .size(6, 8)
                .runbooks(RUNBOOK),
            stat("Roots trusted", "The fewest and the most that an agent trusts; two of them during a rotation of roots.")
                .ask("fewest", format!("min(meshprobe_identity_trusted_roots{{{OWN}}})"))
                .ask("most", format!("max(meshprobe_identity_trusted_roots{{{OWN}}})"))
                .size(6, 8),
            lines("Time left, by node", "Of the agent's own certificate.")
                .ask("{{node}} {{vantage}}", format!("min by (node, vantage) ({expiry}) - time()"))
                .unit(Unit::Seconds)
                .runbooks(RUNBOOK),
            lines("Renewals, by result", "Certificates that agents asked istiod for.")
                .ask("{{result}}", format!("sum by (result) (increase(meshprobe_identity_renewals_total{{{OWN}}}[$__rate_interval]))"))
                .runbooks(&["MeshprobeIdentityRenewalFailing"]),
            lines("Renewals that failed, by node", "istiod did not sign.")
                .ask("{{node}} {{vantage}}", format!("sum by (node, vantage) (increase(meshprobe_identity_renewals_total{{{OWN},result=\"failure\"}}[$__rate_interval]))"))
                .steps(bad_from!(1.0))
                .runbooks(&["MeshprobeIdentityRenewalFailing"]),
        ],
    )
}
