//! The options about clients that prove who they are, and who may have pods reviewed by them.

use std::path::PathBuf;

use super::Access;

/// Options about clients that prove who they are.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Clients")]
pub struct Args {
    /// Authorities (PEM) of clients' certificates: of the API server's, where it presents one, and
    /// of agents'. Who has one is cut off last when places or memory are short
    #[arg(long, value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,

    /// Review pods only for clients with a certificate of these authorities
    #[arg(long, requires = "client_ca_file")]
    pub require_client_certificate: bool,

    /// A name that the certificate must be for then: common name, DNS name, e-mail address or URI
    /// (can be repeated) [default: any]
    #[arg(long, value_name = "NAME", requires = "require_client_certificate")]
    pub review_client: Vec<String>,
}

impl Args {
    /// Who may have pods reviewed.
    #[must_use]
    pub fn access(&self) -> Access {
        match self.require_client_certificate {
            true => Access::Authenticated(self.review_client.clone()),
            false => Access::Everybody,
        }
    }
}
