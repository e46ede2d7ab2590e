//! Manual time adjustments: all nodes add the same function of the agreed time.
//!
//! The vote, the discipline and the bounds know only the **base** time b, on which the cluster agrees and
//! which is never set. Timestamps on the wire are base time. A node *shows*
//!
//! ```text
//! S(b) = b + before + A·[b ≥ start]                                   a step
//! S(b) = b + before + sign(A)·min(|A|, p·max(0, b − start))           a slew, p = 400 ppm
//! ```
//!
//! where `before` is the sum of all earlier adjustments. The [`ManualAdjustment`] is sent to every member
//! before it begins, for an [`announcement`], so that all of them do the same at the same base time, also one
//! that hears nothing more of its server: two clocks that are d apart in base time are d·(1 + p) apart at
//! most while they slew. No estimator, and no vote, sees anything of it.
//!
//! If the cluster's base time is within β of a node's base time b, then S of it is within max |S(b′) − S(b)|
//! of S(b), over b′ in b ± β. S is increasing except where it steps back, so the ends of that interval, and
//! both sides of a step in it, are enough: [`ManualAdjustment::reach`]. A bound so covers the moment in which
//! one clock has stepped and another not yet.

use crate::time::{Frequency, Span, Timestamp};
use crate::wire::ManualAdjustment;

impl ManualAdjustment {
    /// What is added when the base time is `base`.
    pub fn added_at(&self, base: Timestamp) -> Span {
        let since = base - self.start;
        let gone = if self.step { self.amount.abs() } else { PACE.over(since) };
        let gone = gone.min(self.amount.abs());
        match (since < Span::ZERO, self.amount < Span::ZERO) {
            (true, _) => self.before,
            (false, true) => self.before - gone,
            (false, false) => self.before + gone,
        }
    }

    /// What clocks show when the base time is `base`.
    pub fn shown(&self, base: Timestamp) -> Timestamp {
        base + self.added_at(base)
    }

    /// The base time at which clocks show `shown`; at which they step over it, if they do. Of two, the
    /// earlier.
    pub fn base_of(&self, shown: Timestamp) -> Timestamp {
        let before = shown - self.before;
        if before < self.start {
            return before;
        }
        let pace = if self.amount < Span::ZERO { -PACE.ratio() } else { PACE.ratio() };
        let slewing = self.start + (before - self.start).scaled(1.0 / (1.0 + pace));
        match self.step {
            false if slewing < self.end() => slewing,
            _ => (before - self.amount).max(self.start),
        }
    }

    /// How long it takes, in base time.
    pub fn length(&self) -> Span {
        if self.step { Span::ZERO } else { takes(self.amount) }
    }

    /// The base time at which all is added.
    pub fn end(&self) -> Timestamp {
        self.start + self.length()
    }

    /// How far from what the cluster's clocks should show a clock may be at most that is at `base`, if it is
    /// `bound` from the cluster's base time at most.
    pub fn reach(&self, base: Timestamp, bound: Span) -> Span {
        let (low, high) = (base - bound, base + bound);
        let here = self.shown(base);
        let mut reach = (self.shown(high) - here).abs().max((here - self.shown(low)).abs());
        if self.step && low < self.start && self.start <= high {
            let sides = [self.start + self.before, self.shown(self.start)];
            reach = sides.into_iter().map(|side| (side - here).abs()).fold(reach, Span::max);
        }
        if reach == bound { bound } else { reach + ROUNDING }
    }

    /// Whether this is newer than the one of that number, as one server counts them; 0: than none.
    pub fn is_newer(&self, than: u8) -> bool {
        than == 0 || self.number.wrapping_sub(than).cast_signed() > 0
    }

    /// The step that is still to come when the base time is `base`: how large it is.
    pub fn step_after(&self, base: Timestamp) -> Span {
        if self.step && base < self.start { self.amount.abs() } else { Span::ZERO }
    }

    /// Whether this has the same effect as another, whatever their numbers.
    pub fn has_same_effect_as(&self, other: &ManualAdjustment) -> bool {
        *self == ManualAdjustment { number: self.number, ..*other }
    }
}

/// How long a slew by so much takes.
pub fn takes(amount: Span) -> Span {
    amount.abs().scaled(1.0 / PACE.ratio())
}

/// A client that knows the number of an adjustment, and not its contents, may assume for so long that it has
/// not begun. Members that receive nothing for that long are no longer registered.
pub fn lead(interval: Span) -> Span {
    interval.times(4).max(MIN_LEAD)
}

/// An adjustment is announced for so long before it begins, if relays among the members need `below` to pass
/// it on. By then a client that has not received it states no bound any more, even if the server's clock is
/// ahead of the client's and the last datagram was delayed.
pub fn announcement(interval: Span, below: Span) -> Span {
    lead(interval) + MIN_LEAD + below
}

