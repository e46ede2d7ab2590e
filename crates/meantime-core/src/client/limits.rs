//! The limits of what a client accepts from a server: a server may be broken, or not the intended one.
//!
//! A correction beyond a limit is refused as a whole: the client learns neither phase nor frequency from it.
//! The client reports the reason and runs on in holdover; it goes on answering probes, and follows the
//! server's next acceptable correction.

use crate::event::{Adjustment, Refusal};
use crate::manual_adjustment::MAX_SLEW_DURATION;
use crate::plausible::PLAUSIBLE_FROM;
use crate::time::{Frequency, Span, Timestamp};
use crate::wire::ManualAdjustment;
use crate::{ClientConfig, PlausibleTimes};

/// The part of a [`ClientConfig`] that limits corrections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    step_threshold: Span,
    max_step: Span,
    panic: Option<Span>,
    max_frequency: Frequency,
    plausible: PlausibleTimes,
}

/// What a correction would do to the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ProposedCorrection {
    /// Whether the clock had no cluster time before.
    pub first: bool,
    /// The scale's time minus the oscillator's reading: the estimate, limited to what the bound allows.
    pub phase: Span,
    /// What would be added to the clock.
    pub difference: Span,
    /// The size of the step of a manual time adjustment that is still to come.
    pub future_step: Span,
    /// What would have been added since the clock had no cluster time; `None`: the first step is confirmed.
    pub since_start: Option<Span>,
    /// The frequency that the clock would have.
    pub frequency: Frequency,
    /// The rate that a relay adds to it.
    pub relayed_rate: Frequency,
    /// One standard deviation of that frequency.
    pub frequency_error: Frequency,
    /// The time that the clock would show.
    pub time: Timestamp,
}

/// Why a change is refused, and what it would have added to the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub reason: Refusal,
    /// `None`: the refusal is of a frequency.
    pub amount: Option<Span>,
}

impl Refused {
    /// A change that would have added `amount` to the clock is refused.
    pub(super) fn step(reason: Refusal, amount: Span) -> Refused {
        Refused { reason, amount: Some(amount) }
    }

    /// A frequency is refused.
    pub(super) fn frequency(reason: Refusal) -> Refused {
        Refused { reason, amount: None }
    }
}

impl Limits {
    /// The limits of this configuration.
    pub(super) fn of(config: &ClientConfig) -> Limits {
        let ClientConfig { step_threshold, max_step, panic, max_frequency, plausible, .. } = *config;
        Limits { step_threshold, max_step, panic, max_frequency, plausible }
    }

    /// How a synchronized clock is adjusted by this difference.
    pub(super) fn adjustment_for(&self, difference: Span) -> Adjustment {
        if difference.abs() > self.step_threshold { Adjustment::Step } else { Adjustment::Slew }
    }

    /// How the clock is adjusted by this proposal: the first correction is always a step.
    pub(super) fn adjustment(&self, proposal: &ProposedCorrection) -> Adjustment {
        if proposal.first { Adjustment::Step } else { self.adjustment_for(proposal.difference) }
    }

    /// Why a proposal is refused, and what it would have added, if it is refused.
    pub(super) fn refused(&self, proposal: &ProposedCorrection) -> Option<Refused> {
        let ProposedCorrection { difference, future_step, since_start, .. } = *proposal;
        let reason = self.refuses(proposal)?;
        Some(match reason {
            Refusal::FirstStepTooLarge => Refused::step(reason, since_start.unwrap_or(difference)),
            Refusal::StepTooLarge if future_step > difference.abs() => Refused::step(reason, future_step),
            Refusal::StepTooLarge | Refusal::ImplausibleTime => Refused::step(reason, difference),
            Refusal::SlewTooLong | Refusal::ImplausibleFrequency => Refused::frequency(reason),
        })
    }

    /// The limit that a refusal for this reason is about, for a clock that shows `shown`; `None`: it is not
    /// one of steps.
    pub(super) fn of_steps(&self, reason: Refusal, shown: Timestamp) -> Option<Span> {
        match reason {
            Refusal::FirstStepTooLarge => self.panic,
            Refusal::StepTooLarge => Some(self.max_step_from(shown)),
            Refusal::SlewTooLong | Refusal::ImplausibleFrequency | Refusal::ImplausibleTime => None,
        }
    }

