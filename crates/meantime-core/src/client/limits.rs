//! What a client accepts from a server: a server may be broken, or be another one than people think.
//!
//! Whatever is outside of the limits is refused as a whole: neither phase nor frequency is learned of it. The
//! client tells the reason and runs on in holdover; it goes on answering, and follows the server's next
//! acceptable word.

use super::Client;
use crate::config::PLAUSIBLE_FOR;
use crate::event::{HoldoverReason, Refusal};
use crate::time::{Correction, Frequency, Monotonic, Now, Span, Timestamp};
use crate::{ClientConfig, ClientEvent};

/// What a correction would do to the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Proposal {
    /// Whether the clock had no cluster time before.
    pub first: bool,
    /// The cluster's time minus the oscillator's reading, by what is estimated, and within what is proved.
    pub phase: Span,
    /// What would be added.
    pub difference: Span,
    /// The step of the cluster's time that would still be to come.
    pub later: Span,
    /// What would have been added since the clock had no cluster time; `None`: the time that it was given
    /// then is confirmed.
    pub since_start: Option<Span>,
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
        let Proposal { time, frequency, frequency_error, .. } = *proposal;
        if time < self.plausible_from || time > self.plausible_from + PLAUSIBLE_FOR {
            return Some(Refusal::ImplausibleTime);
        }
        if proposal.later > self.max_step {
            return Some(Refusal::StepTooLarge);
        }
        self.refuses_step(proposal).or_else(|| self.refuses_frequency(frequency, frequency_error))
    }

    /// The same for a step alone. A first one may have been garbage: until it is confirmed, the next is
    /// judged in its place.
    fn refuses_step(&self, proposal: &Proposal) -> Option<Refusal> {
        let Proposal { first, difference, since_start, .. } = *proposal;
        match since_start {
            _ if !self.steps(first, difference) => None,
            Some(added) if self.panic.is_some_and(|panic| added.abs() > panic) => {
                Some(Refusal::FirstStepTooLarge)
            }
            None if difference.abs() > self.max_step => Some(Refusal::StepTooLarge),
            _ => None,
        }
    }

    /// The same for a frequency alone. One that is still being learned is no reason to refuse, unless it is
    /// out of the question.
    pub(super) fn refuses_frequency(&self, frequency: Frequency, error: Frequency) -> Option<Refusal> {
        let least = frequency.ratio().abs() - SURE * error.ratio();
        (least > self.max_frequency.ratio()).then_some(Refusal::ImplausibleFrequency)
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

/// Standard deviations that a frequency has to lie beyond the limit: the first seconds on a bad path can
/// suggest anything.
const SURE: f64 = 3.0;
/// Refusals for the same reason are told once in this time.
const TELL_AGAIN: Span = Span::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PLAUSIBLE_FROM;

    /// A first step, or one from a time that is confirmed.
    fn proposal(first: bool, difference: Span) -> Proposal {
        let since_start = first.then_some(difference);
        let time = PLAUSIBLE_FROM + Span::from_secs(86_400);
        let (frequency, frequency_error) = (Frequency::from_ppm(-90.0), Frequency::from_ppm(1.0));
        let (phase, later) = (Span::ZERO, Span::ZERO);
        Proposal { first, phase, difference, later, since_start, frequency, frequency_error, time }
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
    fn a_step_that_is_still_to_come_is_held_to_the_limit_of_steps_even_by_a_newcomer() {
        let config = ClientConfig { max_step: Span::from_secs(2), ..ClientConfig::default() };
        let proposal = |later| Proposal { later, ..proposal(true, Span::from_secs(7)) };
        assert_eq!(config.refuses(&proposal(Span::from_secs(2))), None);
        assert_eq!(config.refuses(&proposal(Span::from_secs(3))), Some(Refusal::StepTooLarge));
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
    fn as_long_as_the_first_step_is_not_confirmed_the_next_one_is_judged_in_its_place() {
        let config = ClientConfig { panic: Some(Span::from_secs(60)), ..ClientConfig::default() };
        let next = |difference, added| Proposal {
            since_start: Some(Span::from_secs(added)),
            ..proposal(false, Span::from_secs(difference))
        };
        assert_eq!(config.refuses(&next(-1_000_000, -60)), None);
        assert_eq!(config.refuses(&next(-2, -61)), Some(Refusal::FirstStepTooLarge));
        assert_eq!(config.refuses(&next(0, -61)), None, "it is not stepped");
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
        let fast = Proposal { frequency: Frequency::from_ppm(503.1), ..good };
        assert_eq!(config.refuses(&fast), Some(Refusal::ImplausibleFrequency));
        let guess = Proposal { frequency_error: Frequency::from_ppm(2.0), ..fast };
        assert_eq!(config.refuses(&guess), None);
    }
}
