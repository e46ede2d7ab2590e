//! The authentication tag: proof of who has written a datagram, and that it was not changed on the way.
//!
//! HMAC-SHA-256, cut to the 16 bytes that a datagram has for it. Every node has a key of its own, which
//! follows from a secret and the node's name; the server knows the secret, and so every node's key. Both
//! directions of a session are tagged with the node's key, but over different first bytes: an attacker
//! cannot reflect a node's own datagrams to it.
//!
//! Tags are compared in constant time, by the library. Nothing here allocates.

use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::datagram::{DATAGRAM_LEN, Datagram};
use super::name::Name;

/// The number of the key that made a tag, as its operator chose it; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u16);

impl KeyId {
    /// No key: the tag is zero and proves nothing.
    pub const NONE: KeyId = KeyId(0);
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The bytes of a key.
pub type KeyBytes = [u8; 32];

/// Which way a datagram travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// From a client to its server.
    ToServer = 1,
    /// From a server to its client.
    ToClient = 2,
}

/// The secret from which all nodes' keys are derived. Its holder can impersonate every node.
#[derive(Clone)]
pub struct Master(Hmac<Sha256>);

/// One node's key. Its holder can impersonate that node, and impersonate the server to that node.
#[derive(Clone)]
pub struct NodeKey(Hmac<Sha256>);

impl Master {
    /// The master key with this secret.
    pub fn new(secret: &KeyBytes) -> Master {
        Master(keyed(secret))
    }

    /// The bytes of a node's key: HKDF-Expand (RFC 5869) of the secret, with a label and the padded name.
    pub fn derive(&self, name: &Name) -> KeyBytes {
        let mac = self.0.clone().chain_update(LABEL).chain_update(name.to_bytes()).chain_update([1]);
        mac.finalize().into_bytes().into()
    }

    /// A node's key.
    pub fn node(&self, name: &Name) -> NodeKey {
        NodeKey::new(&self.derive(name))
    }
}

impl NodeKey {
    /// The key of these bytes.
    pub fn new(bytes: &KeyBytes) -> NodeKey {
        NodeKey(keyed(bytes))
    }

    /// Writes the tag into a datagram that is complete except for it.
    pub fn sign(&self, direction: Direction, datagram: &mut Datagram) {
        let tag = self.over(direction, datagram).finalize().into_bytes();
        datagram[TAG].copy_from_slice(&tag[..TAG_LEN]);
    }

    /// Whether this key made the tag of a datagram.
    pub fn verify(&self, direction: Direction, datagram: &Datagram) -> bool {
        self.over(direction, datagram).verify_truncated_left(&datagram[TAG]).is_ok()
    }

    fn over(&self, direction: Direction, datagram: &Datagram) -> Hmac<Sha256> {
        self.0.clone().chain_update([direction as u8]).chain_update(&datagram[..TAG.start])
    }
}

/// Secrets are never shown.
impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Master")
    }
}

/// Secrets are never shown.
impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey")
    }
}

/// Two keys are equal if they derive the same.
impl PartialEq for Master {
    fn eq(&self, other: &Master) -> bool {
        self.derive(&Name::default()) == other.derive(&Name::default())
    }
}

/// Two keys are equal if they derive the same.
impl PartialEq for NodeKey {
    fn eq(&self, other: &NodeKey) -> bool {
        let mut signed = [0; DATAGRAM_LEN];
        self.sign(Direction::ToServer, &mut signed);
        other.verify(Direction::ToServer, &signed)
    }
}

fn keyed(bytes: &KeyBytes) -> Hmac<Sha256> {
    // HMAC takes keys of any length: what fits into a block is padded to it.
    let mut block = [0; 64];
    block[..bytes.len()].copy_from_slice(bytes);
    Hmac::new(&block.into())
}

/// The label that precedes the name in the derivation of a node's key.
const LABEL: &[u8] = b"meantime 1 node key";
/// The length of a tag, in bytes, at the end of its datagram: HMAC-SHA-256 truncated to half, as in
/// RFC 4868.
pub const TAG_LEN: usize = 16;
const TAG: core::ops::Range<usize> = DATAGRAM_LEN - TAG_LEN..DATAGRAM_LEN;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn signed() -> (NodeKey, Datagram) {
        let key = Master::new(&[7; 32]).node(&Name::new("lab-7"));
        let mut datagram: Datagram = core::array::from_fn(|at| at as u8);
        key.sign(Direction::ToServer, &mut datagram);
        (key, datagram)
    }

    #[test]
    fn a_tag_depends_on_its_key_its_direction_and_every_bit_of_its_datagram() {
        let (key, datagram) = signed();
        assert!(key.verify(Direction::ToServer, &datagram));
        assert!(!key.verify(Direction::ToClient, &datagram), "a reflected datagram");
        for bit in 0..DATAGRAM_LEN * 8 {
            let mut changed = datagram;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.verify(Direction::ToServer, &changed), "bit {bit}");
        }
        for other in
            [Master::new(&[7; 32]).node(&Name::new("lab-8")), Master::new(&[8; 32]).node(&Name::new("lab-7"))]
        {
            assert!(!other.verify(Direction::ToServer, &datagram));
        }
    }

    /// RFC 4231, test case 2: a short key, padded here as HMAC pads it.
    #[test]
    fn the_tag_is_hmac_sha_256_of_rfc_4231() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mac = keyed(&key).chain_update(b"what do ya want for nothing?").finalize().into_bytes();
        assert_eq!(mac[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
    }

    #[test]
    fn keys_are_never_shown() {
        let master = Master::new(&[7; 32]);
        assert_eq!(format!("{master:?} {:?}", master.node(&Name::new("x"))), "Master NodeKey");
    }
}
