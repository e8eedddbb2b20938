//! What a pod says of the nodes that it is for: Windows, or nodes that aren't machines of the
//! cluster's own.
//!
//! A demand counts (a node selector, a required affinity, a label or scheduler that a provider acts
//! on). A toleration, or a preference, proves nothing.

use crate::json::{Reader, Result, Str};

/// Nodes that a pod demands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Nodes {
    /// Whether they run Windows.
    windows: bool,
    /// Whether the pod says by `spec.os` that it is for Linux, whatever else it has.
    linux: bool,
    /// What they are, if they have no host that a pod may touch.
    managed: Option<Managed>,
}

/// Nodes without a host that a pod may touch: no host paths, few capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Managed {
    /// AWS Fargate (<https://docs.aws.amazon.com/eks/latest/userguide/fargate.html>).
    Fargate,
    /// GKE Autopilot
    /// (<https://cloud.google.com/kubernetes-engine/docs/concepts/autopilot-security>).
    Autopilot,
    /// A virtual node: the pod is a container group of the provider's
    /// (<https://virtual-kubelet.io/docs/>).
    Virtual,
}

/// A demand on a node's label.
#[derive(Debug, Default)]
struct Demand<'a> {
    key: Str<'a>,
    operator: Str<'a>,
    values: Vec<Str<'a>>,
}

/// What one term of an affinity demands: all of it.
#[derive(Debug, Clone, Copy, Default)]
struct Term {
    windows: bool,
    managed: Option<Managed>,
}

/// Labels that name a node's system.
const OS: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];
/// A label that only Windows nodes have.
const WINDOWS_BUILD: &str = "node.kubernetes.io/windows-build";

/// Values of node labels by which managed nodes are chosen.
const CHOSEN: [(&str, &[&str], Managed); 5] = [
    (
        "eks.amazonaws.com/compute-type",
        &["fargate"],
        Managed::Fargate,
    ),
    (
        "cloud.google.com/compute-class",
        &[
            "autopilot",
            "autopilot-spot",
            "Balanced",
            "Scale-Out",
            "Performance",
            "Accelerator",
            "general-purpose",
        ],
        Managed::Autopilot,
    ),
    (
        "type",
        &["virtual-kubelet", "virtual-node"],
        Managed::Virtual,
    ),
    (
        "kubernetes.azure.com/node-type",
        &["virtual-kubelet"],
        Managed::Virtual,
    ),
    (
        "node.kubernetes.io/instance-type",
        &["eklet", "virtual-kubelet"],
        Managed::Virtual,
    ),
];

/// Labels of pods by which providers take them to managed nodes; an empty value stands for any.
const LABELS: [(&str, &str, Managed); 4] = [
    ("eks.amazonaws.com/fargate-profile", "", Managed::Fargate),
    ("alibabacloud.com/eci", "true", Managed::Virtual),
    ("alibabacloud.com/acs", "true", Managed::Virtual),
    (
        "virtual-kubelet.io/burst-to-cci",
        "enforce",
        Managed::Virtual,
    ),
];

impl Nodes {
    /// Whether the pod is for Windows nodes.
    pub fn are_windows(&self) -> bool {
        self.windows && !self.linux
    }

    /// What the nodes are, if they have no host that a pod may touch.
    pub fn managed(&self) -> Option<Managed> {
        self.managed
    }

    pub(super) fn read_os(&mut self, name: &str) {
        self.windows |= name == "windows";
        self.linux = name == "linux";
    }

    /// `windowsOptions` of the pod or a container.
    pub(super) fn read_options(&mut self, windows: bool) {
        self.windows |= windows;
    }

    pub(super) fn read_scheduler(&mut self, name: &str) {
        if name == "fargate-scheduler" {
            self.managed = Some(Managed::Fargate);
        }
    }

    /// Names of runtime classes are the cluster's own; those of the documentation and of
    /// containerd's Windows runtime tell.
    pub(super) fn read_runtime_class(&mut self, name: &str) {
        self.windows |= name.starts_with("windows") || name.starts_with("runhcs-wcow");
    }

    pub(super) fn read_label(&mut self, key: &str, value: &str) {
        for (label, wanted, managed) in LABELS {
            if label == key && (wanted.is_empty() || wanted == value) {
                self.managed = Some(managed);
            }
        }
    }

    /// Autopilot's own webhook tells what it has done to a pod.
    pub(super) fn read_annotation(&mut self, key: &str) {
        if key.starts_with("autopilot.gke.io/") {
            self.managed = Some(Managed::Autopilot);
        }
    }

    pub(super) fn read_selector(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let mut all = Term::default();
        reader.entries(|reader, key| {
            let value = reader.string()?.unwrap_or_default();
            all.add(&key, "In", &[value]);
            Ok(())
        })?;
        self.add(all);
        Ok(())
    }

