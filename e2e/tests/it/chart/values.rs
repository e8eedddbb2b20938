//! Every value does what it says, and what it gives is accepted by the API server.

use anyhow::{Context, Result, ensure};
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::helm::{chart, helm_with, operator_prints};
use datakit_operator_e2e::plane::Plane;
use serde_json::{Value, json};

use super::cases::{BUNDLE, cases};
use super::definitions::install_definitions;
use super::{Objects, accepted, additions, flag, render, strings};

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn are_accepted() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let plane = cluster.plane();
    // Everything, the test's pod included, keeps to the strictest level.
    let namespace = "chart-values";
    let restricted = json!({
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
    });
    cluster.namespace(namespace, &restricted).await?;
    install_definitions(plane).await?;

    for case in cases().into_iter().chain(additions::cases()) {
        let manifests = render(plane, "release", namespace, &case.values).context(case.name)?;
        let printed = accepted(plane, namespace, &manifests).context(case.name)?;
        assert_eq!(printed.stderr, "", "{}", case.name);
        let objects = Objects::parse(&printed.stdout)?;
        belongs_together(&objects, namespace, case.name);
        for (place, pointer, expected) in &case.expected {
            let found = look_up(&objects, place, pointer);
            assert_eq!(&found, expected, "{}: {place} {pointer}", case.name);
        }
        let chart = chart();
        let lint = [
            "lint".as_ref(),
            "--strict".as_ref(),
            chart.as_os_str(),
            "--values".as_ref(),
            "-".as_ref(),
        ];
        helm_with(plane, namespace, &lint, &case.values.to_string()).context(case.name)?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn host_network_is_accepted() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let namespace = "chart-host-network";
    cluster.namespace(namespace, &json!({})).await?;
    let manifests = render(
        cluster.plane(),
        "release",
        namespace,
        &json!({"hostNetwork": true}),
    )?;
    let printed = accepted(cluster.plane(), namespace, &manifests)?;
    let objects = Objects::parse(&printed.stdout)?;
    assert_eq!(look_up(&objects, "pod", "/hostNetwork"), json!(true));
    assert_eq!(
        look_up(&objects, "pod", "/dnsPolicy"),
        json!("ClusterFirstWithHostNet")
    );
    // Without this, a node for each replica would be a node too few for an update.
    let update = look_up(&objects, "Deployment", "/spec/strategy/rollingUpdate");
    assert_eq!(update["maxUnavailable"], 1);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn typos_are_refused() -> Result<()> {
    let plane = Plane::get().await?;
    for (values, message) in [
        (
            json!({"replicaCounts": 2}),
            "additional properties 'replicaCounts' not allowed",
        ),
        (
            json!({"image": {"tagg": "1"}}),
            "at '/image': additional properties 'tagg' not allowed",
        ),
        (
            json!({"image": {"tag": 1.1}}),
            "at '/image/tag': got number, want string",
        ),
        (
            json!({"replicaCount": "2"}),
            "at '/replicaCount': got string, want integer",
        ),
        (
            json!({"certificates": {"source": "certmanager"}}),
            "value must be one of 'cluster', 'cert-manager', 'files'",
        ),
        (
            json!({"certificates": {"caLifetime": "1y"}}),
            "at '/certificates/caLifetime'",
        ),
        (
            json!({"reservedContainers": {"images": ["registry.example/team"]}}),
            "at '/reservedContainers/images/0'",
        ),
        (
            json!({"reservedContainers": {"validationActions": ["Deny", "Warn"]}}),
            "at '/reservedContainers/validationActions'",
        ),
        (
            json!({"webhook": {"timeoutSeconds": 31}}),
            "at '/webhook/timeoutSeconds': maximum: got 31, want 30",
        ),
        (
            json!({"webhook": {"failurePolicy": "ignore"}}),
            "value must be one of 'Ignore', 'Fail'",
        ),
        (
            json!({"webhook": {"namespaceSelector": {"matchLabel": {}}}}),
            "additional properties 'matchLabel' not allowed",
        ),
        (
            json!({"fullnameOverride": "Datakit"}),
            "at '/fullnameOverride'",
        ),
        (
            json!({"fullnameOverride": "a".repeat(64)}),
            "at '/fullnameOverride': maxLength",
        ),
        (
            json!({"commonLabels": {"app": "mine"}}),
            "invalid propertyName 'app'",
        ),
        (
            json!({"service": {"targetPort": 9544}}),
            "at '/service/targetPort'",
        ),
        (
            json!({"configmap": {"jsonconfig": {"log_level": "info"}}}),
            "at '/configmap/jsonconfig': got object, want string",
        ),
        (
            json!({"configmap": {"jsonconfig": "{\n  \"log_level\": info\n}"}}),
            "configmap.jsonconfig is no JSON object: invalid character 'i'",
        ),
        (
            json!({"configmap": {"jsonconfig": "[]"}}),
            "configmap.jsonconfig is no JSON object",
        ),
        (
            json!({"configmap": {"config": {"log_levle": "info"}}}),
            "at '/configmap/config': additional properties 'log_levle' not allowed",
        ),
        (
            json!({"configmap": {"config": {"admission_inject_v2": {"otels": [
                {"namespace_selectors": ["a"], "language": "php", "image": "a:1"}]}}}}),
            "at '/configmap/config/admission_inject_v2/otels/0/language'",
        ),
        (
            json!({"configmap": {"config": {"admission_inject": {"ddtrace": {
                "envs": {"A": "$(B)", "B": "$(C)", "C": ""}}}}}}),
            "configmap.config.admission_inject.ddtrace.envs.A refers to B, which refers to another",
        ),
        (
            json!({"image": {"digest": "sha256:abc"}}),
            "at '/image/digest'",
        ),
        (
            json!({"global": {"imageRegistry": "mirror.example/"}}),
            "at '/global/imageRegistry'",
        ),
        (
            json!({"extraVolumes": [{"name": "config", "emptyDir": {}}]}),
            "at '/extraVolumes/0/name'",
        ),
        (
            json!({"podLabels": {"app": "mine"}}),
            "invalid propertyName 'app'",
        ),
        (
            json!({"certificates": {"source": "files"}, "admissionregistration": {"webhooks": {"caBundle": BUNDLE}}}),
            "certificates.source=files needs certificates.secretName",
        ),
        (
            json!({"certificates": {"source": "files", "secretName": "mine"}}),
            "certificates.source=files needs admissionregistration.webhooks.caBundle",
        ),
    ] {
        let Err(error) = render(plane, "release", "default", &values) else {
            panic!("{values} is accepted");
        };
        let error = error.to_string();
        assert!(
            error.contains(message),
            "{values}: expected `{message}` in: {error}"
        );
    }
    Ok(())
}

/// Names that YAML would take for numbers and such.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn names_stay_names() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let namespace = "2026";
    cluster.namespace(namespace, &json!({})).await?;
    install_definitions(cluster.plane()).await?;
    for source in ["cluster", "cert-manager"] {
        let values = json!({
            "fullnameOverride": "on", "nameOverride": "007", "certificates": {"source": source},
            "priorityClassName": "1", "env": {"N": "0x10", "Y": "yes"}, "commonLabels": {"no": "off"},
            "metrics": {"podMonitor": {"enabled": true}}, "networkPolicy": {"enabled": true}, "autoscaling": {"enabled": true},
        });
        let manifests = render(cluster.plane(), "1e3", namespace, &values)?;
        let objects = Objects::parse(&accepted(cluster.plane(), namespace, &manifests)?.stdout)?;
        let labels = json!({"app": "on", "app.kubernetes.io/name": "007", "app.kubernetes.io/instance": "1e3"});
        assert_eq!(look_up(&objects, "Service", "/spec/selector"), labels);
        assert_eq!(
            look_up(&objects, "webhook", "/clientConfig/service/namespace"),
            namespace
        );
    }
    Ok(())
}

