//! The `security_context` block: read into its fields by the API server's rules, then passed on as
//! it is.
//!
//! The rules are those of
//! <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#security-context-1>.
//! Pod Security admission may still forbid the context in a namespace.

use std::borrow::Cow;

use super::keys::{self, Key, Kind};
use super::reader::{Reader, Section, find_choice};
use super::syntax::{Quoted, child};
use super::tree::Node;
use crate::diagnostic::{Code, Diagnostic};
use crate::pod::part::{
    Capabilities, ProcMount, Profile, SeLinuxOptions, SecurityContext, SecurityFields,
};

pub(super) static FIELDS: [Key; 11] = [
    Key::new("allowPrivilegeEscalation", Kind::Bool, ""),
    Key::new("appArmorProfile", Kind::Object(&PROFILE), ""),
    Key::new("capabilities", Kind::Object(&CAPABILITY_LISTS), ""),
    Key::new("privileged", Kind::Bool, ""),
    Key::new(
        "procMount",
        Kind::Choice(|| vec![ProcMount::Default.as_str()]),
        "",
    ),
    Key::new("readOnlyRootFilesystem", Kind::Bool, ""),
    Key::new("runAsGroup", ID, ""),
    Key::new("runAsNonRoot", Kind::Bool, ""),
    Key::new("runAsUser", ID, ""),
    Key::new("seLinuxOptions", Kind::Object(&SE_LINUX), ""),
    Key::new("seccompProfile", Kind::Object(&PROFILE), ""),
];
const ID: Kind = Kind::Whole {
    least: 0,
    most: i32::MAX as u64,
};
static PROFILE: [Key; 2] = [
    Key::new("type", Kind::Choice(|| PROFILES.to_vec()), "").needed(),
    Key::new("localhostProfile", Kind::Text, ""),
];
const PROFILES: [&str; 3] = ["RuntimeDefault", "Unconfined", "Localhost"];
static CAPABILITY_LISTS: [Key; 2] = [
    Key::new("add", Kind::Texts, ""),
    Key::new("drop", Kind::Texts, ""),
];
static SE_LINUX: [Key; 4] = [
    Key::new("user", Kind::Text, ""),
    Key::new("role", Kind::Text, ""),
    Key::new("type", Kind::Text, ""),
    Key::new("level", Kind::Text, ""),
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

/// Reads `security_context` of a feature's section. Half a security context could be worse than
/// none, so one mistake takes the whole block out.
pub(super) fn read(reader: &mut Reader, feature: &Section<'_>) -> Option<SecurityContext> {
    let node = feature.get("security_context")?;
    let path = feature.path("security_context");
    let errors = reader.errors();
    let mut check = Check { reader };
    let fields = check.block(&path, node);
    if reader.errors() > errors {
        reader.report(Diagnostic::warning(
            path,
            "the block is ignored as a whole because of the errors in it",
        ));
        return None;
    }
    Some(SecurityContext::as_written(fields, compact(node)))
}

struct Check<'r> {
    reader: &'r mut Reader,
}

