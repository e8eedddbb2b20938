//! Who sends a request, and whether it is heard.

use datakit_operator_core::election::Caller;
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, StatusCode};

use super::Election;
use super::replicas::Origin;
use crate::election::forward::CLIENT;
use crate::election::senders::{self, Denied, Senders};
use crate::http::respond;
use crate::listen::{Answer, Peer, Received};

impl Election {
    /// Who polls: the client, or whom a replica passes the poll on for. A replica of an earlier
    /// version doesn't say.
    pub(super) async fn sender(
        &self,
        request: &Request<Received>,
        origin: Origin,
    ) -> Result<Caller, Answer> {
        let headers = request.headers();
        if origin != Origin::Client {
            let said = headers.get(CLIENT).and_then(|value| value.to_str().ok());
            return Ok(said.and_then(senders::read).unwrap_or(Caller::Anybody));
        }
        let Some(peer) = request.extensions().get::<Peer>() else {
            return Ok(Caller::Anybody);
        };
        let recognised = self.senders.recognise(peer, headers).await;
        recognised.map_err(|denied| self.deny(&denied))
    }

    /// Whether somebody may look, who need not be an agent: on this machine everybody may, by whom
    /// `kubectl exec` and `kubectl port-forward` arrive.
    pub(super) async fn onlooker(
        &self,
        request: &Request<Received>,
        origin: Origin,
    ) -> Result<(), Answer> {
        let here = request
            .extensions()
            .get::<Peer>()
            .is_none_or(Senders::is_here);
        if here && request.headers().get(AUTHORIZATION).is_none() {
            return Ok(());
        }
        self.sender(request, origin).await.map(drop)
    }

    fn deny(&self, denied: &Denied) -> Answer {
        let status = denied.status();
        match status {
            StatusCode::TOO_MANY_REQUESTS => self.metrics.election.too_often.inc(),
            _ => self.metrics.election.denied.inc(),
        };
        let mut answer = respond::text(status, &denied.to_string());
        let headers = answer.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        } else if status != StatusCode::FORBIDDEN {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("4"));
        }
        answer
    }
}
