//! One pod's JSON, and the parts of it that a view has.

use std::borrow::Cow;

use crate::json::{Kind, Reader, Result, Str, write_string};

/// How much of a pod somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// Everything.
    Full,
    /// What `view=ebpf-v1` has: whose a network flow is.
    EbpfV1,
}

impl View {
    /// What `view=` in a query asks for. A view that nobody knows is everything.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "ebpf-v1" => Self::EbpfV1,
            _ => Self::Full,
        }
    }
}

/// A pod as it is read from a list or a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod<'a> {
    /// Its namespace.
    pub namespace: Str<'a>,
    /// Its name.
    pub name: Str<'a>,
    /// Its `resourceVersion`, which is equal for equal pods and says nothing else.
    pub version: Str<'a>,
    /// All of it as the API server wrote it, without `kind` and `apiVersion`: an item of a list has
    /// none, an object in a watch does.
    pub full: Cow<'a, str>,
    /// [`View::EbpfV1`] of it.
    pub trimmed: String,
}

impl Pod<'_> {
    /// The same, on its own.
    #[must_use]
    pub fn into_owned(self) -> Pod<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Pod {
            namespace: owned(self.namespace),
            name: owned(self.name),
            version: owned(self.version),
            full: owned(self.full),
            trimmed: self.trimmed,
        }
    }
}

/// What is kept of a value.
enum Keep {
    All,
    /// These fields of an object.
    Fields(&'static [(&'static str, Keep)]),
    /// This of each item of a list.
    Each(&'static Keep),
}

use Keep::{All, Each, Fields};

/// What [`View::EbpfV1`] keeps.
const EBPF_V1: Keep = Fields(&[
    (
        "metadata",
        Fields(&[
            ("uid", All),
            ("name", All),
            ("namespace", All),
            ("labels", All),
            ("ownerReferences", All),
        ]),
    ),
    (
        "spec",
        Fields(&[
            ("hostNetwork", All),
            ("hostPID", All),
            ("hostIPC", All),
            (
                "containers",
                Each(&Fields(&[("name", All), ("ports", All)])),
            ),
        ]),
    ),
    (
        "status",
        Fields(&[
            ("hostIP", All),
            ("podIP", All),
            ("podIPs", All),
            ("startTime", All),
        ]),
    ),
]);

/// Reads a pod.
///
/// # Errors
///
/// If the text isn't JSON, or the names are no strings.
pub fn read(text: &str) -> Result<Pod<'_>> {
    let mut pod = Pod {
        namespace: Cow::Borrowed(""),
        name: Cow::Borrowed(""),
        version: Cow::Borrowed(""),
        full: Cow::Borrowed(text),
        trimmed: String::new(),
    };
    let mut reader = Reader::new(text);
    let mut without_kind = String::new();
    let mut has_kind = false;
    reader.entries(|reader, key| {
        if matches!(&*key, "kind" | "apiVersion") {
            has_kind = true;
            return reader.skip().map(drop);
        }
        if key == "metadata" {
            names(&mut reader.clone(), &mut pod)?;
        }
        let value = reader.skip()?;
        without_kind.push(if without_kind.is_empty() { '{' } else { ',' });
        push_key(&mut without_kind, &key);
        without_kind.push_str(value);
        Ok(())
    })?;
    reader.end()?;
    if has_kind {
        if without_kind.is_empty() {
            without_kind.push('{');
        }
        without_kind.push('}');
        pod.full = Cow::Owned(without_kind);
    }
    copy(&mut Reader::new(text), &EBPF_V1, &mut pod.trimmed)?;
    Ok(pod)
}

fn names<'a>(reader: &mut Reader<'a>, pod: &mut Pod<'a>) -> Result<()> {
    reader.entries(|reader, key| {
        let field = match &*key {
            "namespace" => &mut pod.namespace,
            "name" => &mut pod.name,
            "resourceVersion" => &mut pod.version,
            _ => return reader.skip().map(drop),
        };
        *field = reader.string()?.unwrap_or_default();
        Ok(())
    })
}

