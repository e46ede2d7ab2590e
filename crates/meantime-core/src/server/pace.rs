//! How a round adapts to the number of members: when bursts begin, how long they are, and how much the server
//! does at a time.
//!
//! With few members, bursts begin a millisecond apart. With many, the limit is the number of exchanges per
//! second that both sides and the network between them can carry, [`ServerConfig::probe_rate`]. Bursts of
//! full length are spread over as much of the interval as that rate needs, up to [`PROBING_PART`] of it. With
//! more members the bursts become shorter. With so many that single probes do not fit, a round takes several
//! intervals.

use crate::ServerConfig;
use crate::time::{Monotonic, Span};

/// The schedule of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RoundPlan {
    /// Exchanges with each member.
    pub burst: u8,
    /// The time over which the beginnings of the bursts are spread.
    pub spread: Span,
    /// How many rounds after this one are left out, because this one takes so long.
    pub rounds_left_out: i64,
}

impl RoundPlan {
    /// The plan of a round with so many members.
    pub(super) fn new(config: &ServerConfig, members: usize) -> RoundPlan {
        let interval = config.interval;
        let rate = f64::from(config.probe_rate.max(1));
        let fitting = interval.as_secs_f64() * PROBING_PART * rate / members.max(1) as f64;
        let burst = (fitting as u64).clamp(1, u64::from(config.burst.max(1))) as u8;
        let needed = Span::from_secs_f64(members as f64 * f64::from(burst) / rate);
        let loose = SPREAD.times(i64::try_from(members).unwrap_or(i64::MAX)).min(interval.scaled(0.4));
        let mut plan = RoundPlan { burst, spread: loose.max(needed), rounds_left_out: 0 };
        let length = plan.probing(config) + min_reply_timeout(config);
        plan.rounds_left_out = (length.as_nanos() - 1) / interval.as_nanos().max(1);
        plan
    }

    /// When the burst of this index, of so many, begins, from the beginning of the round.
    pub(super) fn burst_begins(&self, index: usize, of: usize) -> Span {
        self.spread.scaled(index as f64 / of.max(1) as f64)
    }

    /// From the beginning of the round to the last probe.
    pub(super) fn probing(&self, config: &ServerConfig) -> Span {
        self.spread + self.last_probe(config)
    }

    /// The latest time of the round's vote, if its last burst begins at `begun`, the slowest path has this
    /// reply timeout, and the next round begins at `next`. It is so early that the first corrections are sent
    /// before that, unless the round is late itself.
    pub(super) fn vote_deadline(
        &self,
        config: &ServerConfig,
        begun: Monotonic,
        reply_timeout: Span,
        next: Monotonic,
    ) -> Monotonic {
        let last_probe = begun + self.last_probe(config);
        let (min, max) = (min_reply_timeout(config), max_reply_timeout(config));
        let latest = next - config.interval.over(CORRECTING_PART);
        (last_probe + reply_timeout.clamp(min, max)).min(latest).max(last_probe + min)
    }

    /// From the beginning of a burst to its last probe.
    pub(super) fn last_probe(&self, config: &ServerConfig) -> Span {
        probe_gap(config).times(i64::from(self.burst) - 1)
    }
}

/// From one probe of a burst to the next, unless that follows at once.
pub(super) fn probe_gap(config: &ServerConfig) -> Span {
    GAP.min(config.interval.over(4 * i64::from(config.burst.max(1))))
}

/// The minimum time to wait for a reply, however fast the path was so far.
pub(super) fn min_reply_timeout(config: &ServerConfig) -> Span {
    MIN_REPLY_TIMEOUT.min(max_reply_timeout(config))
}

/// The maximum time to wait for a reply, however slow the path was so far.
pub(super) fn max_reply_timeout(config: &ServerConfig) -> Span {
    config.interval.over(4)
}

/// From one probe of a burst to the next, unless that follows at once: far enough apart to meet different
/// queues.
const GAP: Span = Span::from_millis(50);
/// From the beginning of a burst to that of the next, as long as all bursts fit into the round.
const SPREAD: Span = Span::from_millis(1);
/// The maximum part of an interval in which bursts begin. The rest is for the last reports, the vote and the
/// corrections.
const PROBING_PART: f64 = 0.8;
/// One part in so many of the interval is for the vote and the first corrections.
const CORRECTING_PART: i64 = 10;
/// Shorter reply timeouts would count scheduling delays of the client as losses.
const MIN_REPLY_TIMEOUT: Span = Span::from_millis(20);
/// The maximum number of bursts in progress. They take some 8 MB, and are more than a second's worth of half
/// a million members.
pub(super) const MAX_BURSTS: usize = 16_384;
/// The maximum number of extra bursts among these: thousands of new members must not delay the round.
pub(super) const MAX_EXTRA_BURSTS: usize = 1_024;
/// The maximum number of bursts that begin in one step, before received datagrams are handled. It is the
/// number of datagrams that are received in one step: so a server under full load sends no more probes than
/// it handles reports, and becomes slower instead of losing reports.
pub(super) const BURSTS_PER_STEP: usize = 64;
/// The maximum number of timers that fire in one step, for the same reason.
pub(super) const TIMERS_PER_STEP: usize = 64;
/// The maximum number of members that get a correction in one step. No member answers a correction, so these
/// can be more.
pub(super) const CORRECTIONS_PER_STEP: usize = 128;
/// The maximum number of members whose silence is checked in one step.
pub(super) const SWEPT_PER_STEP: usize = 4_096;
/// The pause between two steps of such work; timers of the event loop have no finer resolution.
pub(super) const STEP_PAUSE: Span = Span::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(members: usize) -> RoundPlan {
        RoundPlan::new(&ServerConfig::default(), members)
    }

    #[test]
    fn few_bursts_begin_a_millisecond_apart_and_thousands_within_two_fifths_of_the_round() {
        assert_eq!(plan(3), RoundPlan { burst: 4, spread: Span::from_millis(3), rounds_left_out: 0 });
        assert_eq!(plan(10_000), RoundPlan { burst: 4, spread: Span::from_secs(2), rounds_left_out: 0 });
        assert_eq!(plan(0).rounds_left_out, 0);
    }

    #[test]
    fn the_probe_rate_is_never_exceeded() {
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
    fn the_vote_comes_before_the_next_round_even_with_a_slow_path() {
        let config = ServerConfig::default();
        let start = Monotonic::default();
        for members in [3, 10_000, 100_000, 400_000, 1_000_000] {
            let plan = plan(members);
            let next = start + config.interval.times(1 + plan.rounds_left_out);
            let deadline = plan.vote_deadline(&config, start + plan.spread, max_reply_timeout(&config), next);
            let last_probe = start + plan.probing(&config);
            assert!(deadline >= last_probe + MIN_REPLY_TIMEOUT && deadline < next, "{members}: {deadline:?}");
        }
        // With few members, the vote waits for the whole reply timeout of the slowest path.
        let timeout = max_reply_timeout(&config);
        let next = start + config.interval;
        let deadline = plan(10).vote_deadline(&config, start, timeout, next);
        assert_eq!(deadline, start + plan(10).last_probe(&config) + timeout);
        // A round that is late also votes after the last reports.
        assert!(plan(10).vote_deadline(&config, next, timeout, next) > next);
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
