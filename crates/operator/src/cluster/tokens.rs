//! Asks the API server whose a bearer token is, by a TokenReview.

use datakit_operator_core::election::text::escaped;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};

use crate::access::Pending;
use crate::access::tokens::{Reviewer, User};

/// Where a service account's token that was made for a pod says which.
const POD: &str = "authentication.kubernetes.io/pod-uid";

/// The API server, which knows the tokens that it has issued.
#[derive(Clone)]
pub struct TokenReviews {
    api: Api<TokenReview>,
    audiences: Vec<String>,
}

impl std::fmt::Debug for TokenReviews {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TokenReviews(…)")
    }
}

impl TokenReviews {
    /// Accepts tokens for one of these audiences; with none, those for the API server itself.
    #[must_use]
    pub fn new(client: Client, audiences: Vec<String>) -> Self {
        Self {
            api: Api::all(client),
            audiences,
        }
    }
}

impl Reviewer for TokenReviews {
    fn review<'a>(&'a self, token: &'a str) -> Pending<'a, Result<Option<User>, String>> {
        Box::pin(async move {
            let audiences = (!self.audiences.is_empty()).then(|| self.audiences.clone());
            let review = TokenReview {
                spec: TokenReviewSpec {
                    token: token.to_owned(),
                    audiences,
                },
                ..TokenReview::default()
            };
            let answer = self.api.create(&PostParams::default(), &review).await;
            let answer = answer.map_err(|error| match error {
                kube::Error::Api(status) if status.code == 403 => {
                    "the operator may not create tokenreviews.authentication.k8s.io (election.auth and podApi.auth in the chart's values)".to_owned()
                }
                // Whatever a server says about a request must not bring its token into a log.
                kube::Error::Api(status) => format!("the API server answered {}", status.code),
                error => escaped(&error.to_string().replace(token, "…")).into_owned(),
            })?;
            let status = answer.status.unwrap_or_default();
            // An API server that doesn't know audiences ignores them, and doesn't say which it
            // accepted.
            let heeded = self.audiences.is_empty()
                || (status.audiences.iter().flatten())
                    .any(|audience| self.audiences.contains(audience));
            if status.authenticated != Some(true) || !heeded {
                return Ok(None);
            }
            let user = status.user.unwrap_or_default();
            let pod = user
                .extra
                .and_then(|extra| extra.get(POD)?.first().cloned());
            Ok(user
                .username
                .filter(|name| !name.is_empty())
                .map(|name| User {
                    name,
                    groups: user.groups.unwrap_or_default(),
                    pod,
                }))
        })
    }
}
