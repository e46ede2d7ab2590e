//! The state of the discipline from the first burst on.

use alloc::vec::Vec;

use super::changes::{Change, ChangeDetector};
use super::class::{Class, Classes, Noise, ObservedBurst, SHARPNESSES, leader};
use super::commanded_rate::CommandedRate;
use super::cross_check::CrossCheck;
use super::filter::{ClockEstimate, Filter, OneWayDifference, PathDirection};
use super::replay::Replay;
use crate::estimation::exchange::Exchange;
use crate::time::{Raw, Span, Timestamp};

/// The state after the first burst.
#[derive(Clone, Debug)]
pub(super) struct Tracking {
    /// The oscillator's lead at the start, or at the last reset. Phases are relative to it, so that an f64
    /// has enough digits even for a clock that shows 1970.
    base: Span,
    /// The instant of all states.
    at: Raw,
    bursts: u32,
    classes: Classes,
    changes: ChangeDetector,
    check: CrossCheck,
    replay: Option<Replay>,
}

impl Tracking {
    /// Begins with these exchanges and a prior of the frequency. `known` is the oscillator's lead in the best
    /// exchange, and its standard deviation in seconds; `None`: it is what that exchange says.
    pub(super) fn start(
        exchanges: &[Exchange<Timestamp, Raw>],
        command: &CommandedRate,
        frequency: (f64, f64),
        known: Option<(Span, f64)>,
    ) -> Tracking {
        let best = &exchanges[0];
        let delay = best.delay().as_secs_f64().max(1e-6);
        let start = Filter::start(delay, frequency.0, frequency.1);
        let start = known.map_or(start, |(_, error)| start.with_phase_error(error));
        let mut tracking = Tracking {
            base: known.map_or_else(|| base(best, command), |(lead, _)| lead),
            at: newest(exchanges),
            bursts: 0,
            classes: SHARPNESSES.map(|sharpness| Class::new(sharpness, start)),
            changes: ChangeDetector::default(),
            check: CrossCheck::new(frequency),
            replay: None,
        };
        let burst = tracking.predict_to_burst(exchanges, command);
        tracking.replay = Some(Replay::new(start));
        tracking.follow(burst);
        tracking
    }

    /// Predicts all states to the burst's instant, and converts its exchanges to one-way differences.
    pub(super) fn predict_to_burst(
        &mut self,
        exchanges: &[Exchange<Timestamp, Raw>],
        command: &CommandedRate,
    ) -> ObservedBurst {
        let at = newest(exchanges).max(self.at);
        let dt = (at - self.at).as_secs_f64();
        self.at = at;
        for class in &mut self.classes {
            class.predict(dt);
        }
        let mut observations = Vec::with_capacity(2 * exchanges.len());
        for exchange in exchanges {
            let lead = |raw: Raw, time: Timestamp| {
                Span::from_nanos(raw.as_nanos()) - Span::from_nanos(time.as_nanos())
            };
            let forward = lead(exchange.t2, exchange.t1) - self.base;
            let backward = self.base - lead(exchange.t3, exchange.t4);
            observations.push(OneWayDifference {
                way: PathDirection::Forward,
                tau: (exchange.t2 - at).as_secs_f64(),
                difference: forward.as_secs_f64() + command.phase(exchange.t2),
            });
            observations.push(OneWayDifference {
                way: PathDirection::Backward,
                tau: (exchange.t3 - at).as_secs_f64(),
                difference: backward.as_secs_f64() - command.phase(exchange.t3),
            });
        }
        ObservedBurst { dt, observations }
    }

    /// Assimilates a burst after all checks.
    pub(super) fn follow(&mut self, burst: ObservedBurst) {
        if burst.observations.is_empty() {
            self.skip(burst.dt);
            return;
        }
        self.bursts = self.bursts.saturating_add(1);
        for class in &mut self.classes {
            class.assimilate(&burst.observations, Noise::Learned);
        }
        let ClockEstimate { f, ff, .. } = self.clock(self.at);
        self.check.observe(self.at, &burst, (f, ff.sqrt()));
        for (way, by) in self.changes.lengthened(leader(&self.classes), &burst, self.bursts) {
            self.inflate_path(way, by);
        }
        if let Some(replay) = &mut self.replay {
            replay.store(burst);
            replay.advance(&mut self.classes);
            if replay.is_over() {
                self.replay = None;
            }
        }
        let highest = leader(&self.classes).ln_evidence;
        for class in &mut self.classes {
            class.ln_evidence = (class.ln_evidence - highest).max(MIN_LN_EVIDENCE);
        }
    }