impl Check<'_> {
    fn block(&mut self, path: &str, node: &Node) -> SecurityFields {
        let mut fields = SecurityFields::default();
        for (key, value) in self.fields(path, node, &FIELDS) {
            let path = &child(path, key);
            match key {
                "allowPrivilegeEscalation" => {
                    fields.allow_privilege_escalation = self.boolean(path, value);
                }
                "privileged" => fields.privileged = self.boolean(path, value),
                "readOnlyRootFilesystem" => {
                    fields.read_only_root_filesystem = self.boolean(path, value);
                }
                "runAsNonRoot" => fields.run_as_non_root = self.boolean(path, value),
                "runAsUser" => fields.run_as_user = self.id(path, value),
                "runAsGroup" => fields.run_as_group = self.id(path, value),
                "procMount" => fields.proc_mount = self.proc_mount(path, value),
                "capabilities" => fields.capabilities = Some(self.capabilities(path, value)),
                "seccompProfile" => fields.seccomp_profile = self.profile(path, value, key),
                "appArmorProfile" => fields.app_armor_profile = self.profile(path, value, key),
                _ => fields.se_linux_options = Some(self.se_linux(path, value)),
            }
        }
        self.across(path, &fields);
        fields
    }

    /// Combinations that the API server, or the node, refuses.
    fn across(&mut self, path: &str, fields: &SecurityFields) {
        if fields.allow_privilege_escalation == Some(false) {
            let path = child(path, "allowPrivilegeEscalation");
            if fields.privileged == Some(true) {
                self.error(&path, "can't be false while `privileged` is true");
            }
            let added = fields.capabilities.iter().flat_map(|lists| &lists.add);
            if added.flatten().any(|name| bare(name) == "SYS_ADMIN") {
                self.error(&path, "can't be false while SYS_ADMIN is added");
            }
        }
        if fields.run_as_non_root == Some(true) && fields.run_as_user == Some(0) {
            self.error(
                &child(path, "runAsNonRoot"),
                "can't be true while `runAsUser` is 0; the node wouldn't start the container",
            );
        }
    }

    /// The fields of an object that aren't null. Kubernetes takes keys as they are spelled and once
    /// only.
    fn fields<'n>(
        &mut self,
        path: &str,
        node: &'n Node,
        known: &'static [Key],
    ) -> Vec<(&'static str, &'n Node)> {
        let Node::Object(entries) = node else {
            self.kind(path, "an object", node);
            return Vec::new();
        };
        let mut fields: Vec<(&'static str, &'n Node)> = Vec::new();
        for (key, value) in entries {
            let place = child(path, key);
            match keys::names(known).find(|name| name == key) {
                Some(name) if fields.iter().any(|(field, _)| *field == name) => {
                    self.reader.report(
                        Diagnostic::error(place, "the key appears more than once")
                            .code(Code::Repeated),
                    );
                }
                Some(_) if *value == Node::Null => {}
                Some(name) => fields.push((name, value)),
                None if key == "windowsOptions" => {
                    self.error(&place, "the injected images run on Linux only");
                }
                None => self.reader.report(
                    Diagnostic::error(place, "unknown key")
                        .code(Code::UnknownKey)
                        .suggest_like(key, keys::names(known)),
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

    fn proc_mount(&mut self, path: &str, node: &Node) -> Option<ProcMount> {
        match self.text(path, node)? {
            "Unmasked" => {
                self.error(
                    path,
                    "`Unmasked` is refused in pods that share the host's users, which most do",
                );
                None
            }
            word => {
                let known = [ProcMount::Default];
                self.one_of(path, word, &known, ProcMount::as_str)
            }
        }
    }

    fn capabilities(&mut self, path: &str, node: &Node) -> Capabilities {
        let mut lists = Capabilities::default();
        for (key, list) in self.fields(path, node, &CAPABILITY_LISTS) {
            let path = child(path, key);
            let Node::Array(items) = list else {
                self.kind(&path, "an array", list);
                continue;
            };
            let mut names = Vec::new();
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                let Some(name) = self.text(&path, item) else {
                    continue;
                };
                let bare = bare(name);
                if !CAPABILITIES.contains(&bare.as_str()) {
                    self.reader.report(
                        Diagnostic::error(path, "no such capability")
                            .found(name)
                            .suggest_like(&bare, CAPABILITIES),
                    );
                }
                names.push(Cow::Owned(name.to_owned()));
            }
            match key {
                "add" => lists.add = Some(names),
                _ => lists.drop = Some(names),
            }
        }
        lists
    }

    /// `type`, and `localhostProfile` exactly if the type is `Localhost`.
    fn profile(&mut self, path: &str, node: &Node, kind: &str) -> Option<Profile> {
        let fields = self.fields(path, node, &PROFILE);
        let find = |key: &str| {
            fields
                .iter()
                .find_map(|(field, node)| (*field == key).then_some(*node))
        };
        let Some(node_type) = find("type") else {
            if matches!(node, Node::Object(_)) {
                self.error(path, "`type` is missing");
            }
            return None;
        };
        let profile_type = self.text(&child(path, "type"), node_type)?;
        let known = self.one_of(&child(path, "type"), profile_type, &PROFILES, |name| name);
        let place = child(path, "localhostProfile");
        match (profile_type == "Localhost", find("localhostProfile")) {
            (true, None) => {
                self.error(path, "`localhostProfile` is missing");
                None
            }
            (true, Some(node)) => {
                let text = self.text(&place, node)?;
                self.localhost_profile(&place, text, kind);
                Some(Profile::Localhost(text.to_owned()))
            }
            (false, Some(_)) => {
                self.error(&place, "only fits the type `Localhost`");
                None
            }
            (false, None) => match known? {
                "RuntimeDefault" => Some(Profile::RuntimeDefault),
                _ => Some(Profile::Unconfined),
            },
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

    fn se_linux(&mut self, path: &str, node: &Node) -> SeLinuxOptions {
        let mut options = SeLinuxOptions::default();
        for (key, value) in self.fields(path, node, &SE_LINUX) {
            let text = self.text(&child(path, key), value).map(str::to_owned);
            match key {
                "user" => options.user = text,
                "role" => options.role = text,
                "type" => options.kind = text,
                _ => options.level = text,
            }
        }
        options
    }

    /// The choice that goes by that name. An unknown one is reported.
    fn one_of<T: Copy>(
        &mut self,
        path: &str,
        word: &str,
        known: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        match find_choice(word, known, name) {
            Ok(choice) => Some(choice),
            Err(diagnostic) => {
                self.reader.report(Diagnostic {
                    path: path.to_owned(),
                    ..diagnostic
                });
                None
            }
        }
    }

    fn error(&mut self, path: &str, message: &str) {
        self.reader.report(Diagnostic::error(path, message));
    }

    fn kind(&mut self, path: &str, expected: &str, found: &Node) {
        self.reader.report(
            Diagnostic::error(path, format!("expected {expected}, not {}", found.kind()))
                .code(Code::WrongType)
                .found(found.to_string()),
        );
    }
}

/// A capability's name without the prefix that the kernel's headers give it, in upper case.
fn bare(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
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
