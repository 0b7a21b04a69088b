//! Service account tokens of the lab: in place of the Kubernetes API server, which makes them and
//! says whose they are.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::lab::world::{Pod, TRUST_DOMAIN};

/// What tokens for istiod are made for.
const AUDIENCE: &str = "istio-ca";
/// Tokens that are remembered; the ones that end first are forgotten first.
const MAX_TOKENS: usize = 10_000;

/// Makes tokens and reviews them; one for all istiods of a mesh.
#[derive(Default)]
pub struct Tokens {
    /// Keyed by chance, for signatures that nobody else can make.
    hasher: RandomState,
    minted: Mutex<BTreeMap<String, Bearer>>,
}

/// Whom a token was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Namespace.
    pub namespace: String,
    /// Service account.
    pub service_account: String,
    ends: SystemTime,
}

impl Bearer {
    /// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    pub fn spiffe_id(&self) -> String {
        format!("spiffe://{TRUST_DOMAIN}/ns/{}/sa/{}", self.namespace, self.service_account)
    }
}

impl Tokens {
    /// A token for `pod`, good for `lifetime`: shaped as a JWT, for istiod alone to read.
    pub fn mint(&self, pod: &Pod, lifetime: Duration) -> String {
        let now = SystemTime::now();
        let ends = now + lifetime;
        let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = serde_json::json!({
            "aud": [AUDIENCE],
            "exp": seconds(ends),
            "iat": seconds(now),
            "iss": format!("https://kubernetes.default.svc.{TRUST_DOMAIN}"),
            "kubernetes.io": {
                "namespace": pod.namespace,
                "node": { "name": pod.node },
                "pod": { "name": pod.name },
                "serviceaccount": { "name": pod.service_account },
            },
            "sub": format!("system:serviceaccount:{}:{}", pod.namespace, pod.service_account),
        });
        let head = base64url(br#"{"alg":"RS256","kid":"lab"}"#);
        let mut minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
        let unsigned = format!("{head}.{}", base64url(claims.to_string().as_bytes()));
        let token = format!("{unsigned}.{}", self.signature(&unsigned, minted.len()));
        minted.retain(|_, bearer| bearer.ends > now);
        if minted.len() >= MAX_TOKENS {
            let first = minted.iter().min_by_key(|(_, bearer)| bearer.ends);
            let first = first.map(|(token, _)| token.clone());
            first.map(|token| minted.remove(&token));
        }
        let (namespace, service_account) = (pod.namespace.clone(), pod.service_account.clone());
        minted.insert(token.clone(), Bearer { namespace, service_account, ends });
        token
    }

    /// Whose token that is; `None` when it was never minted, was cut, or has ended.
    pub fn review(&self, token: &str) -> Option<Bearer> {
        let minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
        minted.get(token).filter(|bearer| bearer.ends > SystemTime::now()).cloned()
    }

    fn signature(&self, unsigned: &str, number: usize) -> String {
        let words = (0..4_u8).map(|part| self.hasher.hash_one((unsigned, number, part)));
        base64url(&words.flat_map(u64::to_be_bytes).collect::<Vec<u8>>())
    }
}

/// RFC 4648 section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..=group.len() {
            text.push(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63].into());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_is_that_of_the_rfc_without_padding() {
        let encoded = ["", "f", "fo", "foo", "foob"].map(|text| base64url(text.as_bytes()));
        assert_eq!(encoded, ["", "Zg", "Zm8", "Zm9v", "Zm9vYg"]);
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }
}
