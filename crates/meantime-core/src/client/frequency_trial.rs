//! The trial of a frequency that was saved in an earlier run.
//!
//! The saved frequency may be wrong by far more than its stated error: after a power cut everywhere, the new
//! cluster runs at the rate of its server's oscillator if the server has no saved frequency, while the
//! clients have saved the old cluster's rate. A discipline that believes such a frequency takes one burst
//! after the other for an outlier.
//!
//! So the saved frequency is a hypothesis. The client follows a discipline that starts with it, f_k ± σ_k; an
//! impartial discipline learns f ± σ from the same bursts and nothing else. With S = σ² + σ_k² the trial ends
//!
//! * as soon as σ ≤ 20 ppm and (f − f_k)² > 6² S: the saved frequency is refuted. The impartial discipline
//!   goes on alone, as if no frequency had been saved;
//! * at the latest when σ ≤ σ_k. The saved frequency adds no more information then, and a stricter test does
//!   no harm: it is refuted if (f − f_k)² > 3² S. Otherwise it is confirmed, and the discipline that started
//!   with it goes on alone.
//!
//! Until then the client states the frequency error of the impartial discipline: a wrong frequency with a
//! small stated error would have a vote on the cluster's rate, and would narrow the guaranteed bound.

use crate::estimation::discipline::{BurstOutcome, Discipline, OutlierLimit};
use crate::estimation::exchange::Exchange;
use crate::estimation::kalman::Estimate;
use crate::time::{Frequency, Raw, Span, Timestamp};

/// A client's discipline; while it rests on a saved frequency that is on trial, also the impartial one.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientDiscipline {
    followed: Discipline,
    trial: Option<SavedFrequencyTrial>,
}

/// A saved frequency on trial, and the discipline that judges it.
#[derive(Clone, Debug)]
struct SavedFrequencyTrial {
    saved: Frequency,
    error: Frequency,
    impartial: Discipline,
}

/// The state of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TrialState {
    Open,
    Confirmed,
    Refuted,
}

impl ClientDiscipline {
    /// A discipline that starts with a saved frequency: the cluster's rate over the oscillator, minus one,
    /// and one standard deviation of it.
    pub(super) fn with_saved_frequency(saved: Frequency, error: Frequency) -> ClientDiscipline {
        let trial = SavedFrequencyTrial { saved, error, impartial: Discipline::default() };
        ClientDiscipline { followed: Discipline::with_frequency(saved, error), trial: Some(trial) }
    }

    /// A discipline that knows the clock already ([`Discipline::with_clock`]).
    pub(super) fn with_clock(
        at: Raw,
        phase: (Span, Span),
        frequency: (Frequency, Frequency),
    ) -> ClientDiscipline {
        ClientDiscipline { followed: Discipline::with_clock(at, phase, frequency), trial: None }
    }

    /// Updates from the exchanges of a burst, as [`Discipline::update`] does. If they refute the saved
    /// frequency, the outcome is a restart.
    pub(super) fn update(
        &mut self,
        exchanges: &[Exchange<Timestamp, Raw>],
        outlier_limit: OutlierLimit,
    ) -> Option<BurstOutcome> {
        let outcome = self.followed.update(exchanges, outlier_limit)?;
        let Some(trial) = &mut self.trial else { return Some(outcome) };
        trial.impartial.update(exchanges, outlier_limit)?;
        match trial.judge(exchanges) {
            TrialState::Open => Some(outcome),
            TrialState::Confirmed => {
                self.trial = None;
                Some(outcome)
            }
            TrialState::Refuted => {
                *self = ClientDiscipline { followed: core::mem::take(&mut trial.impartial), trial: None };
                Some(BurstOutcome::Restarted)
            }
        }
    }

    /// The server has changed the cluster's rate by `change`, from `at` on.
    pub(super) fn shift_frequency(&mut self, at: Raw, change: Frequency) {
        self.followed.shift_frequency(at, change);
        if let Some(trial) = &mut self.trial {
            trial.saved = trial.saved + change;
            trial.impartial.shift_frequency(at, change);
        }
    }

    /// From `at` on, the exchanges are of a scale that is ahead of the one before by the first, and faster by
    /// the second.
    pub(super) fn change_scale(&mut self, at: Raw, change: (Span, Frequency)) {
        self.followed.change_scale(at, change);
        if let Some(trial) = &mut self.trial {
            trial.saved = trial.saved + change.1;
            trial.impartial.change_scale(at, change);
        }
    }

    /// The cluster is a different one: its time may run at any rate.
    pub(super) fn inflate_frequency(&mut self) {
        self.followed.inflate_frequency();
        if let Some(trial) = &mut self.trial {
            trial.impartial.inflate_frequency();
        }
    }

    /// The estimate of cluster time at `at`; `None` before the first burst.
    pub(super) fn estimate(&self, at: Raw) -> Option<Estimate> {
        let followed = self.followed.estimate(at)?;
        let Some(trial) = &self.trial else { return Some(followed) };
        let learned = trial.impartial.estimate(at)?;
        Some(Estimate { frequency_error: learned.frequency_error, ..followed })
    }

    /// The usual delay of an exchange on this path, for readings that come without one.
    pub(super) fn usual_delay(&self) -> Span {
        self.followed.usual_delay()
    }
}