/// p: as fast as operating systems let their clocks slew, less 100 ppm for the crystals.
pub const PACE: Frequency = Frequency::from_ppm(400.0);
/// The maximum duration of a slew: a larger adjustment is stepped.
pub const MAX_SLEW_DURATION: Span = Span::from_secs(86_400);
/// The amount that is slewed within [`MAX_SLEW_DURATION`].
pub const MAX_SLEW_AMOUNT: Span = Span::from_millis(34_560);
/// A network may be down for a moment even if rounds are short.
const MIN_LEAD: Span = Span::from_secs(2);
/// What is added is a whole number of nanoseconds.
const ROUNDING: Span = Span::from_nanos(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::ClusterId;

    const START: Timestamp = Timestamp::from_nanos(1_800_000_000_000_000_000);

    fn setting(amount: Span, step: bool) -> ManualAdjustment {
        let before = Span::from_secs(-7);
        ManualAdjustment { cluster: ClusterId(1), number: 1, before, amount, start: START, step }
    }

    fn later(ms: i64) -> Timestamp {
        START + Span::from_millis(ms)
    }

    #[test]
    fn a_second_is_slewed_away_within_42_minutes_and_stepped_at_once() {
        for sign in [1, -1] {
            let before = Span::from_secs(-7);
            let slew = setting(Span::from_secs(sign), false);
            assert_eq!(slew.length(), Span::from_secs(2_500));
            assert_eq!(slew.added_at(later(-1)), before);
            assert_eq!(slew.added_at(later(1_000)), before + Span::from_micros(400 * sign));
            assert_eq!(slew.added_at(slew.end()), before + slew.amount);
            let step = setting(Span::from_secs(sign), true);
            assert_eq!((step.added_at(later(-1)), step.added_at(START)), (before, before + step.amount));
        }
        assert_eq!(ManualAdjustment::NONE.shown(START), START);
    }

    #[test]
    fn a_bound_covers_the_moment_of_a_step() {
        for by in [Span::from_secs(3), Span::from_secs(-3)] {
            let step = setting(by, true);
            let bound = Span::from_micros(100);
            assert_eq!(step.reach(later(-1), bound), bound);
            assert_eq!(step.reach(later(1), bound), bound);
            for just in [Span::from_micros(-50), Span::from_micros(50)] {
                let reach = step.reach(START + just, bound);
                assert!(reach >= by.abs() - bound && reach <= by.abs() + bound.times(2), "{reach}");
            }
        }
    }

    #[test]
    fn numbers_wrap_around_without_zero() {
        let numbered = |number| ManualAdjustment { number, ..ManualAdjustment::NONE };
        assert!(numbered(1).is_newer(0) && numbered(200).is_newer(0));
        assert!(numbered(2).is_newer(1) && !numbered(1).is_newer(2));
        assert!(numbered(1).is_newer(255) && !numbered(255).is_newer(1));
        assert!(!numbered(7).is_newer(7));
    }

    proptest! {
        #[test]
        fn a_clock_within_the_bound_in_base_time_shows_a_time_within_the_reach(
            amount in -40_000_000_000i64..40_000_000_000,
            step in any::<bool>(),
            at in -200_000i64..200_000_000,
            bound in 0i64..100_000_000,
            share in -1.0..1.0f64,
        ) {
            let setting = setting(Span::from_nanos(amount), step);
            let (base, bound) = (later(at), Span::from_nanos(bound));
            let other = base + bound.scaled(share);
            let reach = setting.reach(base, bound);
            prop_assert!((setting.shown(other) - setting.shown(base)).abs() <= reach);
        }

        #[test]
        fn no_slew_shows_a_time_twice_and_each_shown_time_has_its_base(
            amount in -40_000_000_000i64..40_000_000_000,
            at in -200_000i64..200_000_000,
            ns in 2i64..10_000_000_000,
        ) {
            let setting = setting(Span::from_nanos(amount), false);
            let base = later(at);
            let next = base + Span::from_nanos(ns);
            let ran = setting.shown(next) - setting.shown(base);
            prop_assert!(ran > Span::ZERO);
            prop_assert!((ran - Span::from_nanos(ns)).abs() <= PACE.over(Span::from_nanos(ns)) + ROUNDING);
            prop_assert!((setting.base_of(setting.shown(base)) - base).abs() <= Span::from_nanos(40));
        }

        #[test]
        fn no_adjustment_from_the_wire_overflows(
            numbers in any::<(i64, i64, i64, i64, i64)>(),
            step in any::<bool>(),
        ) {
            let (before, amount, start, at, bound) = numbers;
            let setting = ManualAdjustment {
                before: Span::from_nanos(before),
                amount: Span::from_nanos(amount),
                start: Timestamp::from_nanos(start),
                ..setting(Span::ZERO, step)
            };
            let at = Timestamp::from_nanos(at);
            let _ = (setting.shown(at), setting.base_of(at), setting.end());
            let _ = setting.reach(at, Span::from_nanos(bound).abs());
        }
    }
}
