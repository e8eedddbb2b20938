//! Pods made by chance from the shapes that are hard to inject: what stands where the operator
//! wants to put something.

use serde_json::{Map, Value, json};

/// A generator of numbers; the same seed gives the same pods.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

const VOLUMES: [&str; 14] = [
    "data",
    "logs",
    "cache",
    "config",
    "scratch",
    "share",
    "datakit-auto-instrument",
    "datakit-logfwd-volume-0",
    "datakit-logfwd-volume-1",
    "datakit-profiler-volume",
    "datakit-pod-info",
    "tmp",
    "timezone",
    "datakit-profiler-tmp",
];
const CONTAINERS: [&str; 9] = [
    "app",
    "web",
    "proxy",
    "log-container",
    "main",
    "x9",
    "datakit-logfwd",
    "datakit-profiler",
    "datakit-lib-init",
];
const PATHS: [&str; 30] = [
    "/tmp",
    "/tmp/",
    "/tmp/logs",
    "/etc/localtime",
    "/etc/localtime/",
    "/etc",
    "/datadog-lib",
    "/datadog-lib/",
    "/datadog-lib/sub",
    "//datadog-lib",
    "/datadog-lib/../datadog-lib",
    "/var/log",
    "/var/log/",
    "/var/log/app",
    "/var/log/app/",
    "/var/log/nginx",
    "/var/./log",
    "/app",
    "/app/logs",
    "/app/datakit-profiler",
    "/app/datakit-profiler/",
    "/app/datakit-profiler/log",
    "/etc/podinfo",
    "/data",
    "/data/logs",
    "/",
    "relative",
    "/opt/x y",
    "/var/log/é",
    "/Tmp",
];
const VARIABLES: [&str; 18] = [
    "JAVA_TOOL_OPTIONS",
    "NODE_OPTIONS",
    "PYTHONPATH",
    "DD_TAGS",
    "DD_AGENT_HOST",
    "DD_TRACE_AGENT_PORT",
    "POD_NAME",
    "POD_NAMESPACE",
    "NODE_NAME",
    "DD_SERVICE",
    "LOGFWD_JSON_CONFIG",
    "DATAKIT_ORIGINAL_JAVA_TOOL_OPTIONS",
    "DATAKIT_ORIGINAL_DD_TAGS",
    "java_tool_options",
    "PATH",
    "A",
    "B",
    "my.dotted-name",
];
const VALUES: [&str; 20] = [
    "",
    "v",
    "-Xmx1g",
    "/app:/lib",
    "$(A)",
    "$(POD_NAME)-x",
    "$$(A)",
    "$(",
    "host:n1,team:x",
    "url:http://a,team:x",
    " -javaagent:/datadog-lib/dd-java-agent.jar",
    "--require=/datadog-lib/node_modules/dd-trace/init",
    "/datadog-lib/:/x",
    "é\u{2028}\"\\",
    "\n",
    "$(JAVA_TOOL_OPTIONS)",
    "$(DD_TAGS),$(NODE_NAME)",
    "$$$(POD_NAME)",
    ",",
    "a:1,,b",
];

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn text(&mut self, from: &[&'static str]) -> &'static str {
        self.pick::<&str>(from)
    }

    /// Some of these fields, each as likely as it says.
    fn fields(&mut self, into: &mut Value, fields: &[(&str, usize, &[Value])]) {
        for (key, percent, values) in fields {
            if self.chance(*percent) {
                into[*key] = self.pick(values).clone();
            }
        }
    }
}

/// One pod. Many aren't valid; which, the API server knows.
pub(crate) fn pod(dice: &mut Dice) -> Value {
    let volumes = volumes(dice);
    let mut spec = json!({});
    let mut names = Vec::new();
    for (list, most) in [("containers", 3), ("initContainers", 2)] {
        let least = usize::from(list == "containers");
        let mut made = Vec::new();
        for _ in 0..least + dice.below(most) {
            let ours = dice.chance(8);
            let name = if ours {
                dice.text(&CONTAINERS[6..])
            } else {
                dice.text(&CONTAINERS[..6])
            };
            let name = if least == 0 && !ours {
                format!("init-{name}")
            } else {
                name.to_owned()
            };
            if !names.contains(&name) {
                made.push(container(dice, &name, &volumes, least == 0));
                names.push(name);
            }
        }
        if !made.is_empty() {
            spec[list] = made.into();
        }
    }
    if !volumes.is_empty() || dice.chance(10) {
        spec["volumes"] = volumes.into();
    }
    pod_fields(dice, &mut spec);
    let mut metadata = json!({"generateName": "made-"});
    dice.fields(
        &mut metadata,
        &[
            (
                "labels",
                50,
                &[
                    json!({"app": "x"}),
                    json!({}),
                    json!({"a/b": "", "kubernetes.io/os": "y"}),
                ],
            ),
            (
                "annotations",
                40,
                &[
                    json!({}),
                    json!({"a/b~c": "d"}),
                    json!({"prometheus.io/scrape": "false"}),
                ],
            ),
            ("finalizers", 5, &[json!(["example.com/f"])]),
            (
                "ownerReferences",
                40,
                &[
                    json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "owner",
            "uid": "5d1c7f2e-0000-4000-8000-000000000001", "controller": true}]),
                ],
            ),
        ],
    );
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

