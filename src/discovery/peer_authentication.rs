//! PeerAuthentications, read one by one: a bad one does not hide the others. Pure.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde::Deserialize;

use crate::cluster::mtls::{Mode, PeerAuthentication};
use crate::cluster::{Finding, FindingReason, Labels, ObjectRef};
use crate::discovery::reduce::key;
use crate::discovery::text::{finding, quoted};

/// The most ports that one may name.
const MAX_PORTS: usize = 1000;

/// `spec`, as far as it matters; unknown fields are Istio's business.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    selector: Option<Selector>,
    mtls: Option<Mtls>,
    port_level_mtls: Option<BTreeMap<String, Option<Mtls>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Selector {
    match_labels: Option<Labels>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Mtls {
    mode: Option<String>,
}

/// Reads a PeerAuthentication (`security.istio.io/v1`), or says what is wrong with it.
pub fn peer_authentication(object: DynamicObject) -> Result<PeerAuthentication, Box<Finding>> {
    read(&object).map_err(|what| {
        let metadata = &object.metadata;
        let (namespace, name) = key(metadata);
        let message = format!(
            "PeerAuthentication {namespace}/{name} is not understood and is left out: {what}"
        );
        let object = ObjectRef::new("PeerAuthentication", &namespace, &name, metadata.uid.clone());
        Box::new(finding(object, FindingReason::BadObject, &message))
    })
}

fn read(object: &DynamicObject) -> Result<PeerAuthentication, String> {
    let (namespace, name) = key(&object.metadata);
    let spec = match object.data.get("spec").filter(|spec| !spec.is_null()) {
        None => Spec::default(),
        Some(spec) => Spec::deserialize(spec)
            .map_err(|error| format!("spec: {}", quoted(&error.to_string())))?,
    };
    let ports = spec.port_level_mtls.unwrap_or_default();
    if ports.len() > MAX_PORTS {
        return Err(format!("spec.portLevelMtls has more than {MAX_PORTS} ports"));
    }
    let ports = ports.into_iter().map(|(port, mtls)| {
        let number = port.parse().ok().filter(|number| *number != 0);
        let number: u16 = number.ok_or_else(|| {
            format!("spec.portLevelMtls names port {}: write 1 to 65535", quoted(&port))
        })?;
        Ok((number, mode(mtls, &format!("spec.portLevelMtls[{number}].mode"))?))
    });
    Ok(PeerAuthentication {
        created: object.metadata.creation_timestamp.as_ref().map_or(0, |at| at.0.as_second()),
        // A selector without labels is none: so says Istio.
        selector: spec.selector.and_then(|is| is.match_labels).filter(|is| !is.is_empty()),
        mode: mode(spec.mtls, "spec.mtls.mode")?,
        ports: ports.collect::<Result<_, String>>()?,
        namespace,
        name,
    })
}

/// The mode that stands at `place`.
fn mode(mtls: Option<Mtls>, place: &str) -> Result<Mode, String> {
    match mtls.and_then(|mtls| mtls.mode).as_deref() {
        None | Some("" | "UNSET") => Ok(Mode::Unset),
        Some("DISABLE") => Ok(Mode::Disable),
        Some("PERMISSIVE") => Ok(Mode::Permissive),
        Some("STRICT") => Ok(Mode::Strict),
        Some(other) => {
            Err(format!("{place} is {}: write UNSET, DISABLE, PERMISSIVE or STRICT", quoted(other)))
        }
    }
}