    /// Why a proposal is refused, if it is.
    fn refuses(&self, proposal: &ProposedCorrection) -> Option<Refusal> {
        let ProposedCorrection { time, frequency, relayed_rate, frequency_error, future_step, .. } =
            *proposal;
        let step = || self.refuses_step(proposal);
        self.refuses_time(time)
            .or_else(|| self.refuses_future_step(future_step, time))
            .or_else(step)
            .or_else(|| self.refuses_frequency(frequency + relayed_rate, frequency_error))
    }

    /// Why a time is refused, if it is.
    fn refuses_time(&self, time: Timestamp) -> Option<Refusal> {
        (!self.plausible.contains(time)).then_some(Refusal::ImplausibleTime)
    }

    /// Why a proposal's step is refused, if it is. The first step may have been wrong: until it is confirmed,
    /// the panic threshold applies to the sum of all steps since.
    fn refuses_step(&self, proposal: &ProposedCorrection) -> Option<Refusal> {
        let ProposedCorrection { difference, since_start, time, .. } = *proposal;
        match since_start {
            _ if self.adjustment(proposal) == Adjustment::Slew => None,
            Some(added) if self.panic.is_some_and(|panic| added.abs() > panic) => {
                Some(Refusal::FirstStepTooLarge)
            }
            None if difference.abs() > self.max_step_from(time - difference) => Some(Refusal::StepTooLarge),
            _ => None,
        }
    }

    /// Why a frequency is refused, if it is. A frequency that is still being learned is refused only if it is
    /// beyond the limit by more than its uncertainty.
    pub(super) fn refuses_frequency(&self, frequency: Frequency, error: Frequency) -> Option<Refusal> {
        let min = frequency.ratio().abs() - MIN_SIGMAS * error.ratio();
        (min > self.max_frequency.ratio()).then_some(Refusal::ImplausibleFrequency)
    }

    /// Why a manual time adjustment is refused by any clock, if it is.
    pub(super) fn refuses_adjustment(&self, manual: &ManualAdjustment) -> Option<Refusal> {
        let time = self.refuses_time(manual.start + manual.before + manual.amount);
        time.or_else(|| (manual.length() > MAX_SLEW_DURATION).then_some(Refusal::SlewTooLong))
    }

    /// Why a step that is still to come is refused by a clock that shows `shown` now, if it is.
    pub(super) fn refuses_future_step(&self, step: Span, shown: Timestamp) -> Option<Refusal> {
        (step > self.max_step_from(shown)).then_some(Refusal::StepTooLarge)
    }

    /// Why a clock that shows `shown` refuses to make up for `missed`, the part of a manual time adjustment
    /// that has begun already, if it does.
    pub(super) fn refuses_missed(&self, missed: Span, shown: Timestamp) -> Option<Refusal> {
        let most = self.step_threshold.max(self.max_step_from(shown));
        (missed.abs() > most).then_some(Refusal::StepTooLarge)
    }

    /// The maximum step of a synchronized clock that shows `shown`. A clock that shows a time before meantime
    /// existed is certainly wrong: a step from there is limited as a first step is.
    fn max_step_from(&self, shown: Timestamp) -> Span {
        if shown < PLAUSIBLE_FROM { self.panic.unwrap_or(Span::MAX) } else { self.max_step }
    }
}

