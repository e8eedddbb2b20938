//! Pods as an API server has them: defaulted, scheduled, running, with the managed fields of a
//! controller and a kubelet.
//!
//! What repeats in a cluster repeats here (an app's pods are alike, apps differ), and what doesn't
//! is random: identifiers, addresses, times, digests. The same number always gives the same pod.

use serde_json::{Map, Value, json};

/// Pods of one app.
const REPLICAS: usize = 40;
/// Namespaces, over which apps are spread.
const NAMESPACES: usize = 150;
const NODES: usize = 1_500;
const WORDS: [&str; 24] = [
    "order", "cart", "billing", "search", "user", "stock", "mail", "price", "report", "gateway",
    "cache", "queue", "audit", "login", "media", "review", "ledger", "router", "catalog",
    "invoice", "payment", "shipping", "profile", "metrics",
];

/// Random numbers that depend on a seed alone.
struct Random(u64);

impl Random {
    fn new(seed: usize) -> Self {
        Self((seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.below(WORDS.len())]
    }

    fn hex(&mut self, digits: usize) -> String {
        let mut text = String::new();
        while text.len() < digits {
            text.push_str(&format!("{:016x}", self.next()));
        }
        text.truncate(digits);
        text
    }

    /// As Kubernetes makes suffixes of names.
    fn suffix(&mut self, letters: usize) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..letters)
            .map(|_| LETTERS[self.below(LETTERS.len())] as char)
            .collect()
    }

    fn uid(&mut self) -> String {
        let hex = self.hex(32);
        let part = |from: usize, to: usize| &hex[from..to];
        format!(
            "{}-{}-4{}-a{}-{}",
            part(0, 8),
            part(8, 12),
            part(13, 16),
            part(17, 20),
            part(20, 32)
        )
    }

    fn time(&mut self) -> String {
        format!(
            "2026-0{}-{:02}T{:02}:{:02}:{:02}Z",
            1 + self.below(9),
            1 + self.below(28),
            self.below(24),
            self.below(60),
            self.below(60)
        )
    }
}

/// What the pods of an app have in common.
struct App {
    name: String,
    namespace: String,
    template_hash: String,
    owner_uid: String,
    containers: Vec<Container>,
}

struct Container {
    name: String,
    image: String,
    image_id: String,
    /// As the API server stores it, but for what differs from pod to pod: nothing.
    spec: Value,
    fields: Value,
}

/// Makes pods. Remembers the app that it was last asked for a pod of.
#[derive(Default)]
pub(crate) struct Shapes {
    app: Option<(usize, App)>,
}

/// The namespace and name of a pod.
pub(crate) fn key(number: usize) -> (String, String) {
    let (name, namespace, hash) = app_head(number / REPLICAS);
    let suffix = Random::new(number.wrapping_mul(31) + 7).suffix(4);
    let last = char::from(b'a' + (number % REPLICAS % 26) as u8);
    (namespace, format!("{name}-{hash}-{suffix}{last}"))
}

fn app_head(number: usize) -> (String, String, String) {
    let mut random = Random::new(number + 1_000_003);
    let name = format!("{}-{}-{number}", random.word(), random.word());
    let namespace = format!(
        "team-{}-{}",
        WORDS[number % WORDS.len()],
        number % NAMESPACES
    );
    let hash = random.suffix(10);
    (name, namespace, hash)
}

fn app(number: usize) -> App {
    let (name, namespace, template_hash) = app_head(number);
    let mut random = Random::new(number + 2_000_003);
    let mut containers = vec![main_container(&name, &mut random)];
    match random.below(8) {
        0 | 1 => containers.push(proxy(&name, &namespace, &mut random)),
        2 | 3 => containers.push(log_sidecar(&mut random)),
        _ => {}
    }
    App {
        name,
        namespace,
        template_hash,
        owner_uid: random.uid(),
        containers,
    }
}

fn resources(random: &mut Random) -> Value {
    json!({
        "limits": {"cpu": format!("{}", 1 + random.below(4)), "memory": format!("{}Mi", 256 << random.below(4))},
        "requests": {"cpu": format!("{}m", 50 * (1 + random.below(10))), "memory": format!("{}Mi", 128 << random.below(4))}
    })
}

fn variable(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}})
}

