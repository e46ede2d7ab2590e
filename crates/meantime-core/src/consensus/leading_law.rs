//! How fast the cluster's time approaches UTC: the rate that a distance calls for.
//!
//! Let d be UTC minus what the cluster's clocks show. The rate over UTC that is wanted is v(d), with the sign
//! of d. Near the goal it is proportional; farther away it is the square root of the distance, along which a
//! constant deceleration b comes to rest at the goal:
//!
//! ```text
//! v(d) = d/τ                         |d| ≤ bτ²
//! v(d) = √(2b(|d| − bτ²/2))          beyond; continuous, and as steep there
//! ```
//!
//! b is half of the acceleration that the pace allows, so the other half is left for what is not foreseen. A
//! brisk approach decelerates with the b of its own pace down to the rate at which a gentle one can go on
//! from [`CLOSE`].
//!
//! The rate is at most R, and so small that in no 24 hours more is led than the daily limit: half of it may
//! be led at once, and the other half comes back within a day.

use crate::time::{Frequency, Span};

/// How fast the cluster's rate may change while it is led.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LeadingPace {
    /// Clients are told so, and widen their bounds accordingly.
    Brisk,
    /// As the rate anchor moves a settled cluster.
    #[default]
    Gentle,
}

impl LeadingPace {
    /// The maximum change of the rate, per second.
    pub(super) fn acceleration(self) -> f64 {
        match self {
            LeadingPace::Brisk => BRISK,
            LeadingPace::Gentle => GENTLE,
        }
    }

    /// The rate over UTC that this distance calls for, without a limit.
    pub(super) fn wanted(self, distance: Span, interval: Span) -> f64 {
        let (d, close) = (distance.abs().as_secs_f64(), CLOSE.as_secs_f64());
        let tau = TIME_CONSTANT_S.max(MIN_ROUNDS * interval.as_secs_f64());
        let rate = match self {
            LeadingPace::Brisk if d > close => {
                let arrival = approach(close, GENTLE / 2.0, tau);
                (arrival * arrival + BRISK * (d - close)).sqrt()
            }
            _ => approach(d, GENTLE / 2.0, tau),
        };
        rate.copysign(distance.as_secs_f64())
    }
}

/// How much may be led at once and in a day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LeadingBudget {
    daily: Span,
    left: Span,
}

impl LeadingBudget {
    /// Nothing was led yet.
    pub(super) fn new(daily: Span) -> LeadingBudget {
        LeadingBudget { daily, left: daily.half() }
    }

    /// Of this wanted rate, what is allowed; `interval` has passed since the last call, and the result holds
    /// for as long.
    pub(super) fn allowed(&mut self, wanted: f64, max_rate: Frequency, interval: Span) -> f64 {
        let refill = self.daily.as_secs_f64() / 2.0 / DAY_S;
        let seconds = interval.as_secs_f64();
        self.left = (self.left + Span::from_secs_f64(refill * seconds)).min(self.daily.half());
        let most = (self.left.as_secs_f64() / SPENT_WITHIN_S.max(seconds)).min(max_rate.ratio());
        let rate = wanted.clamp(-most, most);
        self.left = (self.left - Span::from_secs_f64(rate.abs() * seconds)).max(Span::ZERO);
        rate
    }
}

/// v(d) for a distance without its sign.
fn approach(d: f64, b: f64, tau: f64) -> f64 {
    let near = b * tau * tau;
    if d <= near { d / tau } else { (2.0 * b * (d - near / 2.0)).sqrt() }
}

/// Closer than this a gentle approach takes no longer than a brisk one.
pub(super) const CLOSE: Span = Span::from_millis(1);
/// The limit of bounds is 100 ppb per second; half of it is left for the clock's own corrections.
const BRISK: f64 = 50e-9;
/// As the rate anchor's.
const GENTLE: f64 = 1e-9;
/// τ: long against the filter of UTC, short against the wander of good oscillators.
const TIME_CONSTANT_S: f64 = 1_000.0;
/// τ is at least so many rounds, for the loop to be stable.
const MIN_ROUNDS: f64 = 8.0;
/// What may be led at once is led within this time at least, so that the rate falls gradually to what comes
/// back in a day.
const SPENT_WITHIN_S: f64 = 3_600.0;
const DAY_S: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const T: Span = Span::from_secs(5);

    #[test]
    fn the_wanted_rate_has_the_sign_of_the_distance_and_grows_with_it() {
        for pace in [LeadingPace::Brisk, LeadingPace::Gentle] {
            let rates: Vec<f64> =
                (0..10_000_000).step_by(997).map(|us| pace.wanted(Span::from_micros(us), T)).collect();
            assert!(rates.is_sorted());
            let jump = rates.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
            assert!(jump < 7e-6, "{jump}");
            assert!((pace.wanted(Span::from_secs(-1), T) + pace.wanted(Span::from_secs(1), T)).abs() < 1e-15);
        }
    }

    /// Approaches UTC from so far with this pace while the rate changes as fast as allowed; returns how far
    /// beyond the goal it went, and the distance at the end.
    fn approach_from(pace: LeadingPace, distance: Span, rounds: u32) -> (f64, f64) {
        let (mut d, mut rate, mut beyond) = (distance.as_secs_f64(), 0.0, 0.0f64);
        let most = pace.acceleration() * T.as_secs_f64();
        for _ in 0..rounds {
            let wanted = pace.wanted(Span::from_secs_f64(d), T);
            rate += (wanted - rate).clamp(-most, most);
            d -= rate * T.as_secs_f64();
            beyond = beyond.max(-d);
        }
        (beyond, d)
    }

    #[test]
    fn the_approach_comes_to_rest_at_the_goal() {
        let (beyond, end) = approach_from(LeadingPace::Brisk, Span::from_millis(50), 1_440);
        assert!(beyond < 50e-6 && end.abs() < 1e-3, "{beyond} {end}");
        let (beyond, end) = approach_from(LeadingPace::Gentle, Span::from_millis(5), 3_600);
        assert!(beyond < 50e-6 && end.abs() < 0.1e-3, "{beyond} {end}");
    }

    proptest! {
        #[test]
        fn in_no_day_more_is_led_than_the_daily_limit(
            wanted in proptest::collection::vec((-1e-3..1e-3f64, 1u32..4_000), 1..60),
            daily in 1i64..10_000,
        ) {
            let daily = Span::from_millis(daily);
            let (mut budget, mut led) = (LeadingBudget::new(daily), Vec::new());
            for (rate, rounds) in wanted {
                for _ in 0..rounds {
                    let allowed = budget.allowed(rate, Frequency::from_ppm(50.0), T);
                    led.push(allowed.abs() * T.as_secs_f64());
                }
            }
            let day = 86_400 / 5;
            let sums: Vec<f64> = led.chunks(100).map(|part| part.iter().sum()).collect();
            let most = sums.windows(day / 100).map(|day| day.iter().sum()).fold(0.0, f64::max);
            prop_assert!(most <= daily.as_secs_f64() * 1.001, "{most} of {daily}");
        }
    }
}
