//! The `security_context` block: checked by the API server's rules, then passed on as it is.

use super::reader::{Reader, Section, child, find_choice};
use super::tree::{Node, Quoted};
use crate::diagnostic::Diagnostic;

/// A container's security context that no API server refuses and no node fails to start.
///
/// The rules are those of
/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#security-context-1>. Pod Security admission
/// may still forbid it in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityContext {
    json: String,
    run_as_user: Option<i64>,
    run_as_non_root: Option<bool>,
}

impl SecurityContext {
    /// The block as compact JSON, an object.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// `runAsUser`
    pub fn run_as_user(&self) -> Option<i64> {
        self.run_as_user
    }

    /// `runAsNonRoot`
    pub fn run_as_non_root(&self) -> Option<bool> {
        self.run_as_non_root
    }
}

const FIELDS: [&str; 11] = [
    "allowPrivilegeEscalation",
    "appArmorProfile",
    "capabilities",
    "privileged",
    "procMount",
    "readOnlyRootFilesystem",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "seLinuxOptions",
    "seccompProfile",
];

const CAPABILITIES: [&str; 42] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Reads `security_context` of a feature's section. Half a security context could be worse than none, so one mistake
/// takes the whole block out.
pub(super) fn read(reader: &mut Reader, feature: &Section<'_>) -> Option<SecurityContext> {
    let node = feature.get("security_context")?;
    let path = feature.path("security_context");
    let errors = reader.errors();
    let mut check = Check { reader };
    let block = check.block(&path, node);
    if reader.errors() > errors {
        reader.report(Diagnostic::warning(
            path,
            "the block is ignored as a whole because of the errors in it",
        ));
        return None;
    }
    let json = compact(node);
    Some(SecurityContext {
        json,
        run_as_user: block.user,
        run_as_non_root: block.non_root,
    })
}

/// What rules across fields need to know.
#[derive(Default)]
struct Block {
    escalation: Option<bool>,
    privileged: Option<bool>,
    admin: bool,
    user: Option<i64>,
    non_root: Option<bool>,
}

struct Check<'r> {
    reader: &'r mut Reader,
}

