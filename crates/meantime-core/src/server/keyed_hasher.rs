//! The hash function of the server's tables: an attacker cannot choose what collides in them.

use core::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// Hashes with SipHash-1-3 under a secret key.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyedHasher([u8; 16]);

impl KeyedHasher {
    /// The function with this key, which must be unpredictable.
    pub(super) fn new(key: [u8; 16]) -> KeyedHasher {
        KeyedHasher(key)
    }
}

impl BuildHasher for KeyedHasher {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}
