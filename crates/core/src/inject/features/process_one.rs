//! Programs that rely on being process 1 of their container, which none is where processes are
//! shared (<https://kubernetes.io/docs/tasks/configure-pod-container/share-process-namespace/>).

use crate::pod::Pod;
use crate::pod::view::Container;

use super::application;
use crate::inject::reason::Reason;

/// Whether the pod's processes can be shared, or are already.
pub(super) fn suits(pod: &Pod<'_>) -> Result<(), Reason> {
    if pod.share_process_namespace == Some(true) {
        return Ok(());
    }
    for (_, container) in application(pod) {
        if let Some(what) = relied_on_by(container) {
            return Err(Reason::ProcessOne {
                container: container.name.clone().into_owned(),
                what,
            });
        }
    }
    Ok(())
}

/// What in a container relies on it, if it says so: an init system, or a command that signals or
/// reads process 1.
fn relied_on_by(container: &Container<'_>) -> Option<&'static str> {
    let mut found = None;
    let mut kills = false;
    container.runs.words(|word| {
        if word.is_program {
            kills = false;
            if matches!(name(word.text), "init" | "systemd") {
                found = Some("an init system");
            }
        }
        if word.text.contains("/proc/1/") {
            found = Some("a command that reads /proc/1");
        }
        for token in word
            .text
            .split(|letter: char| letter.is_ascii_whitespace() || matches!(letter, '"' | '\''))
        {
            let ends = token.ends_with([';', '&', '|', ')']);
            let token = token.trim_matches([';', '&', '|', '(', ')']);
            if name(token) == "kill" {
                kills = true;
            } else if kills && token == "1" {
                found = Some("a command that signals process 1");
            }
            kills &= !ends && !token.is_empty();
        }
    });
    found
}

fn name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Reader;
    use serde_json::json;

    #[test]
    fn what_relies_on_being_process_one() {
        for (container, relies) in [
            (json!({"command": ["/sbin/init"]}), true),
            (
                json!({"command": ["/lib/systemd/systemd", "--system"]}),
                true,
            ),
            (json!({"command": ["/app/server"], "args": ["init"]}), false),
            (
                json!({"lifecycle": {"preStop": {"exec": {"command": ["kill", "-QUIT", "1"]}}}}),
                true,
            ),
            (
                json!({"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "sleep 5; kill -s TERM 1"]}}}}),
                true,
            ),
            (
                json!({"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "kill $(cat /run/x.pid); sleep 1"]}}}}),
                false,
            ),
            (
                json!({"livenessProbe": {"exec": {"command": ["cat", "/proc/1/status"]}}}),
                true,
            ),
            (
                json!({"livenessProbe": {"exec": {"command": ["kill", "-0", "12"]}}}),
                false,
            ),
            (
                json!({"command": ["sh", "-c", "kill -1 7 && echo 1"]}),
                false,
            ),
            (json!({}), false),
        ] {
            let text = json!({"spec": {"containers": [container]}}).to_string();
            let pod = Pod::read(&mut Reader::new(&text)).unwrap();
            assert_eq!(relied_on_by(&pod.containers[0]).is_some(), relies, "{text}");
        }
    }
}
