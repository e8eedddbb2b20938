//! Laws that hold for every input, as functions of bytes: ordinary tests and the fuzzer call the
//! same ones.
//!
//! The judges here are written anew on purpose: they share no code with what they judge. A judge
//! says what is wrong in a sentence; a panic of what it judges is a broken law, too.

pub mod config;
pub mod engines;
#[cfg(feature = "operator")]
pub mod http;
#[cfg(feature = "operator")]
pub mod manifest;
pub mod mutate;
pub mod pod;
pub mod poll;
pub mod review;
pub mod seeds;
mod unique;

/// What a judge says: nothing, or which law is broken and how.
pub type Verdict = Result<(), String>;

/// Something that takes bytes from strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The body of an admission review.
    Review,
    /// A pod as JSON.
    Pod,
    /// The value of a pod's annotation `admission.datakit/logfwd.instances`.
    Logfwd,
    /// A configuration.
    Config,
    /// Bodies of agents' polls, one a line.
    Poll,
    /// A text with manifests, as YAML or JSON: edited, injected and taken out again.
    #[cfg(feature = "operator")]
    Manifest,
    /// What a client sends inside TLS to a server with small limits on bodies. The first byte
    /// chooses the protocol: odd for HTTP/2.
    #[cfg(feature = "operator")]
    Http,
}

impl Target {
    /// Every target.
    pub const ALL: &[Self] = &[
        Self::Review,
        Self::Pod,
        Self::Logfwd,
        Self::Config,
        Self::Poll,
        #[cfg(feature = "operator")]
        Self::Manifest,
        #[cfg(feature = "operator")]
        Self::Http,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Pod => "pod",
            Self::Logfwd => "logfwd",
            Self::Config => "config",
            Self::Poll => "poll",
            #[cfg(feature = "operator")]
            Self::Manifest => "manifest",
            #[cfg(feature = "operator")]
            Self::Http => "http",
        }
    }

    /// Whether all laws about such bytes hold for these.
    ///
    /// # Errors
    ///
    /// The law that doesn't.
    pub fn check(self, bytes: &[u8]) -> Verdict {
        match self {
            Self::Review => review::check(bytes),
            Self::Pod => pod::check(bytes),
            Self::Logfwd => pod::check_logfwd(bytes),
            Self::Config => config::check(bytes),
            Self::Poll => poll::check(bytes),
            #[cfg(feature = "operator")]
            Self::Manifest => manifest::check(bytes),
            #[cfg(feature = "operator")]
            Self::Http => http::check(bytes),
        }
    }
}

/// An error as the sentence of a verdict.
fn sentence(error: impl std::fmt::Display) -> String {
    error.to_string()
}
