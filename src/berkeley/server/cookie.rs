//! Stateless proof of address: a keyed hash that only this server can make, given to whoever asks and
//! remembered by nobody. Who sends it back has received it, so its source address is real.

use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher24;

use crate::time::{Monotonic, Span};
use crate::wire::NodeId;

/// Makes and checks cookies.
#[derive(Clone, Debug)]
pub struct Cookies {
    secret: [u8; 16],
}

impl Cookies {
    /// Cookies under this secret.
    pub fn new(secret: [u8; 16]) -> Cookies {
        Cookies { secret }
    }

    /// The cookie of a client at an address, now. Never zero.
    pub fn make(&self, now: Monotonic, address: SocketAddr, node: NodeId) -> u64 {
        self.of_slot(slot(now), address, node)
    }

    /// Whether this is the cookie that such a client got not longer than two slots ago.
    pub fn check(&self, now: Monotonic, address: SocketAddr, node: NodeId, cookie: u64) -> bool {
        let slot = slot(now);
        [slot, slot - 1].into_iter().any(|slot| self.of_slot(slot, address, node) == cookie)
    }

    fn of_slot(&self, slot: i64, address: SocketAddr, node: NodeId) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        match address.ip() {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
        hasher.write(&address.port().to_be_bytes());
        hasher.write(&node.0.to_be_bytes());
        hasher.write(&slot.to_be_bytes());
        hasher.finish().max(1)
    }
}

fn slot(now: Monotonic) -> i64 {
    now.as_nanos().div_euclid(SLOT.as_nanos())
}

/// A cookie is good for one slot to two.
const SLOT: Span = Span::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Monotonic {
        Monotonic::from_nanos(0) + Span::from_secs(seconds)
    }

    #[test]
    fn a_cookie_is_good_for_its_client_at_its_address_for_ten_seconds_at_least() {
        let cookies = Cookies::new([7; 16]);
        let here: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        let there: SocketAddr = "192.0.2.1:1001".parse().unwrap();
        let cookie = cookies.make(at(9), here, NodeId(1));
        assert!(cookies.check(at(9), here, NodeId(1), cookie));
        assert!(cookies.check(at(19), here, NodeId(1), cookie));
        assert!(!cookies.check(at(30), here, NodeId(1), cookie));
        assert!(!cookies.check(at(9), there, NodeId(1), cookie));
        assert!(!cookies.check(at(9), here, NodeId(2), cookie));
        assert!(!Cookies::new([8; 16]).check(at(9), here, NodeId(1), cookie));
    }
}
