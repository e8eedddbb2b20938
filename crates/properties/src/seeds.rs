//! Where fuzzing and mutating begin: the golden cases of `testdata`, and a few of each kind that
//! are not there.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Target, review};

/// The seeds of a target, each once, sorted.
///
/// # Errors
///
/// If `testdata` can't be read.
pub fn of(target: Target) -> io::Result<Vec<Vec<u8>>> {
    let mut seeds = match target {
        Target::Review => {
            let mut reviews = files(&["reviews"], |_| true)?;
            for pod in pods()? {
                let pod = value(&pod);
                reviews.extend(pod.as_ref().map(review::body_of));
                reviews.extend(pod.as_ref().map(review::body_of_workload));
            }
            reviews
        }
        Target::Pod => pods()?,
        Target::Logfwd => pods()?.iter().filter_map(|pod| logfwd(pod)).collect(),
        Target::Config => {
            let mut configs = files(&["inject", "namespaces"], |name| name == "config.json")?;
            configs.push(datakit_operator_core::config::DEFAULT_CONFIG.into());
            configs
        }
        Target::Poll => POLLS.iter().map(|text| text.as_bytes().to_vec()).collect(),
        #[cfg(feature = "operator")]
        Target::Manifest => {
            let mut texts = pods()?;
            texts.extend(read(&root().join("../examples"), &|_| true)?);
            texts.extend(MANIFESTS.iter().map(|text| text.as_bytes().to_vec()));
            texts
        }
        #[cfg(feature = "operator")]
        Target::Http => http()?,
    };
    seeds.sort_unstable();
    seeds.dedup();
    Ok(seeds)
}

/// Agents that join, run, restart and go, one poll a line.
const POLLS: &[&str] = &[
    r#"{"id":"a","application_inputs":{"mysql":5,"redis":1},"running_inputs":[]}
{"id":"b","application_inputs":{"mysql":5,"redis":1},"running_inputs":[]}
{"id":"a","application_inputs":{"mysql":5,"redis":1},"running_inputs":["mysql"]}
{"id":"b","application_inputs":{"mysql":5,"redis":1},"running_inputs":["redis"]}"#,
    r#"{"id":"a","application_inputs":[{"name":"mysql","score":3}],"running_inputs":null}
{"id":"a","application_inputs":{"mysql":5},"running_inputs":["mysql","gone"]}
{"id":"a","application_inputs":{},"running_inputs":["mysql"]}"#,
    r#"{"namespace":"n","timestamp":1,"id":"c","application_inputs":{"x":1e9,"y":-1,"z":0.5}}"#,
    "{}\n[]\nnull\n{\"id\":\"\"}",
];

#[cfg(feature = "operator")]
const MANIFESTS: &[&str] = &[
    "# a comment\napiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations: {admission.datakit/java-lib.version: ''}\n\
     spec:\n  containers:\n  - name: app # here\n    image: 'app'\n    env: &e\n    - {name: A, value: \"b\\n\"}\n  - name: b\n    image: b\n    env: *e\n",
    "---\nkind: List\napiVersion: v1\nitems:\n- kind: Pod\n  spec: {containers: [{name: a, image: a}]}\n---\n# nothing\n---\n...\n",
    "\u{feff}kind: ConfigMap\r\ndata:\r\n  a: |\r\n    b\r\n    c\r\n  d: >-\r\n    e\r\n",
    "{\"kind\": \"Pod\"}\n{\"kind\": \"Pod\", \"spec\": {\"containers\": [{\"name\": \"a\", \"image\": \"a\"}]}}",
];

#[cfg(feature = "operator")]
fn http() -> io::Result<Vec<Vec<u8>>> {
    let review = std::fs::read_to_string(root().join("reviews/java.json"))?;
    let head = "POST /v1/webhooks/inject HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let whole = format!("\0{head}content-length: {}\r\n\r\n{review}", review.len());
    let (front, back) = review.split_at(review.len() / 2);
    let chunked = format!(
        "\0{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{front}\r\n{:x};x=y\r\n{back}\r\n0\r\nt: t\r\n\r\n",
        front.len(),
        back.len()
    );
    let large = format!(
        "\0{head}content-length: 20000\r\n\r\n{}",
        "x".repeat(20_000)
    );
    let twice = format!("{whole}GET /ping HTTP/1.1\r\nhost: a\r\n\r\n");
    let poll = "\0POST /v1/datakit/election HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n{\"id\":\"a\"}";
    // A preface, settings, a request by indexed headers with a body of two pieces, a ping and a
    // reset.
    let mut frames = b"\x01PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap_or_default();
        frames.extend_from_slice(&length.to_be_bytes()[1..]);
        frames.extend_from_slice(&[kind, flags, 0, 0, 0, stream]);
        frames.extend_from_slice(payload);
    };
    frame(4, 0, 0, &[0, 3, 0, 0, 0, 100, 0, 4, 0, 0, 16, 0]);
    let mut headers = vec![0x83, 0x87, 0x04, 18];
    headers.extend_from_slice(b"/v1/webhooks/inject");
    headers[3] = 19;
    headers.extend_from_slice(&[0x41, 1, b'a', 0x5f, 16]);
    headers.extend_from_slice(b"application/json");
    frame(1, 4, 1, &headers);
    frame(0, 0, 1, front.as_bytes());
    frame(0, 1, 1, back.as_bytes());
    frame(6, 0, 0, &[0; 8]);
    frame(8, 0, 0, &[0, 0, 1, 0]);
    frame(1, 5, 3, &[0x82, 0x87, 0x84, 0x41, 1, b'a']);
    frame(3, 0, 3, &[0, 0, 0, 8]);
    let texts = [whole, chunked, large, twice, poll.to_owned()];
    let mut seeds: Vec<Vec<u8>> = texts.map(String::into_bytes).into();
    seeds.push(frames);
    Ok(seeds)
}

fn pods() -> io::Result<Vec<Vec<u8>>> {
    files(&["inject", "namespaces"], |name| {
        ["pod.json", "injected.json"].contains(&name)
    })
}

fn value(text: &[u8]) -> Option<Value> {
    serde_json::from_slice(text).ok()
}

/// The value of the annotation in a pod.
fn logfwd(pod: &[u8]) -> Option<Vec<u8>> {
    let pod = value(pod)?;
    let annotations = &pod["metadata"]["annotations"];
    let text = annotations["admission.datakit/logfwd.instances"].as_str()?;
    Some(text.as_bytes().to_vec())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

fn files(folders: &[&str], wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for folder in folders {
        found.extend(read(&root().join(folder), &wanted)?);
    }
    Ok(found)
}

/// The files of these names below a folder.
fn read(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if path.is_dir() {
            found.extend(read(&path, wanted)?);
        } else if name.is_some_and(wanted) {
            found.push(std::fs::read(&path)?);
        }
    }
    Ok(found)
}
