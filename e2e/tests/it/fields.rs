//! Fields that no type of the operator knows, some of them as new as the API server itself, survive
//! injection.

use anyhow::Result;
use datakit_operator_e2e::cluster::{Cluster, Mode, refusal};
use datakit_operator_e2e::operator::Options;
use datakit_operator_e2e::stored::contained;
use datakit_operator_e2e::webhook::{Injected, Policy};
use serde_json::{Value, json};

use crate::shapes::{FEATURES, Feature};

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn of_any_age_survive() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let injected = Injected::start(&cluster, "fields", &Options::default(), Policy::Fail).await?;
    let plain = cluster.namespace("fields-plain", &json!({})).await?;
    let (mut known, mut unknown) = (0, Vec::new());
    for (name, spec) in specs() {
        let mut pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
        let without = match plain.create_pod(&pod, Mode::StrictDryRun).await {
            Ok(created) => created.pod,
            Err(error) => {
                unknown.push(format!("{name}: {}", refusal(&error)));
                continue;
            }
        };
        // Stored at all: a gate that is off makes the server drop a field without a word.
        if let Err(dropped) = kept(&spec, &without["spec"]) {
            unknown.push(format!("{name}: {dropped} by the server"));
            continue;
        }
        known += 1;
        let features = [FEATURES[0].1, Feature::Logfwd, FEATURES[5].1];
        for feature in features {
            feature.ask(&mut pod);
        }
        let with = injected
            .namespace
            .create_pod(&pod, Mode::StrictDryRun)
            .await?
            .pod;
        contained(&without, &with).unwrap_or_else(|lost| panic!("{name}: {lost}"));
        Feature::assert_in(features[0], &with, &["app"], false);
    }
    println!(
        "{known} kinds of fields survive; not known to this server:\n{}",
        unknown.join("\n")
    );
    assert!(
        known >= 20,
        "only {known} kinds of fields were checked; the server refused {unknown:#?}"
    );
    Ok(())
}

/// Whether the keys of one value are in another.
fn kept(sent: &Value, stored: &Value) -> Result<(), String> {
    match sent {
        Value::Object(fields) => fields
            .iter()
            .try_for_each(|(key, value)| match stored.get(key) {
                Some(found) => kept(value, found).map_err(|path| format!("/{key}{path}")),
                None => Err(format!("/{key} is dropped")),
            }),
        Value::Array(items) => {
            let each = items.iter().zip(stored.as_array().into_iter().flatten());
            each.enumerate().try_for_each(|(index, (sent, stored))| {
                kept(sent, stored).map_err(|path| format!("/{index}{path}"))
            })
        }
        _ => Ok(()),
    }
}

