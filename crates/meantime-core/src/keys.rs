//! The keys that a node knows, by their numbers.
//!
//! Every key of the ring is accepted, so a cluster can change to a new key without an interruption. A client
//! uses the newest key that its server knows, and the server answers with the key of the request. A node with
//! an empty ring has no keys: it neither tags nor verifies datagrams, and drops those that have a tag.

use crate::wire::{KeyId, Master, NodeKey};
use alloc::vec::Vec;

/// Keys of one kind, in the order in which they were added.
///
/// ```
/// use meantime_core::Keyring;
/// use meantime_core::wire::KeyId;
///
/// let ring = Keyring::new(vec![(KeyId(5), "old"), (KeyId(9), "new")]);
/// assert_eq!(ring.newest(), KeyId(9));
/// assert_eq!(ring.find(KeyId(5)), Some(&"old"));
/// assert_eq!(ring.or_newest(KeyId(7)), KeyId(9));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Keyring<K>(Vec<(KeyId, K)>);

/// A server's keys.
pub type MasterKeys = Keyring<Master>;

/// A client's keys.
pub type NodeKeys = Keyring<NodeKey>;

impl<K> Keyring<K> {
    /// A ring of these keys, the newest last. Their numbers are not 0 and differ.
    pub fn new(keys: Vec<(KeyId, K)>) -> Keyring<K> {
        Keyring(keys)
    }

    /// A ring without keys.
    pub const NONE: Keyring<K> = Keyring(Vec::new());

    /// Whether the ring has no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key with this number.
    pub fn find(&self, id: KeyId) -> Option<&K> {
        self.0.iter().find(|(known, _)| *known == id).map(|(_, key)| key)
    }

    /// The number of the key that is `by` places before the newest, counted cyclically; [`KeyId::NONE`]: the
    /// ring has no keys.
    pub fn before_newest(&self, by: usize) -> KeyId {
        let back = by.checked_rem(self.0.len()).map_or(0, |by| self.0.len() - 1 - by);
        self.0.get(back).map_or(KeyId::NONE, |(id, _)| *id)
    }

    /// The number of the newest key; [`KeyId::NONE`]: the ring has no keys.
    pub fn newest(&self) -> KeyId {
        self.before_newest(0)
    }

    /// This number if a key has it, else the newest key's.
    pub fn or_newest(&self, id: KeyId) -> KeyId {
        if self.find(id).is_some() { id } else { self.newest() }
    }
}

impl<K> Default for Keyring<K> {
    fn default() -> Keyring<K> {
        Keyring(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn the_newest_key_is_the_last_and_the_others_come_in_turn() {
        let ring = Keyring::new(vec![(KeyId(5), 'a'), (KeyId(9), 'b'), (KeyId(2), 'c')]);
        let turns: Vec<u16> = (0..5).map(|by| ring.before_newest(by).0).collect();
        assert_eq!(turns, [2, 9, 5, 2, 9]);
        assert_eq!((ring.find(KeyId(9)), ring.find(KeyId(1))), (Some(&'b'), None));
        assert_eq!((ring.or_newest(KeyId(5)), ring.or_newest(KeyId(1))), (KeyId(5), KeyId(2)));
        assert_eq!(Keyring::<char>::default().newest(), KeyId::NONE);
    }
}
