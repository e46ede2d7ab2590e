//! What a node saves over restarts, its oscillator's frequency and the time, and how accurate that is in the
//! next run. This is pure arithmetic; the program reads and writes the state file.
//!
//! Between two runs an oscillator's frequency walks on: by σ_w √t after t seconds, with σ_w = 3·10⁻⁹ per √s
//! for an ordinary crystal in a room (two orders above a good one at rest: day and night are in it). To that
//! comes what a machine's own warmth does when a program, or the machine, starts. And a kernel that has
//! started anew has measured its oscillator's nominal rate anew (x86: the TSC against another timer), and may
//! err by some ppm more than the last time.
//!
//! The time goes on while the machine's boot lasts: by what its oscillator has run since, at the frequency
//! that was known, and by what the machine has slept.

use super::{ClockReading, PlausibleTimes};
use crate::time::{Frequency, Raw, Span, Timestamp};
use crate::wire::{ClientState, ClusterId, ManualAdjustment};

/// A moment of a machine's boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What its oscillator reads, which stands still while it sleeps. It counts from anywhere, the same for
    /// the whole boot.
    pub oscillator: Raw,
    /// For how long it has slept since the boot.
    pub slept: Span,
}

/// Whether a later moment lies in the same boot of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// The kernel has been running since.
    Same,
    /// The machine has rebooted.
    Later,
}

/// What a node knows at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SavedState {
    /// The cluster whose time its clock shows.
    pub cluster: ClusterId,
    /// What its clock shows.
    pub time: Timestamp,
    /// The newest manual time adjustment that belongs to that time.
    pub manual_adjustment: ManualAdjustment,
    /// The moment.
    pub at: Mark,
    /// The clock's rate over its oscillator's, minus one.
    pub frequency: Frequency,
    /// One standard deviation of that.
    pub error: Frequency,
}

/// What a later run knows of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recalled {
    /// The clock's rate over its oscillator's, minus one.
    pub frequency: Frequency,
    /// One standard deviation of what that is off by now.
    pub error: Frequency,
    /// The time now, or why that is not known.
    pub time: Result<Timestamp, NoTimeReason>,
    /// The cluster whose time it is.
    pub cluster: ClusterId,
    /// The newest manual time adjustment that belongs to the time.
    pub manual_adjustment: ManualAdjustment,
    /// How far the time may be off by now, if it is known: six standard deviations.
    pub time_error: Span,
}

/// A cluster's time that a server has kept over its restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptTime {
    /// The cluster.
    pub cluster: ClusterId,
    /// The manual time adjustment that it contains.
    pub manual_adjustment: ManualAdjustment,
    /// How far the time may be off; not negative.
    pub error: Span,
}

impl Recalled {
    /// The time of a cluster that was kept; `None`: the time is not known, or of no cluster.
    pub fn kept(&self) -> Option<KeptTime> {
        let is_known = self.time.is_ok() && self.cluster != ClusterId(0);
        is_known.then_some(KeptTime {
            cluster: self.cluster,
            manual_adjustment: self.manual_adjustment,
            error: self.time_error,
        })
    }

    /// The same, where a clock that has run on since then, as a system clock does, carries the time and reads
    /// `clock` now; `None`, too, if it is farther from the time than that may be off: it was set since.
    pub fn kept_by(&self, clock: Timestamp) -> Option<KeptTime> {
        let kept = self.kept()?;
        let away = (clock - self.time.ok()?).abs();
        (away <= kept.error).then_some(KeptTime { error: kept.error + away, ..kept })
    }
}

/// Why a later run does not know the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTimeReason {
    /// The oscillator has started anew, so the time since then is unknown.
    #[error("this machine has started since")]
    Rebooted,
    /// A virtual machine was restored from a snapshot.
    #[error("this machine was set back to an earlier state")]
    SetBack,
    /// Its error would be larger than that of a first vote.
    #[error("that was too long ago")]
    TooLongAgo,
    /// A manual time adjustment was still to come, or going on, when it was saved. (For so long after a step
    /// back as that goes back, the clock shows what it has shown before it, too.)
    #[error("an operator was setting it")]
    BeingSet,
    /// No correct clock shows that.
    #[error("it is implausible")]
    Implausible,
}

