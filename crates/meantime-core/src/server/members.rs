//! The table of members, with their bursts in progress.
//!
//! A member's place, its slot, does not change. Two hash tables of slots find members by address and by
//! process. All tables grow in small steps, so that little memory is unused.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::hash::{BuildHasher, Hash};
use core::net::{IpAddr, SocketAddr};

use hashbrown::HashTable;
use slab::Slab;

use super::burst::{BurstKind, ProbeBurst};
use super::bursts::BurstTable;
use super::handles::{BurstHandle, Slot};
use super::keyed_hasher::KeyedHasher;
use super::member::{Member, NewMember};
use super::remembered_votes::RememberedVotes;
use crate::Path;
use crate::peer::{ClientSelector, Peer};
use crate::roles::statement::MemberStatement;
use crate::time::Monotonic;
use crate::wire::{KeyId, ManualAdjustment, Name, NodeId};

/// All members, by slot, by address and by process; their bursts in progress; and the manual time adjustments
/// that they have reported.
#[derive(Debug)]
pub(super) struct Members {
    slots: Slab<Member>,
    by_address: HashTable<Slot>,
    by_node: HashTable<Slot>,
    hasher: KeyedHasher,
    /// The local addresses that members send to; they are never removed.
    locals: Vec<IpAddr>,
    bursts: BurstTable,
    /// What members have reported of the manual time adjustment that they carry, as long as the server has no
    /// cluster time.
    adjustments: BTreeMap<Slot, ManualAdjustment>,
    /// The members with a key, of which each name has one.
    by_name: HashTable<Slot>,
    /// The labels of the members that have stated one.
    labels: BTreeMap<Slot, StatedLabel>,
    /// How many labels were stated.
    labels_stated: u64,
    remembered: RememberedVotes,
    /// What members have stated last of the several servers that they have.
    statements: BTreeMap<Slot, MemberStatement>,
}

/// A label that a member has stated. The order is by when it was stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StatedLabel {
    /// How many labels were stated before.
    pub order: u64,
    /// The label.
    pub name: Name,
}

