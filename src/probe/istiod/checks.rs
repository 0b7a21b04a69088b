//! Whether what istiod said and signed is what was stated.

use std::time::SystemTime;

use crate::failure::{Fault, Reason};
use crate::istiod::Signed;
use crate::outcome::{CsrFacts, WorkloadFacts};
use crate::spec::{ExpectedWorkload, PodIdentity};
use crate::tls;

/// How istiod writes that a workload is reached by HBONE.
const HBONE: &str = "HBONE";

/// The SPIFFE ID that a request names, and that istiod must sign for. What istiod signs it takes
/// from the token, whatever it is asked for.
pub(super) fn spiffe_id(trust_domain: &str, pod: &PodIdentity) -> String {
    format!("spiffe://{trust_domain}/ns/{}/sa/{}", pod.namespace, pod.service_account)
}

/// Holds istiod's word about the own workload against what is stated.
pub(super) fn workload(
    found: Option<&WorkloadFacts>,
    pod: &PodIdentity,
    expected: &ExpectedWorkload,
) -> Result<(), Fault> {
    let mismatch = |detail: String| Err(Fault::new(Reason::WorkloadMismatch, detail));
    let Some(found) = found else {
        return mismatch(format!("istiod knows no workload at {}", pod.ip));
    };
    let WorkloadFacts { name, namespace, node, tunnel_protocol, .. } = found;
    if (name, namespace) != (&pod.name, &pod.namespace) {
        return mismatch(format!(
            "istiod has {namespace}/{name} at {}, expected {}/{}",
            pod.ip, pod.namespace, pod.name
        ));
    }
    if let Some(hbone) = expected.hbone.filter(|hbone| *hbone != (tunnel_protocol == HBONE)) {
        let stated = if hbone { HBONE } else { "no HBONE" };
        return mismatch(format!(
            "istiod says tunnel protocol {tunnel_protocol}, expected {stated}"
        ));
    }
    match &expected.node {
        Some(stated) if stated != node => {
            mismatch(format!("istiod says node `{node}`, expected `{stated}`"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether `signed` is a certificate for the key of `request` and the identity `expected`, valid
/// now, under the roots that `client` trusts. What it says is told also when it is not.
pub(super) fn certificate(
    client: &tls::Client,
    request: &tls::Request,
    signed: &Signed,
    expected: &str,
    told: &mut Option<CsrFacts>,
) -> Result<(), Fault> {
    let facts = told.insert(CsrFacts { roots: signed.roots(), ..CsrFacts::default() });
    let credential = request.certified(&signed.chain_pem)?;
    facts.spiffe_id.clone_from(&credential.spiffe_id);
    facts.not_after = credential.not_after;
    client.vouch(&credential, SystemTime::now())?;
    let shown = credential.spiffe_id.as_deref().unwrap_or("nobody");
    if shown == expected {
        return Ok(());
    }
    let detail = format!("istiod signed for {shown}, expected {expected}");
    Err(Fault::new(Reason::CertNameMismatch, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> PodIdentity {
        PodIdentity {
            name: "agent".to_owned(),
            namespace: "monitoring".to_owned(),
            service_account: "meshprobe".to_owned(),
            ip: "10.0.0.7".parse().expect("an address"),
            network: String::new(),
        }
    }

    fn found() -> WorkloadFacts {
        WorkloadFacts {
            name: "agent".to_owned(),
            namespace: "monitoring".to_owned(),
            node: "node-1".to_owned(),
            tunnel_protocol: "NONE".to_owned(),
            ..WorkloadFacts::default()
        }
    }

    #[track_caller]
    fn mismatch(found: Option<&WorkloadFacts>, expected: &ExpectedWorkload) -> String {
        let fault = workload(found, &pod(), expected).expect_err("a mismatch");
        assert_eq!(fault.reason, Reason::WorkloadMismatch);
        fault.detail
    }

    #[test]
    fn each_mismatch_says_what_is_stated_and_what_istiod_says() {
        let anything = ExpectedWorkload::default();
        assert_eq!(workload(Some(&found()), &pod(), &anything), Ok(()));
        assert_eq!(mismatch(None, &anything), "istiod knows no workload at 10.0.0.7");
        let hbone = ExpectedWorkload { hbone: Some(true), node: None };
        let told = mismatch(Some(&found()), &hbone);
        assert_eq!(told, "istiod says tunnel protocol NONE, expected HBONE");
        let elsewhere = ExpectedWorkload { hbone: Some(false), node: Some("node-2".to_owned()) };
        let told = mismatch(Some(&found()), &elsewhere);
        assert_eq!(told, "istiod says node `node-1`, expected `node-2`");
        let stale = WorkloadFacts { name: "before".to_owned(), ..found() };
        let told = mismatch(Some(&stale), &anything);
        assert_eq!(told, "istiod has monitoring/before at 10.0.0.7, expected monitoring/agent");
    }
}
