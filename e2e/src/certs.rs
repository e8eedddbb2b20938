//! An authority and certificates for localhost.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

/// A certificate authority.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Authority {
    /// Makes an authority.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "end-to-end tests");
        Ok(Self(CertifiedIssuer::self_signed(
            params,
            KeyPair::generate()?,
        )?))
    }

    /// Its certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its key, as PEM.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.key().serialize_pem()
    }

    /// Makes a certificate for a server on this machine.
    pub fn localhost(&self) -> Result<Pair> {
        self.server("localhost")
    }

    /// Makes a certificate for a server on this machine that is asked for by this name.
    pub fn server(&self, name: &str) -> Result<Pair> {
        self.server_at(name, &[])
    }

    /// The same for one that is also asked for by these addresses.
    pub fn server_at(&self, name: &str, addresses: &[Ipv4Addr]) -> Result<Pair> {
        self.pair(name, addresses, &[ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// The same for one that is also a client of its like.
    pub fn replica(&self, name: &str) -> Result<Pair> {
        let usages = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.pair(name, &[], &usages)
    }

    fn pair(
        &self,
        name: &str,
        addresses: &[Ipv4Addr],
        usages: &[ExtendedKeyUsagePurpose],
    ) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        for address in [Ipv4Addr::LOCALHOST].iter().chain(addresses) {
            let address = SanType::IpAddress(IpAddr::V4(*address));
            params.subject_alt_names.push(address);
        }
        params.extended_key_usages = usages.to_vec();
        Ok(Pair {
            certificate: params.signed_by(&key, &self.0)?.pem(),
            key: key.serialize_pem(),
        })
    }
}