/// A frequency is refused if it is beyond the limit by this many standard deviations: on a bad path, the
/// estimates of the first seconds are far off.
const MIN_SIGMAS: f64 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plausible::PLAUSIBLE_UNTIL;

    /// A first step, or one from a time that is confirmed.
    fn proposal(first: bool, difference: Span) -> ProposedCorrection {
        let since_start = first.then_some(difference);
        let time = PLAUSIBLE_FROM + Span::from_secs(864_000);
        let (frequency, frequency_error) = (Frequency::from_ppm(-90.0), Frequency::from_ppm(1.0));
        let (phase, future_step) = (Span::ZERO, Span::ZERO);
        ProposedCorrection {
            first,
            phase,
            difference,
            future_step,
            since_start,
            frequency,
            relayed_rate: Frequency::ZERO,
            frequency_error,
            time,
        }
    }

    #[test]
    fn by_default_the_first_step_is_unlimited_and_later_ones_may_be_a_day() {
        let limits = Limits::of(&ClientConfig::default());
        assert_eq!(limits.refuses(&proposal(true, Span::from_secs(-1_000_000_000))), None);
        assert_eq!(limits.refuses(&proposal(false, Span::from_secs(-86_400))), None);
        let refused = limits.refuses(&proposal(false, Span::from_secs(86_401)));
        assert_eq!(refused, Some(Refusal::StepTooLarge));
    }

    #[test]
    fn the_maximum_step_applies_to_a_future_step_even_before_the_first_correction() {
        let limits = Limits::of(&ClientConfig { max_step: Span::from_secs(2), ..ClientConfig::default() });
        let proposal = |future_step| ProposedCorrection { future_step, ..proposal(true, Span::from_secs(7)) };
        assert_eq!(limits.refuses(&proposal(Span::from_secs(2))), None);
        assert_eq!(limits.refuses(&proposal(Span::from_secs(3))), Some(Refusal::StepTooLarge));
    }

    #[test]
    fn a_panic_threshold_limits_the_first_step_only() {
        let limits =
            Limits::of(&ClientConfig { panic: Some(Span::from_secs(60)), ..ClientConfig::default() });
        assert_eq!(limits.refuses(&proposal(true, Span::from_secs(-60))), None);
        let refused = limits.refuses(&proposal(true, Span::from_secs(-61)));
        assert_eq!(refused, Some(Refusal::FirstStepTooLarge));
        assert_eq!(limits.refuses(&proposal(false, Span::from_secs(-61))), None);
    }

    #[test]
    fn until_the_first_step_is_confirmed_the_panic_threshold_limits_the_sum_of_steps() {
        let limits =
            Limits::of(&ClientConfig { panic: Some(Span::from_secs(60)), ..ClientConfig::default() });
        let next = |difference, added| ProposedCorrection {
            since_start: Some(Span::from_secs(added)),
            ..proposal(false, Span::from_secs(difference))
        };
        assert_eq!(limits.refuses(&next(-1_000_000, -60)), None);
        assert_eq!(limits.refuses(&next(-2, -61)), Some(Refusal::FirstStepTooLarge));
        assert_eq!(limits.refuses(&next(0, -61)), None, "it is not stepped");
    }

    #[test]
    fn a_synchronized_clock_that_shows_1970_is_stepped_within_the_panic_threshold_only() {
        let plausible = PlausibleTimes::new(Timestamp::from_nanos(0), PLAUSIBLE_UNTIL).unwrap();
        let years = PLAUSIBLE_FROM - Timestamp::from_nanos(0);
        let limits = |panic| Limits::of(&ClientConfig { panic, plausible, ..ClientConfig::default() });
        let step = ProposedCorrection { time: PLAUSIBLE_FROM, ..proposal(false, years) };
        assert_eq!(limits(None).refuses(&step), None);
        let cautious = limits(Some(Span::from_secs(60)));
        assert_eq!(cautious.refuses(&step), Some(Refusal::StepTooLarge));
        let epoch = Timestamp::from_nanos(0);
        assert_eq!(limits(None).refuses_future_step(years, epoch), None);
        assert_eq!(limits(None).refuses_missed(years, epoch), None);
        assert_eq!(limits(None).refuses_future_step(years, PLAUSIBLE_FROM), Some(Refusal::StepTooLarge));
        let back = ProposedCorrection { time: epoch, ..proposal(false, -years) };
        assert_eq!(limits(None).refuses(&back), Some(Refusal::StepTooLarge));
    }

    #[test]
    fn a_clock_that_may_never_step_still_slews() {
        let limits = Limits::of(&ClientConfig { max_step: Span::ZERO, ..ClientConfig::default() });
        assert_eq!(limits.refuses(&proposal(false, Span::from_millis(128))), None);
        let refused = limits.refuses(&proposal(false, Span::from_millis(129)));
        assert_eq!(refused, Some(Refusal::StepTooLarge));
    }

    #[test]
    fn an_implausible_time_or_frequency_is_refused() {
        let limits = Limits::of(&ClientConfig::default());
        let good = proposal(true, Span::ZERO);
        let early = ProposedCorrection { time: PLAUSIBLE_FROM - Span::from_nanos(1), ..good };
        assert_eq!(limits.refuses(&early), Some(Refusal::ImplausibleTime));
        let late = ProposedCorrection { time: PLAUSIBLE_UNTIL + Span::from_nanos(1), ..good };
        assert_eq!(limits.refuses(&late), Some(Refusal::ImplausibleTime));
        let fast = ProposedCorrection { frequency: Frequency::from_ppm(503.1), ..good };
        assert_eq!(limits.refuses(&fast), Some(Refusal::ImplausibleFrequency));
        let guess = ProposedCorrection { frequency_error: Frequency::from_ppm(2.0), ..fast };
        assert_eq!(limits.refuses(&guess), None);
    }
}
