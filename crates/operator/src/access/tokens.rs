//! Whose a bearer token is: asked of whoever can tell, and remembered for a little while.
//!
//! Tokens are never kept, only their SHA-256; and never logged.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use super::leaders::Pending;
use crate::tls::provider::sha256;

/// How long an answer counts. A token that is withdrawn is good for so long.
const GOOD: Duration = Duration::from_secs(60);
/// The same for a token that is not known.
const BAD: Duration = Duration::from_secs(10);
/// The same for a question without an answer.
const UNANSWERED: Duration = Duration::from_secs(1);
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// Answers that are remembered.
const REMEMBERED: usize = 8_192;
/// Questions at once.
const AT_ONCE: usize = 16;
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

/// No answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// This sender asks too often for what isn't known.
    TooMany,
    /// It can't be told at the moment, for this reason.
    Unavailable(String),
}

/// Asks, once for each token, and remembers.
#[derive(Debug)]
pub struct Tokens {
    reviewer: Arc<dyn Reviewer>,
    known: Mutex<HashMap<[u8; 32], Arc<OnceCell<Verdict>>>>,
    at_once: Semaphore,
}

#[derive(Debug)]
struct Verdict {
    said: Result<Option<User>, String>,
    until: Instant,
}

impl Tokens {
    /// Asks this one.
    #[must_use]
    pub fn new(reviewer: Arc<dyn Reviewer>) -> Self {
        Self {
            reviewer,
            known: Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
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
        let cell = self.cell(sha256(token.as_bytes()), may_ask)?;
        // Whoever comes first asks; the others wait for the same answer. If the first one is gone,
        // the next one asks.
        let verdict = cell.get_or_init(|| self.ask(token)).await;
        verdict.said.clone().map_err(Trouble::Unavailable)
    }

    fn cell(
        &self,
        hash: [u8; 32],
        may_ask: impl Fn() -> bool,
    ) -> Result<Arc<OnceCell<Verdict>>, Trouble> {
        let now = Instant::now();
        let lives = |cell: &Arc<OnceCell<Verdict>>| cell.get().is_none_or(|it| now < it.until);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = known.get(&hash).filter(|cell| lives(cell)) {
            return Ok(Arc::clone(cell));
        }
        if !may_ask() {
            return Err(Trouble::TooMany);
        }
        if known.len() >= REMEMBERED {
            // Of agents, which have good ones, there may be so many; the rest has to be asked
            // again.
            known.retain(|_, cell| {
                lives(cell) && cell.get().is_none_or(|it| matches!(it.said, Ok(Some(_))))
            });
        }
        let cell = Arc::new(OnceCell::new());
        if known.len() < REMEMBERED || known.contains_key(&hash) {
            known.insert(hash, Arc::clone(&cell));
        }
        Ok(cell)
    }

    async fn ask(&self, token: &str) -> Verdict {
        let asked = async {
            let Ok(_turn) = self.at_once.acquire().await else {
                return Err("shutting down".to_owned());
            };
            self.reviewer.review(token).await
        };
        let late = |_| Err("the API server does not answer".to_owned());
        let said = timeout(DEADLINE, asked).await.unwrap_or_else(late);
        let lasts = match &said {
            Ok(Some(_)) => GOOD,
            Ok(None) => BAD,
            Err(_) => UNANSWERED,
        };
        Verdict {
            said,
            until: Instant::now() + lasts,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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
        assert!(tokens.known.lock().unwrap().len() <= REMEMBERED);
    }
}