impl SavedState {
    /// The state of a node whose clock reads this, if it is worth saving.
    pub fn of(reading: &ClockReading, at: Mark) -> Option<SavedState> {
        let error = reading.frequency_error?;
        let known = SavedState {
            cluster: reading.cluster,
            time: reading.time,
            manual_adjustment: reading.manual_adjustment,
            at,
            frequency: reading.frequency,
            error,
        };
        (reading.state == ClientState::Synchronized && known.is_plausible()).then_some(known)
    }

    /// Whether a clock can have this frequency, and the error is small enough to be worth saving.
    pub fn is_plausible(&self) -> bool {
        self.frequency.ratio().abs() <= MAX.ratio()
            && self.error > Frequency::ZERO
            && is_worth_saving(self.error)
    }

    /// Whether this is to be saved in place of `before`: that is ten minutes old, the time was set since, or
    /// there is another manual time adjustment, or that is over now.
    pub fn replaces(&self, before: &SavedState) -> bool {
        let ran = self.at.oscillator - before.at.oscillator;
        let expected = before.time_at(self.at).is_ok_and(|time| (self.time - time).abs() < SET);
        let is_adjusted = self.manual_adjustment != before.manual_adjustment;
        ran >= PERIOD || !expected || is_adjusted || self.is_settled() != before.is_settled()
    }

    /// What a later run in the same boot knows. Its time must be `plausible`.
    pub fn recalled(&self, now: Mark, plausible: &PlausibleTimes) -> Recalled {
        let age = now.oscillator - self.at.oscillator + (now.slept - self.at.slept);
        let error = aged(self.error, age, Boot::Same);
        let time = match self.time_at(now) {
            Ok(_) if error.over(age) > USELESS => Err(NoTimeReason::TooLongAgo),
            Ok(_) if !self.is_settled() => Err(NoTimeReason::BeingSet),
            Ok(time) if !plausible.contains(time) => Err(NoTimeReason::Implausible),
            time => time,
        };
        self.recalled_with(error, time, error.over(age).times(SIGMAS) + READING_ERROR)
    }

    /// What a later run knows after so long, in which the machine has rebooted.
    pub fn recalled_after_boot(&self, age: Span) -> Recalled {
        let error = aged(self.error, age, Boot::Later);
        self.recalled_with(error, Err(NoTimeReason::Rebooted), Span::MAX)
    }

    /// What a later run knows, with the error of its frequency, the time and the error of that by then.
    fn recalled_with(
        &self,
        error: Frequency,
        time: Result<Timestamp, NoTimeReason>,
        time_error: Span,
    ) -> Recalled {
        let SavedState { cluster, manual_adjustment, frequency, .. } = *self;
        Recalled { frequency, error, time, cluster, manual_adjustment, time_error }
    }

    /// Whether the manual time adjustment in its time was over.
    fn is_settled(&self) -> bool {
        self.manual_adjustment.end() <= self.manual_adjustment.base_of(self.time)
    }

    /// The time at a later moment of the same boot. What the machine has slept was not measured by its
    /// oscillator.
    fn time_at(&self, now: Mark) -> Result<Timestamp, NoTimeReason> {
        let (ran, slept) = (now.oscillator - self.at.oscillator, now.slept - self.at.slept);
        if ran < Span::ZERO || slept < -NO_SLEEP {
            return Err(NoTimeReason::SetBack);
        }
        Ok(self.time + ran + self.frequency.over(ran) + slept)
    }
}

/// Whether a frequency is known well enough to be saved for the next run.
pub fn is_worth_saving(error: Frequency) -> bool {
    error <= MAX_SAVED_ERROR
}

