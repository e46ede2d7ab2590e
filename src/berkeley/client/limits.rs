//! What a client accepts from a server: a server may be broken, or be another one than people think.
//!
//! Whatever is outside of the limits is refused as a whole: nothing that it says is learned. The client tells the
//! reason and runs on in holdover; it goes on answering, and follows the server's next acceptable word.

use super::Client;
use crate::berkeley::config::PLAUSIBLE_FOR;
use crate::berkeley::event::{HoldoverReason, Refusal};
use crate::berkeley::{ClientConfig, ClientEvent};
use crate::time::{Correction, Frequency, Monotonic, Now, Span, Timestamp};

/// What a correction would do to the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proposal {
    /// Whether the clock had no cluster time before.
    pub first: bool,
    /// What would be added.
    pub difference: Span,
    /// The rate that the clock would have over its oscillator's, minus one.
    pub frequency: Frequency,
    /// One standard deviation of what that frequency may be off.
    pub frequency_error: Frequency,
    /// What the clock would show.
    pub time: Timestamp,
}

impl ClientConfig {
    /// Whether a difference is stepped, not slewed.
    pub(super) fn steps(&self, first: bool, difference: Span) -> bool {
        first || difference.abs() > self.step_threshold
    }

    /// Why a proposal is not acceptable, if it is not.
    pub(super) fn refuses(&self, proposal: &Proposal) -> Option<Refusal> {
        let Proposal { first, difference, frequency, frequency_error, time } = *proposal;
        if time < self.plausible_from || time > self.plausible_from + PLAUSIBLE_FOR {
            Some(Refusal::ImplausibleTime)
        } else if first && self.panic.is_some_and(|panic| difference.abs() > panic) {
            Some(Refusal::FirstStepTooLarge)
        } else if !first && self.steps(first, difference) && difference.abs() > self.max_step {
            Some(Refusal::StepTooLarge)
        } else {
            self.refuses_frequency(frequency, frequency_error)
        }
    }

    /// The same for a frequency alone. One that is still being learned is no reason to refuse.
    pub(super) fn refuses_frequency(&self, frequency: Frequency, error: Frequency) -> Option<Refusal> {
        let too_far = error <= SURE && frequency.ratio().abs() > self.max_frequency.ratio();
        too_far.then_some(Refusal::ImplausibleFrequency)
    }
}

impl Client {
    /// Refuses what the server has said; tells so now and then.
    pub(super) fn refuse(&mut self, now: Now, round: u32, correction: Correction, reason: Refusal) {
        let told = |(before, at): &(Refusal, Monotonic)| *before == reason && now.mono - *at < TELL_AGAIN;
        if !self.refused.as_ref().is_some_and(told) {
            self.refused = Some((reason, now.mono));
            self.events.push_back(ClientEvent::RefusedCorrection { round, correction, reason });
        }
        self.enter_holdover(HoldoverReason::CorrectionRefused);
    }

    /// Why a change of the cluster's rate is not acceptable, if it is not.
    pub(super) fn refuses_change(&self, now: Now, change: Frequency) -> Option<Refusal> {
        match self.state.has_cluster_time() && change != Frequency::ZERO {
            true => {
                let frequency = self.timescale.frequency() + change;
                self.config.refuses_frequency(frequency, self.frequency_error(now.raw))
            }
            false => None,
        }
    }
}

/// A client knows its frequency when it is sure to this; the first seconds on a bad path can suggest anything.
const SURE: Frequency = Frequency::from_ppm(1.0);
/// Refusals for the same reason are told once in this time.
const TELL_AGAIN: Span = Span::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::berkeley::config::PLAUSIBLE_FROM;

    fn proposal(first: bool, difference: Span) -> Proposal {
        let time = PLAUSIBLE_FROM + Span::from_secs(86_400);
        let (frequency, frequency_error) = (Frequency::from_ppm(-90.0), Frequency::from_ppm(1.0));
        Proposal { first, difference, frequency, frequency_error, time }
    }

    #[test]
    fn by_default_the_first_step_may_be_any_and_later_ones_a_day() {
        let config = ClientConfig::default();
        assert_eq!(config.refuses(&proposal(true, Span::from_secs(-1_000_000_000))), None);
        assert_eq!(config.refuses(&proposal(false, Span::from_secs(-86_400))), None);
        let refused = config.refuses(&proposal(false, Span::from_secs(86_401)));
        assert_eq!(refused, Some(Refusal::StepTooLarge));
    }

    #[test]
    fn a_panic_threshold_limits_the_first_step_only() {
        let config = ClientConfig { panic: Some(Span::from_secs(60)), ..ClientConfig::default() };
        assert_eq!(config.refuses(&proposal(true, Span::from_secs(-60))), None);
        let refused = config.refuses(&proposal(true, Span::from_secs(-61)));
        assert_eq!(refused, Some(Refusal::FirstStepTooLarge));
        assert_eq!(config.refuses(&proposal(false, Span::from_secs(-61))), None);
    }

    #[test]
    fn a_clock_that_may_never_step_still_slews() {
        let config = ClientConfig { max_step: Span::ZERO, ..ClientConfig::default() };
        assert_eq!(config.refuses(&proposal(false, Span::from_millis(128))), None);
        let refused = config.refuses(&proposal(false, Span::from_millis(129)));
        assert_eq!(refused, Some(Refusal::StepTooLarge));
    }

    #[test]
    fn neither_a_time_nor_a_frequency_that_cannot_be_is_taken() {
        let config = ClientConfig::default();
        let good = proposal(true, Span::ZERO);
        let early = Proposal { time: PLAUSIBLE_FROM - Span::from_nanos(1), ..good };
        assert_eq!(config.refuses(&early), Some(Refusal::ImplausibleTime));
        let late = Proposal { time: PLAUSIBLE_FROM + PLAUSIBLE_FOR + Span::from_nanos(1), ..good };
        assert_eq!(config.refuses(&late), Some(Refusal::ImplausibleTime));
        let fast = Proposal { frequency: Frequency::from_ppm(500.1), ..good };
        assert_eq!(config.refuses(&fast), Some(Refusal::ImplausibleFrequency));
        let guess = Proposal { frequency_error: Frequency::from_ppm(2.0), ..fast };
        assert_eq!(config.refuses(&guess), None);
    }
}
