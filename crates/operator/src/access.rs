//! Who somebody is by a bearer token, and what they may see: asked of the API server, and remembered
//! within bounds.

use std::pin::Pin;

mod remembered;
pub mod rights;
pub mod tokens;

/// An answer that takes its time.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// No answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// This sender asks too often for what isn't known.
    TooMany,
    /// It can't be told at the moment, for this reason.
    Unavailable(String),
}
