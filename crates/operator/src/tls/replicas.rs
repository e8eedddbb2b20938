//! How replicas of one installation know each other: each presents its own certificate, as a server
//! and as a client, and accepts what the installation's authorities have signed for the
//! installation's name, `<service>.<namespace>.svc`.
//!
//! The name counts in both directions, since an authority that isn't the installation's own signs
//! for others, too: an issuer of the whole cluster, or of a company.
//!
//! The listener asks every client for a certificate but accepts any or none, since most clients are
//! no replicas. [`Replicas::recognises`] tells who is.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::{ResolvesClientCert, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
};
use tokio_rustls::TlsConnector;

use super::Identity;
use super::authority::{Der, Names};
use super::provider::{self, KeyProof};
use crate::clock;

/// The other replicas, as far as certificates go.
pub struct Replicas {
    identity: Arc<Identity>,
    host: Option<ServerName<'static>>,
    trust: ArcSwapOption<Trust>,
}

struct Trust {
    authorities: Vec<Der>,
    connector: TlsConnector,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Replicas {
    /// Recognises nobody until told [whom to trust](Self::trust).
    #[must_use]
    pub fn new(identity: Arc<Identity>, names: &Names) -> Self {
        Self {
            identity,
            host: ServerName::try_from(names.host()).ok(),
            trust: ArcSwapOption::empty(),
        }
    }

    /// Recognises from now on what these authorities have signed for the installation's name; with
    /// none of them, nobody.
    pub fn trust(&self, authorities: &[Der]) {
        let current = self.trust.load();
        if (current.as_ref()).is_some_and(|trust| trust.authorities == authorities) {
            return;
        }
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            // One that can't be used is trusted by nobody else either.
            let _ = roots.add(CertificateDer::from(authority.to_vec()));
        }
        self.trust
            .store(self.trust_in(roots, authorities).map(Arc::new));
    }

    fn trust_in(&self, roots: RootCertStore, authorities: &[Der]) -> Option<Trust> {
        let (roots, provider) = (Arc::new(roots), Arc::new(provider::ring()));
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()
                .ok()?;
        let mut config = ClientConfig::builder_with_details(provider, clock::for_tls())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .ok()?
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(AsClient(Arc::clone(&self.identity))));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Some(Trust {
            authorities: authorities.to_vec(),
            connector: TlsConnector::from(Arc::new(config)),
            clients,
        })
    }

    /// The authorities that are trusted, the one that signs first.
    #[must_use]
    pub fn authorities(&self) -> Vec<Der> {
        let trust = self.trust.load();
        let authorities = trust.as_ref().map(|trust| trust.authorities.clone());
        authorities.unwrap_or_default()
    }

    /// What connects to another replica, and the name that it must prove to have.
    #[must_use]
    pub fn connector(&self) -> Option<(TlsConnector, ServerName<'static>)> {
        let trust = self.trust.load();
        Some((trust.as_ref()?.connector.clone(), self.host.clone()?))
    }

    /// Whether a client with these certificates is a replica of this installation: the first of
    /// them is for its name, good for clients, and signed by an authority that is trusted.
    #[must_use]
    pub fn recognises(&self, chain: &[CertificateDer<'_>]) -> bool {
        let trust = self.trust.load();
        let (Some(trust), Some(host), Some((leaf, rest))) =
            (trust.as_ref(), self.host.as_ref(), chain.split_first())
        else {
            return false;
        };
        let named = ParsedCertificate::try_from(leaf)
            .is_ok_and(|certificate| verify_server_name(&certificate, host).is_ok());
        if !named {
            return false;
        }
        let verified = trust
            .clients
            .verify_client_cert(leaf, rest, clock::tls_now());
        verified.is_ok()
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Replicas(…)")
    }
}

/// Presents the server's own certificate as a client.
#[derive(Debug)]
struct AsClient(Arc<Identity>);

