//! Files that change while the operator runs: taken into use without a restart, or refused without
//! harm.

use std::os::unix::fs::symlink;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, KeyPair};
use ring::digest::{SHA256, digest};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use crate::support::{JAVA_REVIEW, Operator, Protocol, connect, get, within};

/// Puts files into place as Kubernetes does in a volume: a new directory, and one link that is
/// swapped for another.
fn swap(volume: &Path, version: &str, files: &[(&str, &str)]) {
    let data = volume.join(format!("..{version}"));
    std::fs::create_dir_all(&data).expect("a directory");
    for (name, text) in files {
        std::fs::write(data.join(name), text).expect("written");
        let link = volume.join(name);
        if !link.exists() {
            symlink(Path::new("..data").join(name), link).expect("a link");
        }
    }
    let next = volume.join("..data_tmp");
    symlink(format!("..{version}"), &next).expect("a link");
    std::fs::rename(next, volume.join("..data")).expect("renamed");
}

fn path(volume: &Path, name: &str) -> String {
    volume.join(name).to_str().expect("UTF-8").to_owned()
}

#[tokio::test]
async fn a_configuration() {
    let volume = tempfile::tempdir().expect("a directory");
    let config = |image: &str| {
        json!({"admission_inject": {"ddtrace": {"images": {"java_agent_image": image}}}})
            .to_string()
    };
    swap(volume.path(), "1", &[("jsonconfig", &config("reg/java:1"))]);
    let file = path(volume.path(), "jsonconfig");
    let operator = Operator::start(&["--config", &file]);
    let injected = async || {
        let answer = operator.review(JAVA_REVIEW.clone()).await.json();
        let patch = answer["response"]["patch"].as_str().expect("a patch");
        String::from_utf8(BASE64_STANDARD.decode(patch).expect("base64")).expect("UTF-8")
    };
    assert!(injected().await.contains("reg/java:1"));

    // A document that can't be used leaves the one before in use, and says so once.
    swap(volume.path(), "2", &[("jsonconfig", "{")]);
    let refused = operator
        .logged("the configuration has changed but can't be used; going on with the one before")
        .await;
    let cause = refused["cause"].as_str().expect("a cause");
    assert!(cause.contains(&file), "{cause}");
    assert!(injected().await.contains("reg/java:1"));

    swap(volume.path(), "3", &[("jsonconfig", &config("reg/java:3"))]);
    within(async {
        while !injected().await.contains("reg/java:3") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Which one is in use is told everywhere by the same digits.
    let digest = digest(&SHA256, config("reg/java:3").as_bytes());
    let first = &digest.as_ref()[..6];
    let hash: String = first.iter().map(|byte| format!("{byte:02x}")).collect();
    let taken = operator
        .logged(
            "took over the changed configuration; `log_level` and `server_listen` wait for the next start",
        )
        .await;
    assert_eq!(taken["config"], *hash);
    let reviewed = operator.logged_with("pod reviewed", "config", &hash).await;
    assert_eq!(reviewed["outcome"], "injected");
    let status = format!(
        r#"{{\"version\":\"{}\",\"config\":\"{hash}\","#,
        env!("CARGO_PKG_VERSION")
    );
    assert!(injected().await.contains(&status), "{}", injected().await);
    let page = operator.probe(get("/metrics")).await.text();
    let mut series = page
        .lines()
        .filter(|line| line.starts_with("datakit_operator_config_info"));
    assert_eq!(
        series.next(),
        Some(&*format!(
            "datakit_operator_config_info{{hash=\"{hash}\"}} 1"
        ))
    );
    assert_eq!(series.next(), None, "one at a time");
    for outcome in ["refused", "taken"] {
        let series = format!("datakit_operator_config_reloads_total{{outcome=\"{outcome}\"}}");
        assert_eq!(operator.metric(&series).await, 1.0, "{outcome}");
    }
}

/// What takes the place of a configuration by accident or by intent neither ends injection nor the
/// watch over the file.
#[tokio::test]
async fn what_is_no_configuration_leaves_the_one_before_in_use() {
    let folder = tempfile::tempdir().expect("a directory");
    let at = folder.path().join("config.json");
    let config = |image: &str| {
        let image = json!({"java_agent_image": image});
        json!({"admission_inject": {"ddtrace": {"images": image}}}).to_string()
    };
    std::fs::write(&at, config("reg/java:1")).expect("written");
    let operator = Operator::start(&["--config", at.to_str().expect("UTF-8")]);
    let injected = async || {
        let answer = operator.review(JAVA_REVIEW.clone()).await.json();
        let patch = answer["response"]["patch"].as_str().expect("a patch");
        String::from_utf8(BASE64_STANDARD.decode(patch).expect("base64")).expect("UTF-8")
    };
    let refused = "the configuration has changed but can't be used; going on with the one before";
    let put = |what: &dyn Fn(&Path)| {
        let next = folder.path().join("next");
        what(&next);
        std::fs::rename(next, &at).expect("renamed");
    };
    let write = |text: &str| put(&|next| std::fs::write(next, text).expect("written"));
    let make_pipe = || {
        put(&|next| {
            let made = std::process::Command::new("mkfifo").arg(next).status();
            assert!(made.expect("mkfifo").success());
        });
    };
    let make_large = || {
        put(&|next| {
            let file = std::fs::File::create(next).expect("a file");
            file.set_len(100_000_000).expect("100 MB of nothing");
        });
    };
    let link_to = |target: &str| put(&|next| symlink(target, next).expect("a link"));
    let cases: [(&dyn Fn(), &str); 7] = [
        (&|| write(""), "is blank; expected a JSON object, `{}`"),
        (&|| write("{"), "failed to load the configuration"),
        (&|| write(" \n\t"), "is blank; expected a JSON object, `{}`"),
        (&make_pipe, "it is a pipe, expected a regular file"),
        (&make_large, "it has more than 4 MiB"),
        (
            &|| link_to("/dev/zero"),
            "it is a device, expected a regular file",
        ),
        (
            &|| std::fs::remove_file(&at).expect("removed"),
            "No such file",
        ),
    ];
    for (change, cause) in cases {
        change();
        operator.signal("-HUP");
        operator.logged_with(refused, "cause", cause).await;
        assert!(injected().await.contains("reg/java:1"), "{cause}");
    }
    write(&config("reg/java:2"));
    operator.logged("took over the changed configuration; `log_level` and `server_listen` wait for the next start").await;
    assert!(injected().await.contains("reg/java:2"));
    let series = "datakit_operator_config_reloads_total{outcome=\"refused\"}";
    assert!(operator.metric(series).await >= 7.0);
    operator.stop().await;
}

#[tokio::test]
async fn a_certificate() {
    let make = || {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    };
    let trust = |pem: &str| {
        let mut roots = RootCertStore::empty();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        roots.add(der).expect("a certificate");
        roots
    };
    let volume = tempfile::tempdir().expect("a directory");
    let (old, old_key) = make();
    swap(
        volume.path(),
        "1",
        &[("tls.crt", &old), ("tls.key", &old_key)],
    );
    let (cert, key) = (
        path(volume.path(), "tls.crt"),
        path(volume.path(), "tls.key"),
    );
    let mut operator = Operator::start(&["--tls-cert-file", &cert, "--tls-key-file", &key]);
    operator.roots = trust(&old);
    let mut open = operator.client(Protocol::Http2).await;

    // The key of another certificate can't be used.
    let (new, new_key) = make();
    swap(
        volume.path(),
        "2",
        &[("tls.crt", &new), ("tls.key", &old_key)],
    );
    operator
        .logged("the certificate has changed on disk but can't be used; presenting the one before")
        .await;
    connect(operator.https, &operator.roots, "localhost", &["h2"])
        .await
        .expect("the old one is still presented");

    swap(
        volume.path(),
        "3",
        &[("tls.crt", &new), ("tls.key", &new_key)],
    );
    let roots = trust(&new);
    within(async {
        while connect(operator.https, &roots, "localhost", &["h2"])
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // A connection that was open before is none the worse for it.
    let answer = open.ask(get("/ping")).await.expect("an answer");
    assert_eq!(answer.status(), 200);
}
