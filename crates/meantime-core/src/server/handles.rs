//! Handles: small numbers that stand for a member, a burst or a probe, in tables, timers and send timestamps.

use crate::StampId;

/// A registered client's place in the table of members. It stays the same as long as the client is a member.
pub(super) type Slot = u32;

/// A burst: its place among those in progress, and its own number. The place is used again, the number is
/// not; so a timer of a burst that is over finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BurstHandle {
    pub place: u16,
    pub number: u32,
}

/// The send timestamp's id of a probe: its member's slot and its sequence number in the session.
pub(super) fn stamp_id(slot: Slot, sequence: u32) -> StampId {
    StampId(u64::from(slot) << 32 | u64::from(sequence))
}

/// The slot and the sequence number in an id that [`stamp_id`] has made.
pub(super) fn from_stamp_id(id: StampId) -> (Slot, u32) {
    ((id.0 >> 32) as Slot, id.0 as u32)
}

const _: () = assert!(size_of::<Slot>() == 4);
