//! Values that earlier charts don't have: what they add to objects, and objects that they add.

use serde_json::json;

use super::cases::{Case, case};

/// A digest; any will do.
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "monitoring by Service",
            json!({"metrics": {"serviceMonitor": {"enabled": true, "interval": "15s", "labels": {"release": "prometheus"}}}}),
            vec![
                (
                    "ServiceMonitor",
                    "/metadata/labels/release",
                    json!("prometheus"),
                ),
                ("ServiceMonitor", "/spec/endpoints/0/interval", json!("15s")),
                (
                    "ServiceMonitor",
                    "/spec/selector/matchLabels",
                    json!({"app": "datakit-operator", "app.kubernetes.io/name": "datakit-operator",
                        "app.kubernetes.io/instance": "release", "app.kubernetes.io/component": "metrics"}),
                ),
                ("Service", "", json!(2)),
            ],
        ),
        case(
            "images from a mirror",
            json!({"global": {"imageRegistry": "mirror.example/guance"}}),
            vec![
                (
                    "container",
                    "/image",
                    json!(concat!(
                        "mirror.example/guance/datakit-operator/datakit-operator:",
                        env!("CARGO_PKG_VERSION")
                    )),
                ),
                (
                    "Pod",
                    "/spec/containers/0/image",
                    json!("mirror.example/guance/curlimages/curl:8.12.1"),
                ),
            ],
        ),
        case(
            "one image and no other",
            json!({"image": {"tag": "1.4.3", "digest": DIGEST}}),
            vec![(
                "container",
                "/image",
                json!(format!(
                    "pubrepo.guance.com/datakit-operator/datakit-operator@{DIGEST}"
                )),
            )],
        ),
        case(
            "what is added",
            json!({
                "podLabels": {"team": "x"}, "revisionHistoryLimit": 3,
                "serviceAccount": {"annotations": {"cloud.example/role": "r"}},
                "service": {"annotations": {"cloud.example/internal": "true"}},
                "extraVolumes": [{"name": "scratch", "emptyDir": {}}],
                "extraVolumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
                "extraObjects": [
                    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "datakit-operator-more",
                        "namespace": "chart-values", "labels": {"app.kubernetes.io/instance": "release", "app.kubernetes.io/component": "metrics"}}},
                    "apiVersion: v1\nkind: LimitRange\nmetadata:\n  name: {{ include \"datakit-operator.fullname\" . }}-limits\n  \
                     namespace: {{ .Release.Namespace }}\n  labels: {app.kubernetes.io/instance: release}\nspec: {limits: []}"],
            }),
            vec![
                (
                    "Deployment",
                    "/spec/template/metadata/labels/team",
                    json!("x"),
                ),
                ("Deployment", "/spec/revisionHistoryLimit", json!(3)),
                (
                    "ServiceAccount",
                    "/metadata/annotations",
                    json!({"cloud.example/role": "r"}),
                ),
                (
                    "Service",
                    "/metadata/annotations",
                    json!({"cloud.example/internal": "true"}),
                ),
                ("pod", "/volumes/1/name", json!("scratch")),
                ("container", "/volumeMounts/1/mountPath", json!("/scratch")),
                (
                    "LimitRange",
                    "/metadata/name",
                    json!("datakit-operator-limits"),
                ),
                ("ConfigMap", "", json!(2)),
            ],
        ),
    ]
}
