//! CreateCertificate: signs a key for whom the token says, whatever the request asks for.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::Shared;
use super::condition::Ca;
use super::tokens::Bearer;
use crate::istiod::messages::{CertificateRequest, CertificateResponse};
use crate::lab::ca::{Authority, Subject};
use crate::lab::world::TRUST_DOMAIN;

/// Lifetime when none is asked for, seconds.
const DEFAULT_LIFETIME: i64 = 86_400;
/// Longest lifetime, seconds.
const MAX_LIFETIME: i64 = 90 * 86_400;

/// Answers one request.
pub(super) async fn create(
    shared: &Arc<Shared>,
    ca: Ca,
    request: Request<CertificateRequest>,
) -> Result<Response<CertificateResponse>, Status> {
    match ca {
        Ca::Unavailable => return Err(Status::unavailable("the CA is not ready")),
        Ca::Silent => return std::future::pending().await,
        Ca::Empty => return Ok(Response::new(CertificateResponse::default())),
        Ca::Garbage => {
            let cert_chain = vec!["no certificate".to_owned(), "none either".to_owned()];
            return Ok(Response::new(CertificateResponse { cert_chain }));
        }
        Ca::Signs | Ca::OtherIdentity | Ca::OtherKey | Ca::Expired | Ca::OtherRoot => {}
    }
    let bearer = shared
        .bearer(request.metadata())
        .ok_or_else(|| Status::unauthenticated("request authenticate failure"))?;
    let request = request.into_inner();
    let lifetime = match request.validity_duration {
        0 => DEFAULT_LIFETIME,
        1..=MAX_LIFETIME => request.validity_duration,
        _ => return Err(Status::invalid_argument("the lifetime must be within 90 days")),
    };
    let signer = if ca == Ca::OtherRoot { &shared.stranger } else { &shared.authority };
    let leaf = leaf(signer, &request.csr, subject(&bearer, ca, lifetime), ca)
        .map_err(|_| Status::invalid_argument("the request is no CSR in PEM"))?;
    let cert_chain = vec![leaf, signer.root_pem().to_owned()];
    Ok(Response::new(CertificateResponse { cert_chain }))
}

fn subject(bearer: &Bearer, ca: Ca, lifetime: i64) -> Subject {
    let id = match ca {
        Ca::OtherIdentity => format!("spiffe://{TRUST_DOMAIN}/ns/default/sa/somebody-else"),
        _ => bearer.spiffe_id(),
    };
    let ends_in = if ca == Ca::Expired { -60 } else { lifetime };
    Subject { ends_in, ..Subject::workload(id) }
}

fn leaf(signer: &Authority, csr: &str, subject: Subject, ca: Ca) -> Result<String, rcgen::Error> {
    match ca {
        Ca::OtherKey => signer.issue(&subject).map(|issued| issued.chain_pem),
        _ => signer.sign(csr, &subject),
    }
}
