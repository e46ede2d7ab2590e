//! How an operator says which members are meant: by name, by address, or by network.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use meantime_core::peer::{ClientSelector, NoSelector, Peer};
use meantime_core::wire::Name;

/// A name, an address with or without the port, or a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberPattern {
    text: String,
    selector: ClientSelector,
}

impl FromStr for MemberPattern {
    type Err = NoSelector;

    fn from_str(text: &str) -> Result<MemberPattern, NoSelector> {
        Ok(MemberPattern { text: text.to_owned(), selector: text.parse()? })
    }
}

impl fmt::Display for MemberPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl MemberPattern {
    /// As the operator has written it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether this is the name of the server, which has no one address.
    pub(super) fn names(&self, server: &str) -> bool {
        matches!(self.selector, ClientSelector::Name(name) if name.as_str() == server)
    }

    /// Whether the member of this name and address is meant. A member may call itself by an address; that
    /// means nothing.
    pub(super) fn matches(&self, name: &str, address: SocketAddr) -> bool {
        self.selector.includes(&Peer { name: Name::new(name), address })
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
        assert!(meant("::ffff:192.0.2.7", "", "192.0.2.7:1"), "IPv4 as IPv6 writes it");
    }

    #[test]
    fn a_text_that_can_mean_no_member_is_refused() {
        for wrong in ["", "a name that is longer than any client's"] {
            assert!(wrong.parse::<MemberPattern>().is_err(), "{wrong:?}");
        }
    }
}
