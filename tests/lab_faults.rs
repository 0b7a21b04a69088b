//! Every fault that the lab can make, held against the signature table: the cells that it says
//! turn, as it says, and no other. The component that stands for it is accused, and no other.
#![cfg(feature = "lab")]

use std::collections::BTreeSet;
use std::time::Duration;

use meshprobe::lab::fault::{Fault, Kind};
use meshprobe::lab::{self, Options, Report};
use tokio_util::sync::CancellationToken;

/// A lab on a busy machine may need this long; an idle one ends much sooner.
const LIMIT: Duration = Duration::from_secs(60);

/// Three intervals of the slowest that shows `fault`, and a little for what is concluded of it.
fn settle(fault: &Fault) -> Duration {
    let ladders = fault.kind.as_str().starts_with("istiod");
    Duration::from_millis(if ladders { 3 * 5000 } else { 3 * 500 }) + Duration::from_secs(2)
}

/// How often a fault is tried while the machine starves the lab itself: such a run tells nothing.
const TRIES: u32 = 3;

/// Runs a lab with `fault`, which must turn what the table says and nothing else.
fn turns_what_the_table_says(fault: &str) {
    let fault: Fault = fault.parse().expect("a fault");
    for left in (0..TRIES).rev() {
        let (report, shown) = run(fault);
        match held(&fault, &report) {
            Ok(()) => return,
            Err(_) if left > 0 && is_starved(&report) => {}
            Err(problem) => panic!("{problem}: {shown}"),
        }
    }
}

fn run(fault: Fault) -> (Report, String) {
    let options = Options {
        nodes: 3,
        peers: 2,
        interval: Some(Duration::from_millis(500)),
        export: None,
        duration: Some(LIMIT),
        settle: Some(settle(&fault)),
        listen: None,
        enrolled: false,
        faults: vec![fault],
        time_scale: 20.0,
        terminal: None,
    };
    let mut shown = Vec::new();
    let report = lab::runtime()
        .expect("a runtime")
        .block_on(lab::run(options, CancellationToken::new(), &mut shown))
        .expect("a lab");
    (report, String::from_utf8(shown).expect("UTF-8"))
}

/// Our own agents lacked time, and the stand-ins share their cores.
fn is_starved(report: &Report) -> bool {
    report.named.iter().any(|named| named.fault == "starved")
}

/// Whether `report` is what the signature table and the table of blame say of `fault`.
fn held(fault: &Fault, report: &Report) -> Result<(), String> {
    if !report.is_as_stated() || report.findings[0].as_stated.is_empty() {
        return Err("other cells turned".to_owned());
    }
    // What was ever accused, our own agents left out.
    let (component, word) = lab::blame(fault);
    let of_mesh = |name: &str| !name.starts_with("agent/");
    if let Some(silent) = report.named.iter().find(|named| named.fault == "silent") {
        return Err(format!("{} was taken for silent", silent.component));
    }
    let named = report.named.iter().map(|named| named.component.as_str());
    let named: Vec<&str> = named.filter(|name| of_mesh(name)).collect();
    if named != [component.as_str()] {
        return Err(format!("{named:?} were accused, not {component} alone"));
    }
    let last = report.diagnosed.diagnoses.iter().find(|it| of_mesh(&it.component));
    let last = last.map(|it| (it.component.as_str(), it.fault));
    if last != Some((component.as_str(), word)) {
        return Err(format!("{last:?} is accused last, not {component} as {word}"));
    }
    Ok(())
}

macro_rules! faults {
    ($($name:ident => $fault:literal;)+) => {
        const TESTED: &[&str] = &[$($fault,)+];
        $(
            #[test]
            fn $name() {
                turns_what_the_table_says($fault);
            }
        )+
    };
}

faults! {
    a_dead_ztunnel => "ztunnel-dead/node-2@3s";
    a_frozen_ztunnel => "ztunnel-frozen/node-2@3s";
    a_mute_ztunnel => "ztunnel-mute/node-2@3s";
    a_ztunnel_without_certificates => "ztunnel-no-certificate/node-2@3s";
    a_ztunnel_that_does_not_know_its_pods => "ztunnel-stale-xds/node-2@3s";
    missing_sockets => "listeners-missing/node-2@3s";
    lost_capture => "capture-lost/node-2@3s";
    dropped_15008 => "hbone-blocked/node-2@3s";
    vanished_pods => "pods-gone/node-2@3s";
    a_closed_port => "port-closed/node-2@3s";
    a_denying_policy => "policy-denies/node-2@3s";
    an_enforcement_gap => "policy-gap/node-2@3s";
    two_roots => "trust-split/node-2@3s";
    an_expired_certificate => "certificate-expired/node-2@3s";
    an_expired_signer => "signer-expired/node-2@3s";
    a_reused_address => "address-reused/node-2@3s";
    a_black_hole_for_large_packets => "mtu-blackhole/node-2@3s";
    strict_in_default_resets_the_tunnel_daemon => "strict/default@3s";
    strict_in_monitoring => "strict/monitoring@3s";
    strict_on_the_agents => "strict/meshprobe-ambient@3s";
    istiod_out_of_reach_of_one_node => "istiod-unreachable/node-2@3s";
    a_stale_view_of_one_node => "istiod-stale/node-2@3s";
    a_dead_istiod => "istiod-down@3s";
    a_silent_istiod => "istiod-silent@3s";
    a_ca_that_signs_nothing => "istiod-ca-down@3s";
    an_istiod_of_another_root => "istiod-wrong-root@3s";
    a_dead_coredns_replica => "coredns-down/2@3s";
    a_silent_coredns_replica => "coredns-silent/2@3s";
    a_failing_coredns_replica => "coredns-servfail/2@3s";
    two_views_of_a_name => "dns-differs/node-2@3s";
}

#[test]
fn every_kind_of_fault_is_tested() {
    let fault = |text: &&str| text.parse::<Fault>().expect("a fault").kind;
    let tested: BTreeSet<Kind> = TESTED.iter().map(fault).collect();
    assert_eq!(tested, Kind::ALL.iter().copied().collect());
}
