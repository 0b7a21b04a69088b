//! What was found of capture, held against what the pod's enrolment says. Pure.

use crate::failure::{Fault, Reason};
use crate::outcome::CaptureFacts;

/// The fault of a rule that captures connections for nobody.
pub(super) fn nobody_there(found: CaptureFacts) -> Fault {
    let detail = if found.hbone == Some(true) {
        "refused, although ztunnel's HBONE socket is there: its outbound socket is missing, or \
         something on the way refuses"
    } else {
        "refused: connections are captured, and nobody takes them: this node's own ztunnel is down"
    };
    Fault::new(Reason::Refused, detail)
}

/// `capture_mismatch` when `found` is not what `enrolled` says, with what differs.
///
/// DNS alone may stay uncaptured in an enrolled pod: Istio captures it by default since 1.25 only.
pub(super) fn compare(enrolled: bool, found: CaptureFacts) -> Result<(), Fault> {
    let all = [("DNS", found.dns), ("TCP", found.tcp), ("HBONE", found.hbone)];
    let those = |state: bool| {
        let names = all.iter().filter(|(_, found)| *found == Some(state)).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(", ")
    };
    let (captured, missing) = (those(true), those(false));
    let detail = match (enrolled, found.tcp, found.hbone) {
        (false, _, _) if captured.is_empty() => return Ok(()),
        (false, _, _) => format!("not enrolled, but captured: {captured}"),
        (true, Some(false), _) if captured.is_empty() => format!(
            "enrolled, but not captured: {missing}: capture is lost, traffic leaves in plaintext"
        ),
        (true, Some(false), Some(false)) => {
            "enrolled, but TCP and HBONE are not captured: traffic leaves in plaintext".to_owned()
        }
        (true, Some(false), Some(true) | None) => {
            "enrolled, but TCP is not captured: traffic leaves in plaintext".to_owned()
        }
        (true, Some(true) | None, Some(false)) => {
            "enrolled, and TCP is captured, but nobody takes HBONE: ztunnel's sockets are missing \
             in this pod"
                .to_owned()
        }
        (true, Some(true) | None, Some(true) | None) => return Ok(()),
    };
    Err(Fault::new(Reason::CaptureMismatch, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(dns: bool, tcp: bool, hbone: Option<bool>) -> CaptureFacts {
        CaptureFacts { dns: Some(dns), tcp: Some(tcp), hbone }
    }

    #[test]
    fn an_enrolled_pod_has_tcp_and_hbone_and_may_have_dns() {
        for dns in [true, false] {
            for hbone in [Some(true), None] {
                assert_eq!(compare(true, found(dns, true, hbone)), Ok(()));
            }
        }
    }

    #[test]
    fn what_an_enrolled_pod_lacks_is_named() {
        for (found, words) in [
            (found(false, false, Some(false)), "DNS, TCP, HBONE: capture is lost"),
            (found(false, false, None), "DNS, TCP: capture is lost"),
            (found(true, false, Some(true)), "but TCP is not captured"),
            (found(false, false, Some(true)), "but TCP is not captured"),
            (found(true, false, None), "but TCP is not captured"),
            (found(true, false, Some(false)), "TCP and HBONE are not captured"),
            (found(true, true, Some(false)), "ztunnel's sockets are missing"),
            (found(false, true, Some(false)), "ztunnel's sockets are missing"),
        ] {
            let fault = compare(true, found).expect_err("it differs");
            assert_eq!(fault.reason, Reason::CaptureMismatch);
            assert!(fault.detail.contains(words), "{found:?}: {fault}");
        }
    }

    #[test]
    fn nothing_of_a_pod_outside_is_captured() {
        assert_eq!(compare(false, found(false, false, Some(false))), Ok(()));
        assert_eq!(compare(false, found(false, false, None)), Ok(()));
        for (found, words) in [
            (found(true, false, Some(false)), "captured: DNS"),
            (found(false, true, Some(false)), "captured: TCP"),
            (found(false, false, Some(true)), "captured: HBONE"),
            (found(true, true, Some(true)), "captured: DNS, TCP, HBONE"),
        ] {
            let fault = compare(false, found).expect_err("it differs");
            assert_eq!(fault.reason, Reason::CaptureMismatch);
            assert!(fault.detail.ends_with(words), "{found:?}: {fault}");
        }
    }
}
