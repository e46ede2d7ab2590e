//! The trial of a frequency that was kept from an earlier run.
//!
//! It may be wrong by far more than it claims: after a power cut everywhere the new cluster runs at the rate
//! of its server's oscillator, if the server has kept nothing, and what the clients have kept is the old
//! cluster's rate. A discipline that believes such a frequency takes one burst after the other for an
//! outlier.
//!
//! So it is a hypothesis. The discipline that believes it, f_k ± σ_k, is followed; an impartial one learns f
//! ± σ from the same bursts and nothing else. With S = σ² + σ_k² the trial ends
//!
//! * as soon as σ ≤ 20 ppm and (f − f_k)² > 6² S: the kept frequency is refuted. The impartial discipline
//!   goes on alone, as if nothing had been kept;
//! * at the latest when σ ≤ σ_k. The kept frequency has nothing to add any more, and a stricter measure does
//!   no harm: it is refuted if (f − f_k)² > 3² S. Otherwise it is confirmed, and the discipline that believes
//!   it goes on alone.
//!
//! Until then nobody is surer of the frequency than the impartial one, and nothing else is stated: a wrong
//! one would have a vote on the cluster's rate, and narrow the guaranteed bound.

use crate::estimation::discipline::{Discipline, Judgement, Trust};
use crate::estimation::exchange::Exchange;
use crate::estimation::kalman::Estimate;
use crate::time::{Frequency, Raw, Span, Timestamp};

/// A client's discipline; and as long as that rests on a kept frequency that is on trial, the impartial one.
#[derive(Clone, Debug, Default)]
pub(super) struct Estimator {
    followed: Discipline,
    trial: Option<Trial>,
}

/// What is tried, and by whom.
#[derive(Clone, Debug)]
struct Trial {
    kept: Frequency,
    error: Frequency,
    impartial: Discipline,
}

/// What a trial has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Open,
    Confirmed,
    Refuted,
}

impl Estimator {
    /// An estimator for a node that has kept the cluster's rate over its oscillator, minus one, with one
    /// standard deviation.
    pub(super) fn trying(kept: Frequency, error: Frequency) -> Estimator {
        let trial = Trial { kept, error, impartial: Discipline::default() };
        Estimator { followed: Discipline::with_frequency(kept, error), trial: Some(trial) }
    }

    /// Weighs in the exchanges of a burst, as [`Discipline::update`] does. If they refute the kept frequency,
    /// that is a restart.
    pub(super) fn update(
        &mut self,
        exchanges: &[Exchange<Timestamp, Raw>],
        trust: Trust,
    ) -> Option<Judgement> {
        let judgement = self.followed.update(exchanges, trust)?;
        let Some(trial) = &mut self.trial else { return Some(judgement) };
        trial.impartial.update(exchanges, trust)?;
        match trial.verdict(exchanges) {
            Verdict::Open => Some(judgement),
            Verdict::Confirmed => {
                self.trial = None;
                Some(judgement)
            }
            Verdict::Refuted => {
                *self = Estimator { followed: core::mem::take(&mut trial.impartial), trial: None };
                Some(Judgement::Restarted)
            }
        }
    }

    /// The server has changed the cluster's rate by this much, from `at` on.
    pub(super) fn shift_frequency(&mut self, at: Raw, change: Frequency) {
        self.followed.shift_frequency(at, change);
        if let Some(trial) = &mut self.trial {
            trial.kept = trial.kept + change;
            trial.impartial.shift_frequency(at, change);
        }
    }

    /// The cluster is another one: its time may run at any rate.
    pub(super) fn doubt_frequency(&mut self) {
        self.followed.doubt_frequency();
        if let Some(trial) = &mut self.trial {
            trial.impartial.doubt_frequency();
        }
    }

    /// What is known about the cluster's time at `at`; `None` before the first burst.
    pub(super) fn estimate(&self, at: Raw) -> Option<Estimate> {
        let followed = self.followed.estimate(at)?;
        let Some(trial) = &self.trial else { return Some(followed) };
        let learned = trial.impartial.estimate(at)?;
        Some(Estimate { frequency_error: learned.frequency_error, ..followed })
    }

