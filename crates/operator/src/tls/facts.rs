//! What people are told of a certificate.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::SystemTime;

use serde::Serialize;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::authority::time;
use super::provider;
use crate::clock;
use crate::visible::visible;

/// So many names of a certificate are shown.
const NAMES: usize = 16;
/// The longest text, in characters.
const LONGEST: usize = 200;

/// A certificate, without anything that is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The DNS names and addresses it is for.
    pub names: Vec<String>,
    /// The serial number, in hexadecimal.
    pub serial: String,
    /// The SHA-256 of all of it, in hexadecimal.
    pub sha256: String,
    /// From when on it is good.
    #[serde(serialize_with = "clock::rfc3339")]
    pub not_before: SystemTime,
    /// Until when.
    #[serde(serialize_with = "clock::rfc3339")]
    pub not_after: SystemTime,
}

impl Facts {
    /// Reads a certificate in its binary form; nothing if it is none.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let alternatives = parsed.subject_alternative_name().ok().flatten();
        let alternatives = alternatives.map_or(&[][..], |names| &names.value.general_names);
        Some(Self {
            subject: short(&parsed.subject().to_string()),
            issuer: short(&parsed.issuer().to_string()),
            names: alternatives.iter().filter_map(name).take(NAMES).collect(),
            serial: short(&hexadecimal(parsed.raw_serial())),
            sha256: hexadecimal(&provider::sha256(der)),
            not_before: time(parsed.validity().not_before.timestamp()),
            not_after: time(parsed.validity().not_after.timestamp()),
        })
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(short(name)),
        GeneralName::IPAddress(bytes) => {
            let address = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = address.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn short(text: &str) -> String {
    let text: String = text.chars().take(LONGEST).collect();
    visible(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::authority::{Authority, Names};
    use super::*;

    #[test]
    fn a_certificate_is_described() {
        let now = clock::now();
        let authority = Authority::make(now, Duration::from_secs(3600)).unwrap();
        let names = Names {
            service: "hook".to_owned(),
            namespace: "obs".to_owned(),
            extra: vec!["10.0.0.1".to_owned()],
        };
        let leaf = authority
            .issue(&names, now, Duration::from_secs(60))
            .unwrap();
        let facts = Facts::read(&leaf.key.cert[0]).unwrap();
        for name in ["hook.obs.svc", "10.0.0.1"] {
            assert!(facts.names.iter().any(|known| known == name), "{facts:?}");
        }
        assert_eq!(facts.not_after, leaf.validity.until);
        assert_eq!(facts.sha256.len(), 64);
        let signer = Facts::read(authority.der()).unwrap();
        assert_eq!(facts.issuer, signer.subject);
        assert_ne!(facts.serial, signer.serial);
        assert_eq!(Facts::read(b"nothing"), None);
    }
}
