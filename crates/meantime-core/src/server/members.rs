//! The table of clients: who is registered, and from where; and the bursts that are going on.
//!
//! Members have places that stay theirs. They are found by address and by process through two tables of
//! nothing but places. All of it grows by small steps, so that little of it lies idle.

use alloc::vec::Vec;
use core::hash::{BuildHasher, Hash};
use core::net::{IpAddr, SocketAddr};

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use slab::Slab;

use super::burst::Burst;
use super::member::{Member, Newcomer};
use crate::Path;
use crate::time::{Monotonic, Span};
use crate::wire::NodeId;

/// A registered client's place in the table.
pub(super) type Slot = u32;

/// All members, by place, by address and by process; and their bursts.
#[derive(Debug)]
pub(super) struct Members {
    slots: Slab<Member>,
    by_address: HashTable<Slot>,
    by_node: HashTable<Slot>,
    hasher: KeyedHasher,
    /// The addresses of ours that members talk to; once known, they stay.
    locals: Vec<IpAddr>,
    bursts: Slab<Burst>,
    /// How many of these stand alone.
    alone: usize,
    /// Bursts that are over: their memory is used again.
    spare: Vec<Burst>,
}

impl Members {
    /// No members; `key` is the secret of the hash tables, so that an attacker cannot choose addresses that
    /// collide.
    pub(super) fn new(key: [u8; 16]) -> Members {
        Members {
            slots: Slab::new(),
            by_address: HashTable::new(),
            by_node: HashTable::new(),
            hasher: KeyedHasher(key),
            locals: Vec::new(),
            bursts: Slab::new(),
            alone: 0,
            spare: Vec::new(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds a member at an address, and of a process, that have none; `local` is the number of the address of
    /// ours that it talks to. Returns its place; `None` if there are no more places.
    pub(super) fn insert(&mut self, now: Monotonic, newcomer: &Newcomer, local: u16) -> Option<Slot> {
        debug_assert!(
            !self.knows(newcomer.address, newcomer.node),
            "whoever was there is to be dismissed first"
        );
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(self.slots.len() / STEP + MIN_STEP);
        }
        let slot = Slot::try_from(self.slots.insert(Member::new(now, newcomer, local))).ok()?;
        let (slots, hasher) = (&self.slots, &self.hasher);
        let by_address = |slot: &Slot| hasher.hash_one(slots[*slot as usize].address());
        self.by_address.insert_unique(by_address(&slot), slot, by_address);
        let by_node = |slot: &Slot| hasher.hash_one(slots[*slot as usize].node);
        self.by_node.insert_unique(by_node(&slot), slot, by_node);
        Some(slot)
    }

    /// Takes a member out, and its burst with it.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Member> {
        let member = self.slots.try_remove(slot as usize)?;
        let (address, node) = (self.hash(member.address()), self.hash(member.node));
        for (table, hash) in [(&mut self.by_address, address), (&mut self.by_node, node)] {
            if let Ok(entry) = table.find_entry(hash, |found| *found == slot) {
                entry.remove();
            }
        }
        if let Some(place) = member.burst() {
            self.put_away(place);
        }
        Some(member)
    }

    /// The member at a place.
    pub(super) fn at(&mut self, slot: Slot) -> Option<&mut Member> {
        self.slots.get_mut(slot as usize)
    }

    /// The member at a place, only to be looked at.
    pub(super) fn look_at(&self, slot: Slot) -> Option<&Member> {
        self.slots.get(slot as usize)
    }

    /// The member at a place, with its burst that goes on.
    pub(super) fn with_burst(&mut self, slot: Slot) -> Option<(&mut Member, Option<&mut Burst>)> {
        let member = self.slots.get_mut(slot as usize)?;
        let burst = member.burst().and_then(|place| self.bursts.get_mut(place as usize));
        Some((member, burst))
    }

    /// The burst at a place among those that go on, if it is still the one of this number.
    pub(super) fn burst(&mut self, place: u32, id: u32) -> Option<&mut Burst> {
        self.bursts.get_mut(place as usize).filter(|burst| burst.id == id)
    }

    /// The path to a member.
    pub(super) fn path(&self, slot: Slot) -> Option<Path> {
        let member = self.slots.get(slot as usize)?;
        let local = usize::from(member.local).checked_sub(1).and_then(|number| self.locals.get(number));
        Some(Path { peer: member.address(), local: local.copied() })
    }

    /// The place of the member at an address.
    pub(super) fn find(&self, address: SocketAddr) -> Option<Slot> {
        let same = |slot: &Slot| self.slots[*slot as usize].address() == address;
        self.by_address.find(self.hash(address), same).copied()
    }

    /// The place of the member that is this process.
    pub(super) fn of_node(&self, node: NodeId) -> Option<Slot> {
        let same = |slot: &Slot| self.slots[*slot as usize].node == node;
        self.by_node.find(self.hash(node), same).copied()
    }

    /// Whether this process, or this address, is a member.
    pub(super) fn knows(&self, address: SocketAddr, node: NodeId) -> bool {
        self.find(address).is_some() || self.of_node(node).is_some()
    }

    /// The first place at `from` or behind that is taken.
    pub(super) fn next(&self, from: Slot) -> Option<Slot> {
        // Beyond the first vacant places, at most as many as there ever were members.
        let end = self.slots.capacity() as Slot;
        (from..end).find(|slot| self.slots.contains(*slot as usize))
    }

    /// All members from this place on, in the order of their places.
    pub(super) fn from(&self, slot: Slot) -> impl Iterator<Item = (Slot, &Member)> {
        (slot..self.slots.capacity() as Slot).filter_map(|slot| Some((slot, self.look_at(slot)?)))
    }

    /// All members, in the order of their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.slots.iter().map(|(_, member)| member)
    }

