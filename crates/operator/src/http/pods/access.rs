//! Who may ask for pods, and which they see.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use datakit_operator_core::election::Caller;
use datakit_operator_core::election::rates::Rates;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};

use crate::access::Trouble;
use crate::access::rights::Rights;
use crate::access::tokens::{Tokens, User, bearer};
use crate::listen::Peer;

/// How often one address may present a token that isn't known: a second, and at once.
const UNKNOWN: (u32, u32) = (10, 100);

/// Who may ask.
#[derive(Clone, Debug)]
pub enum Access {
    /// Everybody who reaches the port, for everything.
    Open,
    /// Whoever has a token of the API server's, for the namespaces whose pods they may list there.
    Token(Arc<Gate>),
}

/// Finds out whose tokens are and what they may see.
#[derive(Debug)]
pub struct Gate {
    tokens: Tokens,
    rights: Rights,
    unknown: Mutex<Rates>,
    origin: Instant,
}

/// What somebody sees.
#[derive(Clone, Debug)]
pub enum Sight {
    /// All pods.
    All,
    /// Those of some namespaces.
    Some(Arc<Gate>, Arc<User>),
}

/// Somebody who gets no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// They don't say who they are.
    #[error("expected `Authorization: Bearer` with a token of the API server's (--pod-api-auth)")]
    Nobody,
    /// What they present proves nothing.
    #[error("`Authorization` is no valid token; expected `Bearer` and a token of the API server's")]
    BadToken,
    /// They present too many tokens that nobody knows.
    #[error("your address presents too many tokens that are not known")]
    TooManyTokens,
    /// They may not see this namespace.
    #[error("you may not list pods in the namespace `{0}`")]
    Namespace(String),
    /// It can't be told at the moment.
    #[error("tokens and rights can't be checked at the moment: {0}")]
    Unavailable(String),
}

impl Denied {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Nobody | Self::BadToken => StatusCode::UNAUTHORIZED,
            Self::TooManyTokens => StatusCode::TOO_MANY_REQUESTS,
            Self::Namespace(_) => StatusCode::FORBIDDEN,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Access {
    /// What a client sees.
    ///
    /// # Errors
    ///
    /// If it gets no answer.
    pub async fn of(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Result<Sight, Denied> {
        match self {
            Self::Open => Ok(Sight::All),
            Self::Token(gate) => gate.of(peer, headers).await,
        }
    }
}

impl Gate {
    /// Asks these.
    #[must_use]
    pub fn new(tokens: Tokens, rights: Rights) -> Self {
        Self {
            tokens,
            rights,
            unknown: Mutex::new(Rates::new(UNKNOWN.0, UNKNOWN.1)),
            origin: Instant::now(),
        }
    }

    async fn of(
        self: &Arc<Self>,
        peer: Option<&Peer>,
        headers: &HeaderMap,
    ) -> Result<Sight, Denied> {
        let value = headers.get(AUTHORIZATION).ok_or(Denied::Nobody)?;
        let token = bearer(value).ok_or(Denied::BadToken)?;
        let caller = peer.map_or(Caller::Anybody, |peer| Caller::at(peer.address().ip()));
        let may_ask = || {
            let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
            unknown.admit(&caller, self.origin.elapsed()).is_ok()
        };
        let user = self.tokens.user(token, may_ask).await?;
        let user = user.ok_or(Denied::BadToken)?;
        if self.rights.may_list_pods(&user, None).await? {
            return Ok(Sight::All);
        }
        Ok(Sight::Some(Arc::clone(self), Arc::new(user)))
    }
}

impl Sight {
    /// Whether the pods of this namespace are seen.
    ///
    /// # Errors
    ///
    /// If it can't be told.
    pub async fn has(&self, namespace: &str) -> Result<bool, Trouble> {
        match self {
            Self::All => Ok(true),
            Self::Some(gate, user) => gate.rights.may_list_pods(user, Some(namespace)).await,
        }
    }
}

/// Who may ask, as an option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Auth {
    /// Everybody who reaches the port.
    #[default]
    None,
    /// Whoever has a token, as far as its owner may list pods.
    Token,
}

impl fmt::Display for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "none",
            Self::Token => "token",
        })
    }
}
