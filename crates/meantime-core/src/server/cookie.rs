//! Stateless proof of address. A cookie is a keyed hash of a client's address and node id. The server sends
//! it to each client that asks, and stores nothing. A client that sends it back has received it, so its
//! source address is real.
//!
//! The secret changes every ten seconds, and the one before is valid for ten seconds more: a secret that
//! leaks is of use for 20 s at most.

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
    /// The number of the current period.
    period: i64,
    /// The secrets of this period and of the one before.
    secrets: [Secret; 2],
}

type Secret = [u8; 16];

impl Cookies {
    /// Cookies whose secrets are drawn from this seed.
    pub(super) fn new(seed: [u8; 32]) -> Cookies {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let secrets = [draw_secret(&mut rng), draw_secret(&mut rng)];
        Cookies { rng, period: i64::MIN, secrets }
    }

    /// The cookie of a node at an address, now. Never zero.
    pub(super) fn make(&mut self, now: Monotonic, address: SocketAddr, node: NodeId) -> u64 {
        self.renew_secrets(now);
        cookie(&self.secrets[0], address, node)
    }

    /// Whether `given` is the cookie of this node at this address, made in this period or in the one before.
    pub(super) fn check(&mut self, now: Monotonic, address: SocketAddr, node: NodeId, given: u64) -> bool {
        self.renew_secrets(now);
        given != 0 && self.secrets.iter().any(|secret| cookie(secret, address, node) == given)
    }

    /// Draws new secrets if a new period has begun.
    fn renew_secrets(&mut self, now: Monotonic) {
        let period = now.as_nanos().div_euclid(PERIOD.as_nanos());
        if period == self.period {
            return;
        }
        let is_next = period == self.period.saturating_add(1);
        let before = if is_next { self.secrets[0] } else { draw_secret(&mut self.rng) };
        self.secrets = [draw_secret(&mut self.rng), before];
        self.period = period;
    }
}

fn draw_secret(rng: &mut ChaCha12Rng) -> Secret {
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

/// A cookie is valid for one to two periods.
const PERIOD: Span = Span::from_secs(10);

/// The maximum time for which a cookie is valid.
pub(super) const MAX_LIFETIME: Span = Span::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn at(seconds: i64) -> Monotonic {
        Monotonic::from_nanos(0) + Span::from_secs(seconds)
    }

    #[test]
    fn a_cookie_is_valid_for_its_client_at_its_address_for_at_least_ten_seconds() {
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
    fn the_secret_changes_every_ten_seconds() {
        let mut cookies = Cookies::new([7; 32]);
        let here: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        let made: Vec<u64> = (0..10).map(|period| cookies.make(at(period * 10), here, NodeId(1))).collect();
        assert!((1..10).all(|k| !made[..k].contains(&made[k])), "{made:?}");
        let secrets = cookies.secrets;
        cookies.make(at(1_000), here, NodeId(1));
        assert!(
            secrets.iter().all(|secret| !cookies.secrets.contains(secret)),
            "no secret outlives two periods"
        );
    }
}