impl Members {
    /// No members. `key` is the secret of the hash tables: it prevents an attacker from choosing addresses
    /// that collide.
    pub(super) fn new(key: [u8; 16]) -> Members {
        Members {
            slots: Slab::new(),
            by_address: HashTable::new(),
            by_node: HashTable::new(),
            hasher: KeyedHasher::new(key),
            locals: Vec::new(),
            bursts: BurstTable::default(),
            adjustments: BTreeMap::new(),
            by_name: HashTable::new(),
            labels: BTreeMap::new(),
            labels_stated: 0,
            remembered: RememberedVotes::default(),
            statements: BTreeMap::new(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds a member; the caller has removed any other member at its address or of its process. `local` is
    /// the number of the local address that it sends to. Returns its slot; `None`: there is none left.
    pub(super) fn insert(&mut self, now: Monotonic, new: &NewMember, local: u16) -> Option<Slot> {
        debug_assert!(!self.knows(new.address, new.node), "the caller has removed the old member");
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(self.slots.len() / STEP + MIN_STEP);
        }
        let slot = Slot::try_from(self.slots.insert(Member::new(now, new, local))).ok()?;
        let (slots, hasher) = (&self.slots, &self.hasher);
        let by_address = |slot: &Slot| hasher.hash_one(slots[*slot as usize].address());
        self.by_address.insert_unique(by_address(&slot), slot, by_address);
        let by_node = |slot: &Slot| hasher.hash_one(slots[*slot as usize].node);
        self.by_node.insert_unique(by_node(&slot), slot, by_node);
        if new.key != KeyId::NONE {
            let by_name = |slot: &Slot| hasher.hash_one(slots[*slot as usize].name);
            self.by_name.insert_unique(by_name(&slot), slot, by_name);
        }
        Some(slot)
    }

    /// Removes a member with its burst in progress and the adjustment that it has reported.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Member> {
        let member = self.slots.try_remove(slot as usize)?;
        let hasher = self.hasher;
        for (table, hash) in [
            (&mut self.by_address, hasher.hash_one(member.address())),
            (&mut self.by_node, hasher.hash_one(member.node)),
            (&mut self.by_name, hasher.hash_one(member.name)),
        ] {
            if let Ok(entry) = table.find_entry(hash, |found| *found == slot) {
                entry.remove();
            }
        }
        if let Some(place) = member.burst() {
            self.bursts.end(place);
        }
        self.adjustments.remove(&slot);
        self.labels.remove(&slot);
        self.statements.remove(&slot);
        Some(member)
    }

    /// The member in a slot, to be changed.
    pub(super) fn at(&mut self, slot: Slot) -> Option<&mut Member> {
        self.slots.get_mut(slot as usize)
    }

    /// The member in a slot.
    pub(super) fn get(&self, slot: Slot) -> Option<&Member> {
        self.slots.get(slot as usize)
    }

    /// The member in a slot, with its burst in progress.
    pub(super) fn with_burst(&mut self, slot: Slot) -> Option<(&mut Member, Option<&mut ProbeBurst>)> {
        let member = self.slots.get_mut(slot as usize)?;
        let burst = member.burst().and_then(|place| self.bursts.at(place));
        Some((member, burst))
    }

    /// The burst of this handle, if it is still in progress.
    pub(super) fn burst(&mut self, handle: BurstHandle) -> Option<&mut ProbeBurst> {
        self.bursts.find(handle)
    }

    /// The burst in progress with a member.
    pub(super) fn burst_of(&self, slot: Slot) -> Option<BurstHandle> {
        let place = self.get(slot)?.burst()?;
        self.bursts.handle(place)
    }

    /// The path to a member.
    pub(super) fn path(&self, slot: Slot) -> Option<Path> {
        let member = self.slots.get(slot as usize)?;
        Some(Path { peer: member.address(), local: self.local(member) })
    }

    /// The slot of the member at an address.
    pub(super) fn find(&self, address: SocketAddr) -> Option<Slot> {
        let same = |slot: &Slot| self.slots[*slot as usize].address() == address;
        self.by_address.find(self.hash(address), same).copied()
    }

    /// The slot of the member that is this process.
    pub(super) fn of_node(&self, node: NodeId) -> Option<Slot> {
        let same = |slot: &Slot| self.slots[*slot as usize].node == node;
        self.by_node.find(self.hash(node), same).copied()
    }

    /// The slot of the member with a key that has this name.
    pub(super) fn of_name(&self, name: &Name) -> Option<Slot> {
        let same = |slot: &Slot| self.slots[*slot as usize].name == *name;
        self.by_name.find(self.hash(*name), same).copied()
    }

    /// Whether this process, or this address, is a member.
    pub(super) fn knows(&self, address: SocketAddr, node: NodeId) -> bool {
        self.find(address).is_some() || self.of_node(node).is_some()
    }

    /// The first slot from `from` on that is taken.
    pub(super) fn next(&self, from: Slot) -> Option<Slot> {
        // The capacity is an upper limit of the slots that are taken.
        let end = self.slots.capacity() as Slot;
        (from..end).find(|slot| self.slots.contains(*slot as usize))
    }

    /// The next step of a walk over all members in the order of their slots, during which members come and
    /// go: the first slot from `from` on that is taken. `from` becomes the one after it.
    pub(super) fn step(&self, from: &mut Slot) -> Option<Slot> {
        let slot = self.next(*from)?;
        *from = slot + 1;
        Some(slot)
    }

    /// All members from this slot on, in the order of their slots.
    pub(super) fn from(&self, slot: Slot) -> impl Iterator<Item = (Slot, &Member)> {
        (slot..self.slots.capacity() as Slot).filter_map(|slot| Some((slot, self.get(slot)?)))
    }

    /// The members that a request of an operator means.
    pub(super) fn selected(&self, selector: ClientSelector) -> impl Iterator<Item = Peer> {
        self.iter().map(Member::peer).filter(move |peer| selector.includes(peer))
    }

    /// All members, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.slots.iter().map(|(_, member)| member)
    }

