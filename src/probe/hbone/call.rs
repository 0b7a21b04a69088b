//! A member of the mesh calls through the tunnel: CONNECT, then a request to the far end.

use std::sync::{Mutex, MutexGuard};

use http::uri::Authority;
use http::{Request, StatusCode};

use super::Peer;
use super::outer::{Opened, Outer, connect_to};
use super::tunnel::Tunnel;
use crate::failure::{Failure, Fault, Phase, Reason};
use crate::outcome::HboneFacts;
use crate::probe::http::{Line, Prepared, Question, Reading};
use crate::probe::journal::Journal;
use crate::spec::{HboneModule, HttpUrl};

/// What goes through the tunnel, with the connection that is kept if it is to.
#[derive(Debug)]
pub(super) struct Call {
    connect: Request<()>,
    request: Prepared,
    reading: Reading,
    warm: bool,
    kept: Mutex<Option<Outer>>,
}

impl Call {
    pub(super) fn new(module: &HboneModule, url: &HttpUrl) -> Self {
        let authority = Authority::try_from(url.endpoint().to_string());
        Self {
            connect: connect_to(authority.expect("an endpoint is an authority with a port")),
            request: Prepared::new(Question::new(&module.request), url.clone(), true),
            reading: Reading::new(&module.request),
            warm: module.warm,
            kept: Mutex::new(None),
        }
    }

    pub(super) async fn attempt(&self, peer: &Peer, journal: &mut Journal) -> Result<(), Failure> {
        let authority = self.connect.uri().authority().map(ToString::to_string);
        journal.facts.hbone = Some(HboneFacts { authority, ..HboneFacts::default() });
        let mut outer = self.outer(peer, journal).await?;
        let result = self.call(journal, &mut outer).await;
        outer.note(journal);
        self.part(outer, &result).await;
        result
    }

    /// The kept connection if it still lives, or a fresh one.
    async fn outer(&self, peer: &Peer, journal: &mut Journal) -> Result<Outer, Failure> {
        if self.warm {
            let kept = self.kept().take();
            if let Some(mut outer) = kept
                && outer.resume(journal).await
            {
                journal.facts.warm = Some(true);
                return Ok(outer);
            }
            journal.facts.warm = Some(false);
        }
        Outer::dial(peer, journal).await
    }

    /// The phases `tunnel`, `processing` and `transfer`.
    async fn call(&self, journal: &mut Journal, outer: &mut Outer) -> Result<(), Failure> {
        let connecting = outer.connect(self.connect.clone());
        let Opened { status, tunnel } = journal.measured(Phase::Tunnel, connecting).await?;
        if let Some(facts) = &mut journal.facts.hbone {
            facts.status = Some(status.as_u16());
        }
        self.refusal(status).map_or(Ok(()), |fault| Err(fault.during(Phase::Tunnel)))?;
        self.ask(journal, outer, tunnel).await.map_err(within)
    }

    async fn ask(
        &self,
        journal: &mut Journal,
        outer: &Outer,
        tunnel: Tunnel,
    ) -> Result<(), Failure> {
        let begun = Line::inside(outer.wire(tunnel)).await;
        let mut line = begun.map_err(|fault| fault.during(Phase::Processing))?;
        let received = self.reading.receive(journal, &mut line, &self.request).await?;
        let checked = self.reading.check(&received);
        line.close().await;
        checked
    }

    /// What an answer other than 200 says (the table of ztunnel's own).
    fn refusal(&self, status: StatusCode) -> Option<Fault> {
        let reason = match status.as_u16() {
            200 => return None,
            400 => Reason::HboneBadRequest,
            401 => Reason::HboneDenied,
            503 => Reason::HboneUnavailable,
            _ => Reason::Status,
        };
        let detail =
            format!("CONNECT {} was answered with {}", self.connect.uri(), status.as_u16());
        Some(Fault::new(reason, detail))
    }

    /// Keeps a connection that answered for the next attempt, if that is wanted and possible.
    async fn part(&self, mut outer: Outer, result: &Result<(), Failure>) {
        let answered = result.as_ref().map_or_else(|failure| is_answer(failure.reason), |()| true);
        if self.warm && answered && outer.is_ready().await {
            self.kept().get_or_insert(outer);
        } else if answered {
            outer.close().await;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Outer>> {
        self.kept.lock().expect("no panic while it is held")
    }
}

/// Whether a failure is a whole answer, after which the connection is as good as before.
fn is_answer(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::HboneBadRequest
            | Reason::HboneDenied
            | Reason::HboneUnavailable
            | Reason::Status
            | Reason::BodyMismatch
    )
}

/// Says of an end that it was the tunnel's.
fn within(mut failure: Failure) -> Failure {
    if matches!(failure.reason, Reason::Closed | Reason::Reset) {
        failure.detail = format!("in the tunnel: {}", failure.detail);
    }
    failure
}