    /// All members, in the order of their places.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Member)> {
        self.slots.iter_mut().map(|(slot, member)| (slot as Slot, member))
    }

    /// How many bursts are going on.
    pub(super) fn bursts(&self) -> usize {
        self.bursts.len()
    }

    /// How many of these stand alone.
    pub(super) fn alone(&self) -> usize {
        self.alone
    }

    /// The members whose bursts go on in this round.
    pub(super) fn bursting(&self, round: u32) -> Vec<Slot> {
        let of_round = |burst: &&Burst| !burst.alone && burst.round == round;
        let mut slots: Vec<Slot> =
            self.bursts.iter().map(|(_, burst)| burst).filter(of_round).map(|burst| burst.member).collect();
        slots.sort_unstable();
        slots
    }

    /// Begins a burst with the member at a place, in place of any other with it. Returns the burst's place.
    pub(super) fn begin_burst(
        &mut self,
        slot: Slot,
        id: u32,
        round: u32,
        size: u8,
        alone: bool,
    ) -> Option<u32> {
        if let Some(place) = self.slots.get(slot as usize)?.burst() {
            self.put_away(place);
        }
        let mut burst = self.spare.pop().unwrap_or_default();
        burst.begin(id, slot, round, size, alone);
        self.alone += usize::from(alone);
        let place = self.bursts.insert(burst) as u32;
        self.slots.get_mut(slot as usize)?.begin_burst(place, round, alone);
        Some(place)
    }

    /// Ends the burst with the member at a place, whose result becomes the member's reading.
    pub(super) fn end_burst(&mut self, slot: Slot) {
        let Some(member) = self.slots.get_mut(slot as usize) else { return };
        let Some(place) = member.burst() else { return };
        let burst = self.bursts.get(place as usize);
        member.end_burst(burst.map_or(0, |burst| burst.heard), burst.and_then(|burst| burst.best));
        self.put_away(place);
    }

    /// Ends all bursts without any result.
    pub(super) fn forget_measurements(&mut self) {
        self.bursts.clear();
        self.alone = 0;
        self.slots.iter_mut().for_each(|(_, member)| member.forget_measurements());
    }

    fn put_away(&mut self, place: u32) {
        if let Some(burst) = self.bursts.try_remove(place as usize) {
            self.alone -= usize::from(burst.alone);
            self.spare.push(burst);
        }
    }

    /// The number of an address of ours; 0: none. `None`: there is no room for yet another one.
    pub(super) fn number_of(&mut self, local: Option<IpAddr>) -> Option<u16> {
        let Some(local) = local else { return Some(0) };
        if let Some(index) = self.locals.iter().position(|known| *known == local) {
            return u16::try_from(index + 1).ok();
        }
        if self.locals.len() == MAX_LOCALS {
            return None;
        }
        self.locals.push(local);
        u16::try_from(self.locals.len()).ok()
    }

    fn hash(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }
}

