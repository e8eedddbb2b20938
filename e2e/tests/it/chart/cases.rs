//! Values of the chart, and what must come of them.

use serde_json::{Value, json};

/// A certificate; any base64 will do.
pub(super) const BUNDLE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t";

/// Values of a release called `release` in namespace `chart-values`.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) values: Value,
    pub(super) expected: Vec<Expected>,
}

/// Where, and what. Where is the kind of an object of which there is one, `pod`, `container` or
/// `webhook` for what is inside of it, and a JSON pointer in there; or a flag of the operator.
/// Without a pointer, what is the number of objects of the kind.
pub(super) type Expected = (&'static str, &'static str, Value);

pub(super) fn case(name: &'static str, values: Value, expected: Vec<Expected>) -> Case {
    Case {
        name,
        values,
        expected,
    }
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "defaults",
            json!({}),
            vec![
                ("Deployment", "/metadata/name", json!("datakit-operator")),
                ("Deployment", "/spec/replicas", json!(2)),
                ("pod", "/terminationGracePeriodSeconds", json!(30)),
                ("container", "/name", json!("datakit-operator")),
                (
                    "container",
                    "/image",
                    json!(format!(
                        "pubrepo.guance.com/datakit-operator/datakit-operator:{}",
                        env!("CARGO_PKG_VERSION")
                    )),
                ),
                (
                    "ConfigMap",
                    "/metadata/name",
                    json!("datakit-operator-config"),
                ),
                (
                    "MutatingWebhookConfiguration",
                    "/metadata/name",
                    json!("datakit-operator-mutation"),
                ),
                (
                    "MutatingWebhookConfiguration",
                    "/webhooks/0",
                    json!({
                        "name": "mutation.datakit.svc",
                        "clientConfig": {"service": {"name": "datakit-operator", "namespace": "chart-values", "port": 443, "path": "/v1/webhooks/inject"}},
                        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "scope": "Namespaced"}],
                        "matchPolicy": "Equivalent",
                        "namespaceSelector": {"matchExpressions": [
                            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "chart-values"]}]},
                        "objectSelector": {},
                        "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 5,
                        "failurePolicy": "Ignore", "reinvocationPolicy": "IfNeeded",
                    }),
                ),
                (
                    "ValidatingWebhookConfiguration",
                    "/webhooks/0",
                    json!({
                        "name": "validation.datakit.svc",
                        "clientConfig": {"service": {"name": "datakit-operator", "namespace": "chart-values", "port": 443, "path": "/v1/webhooks/validate"}},
                        "rules": [
                            {"operations": ["CREATE", "UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments", "statefulsets", "daemonsets"], "scope": "Namespaced"},
                            {"operations": ["CREATE", "UPDATE"], "apiGroups": ["batch"], "apiVersions": ["v1"], "resources": ["jobs", "cronjobs"], "scope": "Namespaced"},
                        ],
                        "matchPolicy": "Equivalent",
                        "namespaceSelector": {"matchExpressions": [
                            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "chart-values"]}]},
                        "objectSelector": {},
                        "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 2,
                        "failurePolicy": "Ignore",
                    }),
                ),
                (
                    "Service",
                    "/spec/ports",
                    json!([{"name": "http", "port": 443, "targetPort": 9543, "protocol": "TCP"}]),
                ),
                ("PodDisruptionBudget", "/spec/maxUnavailable", json!(1)),
                ("HorizontalPodAutoscaler", "", json!(0)),
                ("NetworkPolicy", "/spec/ingress/0/from", Value::Null),
                (
                    "NetworkPolicy",
                    "/spec/policyTypes",
                    json!(["Ingress", "Egress"]),
                ),
                ("PodMonitor", "", json!(0)),
                ("ServiceMonitor", "", json!(0)),
                ("PrometheusRule", "", json!(0)),
                ("Deployment", "/spec/revisionHistoryLimit", json!(10)),
                ("ValidatingAdmissionPolicy", "", json!(0)),
                ("Secret", "/type", json!("Opaque")),
                ("Secret", "/data", Value::Null),
                ("Secret", "/metadata/name", json!("datakit-operator-ca")),
            ],
        ),
        case(
            "every value of earlier charts",
            json!({
                "replicaCount": 1,
                "image": {"repository": "registry.example/operator", "tag": "", "pullPolicy": "Always"},
                "imagePullSecrets": [{"name": "registry"}],
                "nameOverride": "", "fullnameOverride": "datakit-operator",
                "serviceAccount": {"create": true, "name": ""},
                "admissionregistration": {"webhooks": {"caBundle": BUNDLE}},
                "configmap": {"jsonconfig": "{\n  \"log_level\": \"debug\"\n}"},
                "service": {"type": "ClusterIP", "port": 443, "targetPort": 9543},
                "env": {"ENV_LOG_LEVEL": "debug", "COUNT": 3, "ON": true},
                "podAnnotations": {"example.com/team": "observability"},
                "podSecurityContext": {}, "securityContext": {},
                "resources": {"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
                "autoscaling": {"enabled": false, "minReplicas": 1, "maxReplicas": 100, "targetCPUUtilizationPercentage": 80},
                "nodeSelector": {"kubernetes.io/os": "linux"},
                "tolerations": [{"key": "infra", "operator": "Exists"}],
                "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "infra", "operator": "Exists"}]}]}}},
            }),
            vec![
                ("Deployment", "/spec/replicas", json!(1)),
                (
                    "container",
                    "/image",
                    json!(concat!(
                        "registry.example/operator:",
                        env!("CARGO_PKG_VERSION")
                    )),
                ),
                ("container", "/imagePullPolicy", json!("Always")),
                (
                    "container",
                    "/env/3",
                    json!({"name": "COUNT", "value": "3"}),
                ),
                (
                    "container",
                    "/env/4",
                    json!({"name": "ENV_LOG_LEVEL", "value": "debug"}),
                ),
                (
                    "container",
                    "/env/5",
                    json!({"name": "ON", "value": "true"}),
                ),
                (
                    "container",
                    "/resources/limits",
                    json!({"cpu": "500m", "memory": "512Mi"}),
                ),
                (
                    "Deployment",
                    "/spec/template/metadata/annotations",
                    json!({"example.com/team": "observability"}),
                ),
                ("pod", "/imagePullSecrets", json!([{"name": "registry"}])),
                ("pod", "/nodeSelector", json!({"kubernetes.io/os": "linux"})),
                ("pod", "/tolerations/0/key", json!("infra")),
                (
                    "pod",
                    "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchExpressions/0/key",
                    json!("infra"),
                ),
                (
                    "ConfigMap",
                    "/data/jsonconfig",
                    json!("{\n  \"log_level\": \"debug\"\n}"),
                ),
                ("webhook", "/clientConfig/caBundle", Value::Null),
            ],
        ),
        case(
            "names",
            json!({"fullnameOverride": "", "nameOverride": "My_Operator", "commonLabels": {"team": "observability"}}),
            vec![
                ("Service", "/metadata/name", json!("release-my-operator")),
                ("Service", "/metadata/labels/team", json!("observability")),
                (
                    "Deployment",
                    "/metadata/labels/app.kubernetes.io~1name",
                    json!("My_Operator"),
                ),
                ("Deployment", "/spec/selector/matchLabels/team", Value::Null),
                (
                    "webhook",
                    "/clientConfig/service/name",
                    json!("release-my-operator"),
                ),
            ],
        ),
        case(
            "the longest name",
            json!({"fullnameOverride": "a".repeat(63)}),
            vec![(
                "MutatingWebhookConfiguration",
                "/metadata/name",
                json!(format!("{}-mutation", "a".repeat(63))),
            )],
        ),
        case(
            "selector of the single file",
            json!({"legacySelector": true}),
            vec![(
                "Deployment",
                "/spec/selector/matchLabels",
                json!({"app": "datakit-operator"}),
            )],
        ),
        case(
            "ports",
            json!({"service": {"type": "NodePort", "port": 8443, "targetPort": 10443}, "listenAddress": "[::]"}),
            vec![
                ("webhook", "/clientConfig/service/port", json!(8443)),
                ("Service", "/spec/type", json!("NodePort")),
                ("--listen", "", json!("[::]:10443")),
                ("--probe-listen", "", json!("[::]:9544")),
            ],
        ),
        case(
            "webhook",
            json!({"webhook": {
                "timeoutSeconds": 10, "failurePolicy": "Fail", "reinvocationPolicy": "Never", "excludedNamespaces": ["kube-system", "istio-system"],
                "namespaceSelector": {"matchLabels": {"inject": "yes"}, "matchExpressions": [{"key": "env", "operator": "In", "values": ["prod"]}]},
                "objectSelector": {"matchExpressions": [{"key": "no-inject", "operator": "DoesNotExist"}]},
            }}),
            vec![
                ("webhook", "/timeoutSeconds", json!(10)),
                ("webhook", "/failurePolicy", json!("Fail")),
                ("webhook", "/reinvocationPolicy", json!("Never")),
                (
                    "webhook",
                    "/namespaceSelector",
                    json!({
                        "matchLabels": {"inject": "yes"},
                        "matchExpressions": [
                            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "istio-system", "chart-values"]},
                            {"key": "env", "operator": "In", "values": ["prod"]}],
                    }),
                ),
                (
                    "webhook",
                    "/objectSelector/matchExpressions/0/key",
                    json!("no-inject"),
                ),
            ],
        ),
        case(
            "no leaders of agents",
            json!({"rbac": {"agentLeaders": false}}),
            vec![
                (
                    "Role",
                    "/rules/0",
                    json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                        "resourceNames": ["datakit-operator"], "verbs": ["get", "update"]}),
                ),
                (
                    "Role",
                    "/rules/1",
                    json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]}),
                ),
            ],
        ),
        case(
            "a policy for containers of the operator's names",
            json!({"reservedContainers": {"enabled": true, "validationActions": ["Warn", "Audit"],
                "images": ["mirror.example/"], "namespaceSelector": {"matchLabels": {"team": "x"}}}}),
            vec![
                (
                    "ValidatingAdmissionPolicy",
                    "/metadata/name",
                    json!("datakit-operator-containers"),
                ),
                (
                    "ValidatingAdmissionPolicyBinding",
                    "/spec/policyName",
                    json!("datakit-operator-containers"),
                ),
                (
                    "ValidatingAdmissionPolicyBinding",
                    "/spec/validationActions",
                    json!(["Warn", "Audit"]),
                ),
                (
                    "ValidatingAdmissionPolicyBinding",
                    "/spec/matchResources/namespaceSelector",
                    json!({"matchLabels": {"team": "x"}}),
                ),
            ],
        ),
        case(
            "certificates of the operator's",
            json!({"certificates": {"caLifetime": "60s", "leafLifetime": "10s", "secretName": "authority"}}),
            vec![
                ("Role", "/rules/2/resourceNames", json!(["authority"])),
                ("Secret", "/metadata/name", json!("authority")),
                ("--ca-secret", "", json!("authority")),
                ("--ca-lifetime", "", json!("60s")),
                ("--leaf-lifetime", "", json!("10s")),
            ],
        ),
        case(
            "pods for whoever asks",
            json!({"podApi": {"enabled": true}}),
            vec![
                ("--pod-api", "", json!("on")),
                ("--pod-api-auth", "", json!("none")),
                (
                    "ClusterRole",
                    "/rules/5",
                    json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}),
                ),
                ("ClusterRole", "/rules/6/resources", json!(["events"])),
            ],
        ),
        case(
            "pods for whoever may list them",
            json!({"podApi": {"enabled": true, "auth": "token"}}),
            vec![
                ("--pod-api-auth", "", json!("token")),
                ("ClusterRole", "/rules/3/resources", json!(["tokenreviews"])),
                ("ClusterRole", "/rules/6/resources", json!(["pods"])),
                (
                    "ClusterRole",
                    "/rules/7",
                    json!({"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]}),
                ),
            ],
        ),
        case(
            "certificates of cert-manager's",
            json!({"certificates": {"source": "cert-manager"}}),
            vec![
                ("Role", "/rules/2", Value::Null),
                ("Secret", "", json!(0)),
                (
                    "ClusterRole",
                    "/rules/2/resources",
                    json!(["clusterloggingconfigs"]),
                ),
                (
                    "MutatingWebhookConfiguration",
                    "/metadata/annotations",
                    json!({"cert-manager.io/inject-ca-from": "chart-values/datakit-operator"}),
                ),
                ("webhook", "/clientConfig/caBundle", Value::Null),
                ("Issuer", "", json!(2)),
                ("Certificate", "", json!(2)),
                (
                    "pod",
                    "/volumes/1/secret/secretName",
                    json!("datakit-operator-tls"),
                ),
            ],
        ),
        case(
            "certificates of an issuer's",
            json!({"certificates": {"source": "cert-manager", "leafLifetime": "30d", "secretName": "tls",
            "certManager": {"issuerRef": {"name": "company", "kind": "ClusterIssuer"}}}}),
            vec![
                ("Issuer", "", json!(0)),
                (
                    "Certificate",
                    "/spec/issuerRef",
                    json!({"name": "company", "kind": "ClusterIssuer", "group": "cert-manager.io"}),
                ),
                ("Certificate", "/spec/secretName", json!("tls")),
                ("Certificate", "/spec/duration", json!("720h")),
                (
                    "Certificate",
                    "/spec/dnsNames/2",
                    json!("datakit-operator.chart-values.svc"),
                ),
            ],
        ),
        case(
            "certificates from files",
            json!({"certificates": {"source": "files", "secretName": "mine"},
            "admissionregistration": {"webhooks": {"caBundle": BUNDLE}}}),
            vec![
                ("Role", "/rules/2", Value::Null),
                ("Secret", "", json!(0)),
                ("webhook", "/clientConfig/caBundle", json!(BUNDLE)),
                ("--tls-source", "", json!("files")),
                ("pod", "/volumes/1/secret/secretName", json!("mine")),
            ],
        ),
        case(
            "autoscaling",
            json!({"autoscaling": {"enabled": true, "maxReplicas": 4}}),
            vec![
                ("HorizontalPodAutoscaler", "/spec/maxReplicas", json!(4)),
                ("HorizontalPodAutoscaler", "/spec/minReplicas", json!(2)),
                (
                    "HorizontalPodAutoscaler",
                    "/spec/metrics/0/resource/target/averageUtilization",
                    json!(80),
                ),
                (
                    "HorizontalPodAutoscaler",
                    "/spec/scaleTargetRef/name",
                    json!("datakit-operator"),
                ),
            ],
        ),
        case(
            "network policy, open",
            json!({"networkPolicy": {"egress": {"apiServerPorts": [7443], "apiServers": [{"ipBlock": {"cidr": "10.0.0.0/28"}}],
                "more": [{"ports": [{"port": 3128}]}]}}}),
            vec![
                ("NetworkPolicy", "/spec/ingress/0/from", Value::Null),
                ("NetworkPolicy", "/spec/ingress/1/ports/0/port", json!(9544)),
                ("NetworkPolicy", "/spec/egress/0/ports/0/port", json!(7443)),
                (
                    "NetworkPolicy",
                    "/spec/egress/0/to/0/ipBlock/cidr",
                    json!("10.0.0.0/28"),
                ),
                ("NetworkPolicy", "/spec/egress/1/ports/0/port", json!(53)),
                ("NetworkPolicy", "/spec/egress/2/ports/0/port", json!(9543)),
                ("NetworkPolicy", "/spec/egress/3/ports/0/port", json!(3128)),
            ],
        ),
        case(
            "network policy, inward only",
            json!({"networkPolicy": {"egress": {"enabled": false}}}),
            vec![("NetworkPolicy", "/spec/policyTypes", json!(["Ingress"]))],
        ),
        case(
            "no network policy",
            json!({"networkPolicy": {"enabled": false}}),
            vec![("NetworkPolicy", "", json!(0))],
        ),
        case(
            "agents prove who they are",
            json!({"election": {"auth": "required", "agents": ["system:serviceaccount:datakit:datakit"], "audiences": ["operator"]}}),
            vec![("ClusterRole", "/rules/3/resources", json!(["tokenreviews"]))],
        ),
        case(
            "network policy, narrow",
            json!({"networkPolicy": {"enabled": true,
            "from": [{"ipBlock": {"cidr": "10.0.0.0/28"}}],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}, "podSelector": {}}]}}),
            vec![
                (
                    "NetworkPolicy",
                    "/spec/ingress/0/from/0/ipBlock/cidr",
                    json!("10.0.0.0/28"),
                ),
                (
                    "NetworkPolicy",
                    "/spec/ingress/0/from/1/podSelector/matchLabels/app",
                    json!("datakit-operator"),
                ),
                (
                    "NetworkPolicy",
                    "/spec/ingress/1/from/0/namespaceSelector/matchLabels/name",
                    json!("monitoring"),
                ),
            ],
        ),
        case(
            "monitoring",
            json!({"metrics": {"podMonitor": {"enabled": true, "labels": {"release": "prometheus"}}}}),
            vec![
                (
                    "PodMonitor",
                    "/metadata/labels/release",
                    json!("prometheus"),
                ),
                (
                    "PodMonitor",
                    "/spec/podMetricsEndpoints/0/port",
                    json!("probes"),
                ),
            ],
        ),
        case(
            "budget",
            json!({"podDisruptionBudget": {"minAvailable": "50%"}}),
            vec![
                ("PodDisruptionBudget", "/spec/minAvailable", json!("50%")),
                ("PodDisruptionBudget", "/spec/maxUnavailable", Value::Null),
            ],
        ),
        case(
            "as little as possible",
            json!({"podDisruptionBudget": {"enabled": false}, "topologySpreadConstraints": [], "resources": null,
            "serviceAccount": {"create": false}, "replicaCount": 0}),
            vec![
                ("PodDisruptionBudget", "", json!(0)),
                ("ServiceAccount", "", json!(0)),
                ("ClusterRoleBinding", "/subjects/0/name", json!("default")),
                ("pod", "/topologySpreadConstraints", Value::Null),
                ("container", "/resources", json!({})),
            ],
        ),
        case(
            "a service account that exists",
            json!({"serviceAccount": {"create": false, "name": "mine"}}),
            vec![
                ("RoleBinding", "/subjects/0/name", json!("mine")),
                ("pod", "/serviceAccountName", json!("mine")),
            ],
        ),
        case(
            "scheduling",
            json!({"priorityClassName": "system-cluster-critical", "topologySpreadConstraints": [
            {"maxSkew": 2, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"},
            {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"a": "b"}}}]}),
            vec![
                (
                    "pod",
                    "/priorityClassName",
                    json!("system-cluster-critical"),
                ),
                (
                    "pod",
                    "/topologySpreadConstraints/0/labelSelector/matchLabels/app",
                    json!("datakit-operator"),
                ),
                (
                    "pod",
                    "/topologySpreadConstraints/1/labelSelector",
                    json!({"matchLabels": {"a": "b"}}),
                ),
            ],
        ),
        case(
            "process",
            json!({"logFormat": "json", "extraArgs": ["--workers=2"], "shutdownDelaySeconds": 15, "gracePeriodSeconds": 30,
            "env": {"NODE": {"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}},
            "probes": {"readiness": {"periodSeconds": 1}}}),
            vec![
                ("--log-format", "", json!("json")),
                ("--shutdown-delay", "", json!("15s")),
                ("--grace-period", "", json!("30s")),
                ("--workers", "", json!("2")),
                ("pod", "/terminationGracePeriodSeconds", json!(50)),
                (
                    "container",
                    "/env/3/valueFrom/fieldRef/fieldPath",
                    json!("spec.nodeName"),
                ),
                ("container", "/readinessProbe/periodSeconds", json!(1)),
                ("container", "/readinessProbe/failureThreshold", json!(2)),
            ],
        ),
        case(
            "a status page for all",
            json!({"statusPage": "open"}),
            vec![("--status-page", "", json!("open"))],
        ),
        case(
            "no status page, as YAML reads off",
            json!({"statusPage": false}),
            vec![("--status-page", "", json!("off"))],
        ),
        case(
            "a grace period of one's own",
            json!({"terminationGracePeriodSeconds": 90}),
            vec![("pod", "/terminationGracePeriodSeconds", json!(90))],
        ),
        case(
            "nobody is told",
            json!({"validation": {"enabled": false}, "events": {"enabled": false}}),
            vec![
                ("--events", "", json!("off")),
                ("--validation-configuration", "", Value::Null),
                ("ValidatingWebhookConfiguration", "", json!(0)),
                // Namespaces, LimitRanges, the one registration, ClusterLoggingConfigs.
                ("ClusterRole", "/rules/5", Value::Null),
            ],
        ),
        case(
            "validation of other kinds",
            json!({"validation": {"otherKinds": [
                {"apiGroups": ["argoproj.io"], "resources": ["rollouts"]},
                {"apiGroups": ["apps.kruise.io"], "apiVersions": ["v1alpha1"], "resources": ["clonesets"]},
            ]}}),
            vec![
                (
                    "ValidatingWebhookConfiguration",
                    "/webhooks/0/rules/2",
                    json!({"operations": ["CREATE", "UPDATE"], "apiGroups": ["argoproj.io"], "apiVersions": ["*"], "resources": ["rollouts"], "scope": "Namespaced"}),
                ),
                (
                    "ValidatingWebhookConfiguration",
                    "/webhooks/0/rules/3",
                    json!({"operations": ["CREATE", "UPDATE"], "apiGroups": ["apps.kruise.io"], "apiVersions": ["v1alpha1"], "resources": ["clonesets"], "scope": "Namespaced"}),
                ),
            ],
        ),
        case(
            "which pods are asked about, with certificates of one's own",
            json!({"certificates": {"source": "cert-manager"}, "webhook": {"matchConditions": "on"}}),
            vec![
                ("--match-conditions", "", json!("on")),
                (
                    "--webhook-configuration",
                    "",
                    json!("datakit-operator-mutation"),
                ),
                (
                    "ClusterRole",
                    "/rules/2",
                    json!({
                        "apiGroups": ["admissionregistration.k8s.io"],
                        "resources": ["mutatingwebhookconfigurations"],
                        "resourceNames": ["datakit-operator-mutation"], "verbs": ["list", "watch", "patch"],
                    }),
                ),
            ],
        ),
        case(
            "all pods are asked about",
            json!({"webhook": {"matchConditions": false}}),
            vec![
                ("--match-conditions", "", json!("off")),
                (
                    "ClusterRole",
                    "/rules/2/resources",
                    json!(["mutatingwebhookconfigurations"]),
                ),
            ],
        ),
        case(
            "validation with certificates of one's own",
            json!({
                "certificates": {"source": "cert-manager"},
                "validation": {"timeoutSeconds": 7},
                "webhook": {"namespaceSelector": {"matchLabels": {"team": "x"}}},
            }),
            vec![
                ("--events", "", Value::Null),
                ("--match-conditions", "", Value::Null),
                ("--validation-configuration", "", Value::Null),
                (
                    "ValidatingWebhookConfiguration",
                    "/metadata/annotations",
                    json!({"cert-manager.io/inject-ca-from": "chart-values/datakit-operator"}),
                ),
                (
                    "ValidatingWebhookConfiguration",
                    "/webhooks/0/timeoutSeconds",
                    json!(7),
                ),
                (
                    "ValidatingWebhookConfiguration",
                    "/webhooks/0/namespaceSelector/matchLabels",
                    json!({"team": "x"}),
                ),
            ],
        ),
        case(
            "within a chart of charts",
            json!({"global": {"anything": true}}),
            vec![("Deployment", "/spec/replicas", json!(2))],
        ),
    ]
}
