//! The addresses of the clients of a load generator: each has its own combination of address and port.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Addresses for a number of clients: all ports at one address, then all at the next.
#[derive(Clone, Debug)]
pub struct ClientAddresses {
    first: IpAddr,
    ports: Vec<u16>,
    numbers: HashMap<u16, usize>,
}

impl ClientAddresses {
    /// Addresses at these ports, of `first` and as many addresses behind it as it takes (of IPv6, of `first`
    /// alone).
    pub fn new(first: IpAddr, ports: Vec<u16>) -> ClientAddresses {
        let numbers = ports.iter().enumerate().map(|(number, port)| (*port, number)).collect();
        ClientAddresses { first, ports, numbers }
    }

    /// How many ports there are.
    pub fn ports(&self) -> usize {
        self.ports.len()
    }

    /// The number of a client's port.
    pub fn port_of(&self, client: usize) -> usize {
        client % self.ports.len().max(1)
    }

    /// The number of a port.
    pub fn number_of(&self, port: u16) -> Option<usize> {
        self.numbers.get(&port).copied()
    }

    /// A client's address.
    pub fn address(&self, client: usize) -> SocketAddr {
        let ip = match self.first {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(
                first.to_bits().wrapping_add((client / self.ports.len()) as u32),
            )),
            v6 => v6,
        };
        SocketAddr::new(ip, self.ports[self.port_of(client)])
    }

    /// The client with this address.
    pub fn client(&self, address: SocketAddr) -> Option<usize> {
        let number = self.number_of(address.port())?;
        let row = match (self.first, address.ip()) {
            (IpAddr::V4(first), IpAddr::V4(ip)) => ip.to_bits().wrapping_sub(first.to_bits()) as usize,
            (IpAddr::V6(first), IpAddr::V6(ip)) if first == ip => 0,
            _ => return None,
        };
        row.checked_mul(self.ports.len())?.checked_add(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_address_and_is_found_by_it() {
        let addresses = ClientAddresses::new("127.0.1.0".parse().unwrap(), vec![5000, 6000, 7000]);
        assert_eq!(addresses.address(5), "127.0.1.1:7000".parse().unwrap());
        assert!((0..10_000).all(|client| addresses.client(addresses.address(client)) == Some(client)));
        assert_eq!(addresses.client("127.0.1.0:5001".parse().unwrap()), None);
    }
}