/// The configuration is text: whatever is in it arrives as it is.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn configuration_arrives_as_it_is() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let namespace = "chart-configuration";
    cluster.namespace(namespace, &json!({})).await?;
    for text in [
        "",
        "{}",
        "{}\n",
        "{}\n\n\n",
        "\n\n  {\n\"a\": 1\n}",
        "        {\n    \"deeper\": \"first\"\n  }",
        "\t{\n\t\t\"tabs\": true\n\t}\n",
        "{\n  \"a\": 1,   \n\n   \n  \"b\": 2\n}  ",
        "{\r\n  \"windows\": true\r\n}\r\n",
        r#"{"quotes": "\"'`", "braces": "{{ .Values.x }} {fieldRef:metadata.name} $(NAME)", "yaml": "- a: b #c"}"#,
        r#"{"unicode": "日志 \u00e9 🦀", "long": "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789"}"#,
        "{\"b\": 1, \"a\": {\"z\": 1, \"y\": 2}}",
    ] {
        let values = json!({"configmap": {"jsonconfig": text}});
        let manifests = render(cluster.plane(), "release", namespace, &values)?;
        let printed = accepted(cluster.plane(), namespace, &manifests)?;
        let objects = Objects::parse(&printed.stdout)?;
        // But for blank lines after it.
        let expected = text.replace("}\n\n\n", "}\n");
        assert_eq!(objects.one("ConfigMap")["data"]["jsonconfig"], expected);
    }
    Ok(())
}

