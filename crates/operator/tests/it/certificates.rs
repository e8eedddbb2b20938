//! Where the certificate comes from, what it is good for, and what is said if it is good for
//! nothing.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{
    Client, JAVA_REVIEW, Operator, Protocol, connect, connect_with, get, post, read, run,
};

/// Writes a self-signed certificate for localhost and returns the paths of its files.
fn write_pair(
    directory: &Path,
    name: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    change(&mut params);
    let certificate = params.self_signed(&key).expect("a certificate");
    let write = |extension: &str, text: String| {
        let path = directory.join(format!("{name}.{extension}"));
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    (
        write("crt", certificate.pem()),
        write("key", key.serialize_pem()),
    )
}

fn trust(path: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(path).expect("a certificate"))
        .expect("a certificate");
    roots
}

#[tokio::test]
async fn made_at_start() {
    let operator = Operator::start(&["--service-name", "hook", "--service-namespace", "obs"]);
    for name in [
        "localhost",
        "127.0.0.1",
        "::1",
        "hook",
        "hook.obs",
        "hook.obs.svc",
        "hook.obs.svc.cluster.local",
    ] {
        let stream = connect(operator.https, &operator.roots, name, &["h2"]).await;
        stream.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let stranger = connect(operator.https, &operator.roots, "hook.other.svc", &["h2"]).await;
    assert!(stranger.is_err());
    let pem = read(operator.file("ca.pem"));
    assert_eq!(
        pem.matches("-----BEGIN ").count(),
        1,
        "the certificate and no key: {pem}"
    );
    let left: Vec<_> = std::fs::read_dir(operator.file(""))
        .expect("a directory")
        .collect();
    assert_eq!(left.len(), 1, "no temporary file is left: {left:?}");
}

#[tokio::test]
async fn made_at_start_for_the_namespace_of_the_pod() {
    let operator = Operator::start_with(&[], &[("POD_NAMESPACE", "watch")]);
    let name = "datakit-operator.watch.svc";
    connect(operator.https, &operator.roots, name, &["h2"])
        .await
        .expect("a connection");
}

#[tokio::test]
async fn versions_and_protocols() {
    let operator = Operator::start(&[]);
    for version in rustls::ALL_VERSIONS {
        for (offered, agreed) in [
            (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
            (&["http/1.1"][..], Some(&b"http/1.1"[..])),
            (&[][..], None),
        ] {
            let versions = &[*version];
            let stream = connect_with(
                operator.https,
                &operator.roots,
                "localhost",
                offered,
                versions,
            )
            .await
            .expect("a connection");
            assert_eq!(stream.get_ref().1.alpn_protocol(), agreed, "{version:?}");
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        }
    }
}

#[tokio::test]
async fn from_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let (cert, key) = write_pair(directory.path(), "good", |_| {});
    let mut operator = Operator::start(&["--tls-cert-file", &cert, "--tls-key-file", &key]);
    operator.roots = trust(&cert);
    assert_eq!(
        operator.ask(Protocol::Http2, get("/ping")).await.status(),
        200
    );
    let lines = operator.stop().await;
    assert!(
        lines.iter().all(|line| line["level"] == "info"),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn outside_its_dates_it_is_served_with_a_warning() {
    let directory = tempfile::tempdir().expect("a directory");
    let check = async |name: &str, change: fn(&mut CertificateParams), want: &str| {
        let (cert, key) = write_pair(directory.path(), name, change);
        let operator = Operator::start(&["--tls-cert-file", &cert, "--tls-key-file", &key]);
        let lines = operator.stop().await;
        let warning = lines
            .iter()
            .find(|line| line["level"] == "warn")
            .expect("a warning");
        let message = warning["msg"].as_str().expect("a text");
        assert!(
            message.contains(&cert) && message.ends_with(want),
            "{message}"
        );
    };
    check(
        "expired",
        |params| {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 3, 4);
        },
        "expired at 2002-03-04T00:00:00Z",
    )
    .await;
    check(
        "future",
        |params| {
            params.not_before = rcgen::date_time_ymd(2100, 1, 1);
            params.not_after = rcgen::date_time_ymd(2101, 1, 1);
        },
        "is not valid before 2100-01-01T00:00:00Z",
    )
    .await;
}

#[test]
fn unusable_files_are_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let (cert, key) = write_pair(directory.path(), "good", |_| {});
    let (_, other_key) = write_pair(directory.path(), "other", |_| {});
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let empty = write("empty", "");
    let damaged = write(
        "damaged",
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    );
    let junk = write(
        "junk",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let missing = "no/such/file";

    let check = |cert: &str, key: &str, wants: &[&str]| {
        let args = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--probe-listen",
            "127.0.0.1:0",
        ];
        let files = ["--tls-cert-file", cert, "--tls-key-file", key];
        let (code, stdout, stderr) = run(&[&args[..], &files].concat(), &[]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        for want in wants {
            assert!(stderr.contains(want), "{want:?} in {stderr}");
        }
    };
    check(
        missing,
        &key,
        &["certificate file", missing, "No such file"],
    );
    check(&cert, missing, &["key file", missing, "No such file"]);
    check(&empty, &key, &["no certificate", &empty]);
    check(&cert, &empty, &["no private key", &empty]);
    check(&key, &key, &["no certificate", &key]);
    check(&cert, &cert, &["no private key", &cert]);
    check(&damaged, &key, &["not valid PEM", &damaged]);
    check(&junk, &key, &["certificate", &junk]);
    check(
        &cert,
        &other_key,
        &["does not belong to", &cert, &other_key],
    );
}

#[test]
fn contradicting_options_are_refused() {
    let (code, _, stderr) = run(&["serve", "--tls-cert-file", "a"], &[]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("--tls-key-file"), "{stderr}");
    let files = [
        "serve",
        "--tls-cert-file",
        "a",
        "--tls-key-file",
        "b",
        "--write-ca",
        "c",
    ];
    let (code, _, stderr) = run(&files, &[]);
    assert_eq!(code, Some(2), "{stderr}");
    let (code, _, stderr) = run(
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--write-ca",
            "no/such/directory/ca.pem",
        ],
        &[],
    );
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("`no/such/directory/ca.pem`: No such file"),
        "{stderr}"
    );
}

