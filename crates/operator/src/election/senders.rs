//! Who sends a request to the election, how that is proved, and how often it may ask.
//!
//! ```text
//! another replica, by its certificate   ──▶ whom it says that it asks for
//! a client certificate, a bearer token  ──▶ an identity, if it is one of the agents'
//! neither                               ──▶ an address; or nobody in particular, where addresses mean nothing
//! ```

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use datakit_operator_core::election::Caller;
use datakit_operator_core::election::rates::Rates;
use datakit_operator_core::election::text::unprintable;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::access::Trouble;
use crate::access::tokens::{Tokens, User, bearer};
use crate::listen::Peer;
use crate::tls::clients::ClientName;

/// How often what only strangers do may be done, a second, for one caller: asking for leadership of
/// something unknown, presenting an unknown token.
const UNKNOWN: (u32, u32) = (50, 2_000);
/// For how many seconds a caller may save up.
const SAVED: u32 = 4;

/// Whether agents must prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Auth {
    /// They need not, and it is not looked at.
    #[default]
    Off,
    /// Those that do are told from others by it.
    Optional,
    /// They must.
    Required,
}

/// What the addresses of agents say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Addresses {
    /// Each agent reaches the operator from an address of its own, or few share one; and it stays
    /// the same while the agent runs.
    #[default]
    Distinct,
    /// Nothing: a proxy or a load balancer is between.
    Shared,
}

/// Which senders are heard.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether they must prove who they are.
    pub auth: Auth,
    /// Of those that do, who is an agent: users of tokens, their groups, names in certificates.
    /// Empty: all.
    pub agents: Vec<String>,
    /// What their addresses say.
    pub addresses: Addresses,
    /// Requests that one of them may send in a second.
    pub per_second: u32,
}

/// Tells senders apart.
#[derive(Debug)]
pub struct Senders {
    settings: Settings,
    tokens: Option<Tokens>,
    origin: Instant,
    all: Mutex<Rates>,
    unknown: Mutex<Rates>,
}

/// A sender that is not heard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It asks too often.
    #[error(
        "your address sends more than {0} requests a second; agents poll every 4 s (--max-requests-per-address)"
    )]
    TooOften(u32),
    /// It presents too many tokens that nobody knows.
    #[error(
        "your address presents too many tokens that are not known; expected that of a service account"
    )]
    TooManyTokens,
    /// It doesn't say who it is.
    #[error(
        "agents must prove who they are here, by a client certificate or `Authorization: Bearer` with a service account's token"
    )]
    Nobody,
    /// What it presents proves nothing.
    #[error("`Authorization` is no valid token; expected `Bearer` and a service account's token")]
    BadToken,
    /// It is somebody, but no agent.
    #[error("`{0}` is not one of those that may poll (--election-agent)")]
    NoAgent(String),
    /// It can't be told at the moment.
    #[error("tokens can't be checked at the moment: {0}")]
    Unavailable(String),
}

