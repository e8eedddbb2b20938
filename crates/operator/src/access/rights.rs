//! Whether somebody may list the pods of a namespace: asked of whoever can tell, and remembered for a
//! little while.

use std::fmt::Debug;
use std::sync::Arc;

use super::remembered::{Answer, Question, Remembered};
use super::tokens::User;
use super::{Pending, Trouble};
use crate::tls::provider::sha256;

/// Tells what somebody may do.
pub trait Authorizer: Debug + Send + Sync + 'static {
    /// Whether they may list the pods of this namespace; of all namespaces, if there is none. The
    /// text says why it can't be told.
    fn may_list_pods<'a>(
        &'a self,
        user: &'a User,
        namespace: Option<&'a str>,
    ) -> Pending<'a, Result<bool, String>>;
}

/// Asks, once for each user and namespace, and remembers.
#[derive(Debug)]
pub struct Rights {
    authorizer: Arc<dyn Authorizer>,
    known: Remembered<bool>,
}

impl Answer for bool {
    fn grants(&self) -> bool {
        *self
    }
}

impl Rights {
    /// Asks this one.
    #[must_use]
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        Self {
            authorizer,
            known: Remembered::new(),
        }
    }

    /// Whether somebody may list the pods of this namespace; of all, if there is none.
    ///
    /// # Errors
    ///
    /// If it can't be told.
    pub async fn may_list_pods(
        &self,
        user: &User,
        namespace: Option<&str>,
    ) -> Result<bool, Trouble> {
        let ask = async { self.authorizer.may_list_pods(user, namespace).await };
        self.known
            .answer(question(user, namespace), || true, ask)
            .await
    }
}

/// Texts can't run into each other: each follows its length.
fn question(user: &User, namespace: Option<&str>) -> Question {
    let mut bytes = vec![u8::from(namespace.is_some())];
    let groups = user.groups.iter().map(String::as_str);
    for text in [namespace.unwrap_or_default(), &user.name]
        .into_iter()
        .chain(groups)
    {
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    sha256(&bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Everybody may see the namespace of their name, and counts.
    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl Authorizer for Counting {
        fn may_list_pods<'a>(
            &'a self,
            user: &'a User,
            namespace: Option<&'a str>,
        ) -> Pending<'a, Result<bool, String>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { Ok(namespace == Some(user.name.as_str())) })
        }
    }

    #[tokio::test]
    async fn each_right_is_asked_for_once() {
        let counting = Arc::new(Counting::default());
        let rights = Rights::new(Arc::clone(&counting) as Arc<dyn Authorizer>);
        let user = |name: &str, groups: &[&str]| User {
            name: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            pod: None,
        };
        for _ in 0..2 {
            for (user, namespace, may) in [
                (user("a", &[]), None, false),
                (user("a", &[]), Some("a"), true),
                (user("a", &[]), Some("b"), false),
                (user("a", &["x"]), Some("a"), true),
                (user("", &["a"]), Some("a"), false),
            ] {
                assert_eq!(
                    rights.may_list_pods(&user, namespace).await,
                    Ok(may),
                    "{user:?}"
                );
            }
        }
        assert_eq!(counting.0.load(Ordering::Relaxed), 5);
    }
}