/// Certificates are read from regular files only, and never without a limit.
#[test]
fn certificate_files_are_read_with_care() {
    let folder = tempfile::tempdir().expect("a directory");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let pipe = pipe.to_str().expect("UTF-8");
    let large = folder.path().join("large");
    let file = std::fs::File::create(&large).expect("a file");
    file.set_len(100_000_000).expect("100 MB of nothing");
    let large = large.to_str().expect("UTF-8");
    for (path, found) in [
        (pipe, "it is a pipe"),
        ("/dev/zero", "it is a device"),
        (large, "it has more than 1 MiB"),
    ] {
        let args = ["serve", "--tls-cert-file", path, "--tls-key-file", path];
        let (code, _, stderr) = run(&args, &[]);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(path) && stderr.contains(found), "{stderr}");
    }
}

/// `--write-ca` writes a file and nothing else.
#[test]
fn the_ca_is_written_only_where_a_file_may_be() {
    let folder = tempfile::tempdir().expect("a directory");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("victim", &link).expect("a link");
    let link = link.to_str().expect("UTF-8");
    for (path, found) in [
        ("/dev/null", "there is a device"),
        (link, "there is a symbolic link"),
        ("/tmp", "there is a directory"),
    ] {
        let args = ["serve", "--listen", "127.0.0.1:0", "--write-ca", path];
        let (code, _, stderr) = run(&args, &[]);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(
            stderr.contains(path) && stderr.contains(found) && stderr.contains("name another path"),
            "{stderr}"
        );
    }
    assert!(!folder.path().join("victim").exists());
}

/// What signs clients' certificates.
struct ClientAuthority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl ClientAuthority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(params, key);
        Self {
            certificate,
            issuer,
        }
    }

    /// A client that connects to the operator as somebody of this name.
    async fn client(&self, operator: &Operator, name: &str) -> Client {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(operator.roots.clone())
            .with_client_auth_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("they belong together");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(operator.https)
            .await
            .expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await;
        Client::http2(stream.expect("a TLS connection")).await
    }
}

#[tokio::test]
async fn reviews_for_known_clients_only() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("clients.pem");
    let (ours, others) = (ClientAuthority::new(), ClientAuthority::new());
    std::fs::write(&file, ours.certificate.pem()).expect("written");
    let file = file.to_str().expect("UTF-8");
    let operator = Operator::start(&[
        "--client-ca-file",
        file,
        "--require-client-certificate",
        "--review-client",
        "kube-apiserver",
    ]);
    let mut known = ours.client(&operator, "kube-apiserver").await;
    let answer = known.ask(post(JAVA_REVIEW.clone())).await;
    assert_eq!(answer.expect("an answer").status(), 200);
    let mut strangers = [
        ours.client(&operator, "kubelet").await,
        others.client(&operator, "kube-apiserver").await,
        operator.client(Protocol::Http2).await,
    ];
    for stranger in &mut strangers {
        let answer = stranger.ask(post(JAVA_REVIEW.clone())).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 403);
        assert!(
            answer
                .text()
                .starts_with("reviews are for clients that have a certificate")
        );
        // Everything else is for everybody.
        let answer = stranger.ask(get("/ping")).await;
        assert_eq!(answer.expect("an answer").status(), 200);
    }
    let denied = operator
        .metric("datakit_operator_reviews_denied_total")
        .await;
    assert_eq!(denied, 3.0);
    // The file is read again.
    std::fs::write(file, others.certificate.pem()).expect("written");
    operator
        .logged("recognising clients by the authorities that have changed on disk")
        .await;
    let mut known = others.client(&operator, "kube-apiserver").await;
    let answer = known.ask(post(JAVA_REVIEW.clone())).await;
    assert_eq!(answer.expect("an answer").status(), 200);
}

#[test]
fn authorities_of_clients_that_are_none() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("clients.pem");
    std::fs::write(&file, "nothing").expect("written");
    let path = file.to_str().expect("UTF-8");
    let (code, _, said) = run(
        &["serve", "--listen", "127.0.0.1:0", "--client-ca-file", path],
        &[],
    );
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("found no certificate in"), "{said}");
}
