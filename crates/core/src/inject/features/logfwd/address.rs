//! What is wrong with the address of DataKit in the annotation.

use crate::inject::note::AddressProblem;

/// What is wrong with an address, which the sidecar wants as `host:port`. An empty one counts as
/// none.
pub(super) fn problem(address: &str) -> Option<AddressProblem> {
    // What a variable brings isn't known.
    if address.is_empty() || address.contains("$(") {
        return None;
    }
    if address.contains("://") {
        return Some(AddressProblem::Scheme);
    }
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && (host.ends_with(']') || !host.contains(':')) => {
            let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
            (!is_port).then_some(AddressProblem::Port)
        }
        _ => Some(AddressProblem::NoPort),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (address, expected) in [
            ("datakit-service.datakit.svc:9533", None),
            ("10.0.0.1:9533", None),
            ("[::1]:9533", None),
            ("$(HOST_IP):9533", None),
            ("", None),
            ("http://datakit:9533", Some(AddressProblem::Scheme)),
            ("datakit", Some(AddressProblem::NoPort)),
            (":9533", Some(AddressProblem::NoPort)),
            ("::1", Some(AddressProblem::NoPort)),
            ("datakit:0", Some(AddressProblem::Port)),
            ("datakit:x", Some(AddressProblem::Port)),
            ("datakit:70000", Some(AddressProblem::Port)),
        ] {
            assert_eq!(problem(address), expected, "{address}");
        }
    }
}
