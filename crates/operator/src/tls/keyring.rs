//! The authorities of an installation, in the form in which a Secret keeps them.
//!
//! | key | what it is |
//! |---|---|
//! | `ca.crt`, `ca.key` | the authority that signs |
//! | `previous-ca.crt` | those before it that are still good, so that clients go on trusting what they signed |
//! | `previous-ca.key` | the key of the first of those, where it is needed until the new authority is trusted everywhere |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::authority::{Authority, AuthorityError, Der, read_bundle, to_pem};

const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
const PREVIOUS_CERTIFICATE: &str = "previous-ca.crt";
const PREVIOUS_KEY: &str = "previous-ca.key";

/// What the Secret holds can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// A key is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A value is not what it should be.
    #[error("`{0}` is unusable")]
    Unusable(&'static str, #[source] AuthorityError),
}

/// The authorities of an installation. The first one is the newest.
#[derive(Clone, Debug)]
pub struct Keyring {
    authorities: Vec<Arc<Authority>>,
}

impl Keyring {
    /// The keys of the data. Others belong to somebody else.
    pub const KEYS: &[&str] = &[CERTIFICATE, KEY, PREVIOUS_CERTIFICATE, PREVIOUS_KEY];

    /// A new authority in front of those whose certificates go on being trusted. Expired ones are
    /// left out.
    #[must_use]
    pub fn new(authority: Authority, previous: &[Arc<Authority>], now: SystemTime) -> Self {
        let good = previous
            .iter()
            .filter(|authority| authority.validity().contains(now));
        Self {
            authorities: std::iter::once(Arc::new(authority))
                .chain(good.cloned())
                .collect(),
        }
    }

    /// Reads a Secret's data. A damaged record of previous authorities is as good as none.
    ///
    /// # Errors
    ///
    /// If the authority that signs is missing or unusable.
    pub fn read(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, KeyringError> {
        let value = |key: &'static str| data.get(key).filter(|value| !value.is_empty());
        let certificate = value(CERTIFICATE).ok_or(KeyringError::Missing(CERTIFICATE))?;
        let key = value(KEY).ok_or(KeyringError::Missing(KEY))?;
        let current = Authority::read(certificate, Some(key)).map_err(|error| match error {
            AuthorityError::Key | AuthorityError::Mismatch => KeyringError::Unusable(KEY, error),
            error => KeyringError::Unusable(CERTIFICATE, error),
        })?;
        let mut authorities = vec![Arc::new(current)];
        let (previous, _) = value(PREVIOUS_CERTIFICATE)
            .map(|pem| read_bundle(pem))
            .unwrap_or_default();
        for (index, der) in previous.iter().enumerate() {
            let pem = to_pem(der);
            let key = value(PREVIOUS_KEY).filter(|_| index == 0);
            let read = Authority::read(pem.as_bytes(), key.map(Vec::as_slice))
                .or_else(|_| Authority::read(pem.as_bytes(), None));
            authorities.extend(read.ok().map(Arc::new));
        }
        Ok(Self { authorities })
    }

    /// The data for a Secret.
    #[must_use]
    pub fn data(&self) -> BTreeMap<String, Vec<u8>> {
        let mut data = BTreeMap::new();
        let mut put = |key: &str, value: String| data.insert(key.to_owned(), value.into_bytes());
        let mut authorities = self.authorities.iter();
        if let Some(current) = authorities.next() {
            put(CERTIFICATE, current.pem().to_owned());
            if let Some(key) = current.key_pem() {
                put(KEY, key);
            }
        }
        let previous: Vec<_> = authorities.collect();
        if let Some(first) = previous.first() {
            let bundle = previous.iter().map(|authority| authority.pem()).collect();
            put(PREVIOUS_CERTIFICATE, bundle);
            if let Some(key) = first.key_pem() {
                put(PREVIOUS_KEY, key);
            }
        }
        data
    }

    /// All authorities, the newest first.
    #[must_use]
    pub fn authorities(&self) -> &[Arc<Authority>] {
        &self.authorities
    }

    /// The authority with this certificate.
    #[must_use]
    pub fn find(&self, der: &Der) -> Option<&Arc<Authority>> {
        self.authorities
            .iter()
            .find(|authority| authority.der() == der)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    fn authority() -> Authority {
        Authority::make(clock::now(), Duration::from_secs(3600)).unwrap()
    }

    fn ders(keyring: &Keyring) -> Vec<(Der, bool)> {
        let authorities = keyring.authorities().iter();
        authorities
            .map(|authority| (authority.der().clone(), authority.can_sign()))
            .collect()
    }

    #[test]
    fn round_trip() {
        let now = clock::now();
        let oldest = Arc::new(authority().without_key());
        let previous = Arc::new(authority());
        let expired = now - Duration::from_secs(7200);
        let expired = Arc::new(Authority::make(expired, Duration::from_secs(60)).unwrap());
        let keyring = Keyring::new(authority(), &[previous, oldest, expired], now);
        assert_eq!(keyring.authorities().len(), 3);
        let read = Keyring::read(&keyring.data()).unwrap();
        assert_eq!(ders(&read), ders(&keyring));
    }

    #[test]
    fn damage_is_told_apart() {
        let good = Keyring::new(authority(), &[Arc::new(authority())], clock::now()).data();
        type Data = BTreeMap<String, Vec<u8>>;
        let check = |change: &dyn Fn(&mut Data), want: &str| {
            let mut data = good.clone();
            change(&mut data);
            let error = Keyring::read(&data).unwrap_err();
            assert_eq!(error.to_string(), want);
        };
        check(&|data| data.clear(), "`ca.crt` is missing");
        check(&|data| drop(data.remove(KEY)), "`ca.key` is missing");
        check(
            &|data| drop(data.insert(KEY.to_owned(), Vec::new())),
            "`ca.key` is missing",
        );
        check(
            &|data| drop(data.insert(CERTIFICATE.to_owned(), b"garbage".to_vec())),
            "`ca.crt` is unusable",
        );
        check(
            &|data| drop(data.insert(KEY.to_owned(), data[PREVIOUS_KEY].clone())),
            "`ca.key` is unusable",
        );
        let mut data = good;
        data.insert(PREVIOUS_CERTIFICATE.to_owned(), vec![0xff; 10]);
        assert_eq!(Keyring::read(&data).unwrap().authorities().len(), 1);
    }
}
