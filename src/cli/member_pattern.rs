//! How an operator says which members are meant: by name, by address, or by network.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

/// A name, an address with or without the port, or a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberPattern {
    text: String,
    kind: Kind,
}

/// What a pattern was read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Name,
    Socket(SocketAddr),
    Address(IpAddr),
    Network(IpNet),
}

impl FromStr for MemberPattern {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<MemberPattern, Infallible> {
        let kind = text
            .parse()
            .map(Kind::Address)
            .or_else(|_| text.parse().map(Kind::Socket))
            .or_else(|_| text.parse().map(Kind::Network))
            .unwrap_or(Kind::Name);
        Ok(MemberPattern { text: text.to_owned(), kind })
    }
}

impl fmt::Display for MemberPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl MemberPattern {
    /// Whether this is the name of the server, which has no one address.
    pub(super) fn names(&self, server: &str) -> bool {
        self.kind == Kind::Name && self.text == server
    }

    /// Whether the member of this name and address is meant. A member may call itself by an address; that
    /// means nothing.
    pub(super) fn matches(&self, name: &str, address: SocketAddr) -> bool {
        match self.kind {
            Kind::Name => name == self.text,
            Kind::Socket(meant) => meant == address,
            Kind::Address(meant) => meant == address.ip(),
            Kind::Network(network) => network.contains(&address.ip()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_meant_by_name_address_or_network() {
        let meant = |pattern: &str, name: &str, address: &str| {
            let pattern: MemberPattern = pattern.parse().unwrap();
            pattern.matches(name, address.parse().unwrap())
        };
        for pattern in ["attic", "192.0.2.7", "192.0.2.7:4000", "192.0.2.0/24"] {
            assert!(meant(pattern, "attic", "192.0.2.7:4000"), "{pattern}");
            assert!(!meant(pattern, "cellar", "198.51.100.7:4000"), "{pattern}");
        }
        assert!(meant("2001:db8::/64", "", "[2001:db8::7]:1") && meant("fe80::1", "", "[fe80::1]:1"));
        assert!(!meant("192.0.2.7", "192.0.2.7", "198.51.100.7:1"), "an address is no name");
    }
}