impl Check<'_> {
    fn block(&mut self, path: &str, node: &Node) -> Block {
        let mut block = Block::default();
        for (key, value) in self.fields(path, node, &FIELDS) {
            let path = &child(path, key);
            match key {
                "allowPrivilegeEscalation" => block.escalation = self.boolean(path, value),
                "privileged" => block.privileged = self.boolean(path, value),
                "readOnlyRootFilesystem" => {
                    self.boolean(path, value);
                }
                "runAsNonRoot" => block.non_root = self.boolean(path, value),
                "runAsUser" => block.user = self.id(path, value),
                "runAsGroup" => {
                    self.id(path, value);
                }
                "procMount" => self.proc_mount(path, value),
                "capabilities" => block.admin = self.capabilities(path, value),
                "seccompProfile" | "appArmorProfile" => self.profile(path, value, key),
                _ => self.se_linux(path, value),
            }
        }
        self.across(path, &block);
        block
    }

    /// Combinations that the API server, or the node, refuses.
    fn across(&mut self, path: &str, block: &Block) {
        if block.escalation == Some(false) {
            let path = child(path, "allowPrivilegeEscalation");
            if block.privileged == Some(true) {
                self.error(&path, "can't be false while `privileged` is true");
            }
            if block.admin {
                self.error(&path, "can't be false while SYS_ADMIN is added");
            }
        }
        if block.non_root == Some(true) && block.user == Some(0) {
            self.error(
                &child(path, "runAsNonRoot"),
                "can't be true while `runAsUser` is 0; the node wouldn't start the container",
            );
        }
    }

    /// The fields of an object that aren't null. Kubernetes takes keys as they are spelled and once only.
    fn fields<'n>(
        &mut self,
        path: &str,
        node: &'n Node,
        known: &[&'static str],
    ) -> Vec<(&'static str, &'n Node)> {
        let Node::Object(entries) = node else {
            self.kind(path, "an object", node);
            return Vec::new();
        };
        let mut fields: Vec<(&'static str, &'n Node)> = Vec::new();
        for (key, value) in entries {
            let place = child(path, key);
            match known.iter().find(|name| *name == key) {
                Some(name) if fields.iter().any(|(field, _)| field == name) => {
                    self.error(&place, "the key appears more than once");
                }
                Some(_) if *value == Node::Null => {}
                Some(name) => fields.push((name, value)),
                None if key == "windowsOptions" => {
                    self.error(&place, "the injected images run on Linux only");
                }
                None => self.reader.report(
                    Diagnostic::error(place, "unknown key")
                        .suggest_like(key, known.iter().copied()),
                ),
            }
        }
        fields
    }

    fn boolean(&mut self, path: &str, node: &Node) -> Option<bool> {
        match node {
            Node::Bool(value) => Some(*value),
            other => {
                self.kind(path, "true or false", other);
                None
            }
        }
    }

    fn text<'n>(&mut self, path: &str, node: &'n Node) -> Option<&'n str> {
        match node {
            Node::String(text) if text.contains('\0') => {
                self.error(path, "the text can't contain a NUL character");
                None
            }
            Node::String(text) => Some(text),
            other => {
                self.kind(path, "a string", other);
                None
            }
        }
    }

    /// A user or group: the API server takes what fits in 31 bits.
    fn id(&mut self, path: &str, node: &Node) -> Option<i64> {
        let Node::Number(number) = node else {
            self.kind(path, "a whole number", node);
            return None;
        };
        let id = number
            .as_i64()
            .filter(|id| (0..=i64::from(i32::MAX)).contains(id));
        if id.is_none() {
            self.reader.report(
                Diagnostic::error(path, "expected a whole number from 0 to 2147483647")
                    .found(number.to_string()),
            );
        }
        id
    }

    fn proc_mount(&mut self, path: &str, node: &Node) {
        match self.text(path, node) {
            Some("Unmasked") => self.error(
                path,
                "`Unmasked` is refused in pods that share the host's users, which most do",
            ),
            Some(word) => self.one_of(path, word, &["Default"]),
            None => {}
        }
    }

    /// Whether SYS_ADMIN is added.
    fn capabilities(&mut self, path: &str, node: &Node) -> bool {
        let mut admin = false;
        for (key, list) in self.fields(path, node, &["add", "drop"]) {
            let path = child(path, key);
            let Node::Array(items) = list else {
                self.kind(&path, "an array", list);
                continue;
            };
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                let Some(name) = self.text(&path, item) else {
                    continue;
                };
                let upper = name.to_ascii_uppercase();
                let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
                if !CAPABILITIES.contains(&bare) {
                    self.reader.report(
                        Diagnostic::error(path, "no such capability")
                            .found(name)
                            .suggest_like(bare, CAPABILITIES),
                    );
                }
                admin |= key == "add" && bare == "SYS_ADMIN";
            }
        }
        admin
    }

    /// `type`, and `localhostProfile` exactly if the type is `Localhost`.
    fn profile(&mut self, path: &str, node: &Node, kind: &str) {
        let fields = self.fields(path, node, &["type", "localhostProfile"]);
        let find = |key: &str| {
            fields
                .iter()
                .find_map(|(field, node)| (*field == key).then_some(*node))
        };
        let Some(node_type) = find("type") else {
            if matches!(node, Node::Object(_)) {
                self.error(path, "`type` is missing");
            }
            return;
        };
        let Some(profile_type) = self.text(&child(path, "type"), node_type) else {
            return;
        };
        self.one_of(
            &child(path, "type"),
            profile_type,
            &["RuntimeDefault", "Unconfined", "Localhost"],
        );
        let place = child(path, "localhostProfile");
        match (profile_type == "Localhost", find("localhostProfile")) {
            (true, None) => self.error(path, "`localhostProfile` is missing"),
            (true, Some(node)) => {
                if let Some(text) = self.text(&place, node) {
                    self.localhost_profile(&place, text, kind);
                }
            }
            (false, Some(_)) => self.error(&place, "only fits the type `Localhost`"),
            (false, None) => {}
        }
    }

    fn localhost_profile(&mut self, path: &str, text: &str, kind: &str) {
        if text.trim().is_empty() {
            self.error(path, "the profile's name is empty");
        } else if kind == "appArmorProfile" && (text.trim() != text || text.len() > 4095) {
            self.error(
                path,
                "a profile's name has no white space around it and at most 4095 bytes",
            );
        } else if kind == "seccompProfile"
            && (text.starts_with('/') || text.split('/').any(|part| part == ".."))
        {
            self.reader.report(
                Diagnostic::error(path, "expected a relative path without `..`").found(text),
            );
        }
    }

    fn se_linux(&mut self, path: &str, node: &Node) {
        for (key, value) in self.fields(path, node, &["user", "role", "type", "level"]) {
            self.text(&child(path, key), value);
        }
    }

    fn one_of(&mut self, path: &str, word: &str, known: &[&'static str]) {
        if let Err(diagnostic) = find_choice(word, known, |name| name) {
            self.reader.report(Diagnostic {
                path: path.to_owned(),
                ..diagnostic
            });
        }
    }

    fn error(&mut self, path: &str, message: &str) {
        self.reader.report(Diagnostic::error(path, message));
    }

    fn kind(&mut self, path: &str, expected: &str, found: &Node) {
        self.reader.report(
            Diagnostic::error(path, format!("expected {expected}, not {}", found.kind()))
                .found(found.to_string()),
        );
    }
}

/// Compact JSON without the entries that are null, which mean nothing to Kubernetes.
fn compact(node: &Node) -> String {
    match node {
        Node::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .filter(|(_, value)| *value != Node::Null)
                .map(|(key, value)| format!("{}:{}", Quoted(key), compact(value)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
        other => other.to_string(),
    }
}