fn volumes(dice: &mut Dice) -> Vec<Value> {
    let sources = [
        json!({"emptyDir": {}}),
        json!({"emptyDir": {}}),
        json!({"emptyDir": {}}),
        json!({"emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}),
        json!({"emptyDir": {"medium": "HugePages"}}),
        json!({"hostPath": {"path": "/etc/localtime"}}),
        json!({"hostPath": {"path": "/tmp", "type": "Directory"}}),
        json!({"persistentVolumeClaim": {"claimName": "c", "readOnly": true}}),
        json!({"persistentVolumeClaim": {"claimName": "c"}}),
        json!({"configMap": {"name": "cm", "optional": true, "items": [{"key": "k", "path": "sub/k", "mode": 256}]}}),
        json!({"secret": {"secretName": "s", "defaultMode": 256}}),
        json!({"projected": {"sources": [{"configMap": {"name": "cm"}}, {"serviceAccountToken": {"path": "t", "audience": "a"}}]}}),
        json!({"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}),
        json!({"ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}}),
        json!({"csi": {"driver": "csi.example.com", "volumeAttributes": {"a": "b"}}}),
        json!({"nfs": {"server": "n", "path": "/x"}}),
        json!({"image": {"reference": "reg/x:v1"}}),
        json!({}),
    ];
    let mut made: Vec<Value> = Vec::new();
    for _ in 0..*dice.pick(&[0, 1, 2, 3, 5]) {
        let name = dice.text(&VOLUMES);
        if made.iter().all(|volume| volume["name"] != name) {
            let mut volume = dice.pick(&sources).clone();
            volume["name"] = name.into();
            made.push(volume);
        }
    }
    made
}

fn container(dice: &mut Dice, name: &str, volumes: &[Value], init: bool) -> Value {
    let images = [
        "nginx",
        "reg.example.com:5000/a/b:v1",
        "localhost/x",
        "x/y/z:latest",
    ];
    let mut container = json!({"name": name, "image": dice.text(&images)});
    if dice.chance(60) {
        let count = *dice.pick(&[0, 1, 2, 3, 5, 8]);
        container["env"] = (0..count).map(|_| variable(dice)).collect();
    }
    if dice.chance(70) && !volumes.is_empty() {
        container["volumeMounts"] = mounts(dice, volumes).into();
    }
    if dice.chance(4) && !volumes.is_empty() {
        container["volumeDevices"] =
            json!([{"name": dice.pick(volumes)["name"], "devicePath": dice.text(&PATHS)}]);
    }
    dice.fields(&mut container, &[
        ("resources", 50, &[
            json!({}),
            json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}}),
            json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}),
            json!({"limits": {"memory": "128974848000m", "example.com/gpu": "1"}}),
            json!({"requests": {"cpu": "0", "ephemeral-storage": "1Gi"}}),
        ]),
        ("securityContext", 40, &[
            json!({}),
            json!({"runAsUser": 1000, "runAsNonRoot": true}),
            json!({"runAsUser": 0}),
            json!({"privileged": true}),
            json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
                "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}),
            json!({"capabilities": {"add": ["SYS_PTRACE"]}, "appArmorProfile": {"type": "Unconfined"}}),
            json!({"seLinuxOptions": {"level": "s0:c1"}, "procMount": "Default"}),
        ]),
        ("ports", 30, &[
            json!([{"containerPort": 8080, "name": "http"}]),
            json!([{"containerPort": 9529}, {"containerPort": 9529, "protocol": "UDP"}]),
            json!([{"containerPort": 80, "hostPort": 30000}]),
        ]),
        ("command", 20, &[json!(["sh", "-c", "echo $(POD_NAME) $$(A)"]), json!(["java", "-jar", "/app/app.jar"]), json!([])]),
        ("args", 20, &[json!(["--x=$(JAVA_TOOL_OPTIONS)"]), json!(["é", ""]), json!([])]),
        ("workingDir", 10, &[json!("/app"), json!("/tmp"), json!("/app/datakit-profiler")]),
        ("envFrom", 10, &[json!([{"prefix": "P_", "configMapRef": {"name": "cm", "optional": true}}, {"secretRef": {"name": "s"}}])]),
        ("terminationMessagePath", 8, &[json!("/tmp/msg"), json!("/dev/termination-log")]),
        ("resizePolicy", 8, &[json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}])]),
        ("tty", 5, &[json!(true)]),
    ]);
    if init {
        dice.fields(&mut container, &[("restartPolicy", 40, &[json!("Always")])]);
    } else {
        dice.fields(&mut container, &[
            ("livenessProbe", 15, &[json!({"httpGet": {"path": "/", "port": 80}, "terminationGracePeriodSeconds": 7})]),
            ("startupProbe", 15, &[json!({"grpc": {"port": 1}}), json!({"exec": {"command": ["true"]}})]),
            ("lifecycle", 15, &[json!({"preStop": {"sleep": {"seconds": 3}}}), json!({})]),
            ("restartPolicyRules", 5, &[json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}])]),
            ("restartPolicy", 10, &[json!("Never"), json!("OnFailure")]),
        ]);
    }
    container
}

