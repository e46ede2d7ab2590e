//! Which members a standby server measures in a round, and how often: it has to know them, and their paths,
//! when it takes over, and no more.

use super::context::Context;
use super::handles::Slot;

/// Whether a server measures the member in this slot in this round: a standby server does so in every sixth.
pub(super) fn is_measured(context: &Context, slot: Slot, round: u32) -> bool {
    !context.is_standby() || slot.wrapping_add(round).is_multiple_of(SPARSE_ROUNDS)
}

/// The number of a round among those in which the member in this slot is measured.
pub(super) fn turn(context: &Context, slot: Slot, round: u32) -> u32 {
    if context.is_standby() { slot.wrapping_add(round) / SPARSE_ROUNDS } else { round }
}

/// The number of exchanges in a burst of a round.
pub(super) fn burst_size(context: &Context, usual: u8) -> u8 {
    if context.is_standby() { usual.min(SPARSE_BURST) } else { usual }
}

/// A standby server measures a member in one of so many rounds.
const SPARSE_ROUNDS: u32 = 6;
/// So many exchanges a standby server has with a member then.
const SPARSE_BURST: u8 = 2;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::time::Now;
    use crate::{Server, ServerConfig};

    #[test]
    fn a_standby_server_counts_the_rounds_of_each_member_one_by_one() {
        let mut server = Server::new(ServerConfig::default(), [3; 32], Now::default());
        server.stand_by(Now::default());
        for slot in 0..2 * SPARSE_ROUNDS {
            let is_measured = |round: &u32| is_measured(&server.context, slot, *round);
            let turns = (1..300).filter(is_measured).map(|round| turn(&server.context, slot, round));
            let turns: Vec<u32> = turns.collect();
            // So one in eight tries trains, whatever the slot.
            assert!(turns.windows(2).all(|two| two[1] == two[0] + 1), "slot {slot}: {turns:?}");
        }
    }
}