fn main_container(name: &str, random: &mut Random) -> Container {
    let image = format!(
        "registry.example.com/{}/{name}:v{}.{}.{}",
        random.word(),
        random.below(9),
        random.below(40),
        random.below(20)
    );
    let image_id = format!("registry.example.com/{name}@sha256:{}", random.hex(64));
    let mut env = vec![
        variable("POD_NAME", "metadata.name"),
        variable("POD_NAMESPACE", "metadata.namespace"),
        variable("NODE_NAME", "spec.nodeName"),
    ];
    for _ in 0..4 + random.below(16) {
        let (one, two) = (random.word().to_uppercase(), random.word().to_uppercase());
        env.push(match random.below(4) {
            0 => json!({"name": format!("{one}_{two}_PASSWORD"), "valueFrom": {"secretKeyRef": {"name": format!("{name}-secrets"), "key": two.to_lowercase()}}}),
            1 => json!({"name": format!("{one}_{two}_URL"), "value": format!("http://{}-{}.{}.svc.cluster.local:{}", random.word(), random.word(), random.word(), 8000 + random.below(1000))}),
            2 => json!({"name": format!("{one}_{two}_TIMEOUT_MS"), "value": format!("{}", 100 * random.below(100))}),
            _ => json!({"name": format!("FEATURE_{one}_{two}"), "value": if random.below(2) == 0 { "true" } else { "false" }}),
        });
    }
    let port = 8000 + random.below(1000);
    let probe = |path: &str, period: u32| json!({"httpGet": {"path": path, "port": port, "scheme": "HTTP"}, "initialDelaySeconds": 10, "timeoutSeconds": 2, "periodSeconds": period, "successThreshold": 1, "failureThreshold": 3});
    let mut env_fields = Map::new();
    env_fields.insert(".".into(), json!({}));
    for entry in &env {
        let key = format!("k:{{\"name\":{}}}", entry["name"]);
        env_fields.insert(
            key,
            match entry.get("value") {
                Some(_) => json!({".": {}, "f:name": {}, "f:value": {}}),
                None => json!({".": {}, "f:name": {}, "f:valueFrom": {".": {}, "f:fieldRef": {}}}),
            },
        );
    }
    let spec = json!({
        "name": name,
        "image": image,
        "args": ["--config=/etc/app/config.yaml", format!("--listen=0.0.0.0:{port}")],
        "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}, {"name": "metrics", "containerPort": 9090, "protocol": "TCP"}],
        "env": env,
        "resources": resources(random),
        "volumeMounts": [
            {"name": "config", "readOnly": true, "mountPath": "/etc/app"},
            {"name": "data", "mountPath": "/var/lib/app"},
            {"name": "kube-api-access", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
        ],
        "livenessProbe": probe("/healthz", 10),
        "readinessProbe": probe("/readyz", 5),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false}
    });
    let fields = json!({
        ".": {}, "f:args": {}, "f:env": env_fields, "f:image": {}, "f:imagePullPolicy": {},
        "f:livenessProbe": {".": {}, "f:failureThreshold": {}, "f:httpGet": {".": {}, "f:path": {}, "f:port": {}, "f:scheme": {}}, "f:initialDelaySeconds": {}, "f:periodSeconds": {}, "f:successThreshold": {}, "f:timeoutSeconds": {}},
        "f:name": {}, "f:ports": {".": {}, (format!("k:{{\"containerPort\":{port},\"protocol\":\"TCP\"}}")): {".": {}, "f:containerPort": {}, "f:name": {}, "f:protocol": {}}},
        "f:readinessProbe": {".": {}, "f:failureThreshold": {}, "f:httpGet": {".": {}, "f:path": {}, "f:port": {}, "f:scheme": {}}, "f:periodSeconds": {}},
        "f:resources": {".": {}, "f:limits": {".": {}, "f:cpu": {}, "f:memory": {}}, "f:requests": {".": {}, "f:cpu": {}, "f:memory": {}}},
        "f:securityContext": {".": {}, "f:allowPrivilegeEscalation": {}, "f:capabilities": {".": {}, "f:drop": {}}, "f:readOnlyRootFilesystem": {}, "f:runAsNonRoot": {}},
        "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {},
        "f:volumeMounts": {".": {}, "k:{\"mountPath\":\"/etc/app\"}": {".": {}, "f:mountPath": {}, "f:name": {}, "f:readOnly": {}}, "k:{\"mountPath\":\"/var/lib/app\"}": {".": {}, "f:mountPath": {}, "f:name": {}}}
    });
    Container {
        name: name.to_owned(),
        image,
        image_id,
        spec,
        fields,
    }
}

