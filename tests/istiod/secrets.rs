//! Tokens and keys are in nothing that can be shown.

use meshprobe::istiod::Token;
use meshprobe::outcome::Rung;
use meshprobe::{failure::Reason, tls};

use super::server::{Conduct, SPIFFE_ID};
use super::support::{Mesh, PATIENCE, TOKEN, assert_broken};

#[track_caller]
fn assert_hides_the_token(text: &str) {
    for part in TOKEN.split('.') {
        assert!(!text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_token_that_istiod_sends_back_is_not_shown() {
    let mesh = Mesh::start().await;
    mesh.istiod.conduct(Conduct::Unauthenticated);
    let probe = mesh.prepare(mesh.module(), PATIENCE);
    let outcome = probe.attempt().await;
    assert_broken(&outcome, Rung::Xds, Reason::GrpcStatus);
    assert!(mesh.istiod.seen().authorizations[0].contains(TOKEN), "it was sent");
    assert_hides_the_token(&format!("{outcome:?} {probe:?}"));
    assert_hides_the_token(&serde_json::to_string(&outcome.facts).expect("JSON"));
    let token = Token::read(&mesh.token()).await.expect("a token");
    assert_eq!(format!("{token:?}"), "Token(hidden)");
}

#[tokio::test]
async fn a_key_is_in_no_debug_output() {
    let mesh = Mesh::start().await;
    let request = tls::Request::new(SPIFFE_ID).expect("a key");
    let subject = meshprobe::lab::ca::Subject::workload(SPIFFE_ID);
    let chain = mesh.authority.sign(request.csr_pem(), &subject).expect("signed");
    let credential = request.certified(&chain).expect("its own");
    mesh.environment.mesh.carry(credential.clone());
    assert_eq!(format!("{request:?}"), "Request { .. }");
    let shown = format!("{credential:?}");
    assert!(shown.starts_with("Credential { spiffe_id: "), "{shown}");
    assert!(!shown.contains("certified") && !shown.contains("key"), "{shown}");
    let environment = format!("{:?}", mesh.environment);
    assert!(
        !environment.contains("PRIVATE") && !environment.contains("certified"),
        "{environment}"
    );
}
