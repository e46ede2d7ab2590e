//! The estimators behind a client's discipline.
//!
//! Two are built, behind one interface, to be measured against each other in the simulator: the
//! [least-delay filter](super::discipline), which is small and fast and what clients use, and the
//! [one-sided filter](super::onesided), two to four times as accurate, and fifty times as expensive as yet.

use super::discipline::{Discipline, Judgement, Trust};
use super::exchange::Exchange;
use super::kalman::Estimate;
use super::onesided::OneSided;
use crate::time::{Frequency, Raw, Span, Timestamp};

/// Which estimator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// A Kalman bank on the exchange with the least delay.
    #[default]
    LeastDelay,
    /// All one-way differences, under a learned one-sided density of noise.
    OneSided,
}

/// A client's estimator.
#[derive(Clone, Debug)]
pub enum Estimator {
    /// See [`Method::LeastDelay`].
    LeastDelay(Box<Discipline>),
    /// See [`Method::OneSided`].
    OneSided(OneSided),
}

impl Estimator {
    /// An estimator that knows nothing yet but, perhaps, the frequency: the cluster's rate over this node's
    /// oscillator, minus one, with one standard deviation.
    pub fn new(method: Method, known: Option<(Frequency, Frequency)>) -> Estimator {
        match (method, known) {
            (Method::LeastDelay, None) => Estimator::LeastDelay(Box::default()),
            (Method::LeastDelay, Some((frequency, error))) => {
                Estimator::LeastDelay(Box::new(Discipline::with_frequency(frequency, error)))
            }
            (Method::OneSided, None) => Estimator::OneSided(OneSided::default()),
            (Method::OneSided, Some((frequency, error))) => {
                Estimator::OneSided(OneSided::with_frequency(frequency, error))
            }
        }
    }

    /// Weighs in the exchanges of a burst: server's stamps in cluster time, client's on its oscillator.
    /// `None`, and nothing changes, if none of them makes sense.
    pub fn update(&mut self, burst: &[Exchange<Timestamp, Raw>], trust: Trust) -> Option<Judgement> {
        match self {
            Estimator::LeastDelay(estimator) => estimator.update(burst, trust),
            Estimator::OneSided(estimator) => estimator.update(burst, trust),
        }
    }

    /// The server has changed the cluster's rate by this much, from `at` on.
    pub fn shift_frequency(&mut self, at: Raw, change: Frequency) {
        match self {
            Estimator::LeastDelay(estimator) => estimator.shift_frequency(at, change),
            Estimator::OneSided(estimator) => estimator.shift_frequency(at, change),
        }
    }

    /// What is known about the cluster's time at `at`; `None` before the first burst.
    pub fn estimate(&self, at: Raw) -> Option<Estimate> {
        match self {
            Estimator::LeastDelay(estimator) => estimator.estimate(at),
            Estimator::OneSided(estimator) => estimator.estimate(at),
        }
    }

    /// The delay that an exchange on this path usually has, for readings that come without one.
    pub fn usual_delay(&self) -> Span {
        match self {
            Estimator::LeastDelay(estimator) => estimator.usual_delay(),
            Estimator::OneSided(estimator) => estimator.usual_delay(),
        }
    }
}