    /// `affinity`: of node affinity the required part, in which one of the terms must hold.
    pub(super) fn read_affinity(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let path = [
            "nodeAffinity",
            "requiredDuringSchedulingIgnoredDuringExecution",
            "nodeSelectorTerms",
        ];
        let mut terms: Option<Term> = None;
        at(reader, &path, &mut |reader| {
            reader.array(|reader, _| {
                let term = term(reader)?;
                terms = Some(match terms {
                    None => term,
                    Some(all) => all.or(term),
                });
                Ok(())
            })
        })?;
        self.add(terms.unwrap_or_default());
        Ok(())
    }

    fn add(&mut self, term: Term) {
        self.windows |= term.windows;
        self.managed = self.managed.or(term.managed);
    }
}

impl Term {
    /// Adds a demand that has to hold as well.
    fn add(&mut self, key: &str, operator: &str, values: &[Str<'_>]) {
        let only = |wanted: &[&str]| {
            operator == "In"
                && !values.is_empty()
                && values.iter().all(|value| wanted.contains(&value.as_ref()))
        };
        if OS.contains(&key) {
            let excluded = operator == "NotIn" && values.iter().any(|value| value == "linux");
            self.windows |= only(&["windows"]) || excluded;
        }
        if key == WINDOWS_BUILD {
            self.windows |= !matches!(operator, "NotIn" | "DoesNotExist");
        }
        for (label, chosen, managed) in CHOSEN {
            if label == key && only(chosen) {
                self.managed = Some(managed);
            }
        }
    }

    /// What holds if either of two does.
    fn or(self, other: Self) -> Self {
        Self {
            windows: self.windows && other.windows,
            managed: self.managed.and(other.managed),
        }
    }
}

fn term(reader: &mut Reader<'_>) -> Result<Term> {
    let mut all = Term::default();
    at(reader, &["matchExpressions"], &mut |reader| {
        reader.array(|reader, _| {
            let mut demand = Demand::default();
            reader.object(|reader, key| {
                match key {
                    "key" => demand.key = reader.string()?.unwrap_or_default(),
                    "operator" => demand.operator = reader.string()?.unwrap_or_default(),
                    "values" => reader.array(|reader, _| {
                        demand.values.push(reader.string()?.unwrap_or_default());
                        Ok(())
                    })?,
                    _ => {
                        reader.skip()?;
                    }
                }
                Ok(())
            })?;
            all.add(&demand.key, &demand.operator, &demand.values);
            Ok(())
        })
    })?;
    Ok(all)
}

/// Reads what stands at a path of keys.
fn at<'a>(
    reader: &mut Reader<'a>,
    path: &[&str],
    read: &mut dyn FnMut(&mut Reader<'a>) -> Result<()>,
) -> Result<()> {
    let Some((first, rest)) = path.split_first() else {
        return read(reader);
    };
    reader.object(|reader, key| {
        if key == *first {
            return at(reader, rest, read);
        }
        reader.skip().map(|_| ())
    })
}

impl Managed {
    /// The name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fargate => "AWS Fargate",
            Self::Autopilot => "GKE Autopilot",
            Self::Virtual => "a virtual node",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::json::Reader;
    use crate::pod::Pod;
    use serde_json::{Value, json};

    fn check(spec: &Value, windows: bool, managed: Option<&str>) {
        let text = json!({"spec": spec}).to_string();
        let pod = Pod::read(&mut Reader::new(&text)).unwrap();
        assert_eq!(pod.nodes.are_windows(), windows, "{text}");
        assert_eq!(
            pod.nodes.managed().map(super::Managed::as_str),
            managed,
            "{text}"
        );
    }

    fn affinity(terms: &Value) -> Value {
        json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
    }

    fn term(key: &str, operator: &str, values: &[&str]) -> Value {
        json!({"matchExpressions": [
            {"key": "disk", "operator": "Exists"}, {"key": key, "operator": operator, "values": values}]})
    }