/// The two largest of some bounds; `None` as soon as one is missing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LargestBounds {
    first: Option<Span>,
    second: Option<Span>,
    is_missing: bool,
}

impl LargestBounds {
    /// Takes in a clock's bound.
    pub(super) fn add(&mut self, bound: Option<Span>) {
        self.is_missing |= bound.is_none();
        let lower = bound.min(self.first);
        self.first = bound.max(self.first);
        self.second = self.second.max(lower);
    }

    /// No two clocks of these differ by more than this: the sum of the two largest bounds, if all have one.
    pub(super) fn sum(&self) -> Option<Span> {
        Some(self.first? + self.second?).filter(|_| !self.is_missing)
    }
}

/// Hashes with SipHash-1-3 under a secret key.
#[derive(Clone, Copy, Debug)]
struct KeyedHasher([u8; 16]);

impl BuildHasher for KeyedHasher {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

/// The table grows by such a part of it: what lies idle is little, and what is copied is copied some sixty
/// times at most.
const STEP: usize = 64;
/// And by no less than this.
const MIN_STEP: usize = 16;
/// No machine is talked to at so many of its addresses, but on loopback somebody may try.
const MAX_LOCALS: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ClientState, ClusterId, KeyId, Name, SessionId};

    fn sum(bounds: &[Option<Span>]) -> Option<Span> {
        let mut largest = LargestBounds::default();
        bounds.iter().for_each(|bound| largest.add(*bound));
        largest.sum()
    }

    #[test]
    fn two_clocks_differ_by_the_sum_of_the_two_largest_bounds_if_all_have_one() {
        let us = |us| Some(Span::from_micros(us));
        assert_eq!(sum(&[us(0), us(7), us(5), us(9)]), us(16));
        assert_eq!(sum(&[us(0), us(7)]), us(7));
        assert_eq!(sum(&[us(9), us(7), us(7)]), us(16));
        assert_eq!(sum(&[us(0), None, us(9)]), None);
        assert_eq!(sum(&[us(0)]), None);
    }

    fn newcomer(number: u32) -> (Path, Newcomer) {
        let peer = SocketAddr::from((number.to_be_bytes(), 7));
        let newcomer = Newcomer {
            address: peer,
            node: NodeId(u64::from(number)),
            session: SessionId(1),
            name: Name::default(),
            nonce: 1,
            key: KeyId::NONE,
            state: ClientState::Unsynchronized,
            cluster: ClusterId(0),
        };
        (Path { peer, local: Some([127, 0, 0, 1].into()) }, newcomer)
    }

    #[test]
    fn members_are_found_while_others_come_and_go() {
        let mut members = Members::new([7; 16]);
        let add = |members: &mut Members, number: u32| {
            let (path, newcomer) = newcomer(number);
            let local = members.number_of(path.local).unwrap();
            members.insert(Monotonic::default(), &newcomer, local).unwrap()
        };
        let slots: Vec<Slot> = (1..=1_000).map(|number| add(&mut members, number)).collect();
        slots.iter().skip(1).step_by(2).for_each(|slot| assert!(members.remove(*slot).is_some()));
        for (slot, number) in slots.iter().zip(1u32..) {
            let stays = number % 2 == 1;
            let (path, newcomer) = newcomer(number);
            assert_eq!(members.find(path.peer), stays.then_some(*slot));
            assert_eq!(members.knows(path.peer, newcomer.node), stays);
            assert_eq!(members.path(*slot), stays.then_some(path));
        }
    }

    #[test]
    fn the_next_member_is_found_beyond_gaps() {
        let mut members = Members::new([7; 16]);
        for number in 0..5 {
            let (_, newcomer) = newcomer(number);
            members.insert(Monotonic::default(), &newcomer, 0);
        }
        for slot in [0, 2, 3] {
            members.remove(slot);
        }
        assert_eq!(
            (members.next(0), members.next(1), members.next(2), members.next(5)),
            (Some(1), Some(1), Some(4), None)
        );
    }
}
