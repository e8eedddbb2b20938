//! Manifests that are changed where they are, shown as a difference, and named in other ways than
//! by `-f`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::thread;

use expect_test::expect;

use crate::inject::POD;
use crate::run::{Ran, run_with};

const OTHER: &str = "kind: ConfigMap\nmetadata: {name: other}\n";
const CONFIG: &str = r#"{"admission_inject": {
    "ddtrace": {"images": {"java_agent_image": "lib:v0"}, "envs": {"A": "1"}}
}}"#;

fn run(args: &[&str], stdin: &str) -> Ran {
    run_with(&[("ENV_JSON_CONFIG", CONFIG)], args, stdin)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn files_are_changed_where_they_are_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    for (name, text) in [("pod.yaml", POD), ("other.yaml", OTHER)] {
        fs::write(file(name), text).unwrap();
    }
    fs::set_permissions(file("pod.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(file("links")).unwrap();
    symlink("../pod.yaml", file("links/pod.yaml")).unwrap();
    let untouched = fs::metadata(file("other.yaml"))
        .unwrap()
        .modified()
        .unwrap();

    let printed = run(&["inject", path(&file("pod.yaml"))], "").stdout;
    // Through a link, which stays one.
    let ran = run(
        &[
            "inject",
            "--in-place",
            "-q",
            path(&file("links")),
            path(&file("other.yaml")),
        ],
        "",
    );
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "", "")
    );
    assert_eq!(fs::read_to_string(file("pod.yaml")).unwrap(), printed);
    let now = fs::metadata(file("pod.yaml")).unwrap();
    assert_eq!(now.permissions().mode() & 0o777, 0o640);
    assert!(
        fs::symlink_metadata(file("links/pod.yaml"))
            .unwrap()
            .is_symlink()
    );
    let modified = fs::metadata(file("other.yaml"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(modified, untouched);

    let ran = run(&["uninject", "-i", path(&file("pod.yaml"))], "");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert!(ran.stderr.contains("took out ddtrace"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(file("pod.yaml")).unwrap(), POD);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn a_file_with_something_broken_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let broken = format!("{POD}---\na: [\n");
    for (name, text) in [("broken.yaml", broken.as_str()), ("pod.yaml", POD)] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let ran = run(&["inject", "-i", "-q", path(dir.path())], "");
    assert_eq!(ran.code, 1);
    let said = ran.stderr.replace(path(dir.path()), "DIR");
    expect![[r#"
        error: failed to parse document 2 of `DIR/broken.yaml` (line 10, column 4): unclosed bracket '['; it is left out
        error: `DIR/broken.yaml` is left as it is
    "#]]
    .assert_eq(&said);
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(read("broken.yaml"), broken);
    assert!(read("pod.yaml").contains("datakit-lib-init"));
}

#[test]
fn what_is_no_file_is_not_changed() {
    for (name, shown) in [
        ("-", "standard input"),
        ("https://example.com/a.yaml", "https"),
    ] {
        let ran = run(&["inject", "-i", name], POD);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.contains(shown), "{}", ran.stderr);
        assert!(ran.stderr.contains("--in-place"), "{}", ran.stderr);
    }
}

#[test]
fn a_difference_can_be_applied() {
    let ran = run(&["inject", "-", "-q", "-o", "diff"], POD);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    expect![[r#"
        --- -
        +++ -
        @@ -6,3 +6,25 @@
         spec:
           containers:
           - name: web
        +    env:
        +    - name: JAVA_TOOL_OPTIONS
        +      value: " -javaagent:/datadog-lib/dd-java-agent.jar"
        +    - name: A
        +      value: "1"
        +    volumeMounts:
        +    - name: datakit-auto-instrument
        +      mountPath: /datadog-lib
        +  volumes:
        +  - name: datakit-auto-instrument
        +    emptyDir: {}
        +  initContainers:
        +  - name: datakit-lib-init
        +    image: lib:v1
        +    command:
        +    - sh
        +    - copy-lib.sh
        +    - /datadog-lib
        +    volumeMounts:
        +    - name: datakit-auto-instrument
        +      mountPath: /datadog-lib
        +    imagePullPolicy: IfNotPresent
    "#]]
    .assert_eq(&ran.stdout);
    let ran = run(&["inject", "-", "-o", "diff"], OTHER);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    let injected = run(&["inject", "-"], POD).stdout;
    let ran = run(&["uninject", "-", "-o", "diff"], &injected);
    let (taken, added): (Vec<&str>, Vec<&str>) = ran
        .stdout
        .lines()
        .filter(|line| !line.starts_with("---") && !line.starts_with("+++"))
        .filter(|line| line.starts_with(['-', '+']))
        .partition(|line| line.starts_with('-'));
    assert_eq!(
        (taken.len(), added.len()),
        (injected.lines().count() - POD.lines().count(), 0)
    );
}

#[test]
fn patterns_are_expanded_where_nothing_has_their_name() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["a", "b/c"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
        let name = folder.replace('/', "-");
        let pod = POD.replace("name: web\n  ann", &format!("name: {name}\n  ann"));
        fs::write(dir.path().join(folder).join("pod.yaml"), pod).unwrap();
    }
    fs::write(dir.path().join("[odd].yaml"), POD).unwrap();
    let named = |pattern: &str| {
        let ran = run(
            &["inject", path(&dir.path().join(pattern)), "-o", "patch"],
            "",
        );
        let lines = ran.stdout.lines();
        let names: Vec<String> = lines
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| line["name"].as_str().unwrap().to_owned())
            .collect();
        (ran.code, names.join(" "), ran.stderr)
    };
    for (pattern, names) in [
        ("**/pod.yaml", "a b-c"),
        ("?/*.yaml", "a"),
        ("[ab]", "a b-c"),
        ("[odd].yaml", "web"),
    ] {
        let (code, found, _) = named(pattern);
        assert_eq!((code, found.as_str()), (0, names), "{pattern}");
    }
    let (code, _, said) = named("*.yml");
    assert_eq!(code, 1);
    assert!(
        said.contains("found nothing that fits the pattern"),
        "{said}"
    );
}

#[cfg(feature = "server")]
#[test]
fn manifests_come_from_urls() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = server.local_addr().unwrap();
    let answers = [
        "HTTP/1.1 302 Found\r\nlocation: /moved.yaml?a=b\r\ncontent-length: 0\r\n\r\n".to_owned(),
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{POD}",
            POD.len()
        ),
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
    ];
    let asked = thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = server.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            let request = String::from_utf8(request).unwrap();
            asked.push(request.lines().next().unwrap().to_owned());
        }
        asked
    });
    let url = format!("http://{address}/pod.yaml");
    let ran = run(&["inject", &url], "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, run(&["inject", "-"], POD).stdout);
    let ran = run(&["inject", "-f", &url], "");
    assert_eq!(ran.code, 1);
    let said = format!("error: failed to read `{url}`: the server answered 404 Not Found\n");
    assert_eq!(ran.stderr, said);
    let asked = asked.join().unwrap();
    assert_eq!(
        asked,
        [
            "GET /pod.yaml HTTP/1.1",
            "GET /moved.yaml?a=b HTTP/1.1",
            "GET /pod.yaml HTTP/1.1"
        ]
    );
}
