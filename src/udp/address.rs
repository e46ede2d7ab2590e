//! Socket addresses of both families.
//!
//! On an IPv6 socket that serves both families, IPv4 addresses look like `::ffff:192.0.2.1`. Outside
//! [`udp`](super) they never do: a path has plain IPv4 addresses, and is translated back when a datagram is
//! sent along it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use nix::sys::socket::SockaddrStorage;

/// Of which addresses a socket can reach some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AddressFamilies {
    /// Of both families.
    #[default]
    Both,
    /// IPv4 addresses only.
    V4,
    /// IPv6 addresses only.
    V6,
}

impl AddressFamilies {
    /// Whether this address is one of them.
    pub(super) fn include(self, address: SocketAddr) -> bool {
        match self {
            AddressFamilies::Both => true,
            AddressFamilies::V4 => address.is_ipv4(),
            AddressFamilies::V6 => address.is_ipv6(),
        }
    }
}

/// The address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4 only.
    V4,
    /// IPv6; a socket bound to `[::]` serves IPv4 as well.
    V6,
}

impl Family {
    /// The family of an address.
    pub(super) fn of(address: SocketAddr) -> Family {
        if address.is_ipv6() { Family::V6 } else { Family::V4 }
    }

    /// The address as a socket of this family writes it.
    pub(super) fn address_of(self, peer: SocketAddr) -> SocketAddr {
        match (self, peer) {
            (Family::V6, SocketAddr::V4(v4)) => {
                SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
            }
            (_, peer) => peer,
        }
    }
}

/// The address with IPv4 written as IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Whether this is the address of one machine.
pub(super) fn is_unicast(address: &IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && *address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// The address and the interface index that make an IPv6 socket send from `local`.
pub(super) fn v6_source(local: IpAddr, peer: SocketAddr) -> (Ipv6Addr, u32) {
    let local = match local {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let interface = match peer {
        // A link-local address is ambiguous without its interface.
        SocketAddr::V6(peer) if local.is_unicast_link_local() => peer.scope_id(),
        _ => 0,
    };
    (local, interface)
}

/// The addresses of this machine's network interfaces now; none if they cannot be read.
pub fn own_addresses() -> Vec<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    interfaces.filter_map(|interface| interface.address.as_ref().and_then(address_of)).collect()
}

/// The IP address of an interface; `None` if this is an address of another kind.
pub(super) fn address_of(storage: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_addresses_are_written_as_ipv4() {
        assert_eq!(canonical("[::ffff:192.0.2.1]:7".parse().unwrap()), "192.0.2.1:7".parse().unwrap());
        let scoped = SocketAddr::from(SocketAddrV6::new("fe80::1".parse().unwrap(), 7, 0, 3));
        assert_eq!(canonical(scoped), scoped);
    }

    #[test]
    fn an_ipv6_socket_writes_ipv4_addresses_as_mapped_ones() {
        let v4 = "192.0.2.1:7".parse().unwrap();
        assert_eq!(Family::V6.address_of(v4), "[::ffff:192.0.2.1]:7".parse().unwrap());
        assert_eq!(Family::V4.address_of(v4), v4);
    }

    #[test]
    fn the_addresses_of_this_machine_are_known() {
        let own = own_addresses();
        assert!(own.iter().any(IpAddr::is_loopback), "{own:?}");
    }
}