/// A proxy beside the app, with the many variables that such have.
fn proxy(app: &str, namespace: &str, random: &mut Random) -> Container {
    let image = "registry.example.com/mesh/proxy:1.27.3".to_owned();
    let mut env = vec![
        variable("POD_NAME", "metadata.name"),
        variable("POD_NAMESPACE", "metadata.namespace"),
        variable("INSTANCE_IP", "status.podIP"),
        variable("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        variable("HOST_IP", "status.hostIP"),
        json!({"name": "MESH_META_WORKLOAD_NAME", "value": app}),
        json!({"name": "MESH_META_OWNER", "value": format!("kubernetes://apis/apps/v1/namespaces/{namespace}/deployments/{app}")}),
        json!({"name": "PROXY_CONFIG", "value": "{\"discoveryAddress\":\"meshd.mesh-system.svc:15012\",\"tracing\":{\"sampling\":1.0},\"holdApplicationUntilProxyStarts\":true}\n"}),
    ];
    for name in [
        "CA_ADDR",
        "PILOT_CERT_PROVIDER",
        "TRUST_DOMAIN",
        "CLUSTER_ID",
        "NETWORK",
        "MESH_ID",
        "LOG_LEVEL",
        "INTERCEPTION_MODE",
    ] {
        env.push(json!({"name": name, "value": format!("{}.mesh-system.svc", name.to_lowercase().replace('_', "-"))}));
    }
    let mounts = [
        "workload-socket",
        "credential-socket",
        "workload-certs",
        "mesh-ca",
        "mesh-data",
        "envoy",
        "mesh-token",
        "mesh-podinfo",
    ];
    let mounts: Vec<_> = mounts
        .iter()
        .map(|name| json!({"name": name, "mountPath": format!("/var/run/secrets/{name}")}))
        .collect();
    let spec = json!({
        "name": "mesh-proxy", "image": image,
        "args": ["proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.cluster.local", "--proxyLogLevel=warning", "--proxyComponentLogLevel=misc:error", "--log_output_level=default:info"],
        "ports": [{"name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP"}],
        "env": env, "resources": resources(random), "volumeMounts": mounts,
        "readinessProbe": {"httpGet": {"path": "/healthz/ready", "port": 15021, "scheme": "HTTP"}, "timeoutSeconds": 3, "periodSeconds": 15, "successThreshold": 1, "failureThreshold": 4},
        "startupProbe": {"httpGet": {"path": "/healthz/ready", "port": 15021, "scheme": "HTTP"}, "timeoutSeconds": 3, "periodSeconds": 1, "successThreshold": 1, "failureThreshold": 600},
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent",
        "securityContext": {"capabilities": {"drop": ["ALL"]}, "privileged": false, "runAsUser": 1337, "runAsGroup": 1337, "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false}
    });
    let fields = json!({".": {}, "f:args": {}, "f:env": {".": {}}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:ports": {}, "f:resources": {}, "f:securityContext": {}, "f:volumeMounts": {".": {}}});
    Container {
        name: "mesh-proxy".to_owned(),
        image_id: format!(
            "registry.example.com/mesh/proxy@sha256:{}",
            Random::new(1).hex(64)
        ),
        image,
        spec,
        fields,
    }
}

fn log_sidecar(random: &mut Random) -> Container {
    let image = "registry.example.com/tools/log-shipper:3.2.1".to_owned();
    let spec = json!({
        "name": "log-shipper", "image": image,
        "env": [variable("POD_NAME", "metadata.name"), json!({"name": "TARGET", "value": format!("logs-{}.example.com:443", random.below(8))})],
        "resources": resources(random),
        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/app"}],
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent"
    });
    let fields = json!({".": {}, "f:env": {".": {}, "k:{\"name\":\"POD_NAME\"}": {".": {}, "f:name": {}, "f:valueFrom": {}}, "k:{\"name\":\"TARGET\"}": {".": {}, "f:name": {}, "f:value": {}}}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {}, "f:volumeMounts": {}});
    Container {
        name: "log-shipper".to_owned(),
        image_id: format!(
            "registry.example.com/tools/log-shipper@sha256:{}",
            Random::new(2).hex(64)
        ),
        image,
        spec,
        fields,
    }
}

impl Shapes {
    /// A pod in its `version`th version, as it stands in a list: without kind and API version.
    pub(crate) fn pod(&mut self, number: usize, version: usize) -> Value {
        let wanted = number / REPLICAS;
        let app = match self.app.take() {
            Some(app) if app.0 == wanted => app,
            _ => (wanted, app(wanted)),
        };
        pod(&self.app.insert(app).1, number, version)
    }
}

fn pod(app: &App, number: usize, version: usize) -> Value {
    let (namespace, name) = key(number);
    let mut random = Random::new(number.wrapping_mul(31) + 11);
    let created = random.time();
    let uid = random.uid();
    let node = format!(
        "ip-10-{}-{}-{}.region-1.compute.internal",
        number % 7,
        number % 251,
        number % NODES % 256
    );
    let (host, address) = (
        format!(
            "10.{}.{}.{}",
            number % 7,
            number % 251,
            number % NODES % 256
        ),
        format!(
            "172.{}.{}.{}",
            16 + random.below(16),
            random.below(256),
            1 + random.below(254)
        ),
    );
    let token = format!("kube-api-access-{}", random.suffix(5));
    let mut container_fields = Map::new();
    let mut statuses = Vec::new();
    let mut specs = Vec::new();
    for container in &app.containers {
        container_fields.insert(
            format!("k:{{\"name\":\"{}\"}}", container.name),
            container.fields.clone(),
        );
        let mut spec = container.spec.clone();
        for mount in spec["volumeMounts"].as_array_mut().into_iter().flatten() {
            if mount["name"] == "kube-api-access" {
                mount["name"] = token.clone().into();
            }
        }
        specs.push(spec);
        statuses.push(json!({
            "name": container.name, "state": {"running": {"startedAt": random.time()}}, "lastState": {}, "ready": true,
            "restartCount": version, "image": container.image, "imageID": container.image_id,
            "containerID": format!("containerd://{}", random.hex(64)), "started": true
        }));
    }
    let mut conditions = Vec::new();
    for kind in [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ] {
        conditions.push(json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": random.time()}));
    }
    let condition_fields: Map<String, Value> = ["ContainersReady", "Initialized", "PodReadyToStartContainers", "Ready"]
        .iter()
        .map(|kind| (format!("k:{{\"type\":\"{kind}\"}}"), json!({".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {}})))
        .collect();
    let owner_key = format!("k:{{\"uid\":\"{}\"}}", app.owner_uid);
    json!({
        "metadata": {
            "name": name, "generateName": format!("{}-{}-", app.name, app.template_hash), "namespace": namespace, "uid": uid,
            "resourceVersion": (100_000_000 + number * 7 + version * 1_000_003).to_string(), "creationTimestamp": created,
            "labels": {"app.kubernetes.io/instance": app.name, "app.kubernetes.io/name": app.name, "app.kubernetes.io/part-of": app.namespace, "pod-template-hash": app.template_hash},
            "annotations": {"prometheus.io/port": "9090", "prometheus.io/scrape": "true", "checksum/config": Random::new(number / REPLICAS).hex(64)},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{}-{}", app.name, app.template_hash), "uid": app.owner_uid, "controller": true, "blockOwnerDeletion": true}],
            "managedFields": [
                {"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "time": created, "fieldsType": "FieldsV1", "fieldsV1": {
                    "f:metadata": {"f:annotations": {".": {}, "f:checksum/config": {}, "f:prometheus.io/port": {}, "f:prometheus.io/scrape": {}}, "f:generateName": {}, "f:labels": {".": {}, "f:app.kubernetes.io/instance": {}, "f:app.kubernetes.io/name": {}, "f:app.kubernetes.io/part-of": {}, "f:pod-template-hash": {}}, "f:ownerReferences": {".": {}, (owner_key): {}}},
                    "f:spec": {"f:containers": container_fields, "f:dnsPolicy": {}, "f:enableServiceLinks": {}, "f:restartPolicy": {}, "f:schedulerName": {}, "f:securityContext": {}, "f:serviceAccount": {}, "f:serviceAccountName": {}, "f:terminationGracePeriodSeconds": {},
                        "f:volumes": {".": {}, "k:{\"name\":\"config\"}": {".": {}, "f:configMap": {".": {}, "f:defaultMode": {}, "f:name": {}}, "f:name": {}}, "k:{\"name\":\"data\"}": {".": {}, "f:emptyDir": {}, "f:name": {}}}}
                }},
                {"manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": random.time(), "fieldsType": "FieldsV1", "fieldsV1": {
                    "f:status": {"f:conditions": condition_fields, "f:containerStatuses": {}, "f:hostIP": {}, "f:hostIPs": {}, "f:phase": {}, "f:podIP": {}, "f:podIPs": {".": {}, (format!("k:{{\"ip\":\"{address}\"}}")): {".": {}, "f:ip": {}}}, "f:startTime": {}}
                }, "subresource": "status"}
            ]
        },
        "spec": {
            "volumes": [
                {"name": "config", "configMap": {"name": format!("{}-config", app.name), "defaultMode": 420}},
                {"name": "data", "emptyDir": {}},
                {"name": token, "projected": {"sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                    {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}
                ], "defaultMode": 420}}
            ],
            "containers": specs,
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "serviceAccountName": app.name, "serviceAccount": app.name,
            "nodeName": node, "securityContext": {"runAsUser": 1000, "fsGroup": 1000},
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": {"labelSelector": {"matchLabels": {"app.kubernetes.io/name": app.name}}, "topologyKey": "kubernetes.io/hostname"}}]}},
            "schedulerName": "default-scheduler",
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            ],
            "priority": 0, "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority"
        },
        "status": {
            "phase": "Running", "conditions": conditions, "hostIP": host, "hostIPs": [{"ip": host}], "podIP": address, "podIPs": [{"ip": address}],
            "startTime": created, "containerStatuses": statuses, "qosClass": "Burstable"
        }
    })
}