/// In `envs` those that refer to others come last, whatever the order of YAML.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn configuration_can_be_yaml() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let config = json!({
        "log_level": "debug",
        "admission_limits": {"patch_bytes": 1_000_000},
        "admission_policy": {"profiler": {"namespaces": []}},
        "admission_inject_v2": {"ddtraces": [{
            "namespace_selectors": ["^shop$"], "language": "java", "image": "a/b:1",
            "envs": {
                "DD_TAGS": "pod:$(POD_NAME),<日志>",
                "POD_NAME": "{fieldRef:metadata.name}",
                "Z": "",
            },
        }]},
    });
    let values = json!({"configmap": {"config": config}});
    let manifests = render(cluster.plane(), "release", "default", &values)?;
    let printed = accepted(cluster.plane(), "default", &manifests)?;
    let objects = Objects::parse(&printed.stdout)?;
    let text = objects.one("ConfigMap")["data"]["jsonconfig"]
        .as_str()
        .context("no text")?;
    let read: Value = serde_json::from_str(text)?;
    assert_eq!(read, config);
    let place = |name: &str| text.find(&format!("\"{name}\": "));
    ensure!(
        place("POD_NAME") < place("Z") && place("Z") < place("DD_TAGS"),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn arguments_are_known_to_the_operator() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let namespace = "chart-arguments";
    cluster.namespace(namespace, &json!({})).await?;
    let help = operator_prints(&["serve", "--help"])?;
    for values in [
        json!({}),
        json!({"certificates": {"source": "files", "secretName": "mine"}, "admissionregistration": {"webhooks": {"caBundle": BUNDLE}}}),
    ] {
        let manifests = render(cluster.plane(), "release", namespace, &values)?;
        let objects = Objects::parse(&accepted(cluster.plane(), namespace, &manifests)?.stdout)?;
        let arguments = look_up(&objects, "container", "/args");
        let (command, flags) = arguments
            .as_array()
            .and_then(|all| all.split_first())
            .unwrap();
        assert_eq!(command, "serve");
        let unknown: Vec<_> = flags
            .iter()
            .filter_map(|flag| flag.as_str()?.split('=').next())
            .filter(|flag| !help.contains(&format!("{flag} <")))
            .collect();
        assert_eq!(unknown, [""; 0], "not in `serve --help`");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn notes_name_what_was_installed() -> Result<()> {
    let plane = Plane::get().await?;
    for (values, expected) in [
        (json!({}), "delete secret/my-operator-ca lease/my-operator"),
        (json!({"replicaCount": 1}), "There is only 1 replica"),
        (
            json!({"admissionregistration": {"webhooks": {"caBundle": BUNDLE}}}),
            "caBundle is set but not used",
        ),
        (
            json!({"certificates": {"source": "cert-manager"}}),
            "leaves the Lease my-operator and the Secrets that cert-manager made: my-operator-tls and my-operator-ca.",
        ),
        (
            json!({"webhook": {"excludedNamespaces": ["infra"]}}),
            "Pods in infra, default are left alone.",
        ),
    ] {
        let chart = chart();
        let args = [
            "install".as_ref(),
            "release".as_ref(),
            chart.as_os_str(),
            "--dry-run=client".as_ref(),
            "--set=fullnameOverride=my-operator".as_ref(),
            "--values".as_ref(),
            "-".as_ref(),
        ];
        let printed = helm_with(plane, "default", &args, &values.to_string())?.stdout;
        let (_, notes) = printed.split_once("NOTES:").context("no notes")?;
        assert!(
            notes.contains(expected),
            "{values}: expected `{expected}` in: {notes}"
        );
        assert!(
            notes.contains("kubectl -n default rollout status deployment/my-operator\n"),
            "{notes}"
        );
    }
    Ok(())
}

/// Names that have to agree, whatever they are.
fn belongs_together(objects: &Objects, namespace: &str, case: &str) {
    let of = |kind: &str, pointer: &str| look_up(objects, kind, pointer);
    let name = of("Service", "/metadata/name");
    let name = name.as_str().unwrap();

    for object in &objects.0 {
        let kind = object["kind"].as_str().unwrap();
        let wide = [
            "ClusterRole",
            "ClusterRoleBinding",
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ];
        if !wide.contains(&kind) {
            assert_eq!(object["metadata"]["namespace"], namespace, "{case}: {kind}");
        }
        let called = object["metadata"]["name"].as_str().unwrap();
        // The pod of the test has the longest suffix, and may lose some of the name to it. The
        // Secret may be called anything.
        let begins = called.starts_with(name) || ["Pod", "Secret"].contains(&kind);
        assert!(begins, "{case}: {kind} {called} would collide");
        let labels = &object["metadata"]["labels"];
        assert_eq!(
            labels["app.kubernetes.io/instance"], "release",
            "{case}: {kind}"
        );
    }

    // Service, Deployment and budget mean the same pods.
    let labels = of("Deployment", "/spec/template/metadata/labels");
    let selector = of("Deployment", "/spec/selector/matchLabels");
    assert_eq!(of("Service", "/spec/selector"), selector, "{case}");
    for (key, value) in selector.as_object().unwrap() {
        assert_eq!(&labels[key], value, "{case}: label {key} of the pods");
    }
    let test = objects.one("Pod");
    let selected = |(key, value): (&String, &Value)| &test["metadata"]["labels"][key] == value;
    let all = selector.as_object().unwrap().iter().all(selected);
    assert!(!all, "{case}: the Service would send requests to the test");
    for kind in ["PodDisruptionBudget", "PodMonitor"] {
        for object in objects.of(kind) {
            assert_eq!(
                object["spec"]["selector"]["matchLabels"], selector,
                "{case}: {kind}"
            );
        }
    }

    // The API server asks the Service, which asks the container's port.
    let asked = of("webhook", "/clientConfig/service");
    assert_eq!(asked["name"], name, "{case}");
    assert_eq!(asked["namespace"], namespace, "{case}");
    assert_eq!(asked["port"], of("Service", "/spec/ports/0/port"), "{case}");
    let port = of("Service", "/spec/ports/0/targetPort");
    assert_eq!(port, of("container", "/ports/0/containerPort"), "{case}");
    let listen = flag(objects, "listen").unwrap();
    assert!(listen.ends_with(&format!(":{port}")), "{case}: {listen}");
    // Never about its own pods: nobody would be there to answer.
    let excluded = of("webhook", "/namespaceSelector/matchExpressions/0");
    assert_eq!(excluded["key"], "kubernetes.io/metadata.name", "{case}");
    assert_eq!(excluded["operator"], "NotIn", "{case}");
    assert!(strings(&excluded["values"]).contains(&namespace), "{case}");

    // What the operator is told to use is what it may use.
    assert_eq!(flag(objects, "service-name"), Some(name), "{case}");
    let account = of("pod", "/serviceAccountName");
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        for binding in objects.of(kind) {
            let subject = &binding["subjects"][0];
            assert_eq!(subject["name"], account, "{case}: {kind}");
            assert_eq!(subject["namespace"], namespace, "{case}: {kind}");
        }
    }
    let registered = of("MutatingWebhookConfiguration", "/metadata/name");
    // Who may create Secrets gets the tokens of every account there.
    for rule in objects.of("Role").chain(objects.of("ClusterRole")) {
        for rule in rule["rules"].as_array().unwrap() {
            let secrets = strings(&rule["resources"]).contains(&"secrets");
            let verbs = strings(&rule["verbs"]);
            let named = rule["resourceNames"].is_array();
            assert!(
                !secrets || named && !verbs.contains(&"create"),
                "{case}: {rule}"
            );
        }
    }
    if flag(objects, "tls-source") == Some("cluster") {
        let named = |kind: &str, rule: usize| of(kind, &format!("/rules/{rule}/resourceNames/0"));
        assert_eq!(
            flag(objects, "webhook-configuration"),
            registered.as_str(),
            "{case}"
        );
        assert_eq!(named("ClusterRole", 2), registered, "{case}");
        if let Some(validation) = flag(objects, "validation-configuration") {
            let there = of("ValidatingWebhookConfiguration", "/metadata/name");
            assert_eq!(there, validation, "{case}");
            let rules = of("ClusterRole", "/rules");
            let mut rules = rules.as_array().into_iter().flatten();
            let may = rules.any(|rule| rule["resourceNames"] == json!([validation]));
            assert!(may, "{case}");
        }
        let stored = of("Secret", "/metadata/name");
        assert_eq!(flag(objects, "ca-secret"), stored.as_str(), "{case}");
        assert_eq!(
            flag(objects, "ca-secret"),
            named("Role", 2).as_str(),
            "{case}"
        );
    }
    assert_eq!(flag(objects, "lease"), Some(name), "{case}");
    let config = of("pod", "/volumes/0/configMap/name");
    assert_eq!(config, of("ConfigMap", "/metadata/name"), "{case}");
    let directory = of("container", "/volumeMounts/0/mountPath");
    let file = format!("{}/jsonconfig", directory.as_str().unwrap());
    assert_eq!(flag(objects, "config"), Some(file.as_str()), "{case}");
}

/// What is at a place; see [`super::cases::Expected`].
#[track_caller]
fn look_up(objects: &Objects, place: &str, pointer: &str) -> Value {
    if let Some(name) = place.strip_prefix("--") {
        return json!(flag(objects, name));
    }
    if pointer.is_empty() {
        return json!(objects.of(place).count());
    }
    let (kind, within) = match place {
        "pod" => ("Deployment", "/spec/template/spec"),
        "container" => ("Deployment", "/spec/template/spec/containers/0"),
        "webhook" => ("MutatingWebhookConfiguration", "/webhooks/0"),
        kind => (kind, ""),
    };
    let found = objects.one(kind).pointer(&format!("{within}{pointer}"));
    found.cloned().unwrap_or_default()
}
