//! A certificate authority: made here, or read back from where it was stored.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{TlsError, provider};
use crate::clock;

/// Certificates made here are valid from this long before they were made, for clients whose clocks
/// are behind.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// A certificate in its binary form, which is also what tells one from another.
pub type Der = Arc<[u8]>;

/// The time in which a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when on.
    pub from: SystemTime,
    /// Until when.
    pub until: SystemTime,
}

impl Validity {
    fn starting(now: SystemTime, lifetime: Duration) -> Self {
        // Times in certificates are whole seconds. Rounded down here, what we say is what the
        // certificate says.
        let now = whole_seconds(now);
        Self {
            from: clock::earlier(now, BACKDATED),
            until: clock::later(now, lifetime),
        }
    }

    /// Whether a certificate is good at this time.
    #[must_use]
    pub fn contains(&self, now: SystemTime) -> bool {
        self.from <= now && now < self.until
    }

    /// When the certificate was made, if it was made here.
    #[must_use]
    pub fn made(&self) -> SystemTime {
        (self.from + BACKDATED).min(self.until)
    }

    /// When to replace the certificate: after two thirds of its time, so that a third is left for
    /// things to go wrong.
    #[must_use]
    pub fn renewal(&self) -> SystemTime {
        let lifetime = self.until.duration_since(self.made()).unwrap_or_default();
        self.made() + lifetime * 2 / 3
    }
}

/// The names that a certificate made here is valid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The name of the Kubernetes Service in front of this process.
    pub service: String,
    /// The namespace of that Service.
    pub namespace: String,
    /// Further DNS names and IP addresses.
    pub extra: Vec<String>,
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
    /// The authority's key is not known here.
    #[error("the key of the certificate authority is not known")]
    NoKey,
}

/// What was stored is no authority.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// No certificate can be read.
    #[error("the certificate can't be read")]
    Certificate,
    /// The certificate can't sign others.
    #[error("the certificate is not that of a certificate authority")]
    NotAnAuthority,
    /// No key can be read.
    #[error("the key can't be read")]
    Key,
    /// Both are fine, but not for each other.
    #[error("the key does not belong to the certificate")]
    Mismatch,
}

/// A certificate authority, with its key where that is known.
pub struct Authority {
    der: Der,
    pem: String,
    validity: Validity,
    key: Option<KeyPair>,
}

/// A server's certificate with its key, and what must be known about it to replace it in time.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// What the server presents.
    pub key: Arc<CertifiedKey>,
    /// The authority that signed it.
    pub issuer: Der,
    /// When it is good.
    pub validity: Validity,
}

impl Names {
    /// The name by which the API server calls.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }

    /// All names and addresses: the Service in every form that a cluster's DNS knows, this machine,
    /// and the extra ones.
    fn subject_alt_names(&self) -> Result<Vec<SanType>, MintError> {
        let Self {
            service, namespace, ..
        } = self;
        let dns = [
            self.host(),
            format!("{service}.{namespace}.svc.cluster.local"),
            format!("{service}.{namespace}"),
            service.clone(),
            "localhost".to_owned(),
        ];
        let addresses = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        let dns = dns.into_iter().map(dns_name);
        let extra = self.extra.iter().map(|name| match name.parse() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) => dns_name(name.clone()),
        });
        dns.chain(addresses.map(|address| Ok(SanType::IpAddress(address))))
            .chain(extra)
            .collect()
    }
}

fn dns_name(name: String) -> Result<SanType, MintError> {
    match name.as_str().try_into() {
        Ok(ascii) => Ok(SanType::DnsName(ascii)),
        Err(source) => Err(MintError::Name { name, source }),
    }
}

