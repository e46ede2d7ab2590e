//! Where the clients of a crowd sit: each has an address and a port of its own.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Addresses for a number of clients: all ports at one address, then all at the next.
#[derive(Clone, Debug)]
pub struct Seats {
    first: IpAddr,
    ports: Vec<u16>,
    numbers: HashMap<u16, usize>,
}

impl Seats {
    /// Seats at these ports, of `first` and as many addresses behind it as it takes (of IPv6, of `first`
    /// alone).
    pub fn new(first: IpAddr, ports: Vec<u16>) -> Seats {
        let numbers = ports.iter().enumerate().map(|(number, port)| (*port, number)).collect();
        Seats { first, ports, numbers }
    }

    /// How many ports there are.
    pub fn ports(&self) -> usize {
        self.ports.len()
    }

    /// The number of the port at which a client sits.
    pub fn port_of(&self, client: usize) -> usize {
        client % self.ports.len().max(1)
    }

    /// The number of a port.
    pub fn number_of(&self, port: u16) -> Option<usize> {
        self.numbers.get(&port).copied()
    }

    /// Where a client sits.
    pub fn seat(&self, client: usize) -> SocketAddr {
        let ip = match self.first {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(
                first.to_bits().wrapping_add((client / self.ports.len()) as u32),
            )),
            v6 => v6,
        };
        SocketAddr::new(ip, self.ports[self.port_of(client)])
    }

    /// Who sits there.
    pub fn client(&self, seat: SocketAddr) -> Option<usize> {
        let number = self.number_of(seat.port())?;
        let row = match (self.first, seat.ip()) {
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
    fn each_client_has_a_seat_of_its_own_and_is_found_there() {
        let seats = Seats::new("127.0.1.0".parse().unwrap(), vec![5000, 6000, 7000]);
        assert_eq!(seats.seat(5), "127.0.1.1:7000".parse().unwrap());
        assert!((0..10_000).all(|client| seats.client(seats.seat(client)) == Some(client)));
        assert_eq!(seats.client("127.0.1.0:5001".parse().unwrap()), None);
    }
}