impl ResolvesClientCert for AsClient {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Lets clients present any certificate whose key they have, or none.
#[derive(Debug)]
pub(super) struct AnyClient(KeyProof);

impl AnyClient {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(KeyProof::new()))
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // API servers may be set up with a client certificate that only they know what it is good
        // for.
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::duplex;

    use super::super::acceptor;
    use super::super::authority::Authority;
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn names(service: &str, namespace: &str) -> Names {
        Names {
            service: service.to_owned(),
            namespace: namespace.to_owned(),
            extra: Vec::new(),
        }
    }

    fn authority() -> Authority {
        Authority::make(clock::now(), HOUR).unwrap()
    }

    fn leaf(authority: &Authority, names: &Names) -> Arc<CertifiedKey> {
        let issued = authority.issue(names, clock::now(), HOUR);
        issued.unwrap().key
    }

    /// One that presents a certificate for `presented` and believes to be called `names`.
    fn replica(
        authority: &Authority,
        presented: &Names,
        names: &Names,
    ) -> (Arc<Identity>, Replicas) {
        let identity = Arc::new(Identity::new(leaf(authority, presented)));
        let replicas = Replicas::new(Arc::clone(&identity), names);
        (identity, replicas)
    }

    #[test]
    fn replicas_are_those_of_the_same_authority() {
        let names = names("hook", "obs");
        let (ours, theirs) = (authority(), authority());
        let (_, replicas) = replica(&ours, &names, &names);
        assert!(!replicas.recognises(&leaf(&ours, &names).cert));
        assert!(replicas.connector().is_none());
        replicas.trust(&[Arc::clone(ours.der())]);
        assert!(replicas.connector().is_some());
        assert!(replicas.recognises(&leaf(&ours, &names).cert));
        assert!(!replicas.recognises(&leaf(&theirs, &names).cert));
        assert!(!replicas.recognises(&[]));
        assert!(!replicas.recognises(&[CertificateDer::from(vec![0x30, 0])]));
        replicas.trust(&[]);
        assert!(!replicas.recognises(&leaf(&ours, &names).cert));
    }

    /// Connects over TLS: whether the server recognises the client as a replica, or why there is no
    /// connection.
    async fn connect(
        server: &(Arc<Identity>, Replicas),
        client: &(Arc<Identity>, Replicas),
    ) -> Result<bool, String> {
        let (near, far) = duplex(64 * 1024);
        let acceptor = acceptor(Arc::clone(&server.0)).unwrap();
        let (connector, host) = client.1.connector().unwrap();
        let (accepted, connected) =
            tokio::join!(acceptor.accept(far), connector.connect(host, near));
        connected.map_err(|error| error.to_string())?;
        let accepted = accepted.map_err(|error| error.to_string())?;
        let chain = accepted.get_ref().1.peer_certificates();
        Ok(server.1.recognises(chain.unwrap_or_default()))
    }

    #[tokio::test]
    async fn whom_a_shared_issuer_signed_for_another_name_is_no_replica() {
        let shared = authority();
        let ours = names("hook", "obs");
        let trusting = |replica: (Arc<Identity>, Replicas)| {
            replica.1.trust(&[Arc::clone(shared.der())]);
            replica
        };
        let one = trusting(replica(&shared, &ours, &ours));
        let another = trusting(replica(&shared, &ours, &ours));
        assert_eq!(connect(&one, &another).await, Ok(true));
        for foreign in [
            names("hook", "elsewhere"),
            names("shop", "obs"),
            names("obs", "hook"),
        ] {
            // It knows whom to call, and has a good certificate: for another name.
            let stranger = trusting(replica(&shared, &foreign, &ours));
            let host = foreign.host();
            assert_eq!(connect(&one, &stranger).await, Ok(false), "{host}");
            // Nor is it believed when it is called.
            let refused = connect(&stranger, &one).await.unwrap_err();
            assert!(refused.contains("not valid for name"), "{host}: {refused}");
        }
    }
}