impl Authority {
    /// Makes an authority with a new key.
    ///
    /// # Errors
    ///
    /// If the operating system has no randomness.
    pub fn make(now: SystemTime, lifetime: Duration) -> Result<Self, MintError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let validity = Validity::starting(now, lifetime);
        let mut params = params("datakit-operator CA", validity);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, &key)?;
        let der: Der = issuer.der().as_ref().into();
        Ok(Self {
            pem: to_pem(&der),
            der,
            validity,
            key: Some(key),
        })
    }

    /// Reads an authority back from PEM; without a key it can be trusted but can't sign.
    ///
    /// # Errors
    ///
    /// If one of the two isn't what it should be, or they don't belong together.
    pub fn read(certificate: &[u8], key: Option<&[u8]>) -> Result<Self, AuthorityError> {
        let der =
            CertificateDer::from_pem_slice(certificate).map_err(|_| AuthorityError::Certificate)?;
        let (rest, parsed) =
            X509Certificate::from_der(&der).map_err(|_| AuthorityError::Certificate)?;
        if !rest.is_empty() {
            return Err(AuthorityError::Certificate);
        }
        if !parsed.is_ca() {
            return Err(AuthorityError::NotAnAuthority);
        }
        let validity = Validity {
            from: time(parsed.validity().not_before.timestamp()),
            until: time(parsed.validity().not_after.timestamp()),
        };
        let key = match key {
            None => None,
            Some(pem) => {
                let pem = std::str::from_utf8(pem).map_err(|_| AuthorityError::Key)?;
                let key = KeyPair::from_pem(pem).map_err(|_| AuthorityError::Key)?;
                use rcgen::PublicKeyData as _;
                if key.subject_public_key_info() != parsed.public_key().raw {
                    return Err(AuthorityError::Mismatch);
                }
                Some(key)
            }
        };
        Ok(Self {
            pem: to_pem(&der),
            der: der.as_ref().into(),
            validity,
            key,
        })
    }

    /// Its certificate.
    #[must_use]
    pub fn der(&self) -> &Der {
        &self.der
    }

    /// Its certificate as PEM: what clients must trust.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// When it is good.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Its key as PEM, where known.
    #[must_use]
    pub fn key_pem(&self) -> Option<String> {
        self.key.as_ref().map(KeyPair::serialize_pem)
    }

    /// Whether its key is known.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        self.key.is_some()
    }

    /// The same authority without its key: it can still be trusted.
    #[must_use]
    pub fn without_key(&self) -> Self {
        Self {
            der: Arc::clone(&self.der),
            pem: self.pem.clone(),
            validity: self.validity,
            key: None,
        }
    }

    /// Makes a certificate for a server, which replicas also present to each other as clients. It
    /// doesn't outlive the authority.
    ///
    /// # Errors
    ///
    /// If a name can't stand in a certificate, or the key isn't known.
    pub fn issue(
        &self,
        names: &Names,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Leaf, TlsError> {
        let authority = self.key.as_ref().ok_or(MintError::NoKey)?;
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(self.der.as_ref()), authority)
            .map_err(MintError::from)?;
        let mut validity = Validity::starting(now, lifetime);
        validity.until = validity.until.min(self.validity.until);
        let mut params = params("datakit-operator", validity);
        params.subject_alt_names = names.subject_alt_names()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(MintError::from)?;
        let certificate = params.signed_by(&key, &issuer).map_err(MintError::from)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let chain = vec![certificate.der().clone()];
        let key = CertifiedKey::from_der(chain, key, &provider::ring()).map_err(TlsError::Setup)?;
        Ok(Leaf {
            key: Arc::new(key),
            issuer: Arc::clone(&self.der),
            validity,
        })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Nothing of a private key belongs in a log.
        formatter
            .debug_struct("Authority")
            .field("validity", &self.validity)
            .field("can_sign", &self.can_sign())
            .finish_non_exhaustive()
    }
}

fn params(common_name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = validity.from.into();
    params.not_after = validity.until.into();
    params
}

/// The certificates of a PEM bundle in their order, and whether that was all there was in it.
#[must_use]
pub fn read_bundle(pem: &[u8]) -> (Vec<Der>, bool) {
    let mut whole = true;
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem) {
        match der {
            Ok(der) => found.push(der.as_ref().into()),
            Err(_) => whole = false,
        }
    }
    (found, whole)
}