/// Copies what is to be kept of the next value. What has another type than was expected is kept as
/// it is.
fn copy(reader: &mut Reader<'_>, keep: &Keep, out: &mut String) -> Result<()> {
    match (keep, reader.kind()?) {
        (Fields(fields), Kind::Object) => {
            let mut separator = '{';
            reader.entries(|reader, key| {
                let Some((_, keep)) = fields.iter().find(|(name, _)| *name == key) else {
                    return reader.skip().map(drop);
                };
                out.push(separator);
                separator = ',';
                push_key(out, &key);
                copy(reader, keep, out)
            })?;
            if separator == '{' {
                out.push('{');
            }
            out.push('}');
        }
        (Each(keep), Kind::Array) => {
            out.push('[');
            reader.array(|reader, index| {
                if index > 0 {
                    out.push(',');
                }
                copy(reader, keep, out)
            })?;
            out.push(']');
        }
        _ => out.push_str(reader.skip()?),
    }
    Ok(())
}

fn push_key(out: &mut String, key: &str) {
    let mut written = Vec::with_capacity(key.len() + 2);
    write_string(&mut written, key);
    out.push_str(&String::from_utf8_lossy(&written));
    out.push(':');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod() -> Value {
        json!({
            "metadata": {
                "name": "web-1", "namespace": "shop", "uid": "u", "resourceVersion": "7", "labels": {"app": "web"},
                "annotations": {"a": "b"}, "ownerReferences": [{"kind": "ReplicaSet", "newer": 1}], "managedFields": [{}]
            },
            "spec": {
                "hostNetwork": true, "hostPID": true, "hostIPC": true, "volumes": [{"name": "v"}],
                "containers": [
                    {"name": "a", "image": "i", "env": [{"name": "E"}], "ports": [{"containerPort": 80}]},
                    {"image": "i", "name": "b"}
                ],
                "initContainers": [{"name": "i", "restartPolicy": "Always"}]
            },
            "status": {
                "phase": "Running", "hostIP": "10.0.0.1", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}],
                "startTime": "2026-01-02T03:04:05Z", "containerStatuses": [{}], "newer": [1, {"x": "\u{e9}\n"}]
            },
            "newer": {"kept": null}
        })
    }

    #[test]
    fn a_pod_of_a_list_is_kept_to_the_byte() {
        let text = serde_json::to_string_pretty(&pod()).unwrap();
        let read = read(&text).unwrap();
        assert_eq!(read.full, text);
        assert_eq!(
            (&*read.namespace, &*read.name, &*read.version),
            ("shop", "web-1", "7")
        );
    }

    #[test]
    fn a_pod_of_a_watch_loses_its_kind_and_nothing_else() {
        let mut object = json!({"kind": "Pod", "apiVersion": "v1"});
        for (key, value) in pod().as_object().unwrap() {
            object[key] = value.clone();
        }
        let text = object.to_string();
        let read = read(&text).unwrap();
        assert_eq!(read.full, pod().to_string());
    }

    #[test]
    fn the_trimmed_view_has_what_the_contract_says() {
        let text = pod().to_string();
        let trimmed: Value = serde_json::from_str(&read(&text).unwrap().trimmed).unwrap();
        let expected = json!({
            "metadata": {
                "name": "web-1", "namespace": "shop", "uid": "u", "labels": {"app": "web"},
                "ownerReferences": [{"kind": "ReplicaSet", "newer": 1}]
            },
            "spec": {
                "hostNetwork": true, "hostPID": true, "hostIPC": true,
                "containers": [{"name": "a", "ports": [{"containerPort": 80}]}, {"name": "b"}]
            },
            "status": {
                "hostIP": "10.0.0.1", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}], "startTime": "2026-01-02T03:04:05Z"
            }
        });
        assert_eq!(trimmed, expected);
    }

    #[test]
    fn odd_pods() {
        let check = |text: &str, full: &str, trimmed: &str| {
            let read = read(text).unwrap();
            assert_eq!((&*read.full, &*read.trimmed), (full, trimmed), "{text}");
        };
        check("{}", "{}", "{}");
        check(r#"{"kind":"Pod","apiVersion":"v1"}"#, "{}", "{}");
        check(
            r#"{"kind":"Pod","metadata":null,"spec":{"containers":null},"status":{}}"#,
            r#"{"metadata":null,"spec":{"containers":null},"status":{}}"#,
            r#"{"metadata":null,"spec":{"containers":null},"status":{}}"#,
        );
        check(
            r#"{"spec":{"containers":[null,[],{"name":"a\u0022"}]}}"#,
            r#"{"spec":{"containers":[null,[],{"name":"a\u0022"}]}}"#,
            r#"{"spec":{"containers":[null,[],{"name":"a\u0022"}]}}"#,
        );
        for bad in ["", "[]", "{", r#"{"metadata":{"name":1}}"#, "{} x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(View::named("ebpf-v1"), View::EbpfV1);
        assert_eq!(View::named("ebpf-v2"), View::Full);
    }
}