/// One standard deviation of a frequency that was known to `error` so long ago, in this or an earlier boot of
/// the machine.
pub fn aged(error: Frequency, age: Span, boot: Boot) -> Frequency {
    let walk = WANDER * age.as_secs_f64().max(0.0).sqrt();
    let start = match boot {
        Boot::Same => RESTART,
        Boot::Later => REBOOT,
    };
    let squares = [error.ratio(), walk, start.ratio()].map(|deviation| deviation.powi(2));
    Frequency::from_ratio(squares.iter().sum::<f64>().sqrt().min(UNKNOWN.ratio()))
}

/// The same as for members whose frequency counts for the cluster's rate.
const MAX_SAVED_ERROR: Frequency = Frequency::from_ppm(1.0);
/// Rare enough for flash memory; a power cut loses ten minutes of a value that changes in hours.
const PERIOD: Span = Span::from_secs(600);
/// A frequency that is known to 1 ppm gathers less than 1 ms in that time.
const SET: Span = Span::from_millis(100);
/// Two readings of how long a machine has slept that never did differ by less.
const NO_SLEEP: Span = Span::from_millis(100);
/// One standard deviation: a first vote keeps clocks within 30 s of the median.
const USELESS: Span = Span::from_secs(10);
/// In standard deviations, what a kept time is taken to be off at most.
const SIGMAS: i64 = 6;
/// What a clock that is saved may itself be off the cluster's time, and its machine's count of sleep be
/// wrong.
const READING_ERROR: Span = Span::from_millis(1);
/// Kernels steer by no more than this; no working oscillator is farther off.
const MAX: Frequency = Frequency::from_ppm(500.0);
/// σ_w per √s.
const WANDER: f64 = 3e-9;
/// Some degrees, at 10 to 100 ppb per degree.
const RESTART: Frequency = Frequency::from_ppm(0.1);
/// What calibrations of the TSC differ by, boot to boot.
const REBOOT: Frequency = Frequency::from_ppm(5.0);
/// The error of an unknown frequency.
pub(crate) const UNKNOWN: Frequency = Frequency::from_ppm(200.0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plausible::PLAUSIBLE_UNTIL;

    const SURE: Frequency = Frequency::from_ppm(0.01);

    #[test]
    fn a_time_is_saved_again_when_its_adjustment_is_over() {
        let (cluster, start, second) = (known().cluster, known().time, Span::from_secs(1));
        let (before, amount) = (Span::ZERO, Span::from_millis(50));
        let manual_adjustment = ManualAdjustment { cluster, number: 1, before, amount, start, step: true };
        let announced = SavedState { time: start - second, manual_adjustment, ..known() };
        let after = |seconds: i64, added| {
            let at = Mark { oscillator: known().at.oscillator + second.times(seconds), ..known().at };
            SavedState { time: announced.time + second.times(seconds) + added, at, ..announced }
        };
        assert!(!after(0, Span::ZERO).replaces(&announced));
        assert!(after(2, amount).replaces(&announced), "the step is over");
        assert!(!after(4, amount).replaces(&after(2, amount)));
    }

    #[test]
    fn a_time_that_was_being_set_is_not_known_after_a_restart() {
        let (cluster, start) = (known().cluster, known().time);
        let (before, amount) = (Span::ZERO, Span::from_secs(20));
        let manual_adjustment = ManualAdjustment { cluster, number: 1, before, amount, start, step: true };
        for (ahead, is_known) in [(-60, false), (-1, false), (20, true), (60, true)] {
            let saved = SavedState { time: start + Span::from_secs(ahead), manual_adjustment, ..known() };
            let recalled = saved.recalled(known().at, &plausible());
            assert_eq!((recalled.time.is_ok(), recalled.kept().is_some()), (is_known, is_known), "{ahead}");
        }
    }

    #[test]
    fn the_error_of_a_state_saved_a_moment_ago_is_nearly_unchanged() {
        let now = aged(SURE, Span::from_secs(5), Boot::Same);
        assert!(now > SURE && now.ppm() < 0.11, "{now:?}");
    }

    #[test]
    fn the_error_grows_with_the_root_of_time_and_at_a_reboot() {
        let day = aged(SURE, Span::from_secs(86_400), Boot::Same);
        assert!((0.85..0.92).contains(&day.ppm()), "{day:?}");
        assert!(aged(SURE, Span::from_secs(60), Boot::Later).ppm() >= 5.0);
        assert_eq!(aged(SURE, Span::MAX, Boot::Later), aged(SURE, Span::MAX, Boot::Same));
        assert!(
            aged(SURE, Span::from_secs(-60), Boot::Same) < Frequency::from_ppm(0.2),
            "clocks may differ a little"
        );
    }

    fn mark(oscillator_s: i64, slept_s: i64) -> Mark {
        Mark { oscillator: Raw::from_nanos(oscillator_s * 1_000_000_000), slept: Span::from_secs(slept_s) }
    }

    const FROM: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

    fn plausible() -> PlausibleTimes {
        PlausibleTimes::new(FROM, PLAUSIBLE_UNTIL).unwrap()
    }

    const CLUSTER: ClusterId = ClusterId(5);

    fn adjustment(number: u8) -> ManualAdjustment {
        ManualAdjustment {
            cluster: CLUSTER,
            number,
            before: Span::from_secs(-7),
            amount: Span::from_secs(60),
            start: FROM,
            step: true,
        }
    }

    fn known() -> SavedState {
        let time = FROM + Span::from_secs(1_000_000);
        let frequency = Frequency::from_ppm(-2.0);
        let manual_adjustment = adjustment(3);
        SavedState { cluster: CLUSTER, time, manual_adjustment, at: mark(1_000, 10), frequency, error: SURE }
    }

    /// How far the time has gone on by then.
    fn went(now: Mark) -> Result<Span, NoTimeReason> {
        known().recalled(now, &plausible()).time.map(|time| time - known().time)
    }

    #[test]
    fn the_time_advances_at_the_saved_rate_and_by_the_time_slept() {
        assert_eq!(went(known().at), Ok(Span::ZERO));
        assert_eq!(went(mark(2_000, 10)), Ok(Span::from_secs(1_000) - Span::from_millis(2)));
        assert_eq!(went(mark(2_000, 3_610)), Ok(Span::from_secs(4_600) - Span::from_millis(2)));
    }

    #[test]
    fn the_error_of_a_kept_time_grows_with_the_outage() {
        let kept = |s: i64| known().recalled(mark(1_000 + s, 10), &plausible()).kept();
        let error = |s: i64| kept(s).expect("a kept time").error;
        assert_eq!(kept(5).map(|kept| kept.cluster), Some(CLUSTER));
        assert!(error(5) < Span::from_millis(2), "{}", error(5));
        assert!(error(86_400) > Span::from_millis(400) && error(86_400) < Span::from_millis(600));
        assert_eq!(kept(40 * 86_400), None, "too long ago");
        let nobodys = SavedState { cluster: ClusterId(0), ..known() };
        assert_eq!(nobodys.recalled(known().at, &plausible()).kept(), None);
        assert_eq!(known().recalled_after_boot(Span::ZERO).kept(), None);
    }

    #[test]
    fn a_clock_that_has_run_on_has_kept_the_time_unless_it_was_set() {
        let recalled = known().recalled(mark(1_060, 10), &plausible());
        let (time, error) = (recalled.time.expect("a time"), recalled.time_error);
        for (away, expected) in [
            (Span::ZERO, Some(error)),
            (error, Some(error + error)),
            (-error, Some(error + error)),
            (error + Span::from_nanos(1), None),
        ] {
            assert_eq!(recalled.kept_by(time + away).map(|kept| kept.error), expected, "{away}");
        }
        assert_eq!(known().recalled_after_boot(Span::ZERO).kept_by(time), None);
    }

    #[test]
    fn a_kept_time_has_the_manual_time_adjustment_that_the_clock_showed() {
        let reading = ClockReading {
            cluster: CLUSTER,
            time: known().time,
            manual_adjustment: adjustment(3),
            state: ClientState::Synchronized,
            frequency_error: Some(SURE),
            ..ClockReading::unsynchronized(Raw::from_nanos(0))
        };
        let saved = SavedState::of(&reading, known().at).expect("a settled frequency");
        let recalled = saved.recalled(mark(1_060, 10), &plausible());
        let time = recalled.time.expect("a time");
        for kept in [recalled.kept(), recalled.kept_by(time + Span::from_micros(1))] {
            assert_eq!(kept.map(|kept| kept.manual_adjustment), Some(adjustment(3)));
        }
        let other = SavedState { manual_adjustment: ManualAdjustment::NONE, ..saved };
        let kept = other.recalled(mark(1_060, 10), &plausible()).kept();
        assert_eq!(kept.map(|kept| kept.manual_adjustment), Some(ManualAdjustment::NONE));
        assert_eq!(saved.recalled_after_boot(Span::ZERO).manual_adjustment, adjustment(3));
    }

    #[test]
    fn a_machine_restored_from_a_snapshot_does_not_know_the_time() {
        assert_eq!(went(mark(999, 10)), Err(NoTimeReason::SetBack));
        assert_eq!(went(mark(9_000, 9)), Err(NoTimeReason::SetBack));
        let little = Mark { slept: Span::from_secs(10) - Span::from_millis(50), ..mark(2_000, 0) };
        assert!(went(little).is_ok(), "readings differ a little");
    }

    #[test]
    fn a_time_that_could_be_half_a_minute_off_is_unknown() {
        let after = |days: i64| went(mark(1_000 + days * 86_400, 10)).map(drop);
        assert_eq!((after(20), after(40)), (Ok(()), Err(NoTimeReason::TooLongAgo)));
        assert_eq!(
            went(Mark { oscillator: Raw::from_nanos(i64::MAX), slept: Span::MAX }),
            Err(NoTimeReason::TooLongAgo)
        );
    }

    #[test]
    fn an_implausible_time_is_unknown() {
        let at = |time| SavedState { time, ..known() }.recalled(known().at, &plausible()).time;
        assert_eq!(at(FROM), Ok(FROM));
        assert_eq!(at(FROM - Span::from_nanos(1)), Err(NoTimeReason::Implausible));
        assert_eq!(at(PLAUSIBLE_UNTIL + Span::from_nanos(1)), Err(NoTimeReason::Implausible));
        assert_eq!(at(Timestamp::from_nanos(i64::MAX)), Err(NoTimeReason::Implausible));
    }

    #[test]
    fn the_state_is_saved_again_after_ten_minutes_and_when_the_time_was_set() {
        let later = |s: i64, set: Span| {
            let at = mark(1_000 + s, 10);
            let time = known().recalled(at, &plausible()).time.expect("a time") + set;
            SavedState { time, at, ..known() }.replaces(&known())
        };
        assert!(!later(599, Span::ZERO) && later(600, Span::ZERO));
        let set = Span::from_millis(100);
        assert!(later(5, set) && later(5, -set) && !later(5, set - Span::from_nanos(1)));
        let set_back = SavedState { at: mark(5, 10), ..known() };
        assert!(set_back.replaces(&known()));
    }

    #[test]
    fn the_state_is_saved_again_when_there_is_another_manual_time_adjustment() {
        assert!(!known().replaces(&known()));
        for other in [adjustment(4), ManualAdjustment::NONE] {
            assert!(SavedState { manual_adjustment: other, ..known() }.replaces(&known()));
            assert!(known().replaces(&SavedState { manual_adjustment: other, ..known() }));
        }
    }

    #[test]
    fn impossible_frequencies_and_errors_are_implausible() {
        let plausible = |frequency, error| SavedState { frequency, error, ..known() }.is_plausible();
        assert!(plausible(Frequency::from_ppm(-499.0), SURE));
        assert!(!plausible(Frequency::from_ppm(501.0), SURE));
        assert!(!plausible(Frequency::from_ratio(f64::NAN), SURE));
        for error in [0.0, -1.0, 1.1, f64::NAN] {
            assert!(!plausible(Frequency::ZERO, Frequency::from_ppm(error)), "{error}");
        }
    }
}