/// A certificate as PEM, in the one form that is written here.
#[must_use]
pub fn to_pem(der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new("CERTIFICATE", der), config)
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = clock::writable(time)
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// The time of so many seconds since 1970, as far as it can be written.
pub(super) fn time(timestamp: i64) -> SystemTime {
    // Before 1970 is as good as expired, and a date that nobody can write as good as for ever.
    let seconds = u64::try_from(timestamp).unwrap_or_default();
    clock::later(UNIX_EPOCH, Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            service: "hook".to_owned(),
            namespace: "obs".to_owned(),
            extra: vec!["hook.example".to_owned(), "10.0.0.1".to_owned()],
        }
    }

    #[test]
    fn what_is_stored_comes_back() {
        let now = clock::now();
        let made = Authority::make(now, Duration::from_secs(3600)).unwrap();
        let key = made.key_pem().unwrap();
        let read = Authority::read(made.pem().as_bytes(), Some(key.as_bytes())).unwrap();
        assert_eq!(read.der(), made.der());
        assert_eq!(read.pem(), made.pem());
        assert_eq!(read.validity(), made.validity());
        assert_eq!(read.key_pem(), made.key_pem());
        let leaf = read
            .issue(&names(), now, Duration::from_secs(86_400))
            .unwrap();
        assert_eq!(&leaf.issuer, made.der());
        assert_eq!(leaf.validity.until, made.validity().until);
        assert_eq!(
            read_bundle(made.pem().as_bytes()),
            (vec![made.der().clone()], true)
        );
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        let now = clock::now();
        let one = Authority::make(now, Duration::from_secs(60)).unwrap();
        let other = Authority::make(now, Duration::from_secs(60)).unwrap();
        let leaf = one.issue(&names(), now, Duration::from_secs(60)).unwrap();
        let leaf = to_pem(&leaf.key.cert[0]);
        let (pem, key) = (one.pem(), one.key_pem().unwrap());
        let check = |pem: &str, key: Option<&str>, want: AuthorityError| {
            let read = Authority::read(pem.as_bytes(), key.map(str::as_bytes));
            assert_eq!(read.err(), Some(want));
        };
        check("", Some(&key), AuthorityError::Certificate);
        check(&pem[..100], Some(&key), AuthorityError::Certificate);
        check(&leaf, None, AuthorityError::NotAnAuthority);
        check(pem, Some(""), AuthorityError::Key);
        check(pem, Some(pem), AuthorityError::Key);
        check(pem, other.key_pem().as_deref(), AuthorityError::Mismatch);
    }

    /// Every time that a clock can show, and every lifetime, makes a certificate: one that is
    /// refused is a reason to look at the clock, a process that ends is not.
    #[test]
    fn any_clock_makes_certificates() {
        let day = Duration::from_secs(86_400);
        let year_9999 = UNIX_EPOCH + Duration::from_secs(253_402_300_000);
        for now in [
            UNIX_EPOCH - 400 * 365 * day,
            UNIX_EPOCH,
            year_9999,
            year_9999 + 365 * day,
            UNIX_EPOCH + Duration::from_secs(1 << 60),
        ] {
            for lifetime in [day, 365 * 10 * day, Duration::MAX] {
                let authority = Authority::make(now, lifetime).unwrap();
                let leaf = authority.issue(&names(), now, lifetime).unwrap();
                let validity = leaf.validity;
                assert!(validity.from <= validity.until, "{validity:?}");
                assert!(validity.renewal() <= validity.until, "{validity:?}");
                let read = Authority::read(authority.pem().as_bytes(), None).unwrap();
                assert_eq!(read.validity(), authority.validity());
            }
        }
    }

    #[test]
    fn replaced_after_two_thirds() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let validity = Validity::starting(now, Duration::from_secs(300));
        assert_eq!(validity.made(), now);
        assert_eq!(validity.renewal(), now + Duration::from_secs(200));
        assert!(validity.contains(now));
        assert!(!validity.contains(now + Duration::from_secs(300)));
    }
}
