//! Who sends requests, and what each of them may take up.
//!
//! Agents need not say who they are, so what they may cost is shared out by where they come from.
//! Every table has room for so much in all; one caller may have an eighth of what is left, and so a
//! ninth of it all while it is alone. Once half is taken, it may have a sixty-fourth of what is
//! left: so many that take what they can leave less and less, but something, and what somebody has
//! is never taken away again.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// One caller may have this part of the room that is left, as long as half is left.
const PART_OF_MUCH: usize = 8;
/// And this part of less.
const PART_OF_LITTLE: usize = 64;

/// Who sends a request, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// Where addresses say nothing: nobody is told from anybody else, and shares aren't limited.
    Anybody,
    /// Somebody at this address.
    Address(IpAddr),
    /// Somebody who has proved who it is.
    Identity(Arc<str>),
}

impl Caller {
    /// A caller at this address. IPv4 addresses in the form of IPv6 are IPv4 addresses.
    pub fn at(address: IpAddr) -> Self {
        Caller::Address(address.to_canonical())
    }

    /// Whose share is used. Whoever has one IPv6 address has 2^64 of them.
    pub fn share(&self) -> Self {
        match self {
            Caller::Address(IpAddr::V6(address)) => {
                let network = u128::from(*address) >> 64 << 64;
                Caller::Address(Ipv6Addr::from(network).into())
            }
            other => other.clone(),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Anybody => f.write_str("anybody"),
            Caller::Address(address) => address.fmt(f),
            Caller::Identity(identity) => f.write_str(identity),
        }
    }
}

/// How much one caller may have, of `limit` in all of which `used` are in use.
pub fn fair_share(limit: usize, used: usize) -> usize {
    let left = limit.saturating_sub(used);
    if used < limit / 2 {
        left.div_ceil(PART_OF_MUCH)
    } else {
        left.div_ceil(PART_OF_LITTLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Caller {
        Caller::at(address.parse().unwrap())
    }

    #[test]
    fn shares() {
        let check = |one: &str, other: &str, same: bool| {
            assert_eq!(at(one).share() == at(other).share(), same, "{one} {other}");
        };
        check("10.0.0.1", "10.0.0.2", false);
        check("10.0.0.1", "::ffff:10.0.0.1", true);
        check("2001:db8::1", "2001:db8::ffff:1", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
        assert_ne!(at("2001:db8::1"), at("2001:db8::2"));
    }
}
