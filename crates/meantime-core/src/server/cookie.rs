//! Stateless proof of address: a keyed hash that only this server can make, given to whoever asks and
//! remembered by nobody. Who sends it back has received it, so its source address is real.
//!
//! The secret is a new one every ten seconds, and the one before it is good for as long again: whoever should
//! find one out has little of it.

use core::hash::Hasher;
use core::net::{IpAddr, SocketAddr};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use siphasher::sip::SipHasher24;

use crate::time::{Monotonic, Span};
use crate::wire::NodeId;

/// Makes and checks cookies.
#[derive(Clone, Debug)]
pub(super) struct Cookies {
    rng: ChaCha12Rng,
    slot: i64,
    /// This slot's secret, and that of the one before.
    secrets: [Secret; 2],
}

type Secret = [u8; 16];

impl Cookies {
    /// Cookies under secrets that follow from this seed.
    pub(super) fn new(seed: [u8; 32]) -> Cookies {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let secrets = [draw(&mut rng), draw(&mut rng)];
        Cookies { rng, slot: i64::MIN, secrets }
    }

    /// The cookie of a client at an address, now. Never zero.
    pub(super) fn make(&mut self, now: Monotonic, address: SocketAddr, node: NodeId) -> u64 {
        self.turn(now);
        cookie(&self.secrets[0], address, node)
    }

    /// Whether this is the cookie that such a client got not longer than two slots ago.
    pub(super) fn check(&mut self, now: Monotonic, address: SocketAddr, node: NodeId, given: u64) -> bool {
        self.turn(now);
        given != 0 && self.secrets.iter().any(|secret| cookie(secret, address, node) == given)
    }

    /// Draws what secrets are due.
    fn turn(&mut self, now: Monotonic) {
        let slot = now.as_nanos().div_euclid(SLOT.as_nanos());
        if slot == self.slot {
            return;
        }
        let before = if slot == self.slot.saturating_add(1) { self.secrets[0] } else { draw(&mut self.rng) };
        self.secrets = [draw(&mut self.rng), before];
        self.slot = slot;
    }
}

fn draw(rng: &mut ChaCha12Rng) -> Secret {
    let mut secret = Secret::default();
    rng.fill_bytes(&mut secret);
    secret
}

fn cookie(secret: &Secret, address: SocketAddr, node: NodeId) -> u64 {
    let mut hasher = SipHasher24::new_with_key(secret);
    match address.ip() {
        IpAddr::V4(ip) => hasher.write(&ip.octets()),
        IpAddr::V6(ip) => hasher.write(&ip.octets()),
    }
    hasher.write(&address.port().to_be_bytes());
    hasher.write(&node.0.to_be_bytes());
    hasher.finish().max(1)
}

/// A cookie is good for one slot to two.
const SLOT: Span = Span::from_secs(10);

/// No cookie is good for longer.
pub(super) const LIFETIME: Span = Span::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn at(seconds: i64) -> Monotonic {
        Monotonic::from_nanos(0) + Span::from_secs(seconds)
    }

    #[test]
    fn a_cookie_is_good_for_its_client_at_its_address_for_ten_seconds_at_least() {
        let mut cookies = Cookies::new([7; 32]);
        let here: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        let there: SocketAddr = "192.0.2.1:1001".parse().unwrap();
        let cookie = cookies.make(at(9), here, NodeId(1));
        assert!(!Cookies::new([8; 32]).check(at(9), here, NodeId(1), cookie));
        assert!(cookies.check(at(9), here, NodeId(1), cookie));
        assert!(!cookies.check(at(9), there, NodeId(1), cookie));
        assert!(!cookies.check(at(9), here, NodeId(2), cookie));
        assert!(cookies.check(at(19), here, NodeId(1), cookie));
        assert!(!cookies.check(at(20), here, NodeId(1), cookie));
    }

    #[test]
    fn the_secret_is_a_new_one_every_ten_seconds() {
        let mut cookies = Cookies::new([7; 32]);
        let here: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        let made: Vec<u64> = (0..10).map(|slot| cookies.make(at(slot * 10), here, NodeId(1))).collect();
        assert!((1..10).all(|k| !made[..k].contains(&made[k])), "{made:?}");
        let secrets = cookies.secrets;
        cookies.make(at(1_000), here, NodeId(1));
        assert!(secrets.iter().all(|secret| !cookies.secrets.contains(secret)), "none outlives two slots");
    }
}