    fn doubt(&mut self, doubt: impl Fn(&mut Filter) + Copy) {
        for class in &mut self.classes {
            class.doubt(doubt);
        }
    }

    /// The minimum delay of this direction may have changed by about `by` seconds.
    pub(super) fn inflate_path(&mut self, way: PathDirection, by: f64) {
        self.doubt(|filter| filter.inflate_path(way, by));
        if let Some(replay) = &mut self.replay {
            replay.inflate_path(way, by);
        }
    }

    /// Resets the phase, after the clock was set. Keeps the frequency, which may have changed by about
    /// `drift`, and the noise density. Only here may the state's instant move back, because the oscillator
    /// itself may have jumped.
    pub(super) fn reset_phase(
        &mut self,
        exchanges: &[Exchange<Timestamp, Raw>],
        command: &CommandedRate,
        drift: f64,
    ) {
        let best = &exchanges[0];
        self.base = base(best, command);
        self.at = newest(exchanges);
        let delay = best.delay().as_secs_f64();
        self.doubt(|filter| filter.reset_phase(delay, drift));
        self.changes = ChangeDetector::default();
        self.check.reset_phase(drift);
        // The stored bursts belong to the old phase.
        self.replay = None;
        let burst = self.predict_to_burst(exchanges, command);
        self.follow(burst);
    }

    fn clock(&self, at: Raw) -> ClockEstimate {
        let dt = (at - self.at).as_secs_f64();
        let weights = self.classes.each_ref().map(|class| class.ln_evidence.exp());
        let total: f64 = weights.iter().sum();
        let parts = self.classes.iter().zip(weights);
        ClockEstimate::mixture(
            parts
                .filter(|(_, weight)| *weight > 1e-9)
                .map(|(class, weight)| (weight / total, class.clock(dt))),
        )
    }

    /// The change that a burst shows, if it shows one.
    pub(super) fn detect_change(&mut self, burst: &ObservedBurst) -> Change {
        self.changes.detect(&self.classes, burst, self.bursts)
    }

    /// Whether these are still the first bursts, which may turn out not to be representative.
    pub(super) fn is_young(&self) -> bool {
        self.bursts < YOUNG
    }

    /// A burst is ignored that comes so many seconds after the one before.
    pub(super) fn skip(&mut self, dt: f64) {
        if let Some(replay) = &mut self.replay {
            replay.skip(dt);
        }
    }

    /// The scale of the noise that the leading class has learned, in seconds.
    pub(super) fn noise_scale(&self) -> f64 {
        leader(&self.classes).density().scale()
    }

    /// The frequency may have changed by about this ratio.
    pub(super) fn inflate_frequency(&mut self, by: f64) {
        self.doubt(|filter| filter.inflate_frequency(by));
        self.check.inflate_frequency(by);
    }

    /// Whether an oscillator can have the learned frequency.
    pub(super) fn is_plausible(&self) -> bool {
        self.clock(self.at).is_plausible()
    }

    /// The checked estimate of the oscillator's lead at `at`, relative to [`Self::base`].
    pub(super) fn checked_clock(&self, at: Raw) -> ClockEstimate {
        self.check.combine(at, self.clock(at))
    }

    /// The oscillator's lead that all phases are relative to.
    pub(super) fn base(&self) -> Span {
        self.base
    }
}

/// The oscillator's lead in an exchange, the origin of all phases.
fn base(exchange: &Exchange<Timestamp, Raw>, command: &CommandedRate) -> Span {
    exchange.offset() + Span::from_secs_f64(command.phase(exchange.t2))
}

/// The moment of the newest exchange.
fn newest(exchanges: &[Exchange<Timestamp, Raw>]) -> Raw {
    exchanges.iter().map(|exchange| exchange.t3).max().unwrap_or_default()
}

/// The number of first bursts that may turn out not to be representative.
const YOUNG: u32 = 32;
/// Limit of a class's evidence, so that a few hundred bursts can restore it.
const MIN_LN_EVIDENCE: f64 = -40.0;