    #[test]
    fn windows_in_all_ways() {
        let os = "kubernetes.io/os";
        for (spec, windows) in [
            (json!({}), false),
            (json!({"os": {"name": "windows"}}), true),
            (
                json!({"os": {"name": "linux"}, "nodeSelector": {os: "windows"}}),
                false,
            ),
            (json!({"nodeSelector": {os: "windows"}}), true),
            (json!({"nodeSelector": {os: "linux"}}), false),
            (
                json!({"nodeSelector": {"beta.kubernetes.io/os": "windows"}}),
                true,
            ),
            (
                json!({"nodeSelector": {"node.kubernetes.io/windows-build": "10.0.20348"}}),
                true,
            ),
            (
                json!({"securityContext": {"windowsOptions": {"runAsUserName": "ContainerUser"}}}),
                true,
            ),
            (
                json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}),
                true,
            ),
            (
                json!({"securityContext": {"windowsOptions": {"hostProcess": false}}}),
                false,
            ),
            (json!({"securityContext": {"windowsOptions": {}}}), false),
            (
                json!({"containers": [{"securityContext": {"windowsOptions": {"gmsaCredentialSpecName": "x"}}}]}),
                true,
            ),
            (json!({"runtimeClassName": "windows-2019"}), true),
            (json!({"runtimeClassName": "gvisor"}), false),
            (
                json!({"tolerations": [{"key": "os", "value": "windows"}]}),
                false,
            ),
            (affinity(&json!([term(os, "In", &["windows"])])), true),
            (
                affinity(&json!([term(os, "In", &["windows", "linux"])])),
                false,
            ),
            (affinity(&json!([term(os, "In", &[])])), false),
            (affinity(&json!([term(os, "NotIn", &["linux"])])), true),
            (affinity(&json!([term(os, "NotIn", &["windows"])])), false),
            (affinity(&json!([term(os, "Exists", &[])])), false),
            (
                affinity(&json!([term(
                    "node.kubernetes.io/windows-build",
                    "Exists",
                    &[]
                )])),
                true,
            ),
            (
                affinity(&json!([term(
                    "node.kubernetes.io/windows-build",
                    "DoesNotExist",
                    &[]
                )])),
                false,
            ),
            (
                affinity(&json!([
                    term(os, "In", &["windows"]),
                    term("a", "In", &["b"])
                ])),
                false,
            ),
            (
                affinity(&json!([
                    term(os, "In", &["windows"]),
                    term("beta.kubernetes.io/os", "NotIn", &["linux"])
                ])),
                true,
            ),
            (affinity(&json!([])), false),
            (affinity(&Value::Null), false),
            (
                json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "preference": term(os, "In", &["windows"])}]}}}),
                false,
            ),
        ] {
            check(&spec, windows, None);
        }
    }

    #[test]
    fn managed_nodes() {
        for (spec, managed) in [
            (
                json!({"schedulerName": "fargate-scheduler"}),
                Some("AWS Fargate"),
            ),
            (json!({"schedulerName": "default-scheduler"}), None),
            (
                json!({"nodeSelector": {"eks.amazonaws.com/compute-type": "fargate"}}),
                Some("AWS Fargate"),
            ),
            (
                json!({"nodeSelector": {"type": "virtual-kubelet"}}),
                Some("a virtual node"),
            ),
            (json!({"nodeSelector": {"type": "worker"}}), None),
            (
                json!({"nodeSelector": {"cloud.google.com/compute-class": "Balanced"}}),
                Some("GKE Autopilot"),
            ),
            (
                json!({"nodeSelector": {"cloud.google.com/compute-class": "n4-pool"}}),
                None,
            ),
            (
                json!({"tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}]}),
                None,
            ),
            (
                affinity(&json!([term("type", "In", &["virtual-kubelet"])])),
                Some("a virtual node"),
            ),
            (
                affinity(&json!([term("type", "NotIn", &["virtual-kubelet"])])),
                None,
            ),
        ] {
            check(&spec, false, managed);
        }
        for (metadata, managed) in [
            (
                json!({"labels": {"eks.amazonaws.com/fargate-profile": "fp"}}),
                Some("AWS Fargate"),
            ),
            (json!({"labels": {"alibabacloud.com/eci": "false"}}), None),
            (
                json!({"annotations": {"autopilot.gke.io/resource-adjustment": "{}"}}),
                Some("GKE Autopilot"),
            ),
        ] {
            let text = json!({"metadata": metadata, "spec": {}}).to_string();
            let pod = Pod::read(&mut Reader::new(&text)).unwrap();
            assert_eq!(
                pod.nodes.managed().map(super::Managed::as_str),
                managed,
                "{text}"
            );
        }
    }

    #[test]
    fn a_pod_ends_if_nothing_in_it_is_always_restarted() {
        for (spec, ends) in [
            (json!({"containers": [{}]}), false),
            (json!({"restartPolicy": "Never", "containers": [{}]}), true),
            (
                json!({"containers": [{"restartPolicy": "OnFailure"}, {"restartPolicy": "Never"}]}),
                true,
            ),
            (
                json!({"containers": [{"restartPolicy": "OnFailure"}, {}]}),
                false,
            ),
            (json!({"containers": [{"restartPolicy": "Always"}]}), false),
            (json!({"containers": []}), false),
        ] {
            let text = json!({"spec": spec}).to_string();
            let pod = Pod::read(&mut Reader::new(&text)).unwrap();
            assert_eq!(pod.is_meant_to_end(), ends, "{text}");
        }
    }
}