impl Denied {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooOften(_) | Self::TooManyTokens => StatusCode::TOO_MANY_REQUESTS,
            Self::Nobody | Self::BadToken => StatusCode::UNAUTHORIZED,
            Self::NoAgent(_) => StatusCode::FORBIDDEN,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Senders {
    /// Hears whom these settings say. Without `tokens`, no token proves anything.
    #[must_use]
    pub fn new(settings: Settings, tokens: Option<Tokens>) -> Self {
        let burst = settings.per_second.saturating_mul(SAVED);
        let all = Mutex::new(Rates::new(settings.per_second, burst));
        Self {
            settings,
            tokens,
            origin: Instant::now(),
            all,
            unknown: Mutex::new(Rates::new(UNKNOWN.0, UNKNOWN.1)),
        }
    }

    /// Who a client is.
    ///
    /// # Errors
    ///
    /// If it isn't heard; the answer says why.
    pub async fn recognise(&self, peer: &Peer, headers: &HeaderMap) -> Result<Caller, Denied> {
        let anonymous = self.anonymous(peer.address().ip());
        if !self.takes(&self.all, &anonymous) {
            return Err(Denied::TooOften(self.settings.per_second));
        }
        if self.settings.auth == Auth::Off {
            return Ok(anonymous);
        }
        if let Some(name) = peer.identity() {
            return self.of_certificate(name, peer.address().ip());
        }
        match headers.get(AUTHORIZATION) {
            Some(value) => {
                let user = self.of_token(value, &anonymous).await?;
                self.of_user(&user, peer.address().ip())
            }
            None if self.settings.auth == Auth::Required => Err(Denied::Nobody),
            None => Ok(anonymous),
        }
    }

    /// Whether a caller may do once more what mostly strangers do.
    #[must_use]
    pub fn may_try(&self, caller: &Caller) -> bool {
        self.takes(&self.unknown, caller)
    }

    /// Whether people on this very machine ask, who need no proof to look.
    #[must_use]
    pub fn is_here(peer: &Peer) -> bool {
        peer.address().ip().to_canonical().is_loopback()
    }

    fn takes(&self, rates: &Mutex<Rates>, caller: &Caller) -> bool {
        let mut rates = rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.admit(caller, self.origin.elapsed()).is_ok()
    }

    fn anonymous(&self, address: IpAddr) -> Caller {
        match self.settings.addresses {
            Addresses::Distinct => Caller::at(address),
            Addresses::Shared => Caller::Anybody,
        }
    }

    fn of_certificate(&self, name: &ClientName, address: IpAddr) -> Result<Caller, Denied> {
        let names = std::iter::once(&name.common_name).chain(&name.alternatives);
        if self.is_agent(names) {
            return Ok(self.identified(&name.to_string(), address));
        }
        Err(Denied::NoAgent(shown(&name.to_string())))
    }

    async fn of_token(&self, value: &HeaderValue, anonymous: &Caller) -> Result<User, Denied> {
        let (Some(token), Some(tokens)) = (bearer(value), &self.tokens) else {
            return Err(Denied::BadToken);
        };
        let may_ask = || self.may_try(anonymous);
        match tokens.user(token, may_ask).await {
            Ok(Some(user)) => Ok(user),
            Ok(None) => Err(Denied::BadToken),
            Err(Trouble::TooMany) => Err(Denied::TooManyTokens),
            Err(Trouble::Unavailable(why)) => Err(Denied::Unavailable(why)),
        }
    }

    fn of_user(&self, user: &User, address: IpAddr) -> Result<Caller, Denied> {
        if !self.is_agent(std::iter::once(&user.name).chain(&user.groups)) {
            return Err(Denied::NoAgent(shown(&user.name)));
        }
        Ok(match &user.pod {
            // A pod is one agent, wherever it comes from.
            Some(pod) => Caller::Identity(shown(&format!("{} in pod {pod}", user.name)).into()),
            None => self.identified(&user.name, address),
        })
    }

    /// One identity may be that of all agents; then it's the addresses by which they differ.
    fn identified(&self, name: &str, address: IpAddr) -> Caller {
        let name = shown(name);
        Caller::Identity(match self.settings.addresses {
            Addresses::Distinct => format!("{name} at {}", address.to_canonical()).into(),
            Addresses::Shared => name.into(),
        })
    }

    fn is_agent<'a>(&self, mut names: impl Iterator<Item = &'a String>) -> bool {
        self.settings.agents.is_empty() || names.any(|name| self.settings.agents.contains(name))
    }
}

/// A name as it may be printed, of a length that may be kept.
fn shown(name: &str) -> String {
    const LONGEST: usize = 256;
    let shown = name.chars().take(LONGEST);
    shown
        .map(|c| match unprintable(c.encode_utf8(&mut [0; 4])) {
            None => c,
            Some(_) => char::REPLACEMENT_CHARACTER,
        })
        .collect()
}

/// A caller as replicas tell each other, in a header.
#[must_use]
pub fn written(caller: &Caller) -> String {
    match caller {
        Caller::Anybody => "anybody".to_owned(),
        Caller::Address(address) => format!("address {address}"),
        Caller::Identity(name) => {
            let hex = |byte| format!("{byte:02x}");
            format!("identity {}", name.bytes().map(hex).collect::<String>())
        }
    }
}

/// Reads what [`written`] wrote.
#[must_use]
pub fn read(text: &str) -> Option<Caller> {
    if text == "anybody" {
        return Some(Caller::Anybody);
    }
    match text.split_once(' ')? {
        ("address", address) => Some(Caller::at(address.parse().ok()?)),
        ("identity", hex) => {
            let bytes: Option<Vec<u8>> = hex
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                .collect();
            let name = String::from_utf8(bytes?).ok()?;
            Some(Caller::Identity(Arc::from(name)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_read_as_they_are_written() {
        for caller in [
            Caller::Anybody,
            Caller::at([10, 0, 0, 1].into()),
            Caller::at("2001:db8::1".parse().unwrap()),
            Caller::Identity("system:serviceaccount:a:b in pod é".into()),
        ] {
            let text = written(&caller);
            assert!(HeaderValue::from_str(&text).is_ok());
            assert_eq!(read(&text), Some(caller));
        }
        for bad in ["", "somebody", "address x", "identity x", "identity ff"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_are_kept_as_they_may_be_shown() {
        assert_eq!(shown("a\u{1b}b\u{202e}"), "a\u{fffd}b\u{fffd}");
        assert_eq!(shown(&"x".repeat(999)).len(), 256);
    }
}
