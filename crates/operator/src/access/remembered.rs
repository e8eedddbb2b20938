//! Answers of the API server to questions about who may do what, each asked once and remembered for a
//! little while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use super::Trouble;

/// How long an answer counts. A right that is withdrawn is good for so long.
const GOOD: Duration = Duration::from_secs(60);
/// The same for an answer that denies.
const BAD: Duration = Duration::from_secs(10);
/// The same for a question without an answer.
const UNANSWERED: Duration = Duration::from_secs(1);
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// Answers that are remembered.
pub(super) const REMEMBERED: usize = 8_192;
/// Questions at once.
const AT_ONCE: usize = 16;

/// An answer.
pub(super) trait Answer: Clone {
    /// Whether it grants something. Strangers can't cause many that do.
    fn grants(&self) -> bool;
}

/// A question, as its SHA-256.
pub(super) type Question = [u8; 32];

/// Asks, once for each question, and remembers.
#[derive(Debug)]
pub(super) struct Remembered<A> {
    known: Mutex<HashMap<Question, Arc<OnceCell<Verdict<A>>>>>,
    at_once: Semaphore,
}

#[derive(Debug)]
struct Verdict<A> {
    said: Result<A, String>,
    until: Instant,
}

impl<A: Answer> Remembered<A> {
    pub(super) fn new() -> Self {
        Self {
            known: Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
        }
    }

    /// The answer to a question, by `ask` if it isn't known. `may_ask` is called in that case.
    ///
    /// # Errors
    ///
    /// If it can't be told.
    pub(super) async fn answer(
        &self,
        question: Question,
        may_ask: impl Fn() -> bool,
        ask: impl Future<Output = Result<A, String>>,
    ) -> Result<A, Trouble> {
        let cell = self.cell(question, may_ask)?;
        // Whoever comes first asks; the others wait for the same answer. If the first one is gone,
        // the next one asks.
        let verdict = cell.get_or_init(|| self.ask(ask)).await;
        verdict.said.clone().map_err(Trouble::Unavailable)
    }

    fn cell(
        &self,
        question: Question,
        may_ask: impl Fn() -> bool,
    ) -> Result<Arc<OnceCell<Verdict<A>>>, Trouble> {
        let now = Instant::now();
        let lives = |cell: &Arc<OnceCell<Verdict<A>>>| cell.get().is_none_or(|it| now < it.until);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = known.get(&question).filter(|cell| lives(cell)) {
            return Ok(Arc::clone(cell));
        }
        if !may_ask() {
            return Err(Trouble::TooMany);
        }
        if known.len() >= REMEMBERED {
            // Of those who are granted something, there may be so many; the rest has to be asked
            // again.
            known.retain(|_, cell| {
                let grants = |it: &Verdict<A>| it.said.as_ref().is_ok_and(Answer::grants);
                lives(cell) && cell.get().is_none_or(grants)
            });
        }
        let cell = Arc::new(OnceCell::new());
        if known.len() < REMEMBERED || known.contains_key(&question) {
            known.insert(question, Arc::clone(&cell));
        }
        Ok(cell)
    }

    async fn ask(&self, ask: impl Future<Output = Result<A, String>>) -> Verdict<A> {
        let asked = async {
            let Ok(_turn) = self.at_once.acquire().await else {
                return Err("shutting down".to_owned());
            };
            ask.await
        };
        let late = |_| Err("the API server does not answer".to_owned());
        let said = timeout(DEADLINE, asked).await.unwrap_or_else(late);
        let lasts = match &said {
            Ok(answer) if answer.grants() => GOOD,
            Ok(_) => BAD,
            Err(_) => UNANSWERED,
        };
        Verdict {
            said,
            until: Instant::now() + lasts,
        }
    }

    /// How many answers are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.lock().unwrap().len()
    }
}