    /// All members, in the order of their slots.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Member)> {
        self.slots.iter_mut().map(|(slot, member)| (slot as Slot, member))
    }

    /// Stores what a member states of the several servers that it has.
    pub(super) fn record_statement(&mut self, slot: Slot, statement: MemberStatement) {
        self.statements.insert(slot, statement);
    }

    /// What the member in this slot has stated last of the several servers that it has; `None`: nothing.
    pub(super) fn statement(&self, slot: Slot) -> Option<MemberStatement> {
        self.statements.get(&slot).copied()
    }

    /// Whether any member has stated something of the servers that it has.
    pub(super) fn has_statements(&self) -> bool {
        !self.statements.is_empty()
    }

    /// All members with the manual time adjustments that they have reported, in the order of their slots.
    pub(super) fn iter_with_adjustments(
        &mut self,
    ) -> impl Iterator<Item = (&mut Member, Option<&ManualAdjustment>)> {
        let adjustments = &self.adjustments;
        self.slots.iter_mut().map(|(slot, member)| (member, adjustments.get(&(slot as Slot))))
    }

    /// The manual time adjustment that a member has reported.
    pub(super) fn adjustment(&self, slot: Slot) -> Option<&ManualAdjustment> {
        self.adjustments.get(&slot)
    }

    /// Stores the manual time adjustment that a member has reported.
    pub(super) fn record_adjustment(&mut self, slot: Slot, adjustment: ManualAdjustment) {
        self.adjustments.insert(slot, adjustment);
    }

    /// Stores the label that a member has stated, if that is its first.
    pub(super) fn record_label(&mut self, slot: Slot, name: Name) {
        self.labels_stated += 1;
        self.labels.entry(slot).or_insert(StatedLabel { order: self.labels_stated, name });
    }

    /// The label that a member has stated.
    pub(super) fn label(&self, slot: Slot) -> Option<StatedLabel> {
        self.labels.get(&slot).copied()
    }

    /// The labels of the members that have stated one.
    pub(super) fn labels(&self) -> impl Iterator<Item = (Slot, StatedLabel)> + '_ {
        self.labels.iter().map(|(slot, label)| (*slot, *label))
    }

    /// The local address that a member sends to.
    pub(super) fn local(&self, member: &Member) -> Option<IpAddr> {
        usize::from(member.local).checked_sub(1).and_then(|number| self.locals.get(number)).copied()
    }

    /// The hash function of the tables, which no attacker knows.
    pub(super) fn hasher(&self) -> KeyedHasher {
        self.hasher
    }

    /// The groups that had a vote and are gone.
    pub(super) fn remembered(&mut self) -> &mut RememberedVotes {
        &mut self.remembered
    }

    /// Discards all manual time adjustments that members have reported.
    pub(super) fn discard_adjustments(&mut self) {
        self.adjustments = BTreeMap::new();
    }

    /// How many bursts are in progress.
    pub(super) fn bursts(&self) -> usize {
        self.bursts.len()
    }

    /// How many of these are extra ones.
    pub(super) fn extra_bursts(&self) -> usize {
        self.bursts.extra()
    }

    /// The members whose bursts of this round are in progress, in the order of their slots.
    pub(super) fn in_burst_of_round(&self, round: u32) -> Vec<Slot> {
        self.bursts.members_of_round(round)
    }

    /// Begins a burst with a member, and ends any other with it without a result.
    pub(super) fn begin_burst(
        &mut self,
        slot: Slot,
        number: u32,
        round: u32,
        size: u8,
        kind: BurstKind,
    ) -> Option<BurstHandle> {
        if let Some(place) = self.slots.get(slot as usize)?.burst() {
            self.bursts.end(place);
        }
        let place = self.bursts.begin(number, slot, round, size, kind);
        self.slots.get_mut(slot as usize)?.begin_burst(place, round, kind);
        Some(BurstHandle { place, number })
    }

    /// Ends the burst with a member: its best exchange becomes the member's reading.
    pub(super) fn end_burst(&mut self, slot: Slot) {
        let Some(member) = self.slots.get_mut(slot as usize) else { return };
        let Some(place) = member.burst() else { return };
        let burst = self.bursts.at(place);
        let (heard, best) = burst.as_ref().map_or((0, None), |burst| (burst.heard, burst.best));
        if let Some(burst) = burst {
            let length = member.trains.length(burst.round);
            burst.starts_of_trains(length).for_each(|delays| member.trains.learn(delays, &member.delays));
        }
        member.end_burst(heard, best);
        self.bursts.end(place);
    }

    /// Ends all bursts without a result, and discards all measurements.
    pub(super) fn discard_measurements(&mut self) {
        self.bursts.clear();
        self.slots.iter_mut().for_each(|(_, member)| member.discard_measurements());
    }

    /// The number of a local address; 0: none. `None`: there is no room for another one.
    pub(super) fn number_of_local(&mut self, local: Option<IpAddr>) -> Option<u16> {
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

/// The table grows by one part in so many: little memory is unused, and a member is copied some sixty times
/// at most.
const STEP: usize = 64;
/// The minimum number of slots by which it grows.
const MIN_STEP: usize = 16;
/// More than the addresses of any machine; but over loopback a client can send to any address in 127.0.0.0/8.
const MAX_LOCALS: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ClientState, ClusterId, SessionId};

    fn new_member(number: u32) -> (Path, NewMember) {
        let peer = SocketAddr::from((number.to_be_bytes(), 7));
        let new_member = NewMember {
            address: peer,
            node: NodeId(u64::from(number)),
            session: SessionId(1),
            name: Name::default(),
            nonce: 1,
            key: KeyId::NONE,
            state: ClientState::Unsynchronized,
            cluster: ClusterId(0),
        };
        (Path { peer, local: Some([127, 0, 0, 1].into()) }, new_member)
    }

    #[test]
    fn members_are_found_while_others_come_and_go() {
        let mut members = Members::new([7; 16]);
        let add = |members: &mut Members, number: u32| {
            let (path, new_member) = new_member(number);
            let local = members.number_of_local(path.local).unwrap();
            members.insert(Monotonic::default(), &new_member, local).unwrap()
        };
        let slots: Vec<Slot> = (1..=1_000).map(|number| add(&mut members, number)).collect();
        slots.iter().skip(1).step_by(2).for_each(|slot| assert!(members.remove(*slot).is_some()));
        for (slot, number) in slots.iter().zip(1u32..) {
            let stays = number % 2 == 1;
            let (path, new_member) = new_member(number);
            assert_eq!(members.find(path.peer), stays.then_some(*slot));
            assert_eq!(members.knows(path.peer, new_member.node), stays);
            assert_eq!(members.path(*slot), stays.then_some(path));
        }
    }

    #[test]
    fn the_next_member_is_found_after_free_slots() {
        let mut members = Members::new([7; 16]);
        for number in 0..5 {
            let (_, new_member) = new_member(number);
            members.insert(Monotonic::default(), &new_member, 0);
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
