//! The option about the status page.

use super::access::Access;

/// The option about the status page.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Who may see the status page, which names pods, at the address of the probes: `loopback`
    /// (who comes from this machine, as `kubectl port-forward` does), `open` (everybody), or `off`
    #[arg(
        long,
        value_name = "WHO",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub status_page: Access,
}