fn variable(dice: &mut Dice) -> Value {
    let name = dice.text(&VARIABLES);
    if dice.chance(55) {
        return json!({"name": name, "value": dice.text(&VALUES)});
    }
    let sources = [
        json!({"fieldRef": {"fieldPath": "metadata.name"}}),
        json!({"fieldRef": {"fieldPath": "status.hostIP", "apiVersion": "v1"}}),
        json!({"fieldRef": {"fieldPath": "metadata.labels['app']"}}),
        json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}),
        json!({"configMapKeyRef": {"name": "cm", "key": "k"}}),
        json!({"configMapKeyRef": {"name": "cm", "key": "k", "optional": true}}),
        json!({"secretKeyRef": {"name": "s", "key": "K.k", "optional": false}}),
    ];
    json!({"name": name, "valueFrom": dice.pick(&sources)})
}

fn mounts(dice: &mut Dice, volumes: &[Value]) -> Vec<Value> {
    let mut made: Vec<Value> = Vec::new();
    for _ in 0..=dice.below(4) {
        let path = dice.text(&PATHS);
        if made.iter().any(|mount| mount["mountPath"] == path) {
            continue;
        }
        let mut mount = json!({"name": dice.pick(volumes)["name"], "mountPath": path});
        dice.fields(
            &mut mount,
            &[
                ("readOnly", 25, &[json!(true), json!(false)]),
                ("mountPropagation", 5, &[json!("HostToContainer")]),
            ],
        );
        let part = [
            ("subPath", 12, &[json!("sub"), json!("a/b")][..]),
            ("subPathExpr", 10, &[json!("$(POD_NAME)"), json!("x")][..]),
        ];
        let part = *dice.pick(&part);
        dice.fields(&mut mount, &[part]);
        made.push(mount);
    }
    made
}

fn pod_fields(dice: &mut Dice, spec: &mut Value) {
    dice.fields(spec, &[
        ("restartPolicy", 50, &[json!("Always"), json!("Never"), json!("OnFailure")]),
        ("hostPID", 8, &[json!(true), json!(false)]),
        ("hostNetwork", 8, &[json!(true)]),
        ("shareProcessNamespace", 15, &[json!(true), json!(false)]),
        ("hostUsers", 5, &[json!(false), json!(true)]),
        ("securityContext", 35, &[
            json!({}),
            json!({"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000}),
            json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}),
            json!({"runAsNonRoot": true, "runAsUser": 10001, "supplementalGroups": [1], "supplementalGroupsPolicy": "Strict"}),
            json!({"windowsOptions": {"runAsUserName": "x"}}),
        ]),
        ("resources", 15, &[
            json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}),
            json!({"limits": {"cpu": "200m", "memory": "100Mi"}}),
            json!({"requests": {"cpu": "100m", "memory": "64Mi"}}),
            json!({}),
        ]),
        ("os", 12, &[json!({"name": "windows"}), json!({"name": "linux"})]),
        ("nodeSelector", 12, &[json!({"kubernetes.io/os": "windows"}), json!({"disk": "ssd"}), json!({})]),
        ("automountServiceAccountToken", 15, &[json!(true), json!(false)]),
        ("tolerations", 8, &[json!([{"operator": "Exists"}]), json!([])]),
        ("priorityClassName", 4, &[json!("system-node-critical")]),
        ("imagePullSecrets", 8, &[json!([{"name": "r"}]), json!([])]),
        ("hostAliases", 5, &[json!([{"ip": "1.2.3.4", "hostnames": ["a", "b"]}])]),
        ("dnsConfig", 5, &[json!({"options": [{"name": "ndots", "value": "2"}]}), json!({})]),
        ("schedulingGates", 4, &[json!([{"name": "example.com/g"}])]),
        ("terminationGracePeriodSeconds", 8, &[json!(0), json!(1)]),
        ("activeDeadlineSeconds", 5, &[json!(600)]),
        ("setHostnameAsFQDN", 4, &[json!(true)]),
    ]);
    // What clients send for a field that is absent.
    if dice.chance(10) {
        for key in [
            "volumes",
            "initContainers",
            "securityContext",
            "tolerations",
            "nodeSelector",
        ] {
            if spec[key].is_null() && dice.chance(40) {
                spec[key] = Value::Null;
            }
        }
    }
    if spec["os"]["name"] == "windows" && dice.chance(60) {
        let fields: &mut Map<String, Value> = spec.as_object_mut().unwrap();
        for key in [
            "hostPID",
            "shareProcessNamespace",
            "hostUsers",
            "securityContext",
            "resources",
        ] {
            fields.remove(key);
        }
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                container["securityContext"] = json!({});
            }
        }
    }
}
