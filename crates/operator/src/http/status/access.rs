//! Who may see the status.
//!
//! It names pods, and the plain listener knows nobody. So it is for who is on this machine, which
//! for a pod is who may use `kubectl port-forward`, unless the owner opens it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, StatusCode};

use crate::http::respond;
use crate::listen::{Answer, Peer};

/// Who may see the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Access {
    /// Who comes from this machine.
    #[default]
    Loopback,
    /// Everybody who can connect.
    Open,
    /// Nobody.
    Off,
}

impl Access {
    /// The answer for who may not see it; nothing for who may.
    #[must_use]
    pub fn refuses(self, peer: Option<&Peer>, headers: &HeaderMap) -> Option<Answer> {
        match self {
            Self::Open => None,
            Self::Off => Some(respond::not_found()),
            Self::Loopback if !peer.is_some_and(|peer| is_here(peer.address().ip())) => {
                Some(refused(
                    "the status names pods, so it is only for who comes from this machine: use `kubectl port-forward`, \
                     or start the operator with --status-page open",
                ))
            }
            // A page of another site can have its name lead here, and would be of one origin with
            // what it gets. It can't choose the name that the browser sends.
            Self::Loopback if !names_this_machine(headers) => Some(refused(
                "the status is only to be had under the name localhost or an address of this machine, such as 127.0.0.1; \
                 or start the operator with --status-page open",
            )),
            Self::Loopback => None,
        }
    }
}

/// The two addresses by which a program reaches another one on its machine. Not all of 127.0.0.0/8:
/// proxies beside the program use others of it for clients from elsewhere.
fn is_here(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST
}

fn names_this_machine(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    if authority.as_str().contains('@') {
        return false;
    }
    // A name that is an address leads nowhere else.
    let host = authority.host();
    let address = host.trim_matches(['[', ']']).parse();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

fn refused(line: &str) -> Answer {
    respond::text(StatusCode::FORBIDDEN, line)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn addresses() {
        for (address, want) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            // What a mesh's proxy has for clients from elsewhere.
            ("127.0.0.6", false),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_here(address.parse().unwrap()), want, "{address}");
        }
    }

    #[test]
    fn names() {
        let check = |hosts: &[&'static str], want: bool| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            assert_eq!(names_this_machine(&headers), want, "{hosts:?}");
        };
        for host in [
            "localhost",
            "localhost:9544",
            "LOCALHOST:1",
            "127.0.0.1:9544",
            "127.0.0.1",
            "[::1]:9544",
            "[::1]",
        ] {
            check(&[host], true);
        }
        for host in [
            "",
            "attacker.example",
            "attacker.example:9544",
            "localhost.attacker.example",
            "127.0.0.1.attacker.example",
            "10.0.0.1:9544",
            "localhost@attacker.example",
            "user@localhost",
            "localhost/",
        ] {
            check(&[host], false);
        }
        check(&[], false);
        check(&["localhost", "localhost"], false);
    }
}
