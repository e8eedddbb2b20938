//! The kinds that the operator reads and doesn't bring along.

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::Value;

use super::report::Found;
use super::{Subject, unread};
use crate::cli::remote::{self, Unanswered};

/// The definition of ClusterLoggingConfigs.
const LOGGING_CONFIGS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/clusterloggingconfigs.logging.datakits.io";
/// The version that the operator watches.
const LOGGING_VERSION: &str = "v1alpha1";
/// What it reads of their `spec`.
const LOGGING_FIELDS: [&str; 3] = ["selector", "podTargetLabels", "configs"];
const LOGGING_REMEDY: &str =
    "apply deploy/clusterloggingconfigs.yaml, or upgrade with loggingConfigs.installCRD=true";

/// Looks at ClusterLoggingConfigs, if the operator whose pods these are watches them.
pub(super) async fn check(subject: &Subject<'_>, template: Option<PodSpec>) -> Found {
    match template {
        Some(template) if watches_logging_configs(&template) => {
            logging_configs(remote::get(&subject.client, LOGGING_CONFIGS).await)
        }
        Some(_) => Found::Skipped("they are switched off (--logging-configs=off)".to_owned()),
        None => Found::Skipped(
            "whether they are watched can't be told without the Deployment".to_owned(),
        ),
    }
}

/// Whether the operator watches ClusterLoggingConfigs, which it does unless it is told not to.
fn watches_logging_configs(template: &PodSpec) -> bool {
    let args = template
        .containers
        .iter()
        .flat_map(|container| container.args.iter().flatten());
    !args.clone().any(|arg| arg == "--logging-configs=off")
        && !args
            .clone()
            .zip(args.skip(1))
            .any(|(flag, value)| flag == "--logging-configs" && value == "off")
}

/// Whether the kind is as the operator reads it. It needn't be there.
fn logging_configs(definition: Result<Value, Unanswered>) -> Found {
    let definition = match definition {
        Ok(definition) => definition,
        Err(error) if error.is_missing() => {
            return Found::Ok(
                "the kind ClusterLoggingConfig isn't installed, so nothing of it is used"
                    .to_owned(),
            );
        }
        Err(error) => return unread(&error, "the CustomResourceDefinition"),
    };
    let versions = definition["spec"]["versions"].as_array();
    let mut versions = versions.into_iter().flatten();
    let served =
        versions.find(|version| version["name"] == LOGGING_VERSION && version["served"] == true);
    let Some(served) = served else {
        return Found::failed(
            format!(
                "the kind ClusterLoggingConfig isn't served as {LOGGING_VERSION}, which the operator watches"
            ),
            LOGGING_REMEDY,
        );
    };
    let conditions = definition["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let established = |one: &Value| one["type"] == "Established" && one["status"] == "True";
    if !conditions.any(established) {
        return Found::failed(
            "the API server doesn't accept the kind ClusterLoggingConfig",
            "look at its status: kubectl describe crd clusterloggingconfigs.logging.datakits.io",
        );
    }
    let spec = &served["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let keeps_all = spec["x-kubernetes-preserve-unknown-fields"] == true;
    let lacks = LOGGING_FIELDS
        .iter()
        .filter(|field| !keeps_all && spec["properties"].get(**field).is_none());
    let lacks: Vec<_> = lacks.copied().collect();
    if lacks.is_empty() {
        return Found::Ok(format!(
            "the kind ClusterLoggingConfig is served as {LOGGING_VERSION}"
        ));
    }
    Found::warning(
        format!(
            "the API server drops fields of ClusterLoggingConfigs that the operator reads: spec.{}",
            lacks.join(", spec.")
        ),
        LOGGING_REMEDY,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_kind_is_as_the_operator_reads_it() {
        let definition = |version: &str, established: &str, spec: Value| {
            Ok(json!({
                "spec": {"versions": [{
                    "name": version, "served": true,
                    "schema": {"openAPIV3Schema": {"properties": {"spec": spec}}},
                }]},
                "status": {"conditions": [{"type": "Established", "status": established}]},
            }))
        };
        let whole =
            || json!({"properties": {"selector": {}, "podTargetLabels": {}, "configs": {}}});
        let outcome = |found: Result<Value, Unanswered>| match logging_configs(found) {
            Found::Ok(_) => "ok",
            Found::Warning(..) => "warning",
            Found::Failed(..) => "failed",
            Found::Skipped(_) => "skipped",
        };
        assert_eq!(outcome(definition("v1alpha1", "True", whole())), "ok");
        let open = json!({"x-kubernetes-preserve-unknown-fields": true});
        assert_eq!(outcome(definition("v1alpha1", "True", open)), "ok");
        let older = json!({"properties": {"selector": {}, "configs": {}}});
        assert_eq!(outcome(definition("v1alpha1", "True", older)), "warning");
        assert_eq!(outcome(definition("v1", "True", whole())), "failed");
        assert_eq!(outcome(definition("v1alpha1", "False", whole())), "failed");
        for (code, want) in [(404, "ok"), (403, "skipped"), (0, "failed")] {
            let why = String::new();
            assert_eq!(outcome(Err(Unanswered { code, why })), want);
        }
    }

    #[test]
    fn the_file_that_is_shipped_is_current() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../deploy/clusterloggingconfigs.yaml"
        );
        let text = std::fs::read_to_string(file).unwrap();
        for field in LOGGING_FIELDS {
            assert!(
                text.contains(&format!("\n                {field}:\n")),
                "{field}"
            );
        }
        assert!(text.contains(&format!("- name: {LOGGING_VERSION}\n")));
    }

    #[test]
    fn watching_can_be_switched_off() {
        let template = |args: &[&str]| PodSpec {
            containers: vec![k8s_openapi::api::core::v1::Container {
                args: Some(args.iter().map(|arg| (*arg).to_owned()).collect()),
                ..Default::default()
            }],
            ..Default::default()
        };
        for (args, want) in [
            (&["serve"][..], true),
            (&["serve", "--logging-configs=on"], true),
            (&["serve", "--logging-configs=off"], false),
            (&["serve", "--logging-configs", "off"], false),
        ] {
            assert_eq!(watches_logging_configs(&template(args)), want, "{args:?}");
        }
    }
}
