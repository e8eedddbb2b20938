//! The security context of a container to add.

use std::borrow::Cow;

use super::write_list;
use crate::json::write_string;

/// A container's `securityContext`: its fields, and the JSON that says them. It can't be changed
/// once it is made, so that the two always agree. Most containers to add have none, so it lies
/// elsewhere and they stay small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityContext(Box<Said>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    fields: SecurityFields,
    json: String,
}

/// The fields of a container's security context
/// (<https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#security-context-1>).
/// All but `windowsOptions`: what is added runs on Linux only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecurityFields {
    /// `allowPrivilegeEscalation`
    pub allow_privilege_escalation: Option<bool>,
    /// `appArmorProfile`
    pub app_armor_profile: Option<Profile>,
    /// `capabilities`
    pub capabilities: Option<Capabilities>,
    /// `privileged`
    pub privileged: Option<bool>,
    /// `procMount`
    pub proc_mount: Option<ProcMount>,
    /// `readOnlyRootFilesystem`
    pub read_only_root_filesystem: Option<bool>,
    /// `runAsNonRoot`
    pub run_as_non_root: Option<bool>,
    /// `runAsUser`
    pub run_as_user: Option<i64>,
    /// `runAsGroup`
    pub run_as_group: Option<i64>,
    /// `seLinuxOptions`
    pub se_linux_options: Option<SeLinuxOptions>,
    /// `seccompProfile`
    pub seccomp_profile: Option<Profile>,
}

/// `capabilities`, each name as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `add`
    pub add: Option<Vec<Cow<'static, str>>>,
    /// `drop`
    pub drop: Option<Vec<Cow<'static, str>>>,
}

/// `procMount`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcMount {
    /// What the container runtime masks stays masked.
    Default,
    /// Nothing of `/proc` is masked.
    Unmasked,
}

/// `seccompProfile` and `appArmorProfile`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// The container runtime's own.
    RuntimeDefault,
    /// None.
    Unconfined,
    /// The one that lies on the node under this name.
    Localhost(String),
}

/// `seLinuxOptions`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeLinuxOptions {
    /// `user`
    pub user: Option<String>,
    /// `role`
    pub role: Option<String>,
    /// `type`
    pub kind: Option<String>,
    /// `level`
    pub level: Option<String>,
}

impl SecurityContext {
    /// The context with these fields, written in the order in which they stand here.
    pub fn new(fields: SecurityFields) -> Self {
        let mut json = Vec::with_capacity(192);
        fields.write(&mut json);
        let json = String::from_utf8_lossy(&json).into_owned();
        Self(Box::new(Said { fields, json }))
    }

    /// The context that a user wrote, in the user's order. Whoever calls this has read the fields
    /// from that text.
    pub(crate) fn as_written(fields: SecurityFields, json: String) -> Self {
        Self(Box::new(Said { fields, json }))
    }

    /// What it says.
    pub fn fields(&self) -> &SecurityFields {
        &self.0.fields
    }

    /// The JSON object, compact.
    pub fn as_json(&self) -> &str {
        &self.0.json
    }
}

impl ProcMount {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "Default",
            Self::Unmasked => "Unmasked",
        }
    }
}

impl SecurityFields {
    fn write(&self, out: &mut Vec<u8>) {
        let Self {
            allow_privilege_escalation,
            app_armor_profile,
            capabilities,
            privileged,
            proc_mount,
            read_only_root_filesystem,
            run_as_non_root,
            run_as_user,
            run_as_group,
            se_linux_options,
            seccomp_profile,
        } = self;
        let mut object = Object::open(out);
        object.add(
            "allowPrivilegeEscalation",
            *allow_privilege_escalation,
            boolean,
        );
        object.add("appArmorProfile", app_armor_profile.as_ref(), profile);
        object.add("capabilities", capabilities.as_ref(), |out, lists| {
            let mut object = Object::open(out);
            object.add("add", lists.add.as_deref(), words);
            object.add("drop", lists.drop.as_deref(), words);
            object.close();
        });
        object.add("privileged", *privileged, boolean);
        object.add("procMount", *proc_mount, |out, mount| {
            write_string(out, mount.as_str());
        });
        object.add(
            "readOnlyRootFilesystem",
            *read_only_root_filesystem,
            boolean,
        );
        object.add("runAsNonRoot", *run_as_non_root, boolean);
        object.add("runAsUser", *run_as_user, number);
        object.add("runAsGroup", *run_as_group, number);
        object.add(
            "seLinuxOptions",
            se_linux_options.as_ref(),
            |out, options| {
                let mut object = Object::open(out);
                object.add("user", options.user.as_deref(), write_string);
                object.add("role", options.role.as_deref(), write_string);
                object.add("type", options.kind.as_deref(), write_string);
                object.add("level", options.level.as_deref(), write_string);
                object.close();
            },
        );
        object.add("seccompProfile", seccomp_profile.as_ref(), profile);
        object.close();
    }
}

/// A JSON object that is being written: only fields that are there.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

impl<'o> Object<'o> {
    fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            is_empty: true,
        }
    }

    fn add<T>(&mut self, key: &str, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
        let Some(value) = value else {
            return;
        };
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        write_string(self.out, key);
        self.out.push(b':');
        write(self.out, value);
    }

    fn close(self) {
        self.out.push(b'}');
    }
}

fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn number(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(value.to_string().as_bytes());
}

fn words(out: &mut Vec<u8>, words: &[Cow<'static, str>]) {
    write_list(out, words, |out, word| write_string(out, word));
}

fn profile(out: &mut Vec<u8>, profile: &Profile) {
    let (kind, file) = match profile {
        Profile::RuntimeDefault => ("RuntimeDefault", None),
        Profile::Unconfined => ("Unconfined", None),
        Profile::Localhost(file) => ("Localhost", Some(file.as_str())),
    };
    let mut object = Object::open(out);
    object.add("type", Some(kind), write_string);
    object.add("localhostProfile", file, write_string);
    object.close();
}
