//! Makes a certificate authority and a server certificate from it, in memory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::{Material, TlsError};

/// Certificates made here are valid from this long before now, for clients whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(60 * 60);
/// Certificates made here are valid for this long. The key never leaves the process, and a restart makes a new one.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The names that a certificate made here is valid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The name of the Kubernetes Service in front of this process.
    pub service: String,
    /// The namespace of that Service.
    pub namespace: String,
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// A Service or namespace name that can't stand in a certificate.
    #[error("`{name}` can't be a name in a certificate; expected a DNS name")]
    Name {
        /// The name.
        name: String,
        /// What the certificate library says.
        source: rcgen::Error,
    },
    /// No randomness, or a fault of the certificate library.
    #[error("failed to make a certificate")]
    Library(#[from] rcgen::Error),
}

impl Names {
    /// All names and addresses: the Service in every form that a cluster's DNS knows, and this machine.
    fn subject_alt_names(&self) -> Result<Vec<SanType>, MintError> {
        let Self { service, namespace } = self;
        let dns = [
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
            format!("{service}.{namespace}"),
            service.clone(),
            "localhost".to_owned(),
        ];
        let addresses = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        let dns = dns.into_iter().map(|name| match name.as_str().try_into() {
            Ok(ascii) => Ok(SanType::DnsName(ascii)),
            Err(source) => Err(MintError::Name { name, source }),
        });
        dns.chain(addresses.map(|address| Ok(SanType::IpAddress(address))))
            .collect()
    }

    /// Makes an authority and a certificate from it. The authority's key is gone when this returns.
    pub(super) fn mint(&self, provider: &CryptoProvider) -> Result<Material, TlsError> {
        let authority = authority()?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(MintError::from)?;
        let mut leaf = dated(CertificateParams::default());
        leaf.subject_alt_names = self.subject_alt_names()?;
        leaf.distinguished_name
            .push(DnType::CommonName, "datakit-operator");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let leaf = leaf.signed_by(&key, &authority).map_err(MintError::from)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let key = CertifiedKey::from_der(vec![leaf.der().clone()], key, provider)
            .map_err(TlsError::Setup)?;
        Ok(Material {
            key,
            ca_pem: Some(authority.pem()),
            warnings: Vec::new(),
        })
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, MintError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = dated(CertificateParams::default());
    params
        .distinguished_name
        .push(DnType::CommonName, "datakit-operator ephemeral CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, key)?)
}

fn dated(mut params: CertificateParams) -> CertificateParams {
    let now = SystemTime::now();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + LIFETIME).into();
    params
}