    /// The delay that an exchange on this path usually has, for readings that come without one.
    pub(super) fn usual_delay(&self) -> Span {
        self.followed.usual_delay()
    }
}

impl Trial {
    fn verdict(&self, exchanges: &[Exchange<Timestamp, Raw>]) -> Verdict {
        let newest = exchanges.iter().map(|exchange| exchange.t3).max();
        let Some(learned) = newest.and_then(|at| self.impartial.estimate(at)) else { return Verdict::Open };
        let apart = (learned.frequency - self.kept).ratio().abs();
        let expected = learned.frequency_error.ratio().hypot(self.error.ratio());
        let sigmas = apart / expected;
        if learned.frequency_error <= self.error {
            if sigmas > LATE { Verdict::Refuted } else { Verdict::Confirmed }
        } else if learned.frequency_error <= TELLING && sigmas > EARLY {
            Verdict::Refuted
        } else {
            Verdict::Open
        }
    }
}

/// What a single burst says about the frequency is not worth the error that it states.
const TELLING: Frequency = Frequency::from_ppm(20.0);
/// Early estimates do not know how little they know: on a LAN, one right frequency of a hundred is refuted at
/// this.
const EARLY: f64 = 6.0;
/// What is refuted in the end has been as good as unknown by then.
const LATE: f64 = 3.0;

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

    /// What was judged in each second until the trial ended, and the estimator at its end.
    fn tried(kept: Frequency) -> (Vec<Judgement>, Estimator) {
        let mut estimator = Estimator::trying(kept, Frequency::from_ppm(0.1));
        let mut judged = Vec::new();
        while estimator.trial.is_some() {
            judged.extend(estimator.update(&burst(judged.len() as i64), Trust::MAJORITY));
        }
        (judged, estimator)
    }

    #[test]
    fn a_right_frequency_is_there_at_once_but_not_stated_to_be_sure_until_it_is_confirmed() {
        let mut estimator = Estimator::trying(RATE, Frequency::from_ppm(0.1));
        estimator.update(&burst(0), Trust::MAJORITY);
        let begun = estimator.estimate(at(0)).unwrap();
        assert!((begun.frequency - RATE).ppm().abs() < 0.1, "{begun:?}");
        assert!(begun.frequency_error.ppm() > 10.0, "{begun:?}");
        let (judged, confirmed) = tried(RATE);
        assert!(judged[1..].iter().all(|judgement| *judgement == Judgement::Followed), "{judged:?}");
        let now = confirmed.estimate(at(judged.len() as i64)).unwrap();
        assert!(now.frequency_error.ppm() < 0.1, "{now:?}");
    }

    #[test]
    fn a_wrong_frequency_is_forgotten_as_if_it_had_never_been() {
        for wrong_by in [-100.0, -30.0, 30.0, 100.0] {
            let (judged, refuted) = tried(RATE + Frequency::from_ppm(wrong_by));
            assert!(judged.len() <= 4, "wrong by {wrong_by} ppm: {judged:?}");
            assert_eq!(judged.last(), Some(&Judgement::Restarted));
            let mut nothing_kept = Estimator::default();
            for s in 0..judged.len() {
                nothing_kept.update(&burst(s as i64), Trust::MAJORITY);
            }
            assert_eq!(refuted.estimate(at(60)), nothing_kept.estimate(at(60)));
        }
    }

    #[test]
    fn a_frequency_that_is_wrong_by_little_is_refuted_in_the_end() {
        let (judged, refuted) = tried(RATE + Frequency::from_ppm(1.0));
        assert_eq!(judged.last(), Some(&Judgement::Restarted));
        let now = refuted.estimate(at(judged.len() as i64)).unwrap();
        assert!((now.frequency - RATE).ppm().abs() < 0.3, "{now:?}");
    }

    #[test]
    fn what_the_server_announces_of_the_rate_is_tried_with_it() {
        let change = Frequency::from_ppm(30.0);
        let mut estimator = Estimator::trying(RATE - change, Frequency::from_ppm(0.1));
        estimator.shift_frequency(at(0), change);
        (0..60).for_each(|s| {
            assert_ne!(estimator.update(&burst(s), Trust::MAJORITY), Some(Judgement::Restarted), "{s} s");
        });
    }
}
