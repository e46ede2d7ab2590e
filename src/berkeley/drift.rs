//! What was learned in an earlier run is worth now: the frequency, and as long as the oscillator has not stopped, the time. Pure
//! arithmetic; where it is kept, others know.
//!
//! Between two runs an oscillator's frequency walks on: by σ_w √t after t seconds, with σ_w = 3·10⁻⁹ per √s for an
//! ordinary crystal in a room (two orders above a good one at rest: day and night are in it). To that comes what
//! a machine's own warmth does when a program, or the machine, starts. And a kernel that has started anew has
//! measured its oscillator's nominal rate anew (x86: the TSC against another timer), and may err by some ppm
//! more than the last time.

use crate::time::{Frequency, Span, Timestamp};

/// Whether a frequency is known well enough to be kept for the next run.
pub fn is_worth_keeping(error: Frequency) -> bool {
    error <= WORTH_KEEPING
}

/// Whether a clock can have this frequency, and anybody have known it to that error.
pub fn is_plausible(frequency: Frequency, error: Frequency) -> bool {
    frequency.ratio().abs() <= LARGEST.ratio() && error > Frequency::ZERO && is_worth_keeping(error)
}

/// One standard deviation of a frequency that was known to `error` so long ago; `same_boot` if the machine's
/// kernel has been running since.
pub fn aged(error: Frequency, age: Span, same_boot: bool) -> Frequency {
    let walk = WANDER * age.as_secs_f64().max(0.0).sqrt();
    let start = if same_boot { RESTART } else { REBOOT };
    let squares = [error.ratio(), walk, start.ratio()].map(|deviation| deviation.powi(2));
    Frequency::from_ratio(squares.iter().sum::<f64>().sqrt().min(UNKNOWN.ratio()))
}

/// A time that was known when the oscillator has run for `ran` since, over which it runs fast by `frequency`.
pub fn gone_on(time: Timestamp, frequency: Frequency, ran: Span) -> Timestamp {
    time + ran + frequency.over(ran)
}

/// Whether what is kept has to be kept anew: since then the oscillator has run for `ran`, and the time has gone on by `went`.
pub fn is_out_of_date(ran: Span, went: Span) -> bool {
    !(Span::ZERO..PERIOD).contains(&ran) || (went - ran).abs() >= SET
}

/// As the members whose frequency counts for the cluster's rate: then it is known, not guessed.
const WORTH_KEEPING: Frequency = Frequency::from_ppm(1.0);
/// Seldom enough for a flash card; what is lost at a power cut is ten minutes of a figure that changes in hours.
const PERIOD: Span = Span::from_secs(600);
/// No frequency gathers so much in that time: somebody has set the time.
const SET: Span = Span::from_secs(1);
/// Kernels steer by no more than this; no oscillator that works is farther off.
const LARGEST: Frequency = Frequency::from_ppm(500.0);
/// σ_w per √s.
const WANDER: f64 = 3e-9;
/// Some degrees, at 10 to 100 ppb per degree.
const RESTART: Frequency = Frequency::from_ppm(0.1);
/// What calibrations of the TSC differ by, boot to boot.
const REBOOT: Frequency = Frequency::from_ppm(5.0);
/// After that long, it is as if nothing had been known.
const UNKNOWN: Frequency = Frequency::from_ppm(200.0);

#[cfg(test)]
mod tests {
    use super::*;

    const SURE: Frequency = Frequency::from_ppm(0.01);

    #[test]
    fn what_was_known_a_moment_ago_is_nearly_as_good() {
        let now = aged(SURE, Span::from_secs(5), true);
        assert!(now > SURE && now.ppm() < 0.11, "{now:?}");
    }

    #[test]
    fn it_fades_with_the_root_of_time_and_with_a_new_start_of_the_machine() {
        let day = aged(SURE, Span::from_secs(86_400), true);
        assert!((0.85..0.92).contains(&day.ppm()), "{day:?}");
        assert!(aged(SURE, Span::from_secs(60), false).ppm() >= 5.0);
        assert_eq!(aged(SURE, Span::MAX, false), aged(SURE, Span::MAX, true));
        assert!(
            aged(SURE, Span::from_secs(-60), true) < Frequency::from_ppm(0.2),
            "clocks may differ a little"
        );
    }

    #[test]
    fn time_goes_on_at_the_rate_that_was_known() {
        let later = gone_on(Timestamp::from_nanos(5), Frequency::from_ppm(-2.0), Span::from_secs(10));
        assert_eq!(later.as_nanos(), 5 + 10_000_000_000 - 20_000);
    }

    #[test]
    fn what_cannot_be_is_implausible() {
        assert!(is_plausible(Frequency::from_ppm(-499.0), SURE));
        assert!(!is_plausible(Frequency::from_ppm(501.0), SURE));
        assert!(!is_plausible(Frequency::from_ratio(f64::NAN), SURE));
        for error in [0.0, -1.0, 1.1, f64::NAN] {
            assert!(!is_plausible(Frequency::ZERO, Frequency::from_ppm(error)), "{error}");
        }
    }
}