impl SavedFrequencyTrial {
    fn judge(&self, exchanges: &[Exchange<Timestamp, Raw>]) -> TrialState {
        let newest = exchanges.iter().map(|exchange| exchange.t3).max();
        let Some(learned) = newest.and_then(|at| self.impartial.estimate(at)) else {
            return TrialState::Open;
        };
        let apart = (learned.frequency - self.saved).ratio().abs();
        let expected = learned.frequency_error.ratio().hypot(self.error.ratio());
        let sigmas = apart / expected;
        if learned.frequency_error <= self.error {
            if sigmas > FINAL_SIGMAS { TrialState::Refuted } else { TrialState::Confirmed }
        } else if learned.frequency_error <= MAX_ERROR && sigmas > EARLY_SIGMAS {
            TrialState::Refuted
        } else {
            TrialState::Open
        }
    }
}

/// Above this error, an estimate of the frequency refutes nothing: a single burst's estimate is farther off
/// than its stated error.
const MAX_ERROR: Frequency = Frequency::from_ppm(20.0);
/// Standard deviations that refute early. Early estimates state too small an error: on a LAN, one right
/// frequency in a hundred is refuted at this limit.
const EARLY_SIGMAS: f64 = 6.0;
/// Standard deviations that refute at the end of the trial, when a refutation loses no information.
const FINAL_SIGMAS: f64 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const START: i64 = 1_800_000_000_000_000_000;
    /// The cluster's rate over the oscillator, minus one.
    const RATE: Frequency = Frequency::from_ppm(40.0);

    /// The burst of second `s` over a path of 100 µs each way, on which datagrams wait for up to 20 µs.
    fn burst(s: i64) -> [Exchange<Timestamp, Raw>; 2] {
        [0, 50].map(|ms| {
            let t2 = START + 1_000_000_000 * s + 1_000_000 * ms;
            let lead = RATE.over(Span::from_nanos(t2 - START)).as_nanos();
            let wait = |salt: i64| 100_000 + (7_919 * (s + ms + salt)) % 20_000;
            Exchange {
                t1: Timestamp::from_nanos(t2 + lead - wait(1)),
                t2: Raw::from_nanos(t2),
                t3: Raw::from_nanos(t2),
                t4: Timestamp::from_nanos(t2 + lead + wait(2)),
            }
        })
    }

    fn at(s: i64) -> Raw {
        Raw::from_nanos(START) + Span::from_secs(s)
    }

    /// The outcome in each second until the trial ended, and the discipline at its end.
    fn tried(saved: Frequency) -> (Vec<BurstOutcome>, ClientDiscipline) {
        let mut discipline = ClientDiscipline::with_saved_frequency(saved, Frequency::from_ppm(0.1));
        let mut judged = Vec::new();
        while discipline.trial.is_some() {
            judged.extend(discipline.update(&burst(judged.len() as i64), OutlierLimit::MAJORITY));
        }
        (judged, discipline)
    }

    #[test]
    fn a_right_frequency_is_used_at_once_but_its_error_is_stated_as_large_until_it_is_confirmed() {
        let mut discipline = ClientDiscipline::with_saved_frequency(RATE, Frequency::from_ppm(0.1));
        discipline.update(&burst(0), OutlierLimit::MAJORITY);
        let begun = discipline.estimate(at(0)).unwrap();
        assert!((begun.frequency - RATE).ppm().abs() < 0.1, "{begun:?}");
        assert!(begun.frequency_error.ppm() > 10.0, "{begun:?}");
        let (judged, confirmed) = tried(RATE);
        assert!(judged[1..].iter().all(|outcome| *outcome == BurstOutcome::Followed), "{judged:?}");
        let now = confirmed.estimate(at(judged.len() as i64)).unwrap();
        assert!(now.frequency_error.ppm() < 0.1, "{now:?}");
    }

    #[test]
    fn a_refuted_frequency_leaves_no_trace() {
        for wrong_by in [-100.0, -30.0, 30.0, 100.0] {
            let (judged, refuted) = tried(RATE + Frequency::from_ppm(wrong_by));
            assert!(judged.len() <= 4, "wrong by {wrong_by} ppm: {judged:?}");
            assert_eq!(judged.last(), Some(&BurstOutcome::Restarted));
            let mut without_saved = ClientDiscipline::default();
            for s in 0..judged.len() {
                without_saved.update(&burst(s as i64), OutlierLimit::MAJORITY);
            }
            assert_eq!(refuted.estimate(at(60)), without_saved.estimate(at(60)));
        }
    }

    #[test]
    fn a_frequency_that_is_wrong_by_little_is_refuted_at_the_end_of_the_trial() {
        let (judged, refuted) = tried(RATE + Frequency::from_ppm(1.0));
        assert_eq!(judged.last(), Some(&BurstOutcome::Restarted));
        let now = refuted.estimate(at(judged.len() as i64)).unwrap();
        assert!((now.frequency - RATE).ppm().abs() < 0.3, "{now:?}");
    }

    #[test]
    fn a_rate_change_that_the_server_announces_shifts_the_frequency_on_trial() {
        let change = Frequency::from_ppm(30.0);
        let mut discipline = ClientDiscipline::with_saved_frequency(RATE - change, Frequency::from_ppm(0.1));
        discipline.shift_frequency(at(0), change);
        (0..60).for_each(|s| {
            assert_ne!(
                discipline.update(&burst(s), OutlierLimit::MAJORITY),
                Some(BurstOutcome::Restarted),
                "{s} s"
            );
        });
    }
}
