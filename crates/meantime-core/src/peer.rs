//! Clients, as an operator knows them, and which of them a request means: those of a name, of an address, or
//! of a network.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

use ipnet::IpNet;

use crate::wire::Name;

/// A client, as an operator knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The name that it gives itself; may be empty.
    pub name: Name,
    /// Its address, as the server sees it.
    pub address: SocketAddr,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "{}", self.address),
            name => write!(f, "{name} ({})", self.address),
        }
    }
}

/// The effect of a request about clients: to take their votes away or give them back, or to ban them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientsChange {
    /// Which clients it is about, now and later.
    pub selector: ClientSelector,
    /// Those that are registered now, or were until now.
    pub clients: Vec<Peer>,
    /// Whether anything has changed.
    pub changed: bool,
    /// The bans that were lifted; else empty.
    pub lifted: Vec<ClientSelector>,
}

impl ClientsChange {
    /// A change that lifts no ban.
    pub(crate) fn of(selector: ClientSelector, clients: Vec<Peer>, changed: bool) -> ClientsChange {
        ClientsChange { selector, clients, changed, lifted: Vec::new() }
    }
}

/// The clients that a request of an operator is about, whether they are registered now or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientSelector {
    /// All of this name.
    Name(Name),
    /// The one at this address and port.
    Address(SocketAddr),
    /// All in this network. A single address is a network of one.
    Network(IpNet),
}

/// A text that no client's name can be, and that is no address and no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither a client's name, nor an address, nor a network")]
pub struct NoSelector(pub String);

impl ClientSelector {
    /// The network of one address.
    pub(crate) fn host(address: IpAddr) -> ClientSelector {
        ClientSelector::Network(IpNet::from(address.to_canonical()))
    }

    /// Whether this client is one of them.
    pub fn includes(&self, peer: &Peer) -> bool {
        match self {
            ClientSelector::Name(name) => *name == peer.name,
            ClientSelector::Address(address) => *address == canonical(peer.address),
            ClientSelector::Network(network) => network.contains(&peer.address.ip().to_canonical()),
        }
    }

    /// Whether all clients at the addresses of another selector are among these; names have no addresses.
    pub(crate) fn covers(&self, other: &ClientSelector) -> bool {
        match (self, other) {
            (ClientSelector::Network(network), ClientSelector::Address(address)) => {
                network.contains(&address.ip())
            }
            (ClientSelector::Network(network), ClientSelector::Network(part)) => network.contains(part),
            (one, other) => one == other,
        }
    }
}

impl FromStr for ClientSelector {
    type Err = NoSelector;

    fn from_str(text: &str) -> Result<ClientSelector, NoSelector> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(ClientSelector::Address(canonical(address)));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(ClientSelector::host(address));
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(ClientSelector::Network(network.trunc()));
        }
        match Name::new(text) {
            name if !text.is_empty() && name.as_str() == text => Ok(ClientSelector::Name(name)),
            _ => Err(NoSelector(text.to_owned())),
        }
    }
}

impl fmt::Display for ClientSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientSelector::Name(name) => name.fmt(f),
            ClientSelector::Address(address) => address.fmt(f),
            ClientSelector::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            ClientSelector::Network(network) => network.fmt(f),
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str) -> ClientSelector {
        text.parse().unwrap()
    }

    fn peer(name: &str, address: &str) -> Peer {
        Peer { name: Name::new(name), address: address.parse().unwrap() }
    }

    #[test]
    fn a_text_is_an_address_a_network_or_else_a_name() {
        let a = peer("a", "192.0.2.1:4000");
        let mapped = peer("b", "[::ffff:192.0.2.1]:4000");
        for text in ["192.0.2.1", "192.0.2.1:4000", "192.0.2.77/24", "0.0.0.0/0"] {
            assert!(selector(text).includes(&a) && selector(text).includes(&mapped), "{text}");
        }
        assert!(selector("a").includes(&a) && !selector("a").includes(&mapped));
        assert!(!selector("192.0.2.1:4001").includes(&a) && !selector("192.0.3.0/24").includes(&a));
        let v6 = peer("c", "[2001:db8::2]:4001");
        for text in ["2001:0db8::0002", "[2001:db8::2]:4001", "2001:db8::/64"] {
            assert!(selector(text).includes(&v6), "{text}");
        }
        assert!("".parse::<ClientSelector>().is_err());
        assert!("a name of more than twenty-four bytes".parse::<ClientSelector>().is_err());
    }

    #[test]
    fn a_selector_reads_as_it_is_written() {
        for text in ["a", "192.0.2.1", "192.0.2.1:4000", "192.0.2.0/24", "2001:db8::/64", "2001:db8::7"] {
            assert_eq!(alloc::format!("{}", selector(text)), text);
        }
        assert_eq!(selector("192.0.2.77/24"), selector("192.0.2.0/24"));
    }

    #[test]
    fn a_network_covers_its_parts() {
        assert!(selector("192.0.2.0/24").covers(&selector("192.0.2.7:4000")));
        assert!(selector("192.0.2.0/24").covers(&selector("192.0.2.128/25")));
        assert!(!selector("192.0.2.7").covers(&selector("192.0.2.0/24")));
        assert!(selector("a").covers(&selector("a")) && !selector("a").covers(&selector("192.0.2.7")));
    }
}