/// Specs with one container `app` and one or a few fields that are new or rarely used.
pub(crate) fn specs() -> Vec<(&'static str, Value)> {
    let pod = |fields: Value| {
        let mut spec = json!({"containers": [{"name": "app", "image": "app"}]});
        for (key, value) in fields.as_object().unwrap() {
            spec[key] = value.clone();
        }
        spec
    };
    let container = |fields: Value| {
        let mut spec = pod(json!({}));
        for (key, value) in fields.as_object().unwrap() {
            spec["containers"][0][key] = value.clone();
        }
        spec
    };
    let volume = |source: Value, mount: Value| {
        let mut spec = container(json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}));
        spec["volumes"] = json!([source]);
        spec["volumes"][0]["name"] = "v".into();
        for (key, value) in mount.as_object().unwrap() {
            spec["containers"][0]["volumeMounts"][0][key] = value.clone();
        }
        spec
    };
    vec![
        (
            "image-volume",
            volume(
                json!({"image": {"reference": "registry.example.com/model:1", "pullPolicy": "Always"}}),
                json!({"subPath": "a"}),
            ),
        ),
        (
            "recursive-read-only",
            volume(
                json!({"emptyDir": {}}),
                json!({"readOnly": true, "recursiveReadOnly": "Enabled"}),
            ),
        ),
        (
            "pod-certificate",
            volume(
                json!({"projected": {"sources": [{"podCertificate": {
            "signerName": "example.com/s", "keyType": "ED25519", "credentialBundlePath": "b", "maxExpirationSeconds": 3600}}]}}),
                json!({}),
            ),
        ),
        (
            "trust-bundle",
            volume(
                json!({"projected": {"sources": [{"clusterTrustBundle": {"name": "b", "path": "ca"}}]}}),
                json!({}),
            ),
        ),
        (
            "ephemeral-volume",
            volume(
                json!({"ephemeral": {"volumeClaimTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "volumeAttributesClassName": "fast"}}}}),
                json!({}),
            ),
        ),
        (
            "csi-volume",
            volume(
                json!({"csi": {"driver": "csi.example.com", "volumeAttributes": {"a": "b"}}}),
                json!({}),
            ),
        ),
        (
            "restart-rules",
            container(json!({"restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]})),
        ),
        (
            "restart-all-containers",
            container(json!({"restartPolicy": "Never", "restartPolicyRules": [
            {"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0]}}]})),
        ),
        (
            "resize-policy",
            container(
                json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]}),
            ),
        ),
        ("stop-signal", {
            let mut spec = container(json!({"lifecycle": {"stopSignal": "SIGUSR1"}}));
            spec["os"] = json!({"name": "linux"});
            spec
        }),
        (
            "sleep-hook",
            container(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 3}}}})),
        ),
        (
            "grpc-probe",
            container(
                json!({"startupProbe": {"grpc": {"port": 1, "service": "s"}, "failureThreshold": 30}}),
            ),
        ),
        (
            "probe-grace",
            container(
                json!({"livenessProbe": {"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 7}}),
            ),
        ),
        ("file-key", {
            let mut spec = container(json!({"env": [{"name": "K", "valueFrom": {"fileKeyRef": {
                "volumeName": "v", "path": "x.env", "key": "K", "optional": true}}}]}));
            spec["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
            spec
        }),
        (
            "app-armor",
            container(json!({"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}})),
        ),
        ("proc-mount", {
            let mut spec = container(json!({"securityContext": {"procMount": "Unmasked"}}));
            spec["hostUsers"] = false.into();
            spec
        }),
        ("claims", {
            let mut spec =
                container(json!({"resources": {"claims": [{"name": "gpu", "request": "one"}]}}));
            spec["resourceClaims"] = json!([{"name": "gpu", "resourceClaimTemplateName": "t"}]);
            spec
        }),
        (
            "pod-level-resources",
            pod(
                json!({"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}}),
            ),
        ),
        ("token", pod(json!({"automountServiceAccountToken": true}))),
        ("user-namespace", pod(json!({"hostUsers": false}))),
        (
            "hostname-override",
            pod(json!({"hostnameOverride": "over.example"})),
        ),
        (
            "supplemental-groups",
            pod(
                json!({"securityContext": {"supplementalGroups": [1, 2], "supplementalGroupsPolicy": "Strict"}}),
            ),
        ),
        (
            "selinux-change",
            pod(json!({"securityContext": {"seLinuxChangePolicy": "Recursive"}})),
        ),
        (
            "fs-group-change",
            pod(
                json!({"securityContext": {"fsGroup": 2000, "fsGroupChangePolicy": "OnRootMismatch"}}),
            ),
        ),
        (
            "scheduling-gates",
            pod(json!({"schedulingGates": [{"name": "example.com/g"}]})),
        ),
        (
            "readiness-gates",
            pod(json!({"readinessGates": [{"conditionType": "example.com/x"}]})),
        ),
        (
            "spread",
            pod(
                json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": "x"}}, "matchLabelKeys": ["y"], "nodeTaintsPolicy": "Honor", "nodeAffinityPolicy": "Ignore"}]}),
            ),
        ),
        (
            "affinity",
            pod(
                json!({"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1,
            "podAffinityTerm": {"topologyKey": "h", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}, "mismatchLabelKeys": ["z"]}}]}}}),
            ),
        ),
        (
            "toleration",
            pod(
                json!({"tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}]}),
            ),
        ),
        (
            "scheduling-group",
            pod(json!({"schedulingGroup": {"podGroupName": "g"}})),
        ),
        (
            "dns-option",
            pod(
                json!({"dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
            ),
        ),
        (
            "native-sidecar",
            pod(
                json!({"initContainers": [{"name": "side", "image": "i", "restartPolicy": "Always",
            "startupProbe": {"tcpSocket": {"port": 1}}, "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}]}),
            ),
        ),
    ]
}
