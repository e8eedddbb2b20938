//! Logging configurations, as logfwd sidecars ask for them once a minute.
//!
//! A sidecar stops what it collects for the operator at a 404 and goes on at any other failure. So
//! 404 is said only when it is known that nothing is meant for the pod.

use std::sync::Arc;

use datakit_operator_core::logging::{PodLabels, PodQuery};
use http::{Request, StatusCode};
use serde_json::json;

use super::query::Query;
use super::respond::{self, JSON};
use crate::listen::{Answer, Received};
use crate::state::{Logging, Source};
use crate::telemetry::metrics::Metrics;

/// The path of this route.
pub const LOGGING_PATH: &str = "/v1/logging/configs";

/// Answers sidecars.
#[derive(Debug)]
pub struct LoggingRoute {
    logging: Arc<Logging>,
    metrics: Arc<Metrics>,
}

impl LoggingRoute {
    /// Answers from what is known.
    #[must_use]
    pub fn new(logging: Arc<Logging>, metrics: Arc<Metrics>) -> Self {
        Self { logging, metrics }
    }

    /// Answers a request for the path.
    pub fn handle(&self, request: &Request<Received>) -> Answer {
        respond::readable(request.method(), || {
            let answer = self.answer(&Query::of(request.uri()));
            self.metrics.logging.answered(answer.status());
            answer
        })
    }

    fn answer(&self, query: &Query<'_>) -> Answer {
        let (namespace, name) = (query.get("namespace"), query.get("pod_name"));
        if namespace.is_empty() || name.is_empty() {
            return error(
                StatusCode::BAD_REQUEST,
                "namespace, pod_name parameters are required",
            );
        }
        let labels = query.get("pod_labels");
        let labels = (!labels.is_empty()).then(|| PodLabels::parse(&labels));
        let pod = PodQuery {
            namespace: &namespace,
            name: &name,
            labels: labels.as_ref(),
        };
        let known = self.logging.known();
        if let Some(found) = known.configs.as_ref().and_then(|known| known.find(&pod)) {
            // Also while watching fails: it was meant for the pod the last time that could be seen.
            let body = found.answer().to_vec();
            return respond::with_body(StatusCode::OK, JSON, body);
        }
        match &known.source {
            Source::None | Source::NotInstalled | Source::Watched => {
                error(StatusCode::NOT_FOUND, "no matching config found")
            }
            Source::Starting => error(
                StatusCode::SERVICE_UNAVAILABLE,
                "the ClusterLoggingConfigs are still being listed; ask again",
            ),
            Source::Failing(why) => error(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("the ClusterLoggingConfigs can't be watched: {why}"),
            ),
        }
    }
}

fn error(status: StatusCode, why: &str) -> Answer {
    respond::with_body(status, JSON, json!({ "error": why }).to_string())
}

#[cfg(test)]
mod tests {
    use datakit_operator_core::logging::{LoggingConfig, LoggingConfigs};
    use http::Uri;

    use super::*;
    use crate::state::Knowledge;

    /// 404 tells a sidecar to stop, so it is said only where it is known that there is nothing.
    #[test]
    fn answers_say_how_far_they_can_be_relied_on() {
        let spec = json!({"selector": {"namespaceRegex": "^shop$"}});
        let mut one = LoggingConfigs::default();
        one.apply(Arc::new(LoggingConfig::new("n", "", &spec)));
        let failing = || Source::Failing("forbidden".to_owned());
        let check = |configs: Option<&LoggingConfigs>, source, here: u16, elsewhere: u16| {
            let logging = Logging::default();
            let told = format!("{} {source:?}", configs.is_some());
            logging.learn(Knowledge {
                configs: configs.cloned(),
                source,
            });
            let route = LoggingRoute::new(Arc::new(logging), Arc::new(Metrics::new("", "")));
            for (namespace, expected) in [("shop", here), ("other", elsewhere)] {
                let uri = format!("{LOGGING_PATH}?namespace={namespace}&pod_name=p");
                let uri: Uri = uri.parse().unwrap();
                let answer = route.answer(&Query::of(&uri));
                assert_eq!(answer.status(), expected, "{told} {namespace}");
            }
        };
        check(None, Source::None, 404, 404);
        check(None, Source::NotInstalled, 404, 404);
        check(None, Source::Starting, 503, 503);
        check(None, failing(), 503, 503);
        check(Some(&one), Source::Watched, 200, 404);
        check(Some(&one), failing(), 200, 503);
    }
}
