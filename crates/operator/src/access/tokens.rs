//! Whose a bearer token is: asked of whoever can tell, and remembered for a little while.
//!
//! Tokens are never kept, only their SHA-256; and never logged.

use std::fmt::Debug;
use std::sync::Arc;

use http::HeaderValue;

use super::remembered::{Answer, Remembered};
use super::{Pending, Trouble};
use crate::tls::provider::sha256;

/// A token is no longer than this, in bytes.
const LONGEST: usize = 16 << 10;

/// Who a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, such as `system:serviceaccount:datakit:datakit`.
    pub name: String,
    /// The groups.
    pub groups: Vec<String>,
    /// The pod that the token was made for, if it was made for one.
    pub pod: Option<String>,
}

/// Tells whose a token is.
pub trait Reviewer: Debug + Send + Sync + 'static {
    /// Its user, or none if it is not valid. The text says why it can't be told.
    fn review<'a>(&'a self, token: &'a str) -> Pending<'a, Result<Option<User>, String>>;
}

/// Asks, once for each token, and remembers.
#[derive(Debug)]
pub struct Tokens {
    reviewer: Arc<dyn Reviewer>,
    known: Remembered<Option<User>>,
}

impl Answer for Option<User> {
    fn grants(&self) -> bool {
        self.is_some()
    }
}

impl Tokens {
    /// Asks this one.
    #[must_use]
    pub fn new(reviewer: Arc<dyn Reviewer>) -> Self {
        Self {
            reviewer,
            known: Remembered::new(),
        }
    }

    /// Whose a token is; nobody's if it is not valid. `may_ask` is called if it has to be asked.
    ///
    /// # Errors
    ///
    /// If it can't be told.
    pub async fn user(
        &self,
        token: &str,
        may_ask: impl Fn() -> bool,
    ) -> Result<Option<User>, Trouble> {
        if token.len() > LONGEST {
            return Ok(None);
        }
        let ask = async { self.reviewer.review(token).await };
        let hash = sha256(token.as_bytes());
        self.known.answer(hash, may_ask, ask).await
    }
}

/// The token in the value of an `Authorization` header, if it is a bearer token.
#[must_use]
pub fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::remembered::REMEMBERED;
    use super::*;

    /// Knows tokens that begin with `good`, and counts.
    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl Reviewer for Counting {
        fn review<'a>(&'a self, token: &'a str) -> Pending<'a, Result<Option<User>, String>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                tokio::task::yield_now().await;
                if token == "silence" {
                    return Err("no".to_owned());
                }
                Ok(token.starts_with("good").then(|| User {
                    name: token.to_owned(),
                    groups: Vec::new(),
                    pod: None,
                }))
            })
        }
    }

    #[tokio::test]
    async fn each_token_is_asked_about_once() {
        let reviewer = Arc::new(Counting::default());
        let tokens = Tokens::new(Arc::clone(&reviewer) as Arc<dyn Reviewer>);
        let (one, two, bad) = tokio::join!(
            tokens.user("good", || true),
            tokens.user("good", || true),
            tokens.user("bad", || true),
        );
        assert_eq!(one, two);
        assert_eq!(
            one.map(|user| user.map(|user| user.name)),
            Ok(Some("good".to_owned()))
        );
        assert_eq!(bad, Ok(None));
        assert_eq!(reviewer.0.load(Ordering::Relaxed), 2);
        // What is known needs no asking.
        assert!(tokens.user("good", || false).await.is_ok());
        assert_eq!(tokens.user("new", || false).await, Err(Trouble::TooMany));
        assert_eq!(
            tokens.user("silence", || true).await,
            Err(Trouble::Unavailable("no".to_owned()))
        );
        assert_eq!(tokens.user(&"good".repeat(9_999), || true).await, Ok(None));
        assert_eq!(reviewer.0.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn strangers_tokens_are_not_kept_instead_of_agents() {
        let reviewer = Arc::new(Counting::default());
        let tokens = Tokens::new(Arc::clone(&reviewer) as Arc<dyn Reviewer>);
        assert!(tokens.user("good", || true).await.is_ok());
        for number in 0..REMEMBERED + 10 {
            let bad = format!("bad{number}");
            assert_eq!(tokens.user(&bad, || true).await, Ok(None));
        }
        let asked = reviewer.0.load(Ordering::Relaxed);
        assert!(tokens.user("good", || false).await.is_ok());
        assert_eq!(reviewer.0.load(Ordering::Relaxed), asked);
        assert!(tokens.known.len() <= REMEMBERED);
    }
}
