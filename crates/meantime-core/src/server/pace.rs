//! How a round adapts to its members: when bursts begin, how long they are, and how much is done at a time.
//!
//! With few members bursts begin a millisecond apart. With many, what counts is how many exchanges a second
//! both sides and the network between them can carry, [`ServerConfig::probe_rate`]. While all bursts of full
//! length fit into [`WINDOW`] of the interval at that rate, they are spread so far that they do; then they
//! become shorter; and when even single probes do not fit, a round takes as many intervals as it needs.

use crate::ServerConfig;
use crate::time::{Monotonic, Span};

/// How a round goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Exchanges with each member.
    pub burst: u8,
    /// Over how long the beginnings of the bursts are spread.
    pub spread: Span,
    /// How many rounds after this one do not take place, for want of time.
    pub rounds_left_out: i64,
}

impl Plan {
    /// When the burst of this index of so many begins, from the round's beginning.
    pub(super) fn begins(&self, index: usize, of: usize) -> Span {
        self.spread.scaled(index as f64 / of.max(1) as f64)
    }

    /// From the round's beginning to the last probe.
    pub(super) fn probing(&self, config: &ServerConfig) -> Span {
        self.spread + self.last_probe(config)
    }

    /// When the vote of the round comes at the latest whose last burst has `begun` now, if the slowest path
    /// may take so long to answer, and the next round begins at `next`: early enough that telling everybody
    /// has begun by then, unless the round is late itself.
    pub(super) fn over(
        &self,
        config: &ServerConfig,
        begun: Monotonic,
        patience: Span,
        next: Monotonic,
    ) -> Monotonic {
        let (asked, most) = (begun + self.last_probe(config), config.most_patience());
        let least = MIN_PATIENCE.min(most);
        let latest = next - config.interval.over(TELLING);
        (asked + patience.clamp(least, most)).min(latest).max(asked + least)
    }

    /// From the beginning of a burst to its last probe.
    pub(super) fn last_probe(&self, config: &ServerConfig) -> Span {
        config.gap().times(i64::from(self.burst) - 1)
    }
}

impl ServerConfig {
    /// How a round with so many members goes.
    pub(super) fn plan(&self, members: usize) -> Plan {
        let rate = f64::from(self.probe_rate.max(1));
        let fitting = self.interval.as_secs_f64() * WINDOW * rate / members.max(1) as f64;
        let burst = (fitting as u64).clamp(1, u64::from(self.burst.max(1))) as u8;
        let needed = Span::from_secs_f64(members as f64 * f64::from(burst) / rate);
        let loose = SPREAD.times(i64::try_from(members).unwrap_or(i64::MAX)).min(self.interval.scaled(0.4));
        let mut plan = Plan { burst, spread: loose.max(needed), rounds_left_out: 0 };
        let length = plan.probing(self) + MIN_PATIENCE.min(self.most_patience());
        plan.rounds_left_out = (length.as_nanos() - 1) / self.interval.as_nanos().max(1);
        plan
    }

    /// From one probe of a burst to the next.
    pub(super) fn gap(&self) -> Span {
        GAP.min(self.interval.over(4 * i64::from(self.burst.max(1))))
    }

    /// However slow a path was so far, no answer is waited for any longer.
    pub(super) fn most_patience(&self) -> Span {
        self.interval.over(4)
    }
}

/// From one probe of a burst to the next: far enough apart to meet different queues.
const GAP: Span = Span::from_millis(50);
/// Bursts begin this far apart, as long as they fit into the round.
const SPREAD: Span = Span::from_millis(1);
/// The part of an interval in which all bursts begin at most. The rest is for the last answers, the vote and
/// the corrections.
const WINDOW: f64 = 0.8;
/// One part in so many of the interval is left for the vote and the first corrections.
const TELLING: i64 = 10;
/// However quick a path was so far, an answer may take this long.
pub(super) const MIN_PATIENCE: Span = Span::from_millis(20);
/// Bursts that go on at a time, all together at most: some 8 MB, and more than a second's worth of half a
/// million members.
pub(super) const MAX_BURSTS: usize = 16_384;
/// Of these, bursts outside of rounds: newcomers by the thousand must not crowd out the round.
pub(super) const MAX_ALONE: usize = 1_024;
/// Bursts that begin at a time, and timers that fire at a time, before what has been received gets its turn.
/// As many as datagrams are received in a turn: so a server that has no time sends no more probes than it
/// takes in reports, and becomes slower instead of deaf.
pub(super) const BEGINS_A_TURN: usize = 64;
/// See [`BEGINS_A_TURN`].
pub(super) const TIMERS_A_TURN: usize = 64;
/// Members that are told at a time: nobody answers that.
pub(super) const TELLS_A_TURN: usize = 128;
/// Members that are looked at, at a time, for whether they have been silent for too long.
pub(super) const SWEPT_A_TURN: usize = 4_096;
/// Between two turns of such work: waits are not shorter anyway.
pub(super) const PAUSE: Span = Span::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(members: usize) -> Plan {
        ServerConfig::default().plan(members)
    }

    #[test]
    fn few_members_are_measured_a_millisecond_apart_and_thousands_within_two_fifths_of_the_round() {
        assert_eq!(plan(3), Plan { burst: 4, spread: Span::from_millis(3), rounds_left_out: 0 });
        assert_eq!(plan(10_000), Plan { burst: 4, spread: Span::from_secs(2), rounds_left_out: 0 });
        assert_eq!(plan(0).rounds_left_out, 0);
    }

    #[test]
    fn no_more_probes_a_second_are_sent_than_can_be_carried() {
        for members in [60_000, 100_000, 104_000, 110_000, 200_000, 400_000, 1_000_000] {
            let plan = plan(members);
            let rate = members as f64 * f64::from(plan.burst) / plan.spread.as_secs_f64();
            assert!(rate <= 100_001.0, "{members}: {rate}");
            let length = plan.probing(&ServerConfig::default());
            assert!(
                length < ServerConfig::default().interval.times(1 + plan.rounds_left_out),
                "{members}: {length}"
            );
        }
    }

    #[test]
    fn the_vote_comes_before_the_next_round_however_slow_a_path_is() {
        let config = ServerConfig::default();
        let start = Monotonic::default();
        for members in [3, 10_000, 100_000, 400_000, 1_000_000] {
            let plan = plan(members);
            let next = start + config.interval.times(1 + plan.rounds_left_out);
            let over = plan.over(&config, start + plan.spread, config.most_patience(), next);
            let asked = start + plan.probing(&config);
            assert!(over >= asked + MIN_PATIENCE && over < next, "{members}: {over:?}");
        }
        // With few, the slowest path has all its time.
        let patience = config.most_patience();
        let next = start + config.interval;
        let over = plan(10).over(&config, start, patience, next);
        assert_eq!(over, start + plan(10).last_probe(&config) + patience);
        // A round that is late has its vote after the last answers nevertheless.
        assert!(plan(10).over(&config, next, patience, next) > next);
    }

    #[test]
    fn bursts_become_shorter_before_rounds_become_fewer() {
        let adapted = |members| (plan(members).burst, plan(members).rounds_left_out);
        assert_eq!(adapted(100_000), (4, 0));
        assert_eq!(adapted(110_000), (3, 0));
        assert_eq!(adapted(300_000), (1, 0));
        assert_eq!(adapted(1_000_000), (1, 2));
    }
}
