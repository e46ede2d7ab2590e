//! The bursts in progress.

use alloc::vec::Vec;

use slab::Slab;

use super::burst::{BurstKind, ProbeBurst};
use super::handles::{BurstHandle, Slot};

/// All bursts in progress, by place.
#[derive(Debug, Default)]
pub(super) struct BurstTable {
    bursts: Slab<ProbeBurst>,
    extra: usize,
    /// Bursts that are over: their memory is used again.
    spare: Vec<ProbeBurst>,
}

impl BurstTable {
    /// How many bursts are in progress.
    pub(super) fn len(&self) -> usize {
        self.bursts.len()
    }

    /// How many of these are extra ones.
    pub(super) fn extra(&self) -> usize {
        self.extra
    }

    /// The burst at a place.
    pub(super) fn at(&mut self, place: u16) -> Option<&mut ProbeBurst> {
        self.bursts.get_mut(usize::from(place))
    }

    /// The handle of the burst at a place.
    pub(super) fn handle(&self, place: u16) -> Option<BurstHandle> {
        self.bursts.get(usize::from(place)).map(|burst| BurstHandle { place, number: burst.number })
    }

    /// The burst of this handle, if it is still in progress.
    pub(super) fn find(&mut self, handle: BurstHandle) -> Option<&mut ProbeBurst> {
        self.at(handle.place).filter(|burst| burst.number == handle.number)
    }

    /// Begins a burst and returns its place.
    pub(super) fn begin(&mut self, number: u32, member: Slot, round: u32, size: u8, kind: BurstKind) -> u16 {
        let mut burst = self.spare.pop().unwrap_or_default();
        burst.begin(number, member, round, size, kind);
        self.extra += usize::from(kind == BurstKind::Extra);
        self.bursts.insert(burst) as u16
    }

    /// Ends the burst at a place.
    pub(super) fn end(&mut self, place: u16) {
        if let Some(burst) = self.bursts.try_remove(usize::from(place)) {
            self.extra -= usize::from(burst.kind == BurstKind::Extra);
            self.spare.push(burst);
        }
    }

    /// Ends all bursts.
    pub(super) fn clear(&mut self) {
        self.bursts.clear();
        self.extra = 0;
    }

    /// The members whose bursts of this round are in progress, in the order of their slots.
    pub(super) fn members_of_round(&self, round: u32) -> Vec<Slot> {
        let is_of_round = |burst: &&ProbeBurst| burst.kind == BurstKind::OfRound && burst.round == round;
        let bursts = self.bursts.iter().map(|(_, burst)| burst);
        let mut slots: Vec<Slot> = bursts.filter(is_of_round).map(|burst| burst.member).collect();
        slots.sort_unstable();
        slots
    }
}
