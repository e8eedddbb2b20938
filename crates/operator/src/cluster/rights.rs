//! Asks the API server what somebody may do, by a SubjectAccessReview.

use datakit_operator_core::election::text::escaped;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};

use crate::access::Pending;
use crate::access::rights::Authorizer;
use crate::access::tokens::User;

/// The API server, which knows everybody's rights.
#[derive(Clone)]
pub struct AccessReviews(Api<SubjectAccessReview>);

impl std::fmt::Debug for AccessReviews {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AccessReviews(…)")
    }
}

impl AccessReviews {
    /// Asks with this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self(Api::all(client))
    }
}

impl Authorizer for AccessReviews {
    fn may_list_pods<'a>(
        &'a self,
        user: &'a User,
        namespace: Option<&'a str>,
    ) -> Pending<'a, Result<bool, String>> {
        Box::pin(async move {
            let review = SubjectAccessReview {
                spec: SubjectAccessReviewSpec {
                    user: Some(user.name.clone()),
                    groups: Some(user.groups.clone()),
                    resource_attributes: Some(ResourceAttributes {
                        verb: Some("list".to_owned()),
                        version: Some("v1".to_owned()),
                        resource: Some("pods".to_owned()),
                        namespace: namespace.map(str::to_owned),
                        ..ResourceAttributes::default()
                    }),
                    ..SubjectAccessReviewSpec::default()
                },
                ..SubjectAccessReview::default()
            };
            let answer = self.0.create(&PostParams::default(), &review).await;
            let answer = answer.map_err(|error| match error {
                kube::Error::Api(status) if status.code == 403 => {
                    "the operator may not create subjectaccessreviews.authorization.k8s.io (podApi.auth in the chart's values)".to_owned()
                }
                kube::Error::Api(status) => format!("the API server answered {}", status.code),
                error => escaped(&error.to_string()).into_owned(),
            })?;
            Ok(answer.status.is_some_and(|status| status.allowed))
        })
    }
}
