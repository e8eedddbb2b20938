//! The cluster's pods, as agents ask for them that would otherwise each watch the API server.
//!
//! A program that looks for whose a network flow is asks once, when it starts, whether there is
//! such a place, and goes without it for ever if it gets no good answer within two seconds. So the
//! headers of a list are sent at once, and its pods follow as fast as they are taken. They are made
//! on the thread that watches pods: what that costs is never more than one core, and never one that
//! a review waits for.

pub mod access;
mod lists;

use std::sync::Arc;

use datakit_operator_core::pods::View;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use serde_json::json;
use tokio::runtime::Handle;

use self::access::{Access, Denied};
use self::lists::{Lists, Which};
use super::query::Query;
use super::respond::{self, JSON};
use crate::access::Trouble;
use crate::listen::{Answer, Peer, Received};
use crate::state::pods::{Pods, Standing};
use crate::telemetry::metrics::Metrics;

/// What the paths of these routes begin with.
pub const PODS_PATH: &str = "/v1/cluster/api/v1/";

/// Answers whoever asks for pods.
#[derive(Debug)]
pub struct PodRoutes {
    pods: Arc<Pods>,
    lists: Option<Lists>,
    access: Access,
    metrics: Arc<Metrics>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target<'a> {
    All,
    Namespace(&'a str),
    One(&'a str, &'a str),
}

impl PodRoutes {
    /// Answers from what is known, to whom `access` says. `runtime` is that of the thread that
    /// watches pods; without one there is nothing here.
    #[must_use]
    pub fn new(
        pods: Arc<Pods>,
        runtime: Option<Handle>,
        access: Access,
        metrics: Arc<Metrics>,
    ) -> Self {
        let broken = metrics.pods.broken.clone();
        let lists = runtime.map(|runtime| Lists::new(Arc::clone(&pods), runtime, broken));
        Self {
            pods,
            lists,
            access,
            metrics,
        }
    }

    /// Answers a request for a path that begins with [`PODS_PATH`].
    pub async fn handle(&self, request: Request<Received>) -> Answer {
        let (parts, received) = request.into_parts();
        let Some(target) = Target::of(parts.uri.path()) else {
            return respond::not_found();
        };
        let Some(lists) = &self.lists else {
            return match &*self.pods.standing() {
                Standing::Unknown(why) => not_known(why),
                _ => respond::not_found(),
            };
        };
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return respond::method_not_allowed(&parts.method, "GET, HEAD");
        }
        let view = View::named(&Query::of(&parts.uri).get("view"));
        let peer = parts.extensions.get::<Peer>();
        let answer = self.answer(lists, target, view, peer, &parts.headers, received);
        let answer = answer.await;
        self.metrics.pods.answered(answer.status());
        answer
    }

    async fn answer(
        &self,
        lists: &Lists,
        target: Target<'_>,
        view: View,
        peer: Option<&Peer>,
        headers: &HeaderMap,
        received: Received,
    ) -> Answer {
        let sight = match self.access.of(peer, headers).await {
            Ok(sight) => sight,
            Err(denied) => return deny(&denied),
        };
        if let Target::Namespace(namespace) | Target::One(namespace, _) = target {
            match sight.has(namespace).await {
                Ok(true) => {}
                Ok(false) => return deny(&Denied::Namespace(namespace.to_owned())),
                Err(trouble) => return deny(&Denied::from(trouble)),
            }
        }
        let standing = self.pods.standing();
        if let Standing::Unknown(why) = &*standing {
            return not_known(why);
        }
        let which = Which { view, sight };
        let (namespace, name) = match target {
            Target::All => return list(lists.begin(which, None, received)),
            Target::Namespace(namespace) => {
                return list(lists.begin(which, Some(namespace), received));
            }
            Target::One(namespace, name) => (namespace, name),
        };
        match lists.one(view, namespace, name, received).await {
            Ok(Some(body)) => respond::with(StatusCode::OK, JSON, body),
            Ok(None) => match &*standing {
                Standing::Old(why) => not_known(why),
                _ => respond::with_body(StatusCode::NOT_FOUND, JSON, r#"{"message":"not found"}"#),
            },
            Err(_) => respond::no_room(),
        }
    }
}

impl<'a> Target<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let mut parts = path.strip_prefix(PODS_PATH)?.split('/');
        let parts = [(); 5].map(|()| parts.next());
        match parts {
            [Some("pods"), None, ..] => Some(Self::All),
            [
                Some("namespaces"),
                Some(namespace),
                Some("pods"),
                name,
                None,
            ] => match name {
                None => Some(Self::Namespace(namespace)),
                Some("") => None,
                Some(name) => Some(Self::One(namespace, name)),
            },
            _ => None,
        }
    }
}

fn list(body: crate::listen::AnswerBody) -> Answer {
    respond::with(StatusCode::OK, JSON, body)
}

fn error(status: StatusCode, why: &str) -> Answer {
    respond::with_body(status, JSON, json!({ "error": why }).to_string())
}

fn not_known(why: &str) -> Answer {
    let mut answer = error(StatusCode::SERVICE_UNAVAILABLE, why);
    let headers = answer.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}

fn deny(denied: &Denied) -> Answer {
    let mut answer = error(denied.status(), &denied.to_string());
    if denied.status() == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer");
        answer.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    }
    answer
}

impl From<Trouble> for Denied {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::TooMany => Self::TooManyTokens,
            Trouble::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let check = |path: &str, target: Option<Target<'_>>| {
            assert_eq!(Target::of(&format!("{PODS_PATH}{path}")), target, "{path}");
        };
        check("pods", Some(Target::All));
        check("namespaces/shop/pods", Some(Target::Namespace("shop")));
        check(
            "namespaces/shop/pods/web-1",
            Some(Target::One("shop", "web-1")),
        );
        for path in [
            "",
            "pods/",
            "namespaces",
            "namespaces/shop",
            "namespaces/shop/pods/",
            "namespaces/shop/pods/web-1/log",
            "namespaces/shop/services",
        ] {
            check(path, None);
        }
        assert_eq!(Target::of("/v1/pods"), None);
    }
}
