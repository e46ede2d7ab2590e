//! Which members a standby server measures in a round, and how often: it has to know them, and their paths,
//! when it takes over, and no more.

use super::context::Context;
use super::handles::Slot;

/// Whether a server measures the member in this slot in this round: a standby server does so in every sixth.
pub(super) fn is_measured(context: &Context, slot: Slot, round: u32) -> bool {
    !context.is_standby() || slot.wrapping_add(round).is_multiple_of(SPARSE_ROUNDS)
}

/// The number of exchanges in a burst of a round.
pub(super) fn burst_size(context: &Context, usual: u8) -> u8 {
    if context.is_standby() { usual.min(SPARSE_BURST) } else { usual }
}

/// A standby server measures a member in one of so many rounds.
const SPARSE_ROUNDS: u32 = 6;
/// So many exchanges a standby server has with a member then.
const SPARSE_BURST: u8 = 2;
