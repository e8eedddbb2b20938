//! What a client of a webhook sees: the certificate, and answers on a connection that stays open.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::impostor::body;

/// How long a server on this machine may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a webhook, verified as the API server does it.
#[derive(Debug)]
pub struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Connection {
    /// Connects. The server must have a certificate for `name` from one of the authorities in
    /// `bundle` (PEM).
    pub fn open(server: SocketAddr, name: &str, bundle: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(bundle)? {
            roots.add(authority)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned())?;
        let mut tcp = TcpStream::connect_timeout(&server, PATIENCE)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let mut session = ClientConnection::new(Arc::new(config), name)?;
        while session.is_handshaking() {
            let done = session.complete_io(&mut tcp);
            done.with_context(|| format!("no handshake with {server}"))?;
        }
        Ok(Self {
            stream: StreamOwned::new(session, tcp),
        })
    }

    /// The server's certificate.
    pub fn certificate(&self) -> Result<Vec<u8>> {
        let chain = self.stream.conn.peer_certificates().unwrap_or_default();
        let leaf = chain.first().context("the server sent no certificate")?;
        Ok(leaf.to_vec())
    }

    /// Asks for a review of a pod that wants nothing, and keeps the connection open.
    pub fn review(&mut self) -> Result<()> {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "by-hand", "operation": "CREATE", "namespace": "default",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "object": {
                    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "by-hand"},
                    "spec": {"containers": [{"name": "app", "image": "app"}]},
                },
            },
        })
        .to_string();
        write!(
            self.stream,
            "POST /v1/webhooks/inject HTTP/1.1\r\nhost: webhook\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{review}",
            review.len()
        )?;
        self.stream.flush()?;
        let answer: Value = serde_json::from_slice(&body(&mut self.stream)?)?;
        ensure!(
            answer["response"]["allowed"] == true,
            "the answer was {answer}"
        );
        Ok(())
    }
}

/// The certificates in a text.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    Ok(all?)
}

/// Fails unless a text is one certificate and the other its key.
pub fn assert_pair(certificate: &str, key: &str) -> Result<()> {
    let chain = certificates(certificate)?;
    if chain.len() != 1 {
        bail!("{} certificates instead of one", chain.len());
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())?;
    Ok(())
}

/// What a plain HTTP server answers to a GET: the status and the body.
pub fn get(server: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut tcp = TcpStream::connect_timeout(&server, PATIENCE)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    write!(
        tcp,
        "GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    BufReader::new(tcp).read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    let (_, body) = text.split_once("\r\n\r\n").context("half an answer")?;
    Ok((status.context("no status")?, body.to_owned()))
}
