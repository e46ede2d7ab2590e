//! The members' time over the server's oscillator. It is always estimated, and used when the server's own
//! clock is wrong.

use crate::estimation::kalman::{Bank, Estimate};
use crate::time::{Frequency, Raw, Span};

/// Phase and frequency of the members' median, against the server's oscillator.
#[derive(Clone, Debug, Default)]
pub(super) struct Ensemble {
    bank: Option<Bank>,
    /// What is known of the frequency before the first observation, and one standard deviation of it.
    prior: Option<(Frequency, Frequency)>,
    /// The last observation, if it was not believed.
    outlier: Option<EnsembleObservation>,
}

/// The members' time at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct EnsembleObservation {
    /// The moment, by the server's oscillator.
    pub at: Raw,
    /// The members' time minus the oscillator.
    pub phase: Span,
    /// One standard deviation of that, in seconds.
    pub deviation_s: f64,
}

impl Ensemble {
    /// One that knows beforehand at which frequency the members' time runs over the oscillator, and one
    /// standard deviation of that.
    pub(super) fn with_prior(prior: Option<(Frequency, Frequency)>) -> Ensemble {
        Ensemble { prior, ..Ensemble::default() }
    }

    /// The estimate for `at`; `None` before the first observation.
    pub(super) fn estimate(&self, at: Raw) -> Option<Estimate> {
        self.bank.as_ref().map(|bank| bank.estimate(at))
    }

    /// Takes in an observation. `false` if it is not believed: it is far from what is expected (a second one
    /// confirms it), or the members' time runs as no oscillator does, since most of them slew; then all
    /// begins again.
    pub(super) fn observe(&mut self, observation: EnsembleObservation) -> bool {
        let EnsembleObservation { at, phase, deviation_s } = observation;
        let Some(bank) = &mut self.bank else {
            let (frequency, error) = self.prior.unwrap_or((Frequency::ZERO, ANY_FREQUENCY));
            self.bank = Some(Bank::new(at, phase, deviation_s, frequency, error));
            return true;
        };
        let innovation = bank.innovation(at, phase, deviation_s);
        if innovation.difference.abs() <= OUTLIER * innovation.expected {
            bank.observe(at, phase, deviation_s);
            self.outlier = None;
            return self.makes_sense(observation);
        }
        self.outlier.replace(observation).is_some_and(|before| self.start_anew(before, observation))
    }

    /// The server's clock was set, or its oscillator runs differently: these two observations are all that is
    /// known of the phase, and the frequency is doubted. `false` if what comes out is no oscillator's
    /// frequency.
    pub(super) fn start_anew(&mut self, first: EnsembleObservation, second: EnsembleObservation) -> bool {
        self.outlier = None;
        let EnsembleObservation { at, phase, deviation_s } = second;
        let bank = self.bank.get_or_insert_with(|| {
            Bank::new(first.at, first.phase, first.deviation_s, Frequency::ZERO, ANY_FREQUENCY)
        });
        bank.restart_phase(first.at, first.phase, first.deviation_s);
        let innovation = bank.innovation(at, phase, deviation_s);
        let drift = innovation.difference / (at - first.at).as_secs_f64().max(1e-3);
        if drift.abs() < FASTEST_DRIFT {
            // Something has changed, and it may have been the frequency.
            bank.inflate_frequency(Frequency::from_ratio(drift.abs().max(SUSPECT)));
            bank.observe(at, phase, deviation_s);
        } else {
            // No oscillator drifts like that: it was set once more in between.
            bank.restart_phase(at, phase, deviation_s);
        }
        self.makes_sense(second)
    }

    /// What is no oscillator's frequency was learned from something else: begin again, and say so.
    fn makes_sense(&mut self, EnsembleObservation { at, phase, deviation_s }: EnsembleObservation) -> bool {
        let sensible = self.estimate(at).is_none_or(|known| is_acceptable(known.frequency));
        if !sensible {
            self.bank = Some(Bank::new(at, phase, deviation_s, Frequency::ZERO, ANY_FREQUENCY));
        }
        sensible
    }

    /// The cluster's rate changes by this much, from `at` on.
    pub(super) fn shift_frequency(&mut self, at: Raw, change: Frequency) {
        if let Some(bank) = &mut self.bank {
            bank.shift_frequency(at, change);
        }
    }
}

/// Whether the cluster's time may run over an oscillator at this frequency.
pub(super) fn is_acceptable(frequency: Frequency) -> bool {
    frequency.ratio().abs() <= FASTEST_FREQUENCY
}

/// Two crystals of 100 ppm each, one fast, one slow.
const ANY_FREQUENCY: Frequency = Frequency::from_ppm(200.0);
/// Standard deviations beyond which an observation is not believed at once.
const OUTLIER: f64 = 6.0;
/// How far a frequency may have changed when something has.
const SUSPECT: f64 = 100e-6;
/// No two oscillators' frequencies are farther apart than this; but members that slew run at 500 ppm over
/// theirs, 300 at least over those of others.
const FASTEST_FREQUENCY: f64 = 300e-6;
/// Nor changes one by more than this, by a wide margin.
const FASTEST_DRIFT: f64 = 1e-3;

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(second: i64, phase: Span) -> EnsembleObservation {
        let at = Raw::from_nanos(1_800_000_000_000_000_000) + Span::from_secs(second);
        EnsembleObservation { at, phase, deviation_s: 5e-6 }
    }

    /// An ensemble that has seen a minute of a time that agrees with the oscillator.
    fn settled() -> Ensemble {
        let mut ensemble = Ensemble::default();
        (0..12).for_each(|k| assert!(ensemble.observe(observation(5 * k, Span::ZERO))));
        ensemble
    }

    #[test]
    fn the_first_outlier_is_ignored_and_a_second_one_is_followed() {
        let mut ensemble = settled();
        assert!(!ensemble.observe(observation(60, Span::from_secs(3))));
        assert!(ensemble.observe(observation(65, Span::from_secs(3))));
        let known = ensemble.estimate(observation(70, Span::ZERO).at).unwrap();
        assert!((known.phase - Span::from_secs(3)).abs() < Span::from_micros(50), "{known:?}");
    }

    #[test]
    fn two_jumps_in_a_row_are_not_a_frequency() {
        let mut ensemble = settled();
        ensemble.observe(observation(60, Span::from_secs(3)));
        ensemble.observe(observation(65, Span::from_secs(600)));
        let known = ensemble.estimate(observation(70, Span::ZERO).at).unwrap();
        assert!((known.phase - Span::from_secs(600)).abs() < Span::from_millis(1), "{known:?}");
        assert!(known.frequency.ppm().abs() < 1.0, "{known:?}");
    }

    #[test]
    fn a_drift_is_learned_from_two_observations() {
        let mut ensemble = settled();
        ensemble.observe(observation(60, Span::from_micros(750)));
        ensemble.observe(observation(65, Span::from_micros(1_500)));
        let known = ensemble.estimate(observation(70, Span::ZERO).at).unwrap();
        assert!((known.frequency.ppm() - 150.0).abs() < 3.0, "{known:?}");
    }
}
