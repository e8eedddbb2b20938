//! Kinds that other programs bring to a cluster.

use anyhow::Result;
use datakit_operator_e2e::kubectl::kubectl_with;
use datakit_operator_e2e::plane::Plane;
use datakit_operator_e2e::wait;
use serde_json::{Value, json};

/// Teaches the API server the kinds of cert-manager and of the Prometheus Operator, with the fields
/// that the chart uses as their documentation has them.
pub(super) async fn install_definitions(plane: &Plane) -> Result<()> {
    let text = json!({"type": "string"});
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    let strings = json!({"type": "array", "items": text});
    let any = json!({"type": "object", "additionalProperties": text});
    let issuer = object(
        json!({"selfSigned": {"type": "object"}, "ca": object(json!({"secretName": text}))}),
    );
    let mut certificate = object(json!({
        "isCA": {"type": "boolean"}, "commonName": text, "secretName": text,
        "duration": {"type": "string", "pattern": "^([0-9]+(ns|us|ms|s|m|h))+$"},
        "dnsNames": strings,
        "usages": {"type": "array", "items": {"type": "string", "enum": ["digital signature", "key encipherment", "server auth", "client auth"]}},
        "privateKey": object(json!({
            "algorithm": {"type": "string", "enum": ["RSA", "ECDSA", "Ed25519"]}, "size": {"type": "integer"},
            "rotationPolicy": {"type": "string", "enum": ["Never", "Always"]}})),
        "issuerRef": object(json!({"name": text, "kind": text, "group": text})),
    }));
    certificate["required"] = json!(["issuerRef", "secretName"]);
    let endpoint = object(json!({"port": text, "path": text, "interval": text}));
    let monitor = object(json!({
        "selector": object(json!({"matchLabels": any})),
        "podMetricsEndpoints": {"type": "array", "items": endpoint},
    }));
    let service_monitor = object(json!({
        "selector": object(json!({"matchLabels": any})),
        "endpoints": {"type": "array", "items": endpoint},
    }));
    let mut alert = object(
        json!({"alert": text, "expr": text, "for": text, "labels": any, "annotations": any}),
    );
    alert["required"] = json!(["expr"]);
    let rule = object(json!({"groups": {"type": "array", "items": object(json!({
        "name": text, "rules": {"type": "array", "items": alert}}))}}));
    for (group, kind, plural, spec) in [
        ("cert-manager.io", "Issuer", "issuers", issuer),
        (
            "cert-manager.io",
            "Certificate",
            "certificates",
            certificate,
        ),
        (
            "monitoring.coreos.com",
            "PodMonitor",
            "podmonitors",
            monitor,
        ),
        (
            "monitoring.coreos.com",
            "ServiceMonitor",
            "servicemonitors",
            service_monitor,
        ),
        (
            "monitoring.coreos.com",
            "PrometheusRule",
            "prometheusrules",
            rule,
        ),
    ] {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": object(json!({"spec": spec}))}}],
            },
        });
        let apply = ["apply", "--server-side", "-f=-"];
        kubectl_with(plane, "default", &apply, &definition.to_string())?;
        wait::until(kind, || async {
            let listed = kubectl_with(plane, "default", &["get", &format!("{plural}.{group}")], "");
            listed.map_err(|error| error.to_string())
        })
        .await?;
    }
    Ok(())
}
