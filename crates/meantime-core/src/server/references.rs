//! The references that members offer.

use super::context::Context;
use super::handles::Slot;
use super::member::Freshness;
use crate::Fate;
use crate::time::Now;
use crate::wire::Header;

/// Handles a member's reading of its reference.
pub(super) fn handle_reference(context: &mut Context, now: Now, slot: Slot, header: &Header) -> Fate {
    let Some(member) = context.members.at(slot) else { return Fate::Session };
    match member.record_datagram(now.mono, header) {
        Freshness::Replayed => Fate::Replayed,
        Freshness::New => Fate::Accepted,
    }
}
