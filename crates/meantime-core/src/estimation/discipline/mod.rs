//! The discipline: estimates phase and frequency of the cluster's time over this node's oscillator, from all
//! one-way differences of all exchanges.
//!
//! It works on the free-running timescale only. Steps and slews of the published clock do not affect it, so
//! adjustments in flight need no accounting. The commanded rate is subtracted from the observations and added
//! to the estimate, so rate commands do not affect it either.
//!
//! Each class assumes a sharpness of the path's noise, learns the noise density, and runs a bank of filters
//! for different wanders of the oscillator. The classes are weighted by their evidence. The first bursts are
//! stored and replayed several times, because their interpretation depends on the noise density, which is
//! learned from them.
//!
//! Waiting times are not negative. A residual that contradicts this shows a change:
//!
//! * of the clock, if one direction became shorter and the other longer by the same amount, or if the offset
//!   is farther from the expectation than half the delay allows. Such bursts are outliers. They are ignored
//!   unless they persist: three in a row if the vote finds this clock in the minority, twelve otherwise (so
//!   that a correct clock does not follow a server that jumped), four in the first bursts, after which the
//!   discipline restarts. A regular burst in between halves their count. After that, the phase is reset; the
//!   frequency's variance grows only by the drift among the outliers, because a pure step contains no
//!   information about frequency. A burst that only a sudden change of the oscillator explains is left out
//!   once, and followed if the next burst agrees with it;
//! * of the path, if one direction became shorter. Then only the variance of its minimum delay grows.
//!
//! A direction whose delays have all increased has changed as well; that is not impossible, but soon very
//! unlikely.

mod changes;
mod class;
mod cross_check;
mod density;
mod filter;
mod replay;

use self::changes::{Change, ChangeDetector, FASTEST_DRIFT, Outliers};
use self::class::{Class, Noise, ObservedBurst};
use self::cross_check::CrossCheck;
use self::density::Sharpness;
use self::filter::{ClockEstimate, Filter, OneWayDifference, PathDirection};
use self::replay::Replay;
use super::exchange::Exchange;
use super::kalman::Estimate;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use crate::time::{Frequency, Raw, Span, Timestamp};

/// How the discipline used a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BurstOutcome {
    /// It was the first: the phase is known, the frequency not yet.
    Started,
    /// It was assimilated.
    Followed,
    /// It was an outlier, the n-th in a row.
    Ignored(u32),
    /// It confirmed the outliers before it: the phase was reset.
    Restarted,
}

/// How many outliers in a row reset the phase: many if the vote agrees with this clock, few if it does not,
/// and none if the server keeps another cluster's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutlierLimit {
    /// After this many outliers in a row.
    After(u32),
    /// The first burst resets the phase.
    None,
}

impl OutlierLimit {
    /// For a clock that the vote has found in the minority.
    pub const MINORITY: OutlierLimit = OutlierLimit::After(3);
    /// For a clock that the vote agrees with: it must not ignore the server forever.
    pub const MAJORITY: OutlierLimit = OutlierLimit::After(12);

    fn at_most(self, limit: u32) -> OutlierLimit {
        match self {
            OutlierLimit::After(own) => OutlierLimit::After(own.min(limit)),
            OutlierLimit::None => OutlierLimit::None,
        }
    }

    fn is_reached(self, in_a_row: u32) -> bool {
        match self {
            OutlierLimit::After(limit) => in_a_row >= limit,
            OutlierLimit::None => true,
        }
    }
}

/// The estimator of one node.
#[derive(Clone, Debug)]
pub struct Discipline {
    /// Prior of the oscillator's frequency before the first burst, and its standard deviation.
    frequency: (f64, f64),
    command: CommandedRate,
    usual_delay: Option<Span>,
    outliers: Option<Outliers>,
    tracking: Option<Box<Tracking>>,
}

impl Default for Discipline {
    fn default() -> Discipline {
        Discipline::with_frequency(Frequency::ZERO, ANY_FREQUENCY)
    }
}

/// The state after the first burst.
#[derive(Clone, Debug)]
struct Tracking {
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

impl Discipline {
    /// An estimator with a prior of the frequency: the cluster's rate over this oscillator, minus one, with
    /// one standard deviation.
    pub fn with_frequency(frequency: Frequency, error: Frequency) -> Discipline {
        Discipline {
            frequency: (-frequency.ratio(), error.ratio()),
            command: CommandedRate::default(),
            usual_delay: None,
            outliers: None,
            tracking: None,
        }
    }

    /// Assimilates the exchanges of a burst: server's stamps in cluster time, client's on its oscillator.
    /// Returns `None`, without any change, if none of them is plausible.
    pub fn update(
        &mut self,
        exchanges: &[Exchange<Timestamp, Raw>],
        trust: OutlierLimit,
    ) -> Option<BurstOutcome> {
        let plausible = plausible(exchanges);
        let best = plausible.first()?;
        self.learn_delay(best.delay());
        let Some(tracking) = &mut self.tracking else {
            self.tracking = Some(Box::new(Tracking::start(&plausible, &self.command, self.frequency)));
            return Some(BurstOutcome::Started);
        };
        let mut burst = tracking.predict_to_burst(&plausible, &self.command);
        match tracking.changes.detect(&tracking.classes, &burst, tracking.bursts) {
            Change::ClockEstimate { by } => {
                let outliers = Outliers::after(self.outliers, best.t2, by);
                self.outliers = Some(outliers);
                let young = tracking.bursts < YOUNG;
                let trust = if young { trust.at_most(YOUNG_TRUST) } else { trust };
                if !trust.is_reached(outliers.count()) {
                    if let Some(replay) = &mut tracking.replay {
                        replay.skip(burst.dt);
                    }
                    return Some(BurstOutcome::Ignored(outliers.count()));
                }
                self.outliers = None;
                if young {
                    // The first bursts were not representative: what was learned from them, above all the
                    // frequency, is wrong.
                    let any = (self.frequency.0, self.frequency.1.max(ANY_FREQUENCY.ratio()));
                    self.tracking = Some(Box::new(Tracking::start(&plausible, &self.command, any)));
                    return Some(BurstOutcome::Restarted);
                }
                let noise = leader(&tracking.classes).density().scale();
                tracking.reset_phase(&plausible, &self.command, outliers.drift(noise));
                self.restart_if_implausible(&plausible);
                return Some(BurstOutcome::Restarted);
            }
            Change::Path { way, by } => tracking.inflate_path(way, by),
            Change::None { impossible } => burst.leave_out(&impossible),
        }
        self.outliers = self.outliers.and_then(Outliers::fade);
        tracking.follow(burst);
        let nonsense = self.restart_if_implausible(&plausible);
        Some(if nonsense { BurstOutcome::Restarted } else { BurstOutcome::Followed })
    }

    /// Restarts if the learned frequency is implausible for an oscillator.
    fn restart_if_implausible(&mut self, exchanges: &[Exchange<Timestamp, Raw>]) -> bool {
        let nonsense =
            self.tracking.as_ref().is_some_and(|tracking| !tracking.clock(tracking.at).is_plausible());
        if nonsense {
            self.tracking = Some(Box::new(Tracking::start(exchanges, &self.command, self.frequency)));
        }
        nonsense
    }

    /// The server has changed the cluster's rate by this much, from `at` on.
    pub fn shift_frequency(&mut self, at: Raw, change: Frequency) {
        self.command.change(at, change);
    }

    /// The server keeps another cluster's time, whose rate is unknown.
    pub fn inflate_frequency(&mut self) {
        let by = ANY_FREQUENCY.ratio();
        if let Some(tracking) = &mut self.tracking {
            tracking.doubt(|filter| filter.inflate_frequency(by));
            tracking.check.inflate_frequency(by);
        }
    }

    /// The estimate of the cluster's time at `at`; `None` before the first burst.
    pub fn estimate(&self, at: Raw) -> Option<Estimate> {
        let tracking = self.tracking.as_ref()?;
        let clock = tracking.check.combine(at, tracking.clock(at));
        Some(Estimate {
            phase: Span::from_secs_f64(self.command.phase(at) - clock.x) - tracking.base,
            frequency: Frequency::from_ratio(self.command.rate - clock.f),
            error: Span::from_secs_f64(clock.xx.sqrt()),
            frequency_error: Frequency::from_ratio(clock.ff.sqrt()),
        })
    }

    /// The usual delay of an exchange on this path, for readings without a delay of their own.
    pub fn usual_delay(&self) -> Span {
        self.usual_delay.unwrap_or(Span::from_millis(1))
    }

    fn learn_delay(&mut self, delay: Span) {
        let usual = self.usual_delay.unwrap_or(delay);
        self.usual_delay = Some((usual + (delay - usual).over(8)).min(usual.times(2)));
    }
}

impl Tracking {
    fn start(
        exchanges: &[Exchange<Timestamp, Raw>],
        command: &CommandedRate,
        frequency: (f64, f64),
    ) -> Tracking {
        let best = &exchanges[0];
        let start = Filter::start(best.delay().as_secs_f64().max(1e-6), frequency.0, frequency.1);
        let mut tracking = Tracking {
            base: base(best, command),
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
    fn predict_to_burst(
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
    fn follow(&mut self, burst: ObservedBurst) {
        if burst.observations.is_empty() {
            if let Some(replay) = &mut self.replay {
                replay.skip(burst.dt);
            }
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
    fn inflate_path(&mut self, way: PathDirection, by: f64) {
        self.doubt(|filter| filter.inflate_path(way, by));
        if let Some(replay) = &mut self.replay {
            replay.inflate_path(way, by);
        }
    }

    /// Resets the phase, after the clock was set. Keeps the frequency, which may have changed by about
    /// `drift`, and the noise density. Only here may the state's instant move back, because the oscillator
    /// itself may have jumped.
    fn reset_phase(&mut self, exchanges: &[Exchange<Timestamp, Raw>], command: &CommandedRate, drift: f64) {
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
}

/// The oscillator's lead in an exchange, the origin of all phases.
fn base(exchange: &Exchange<Timestamp, Raw>, command: &CommandedRate) -> Span {
    exchange.offset() + Span::from_secs_f64(command.phase(exchange.t2))
}

/// The plausible exchanges, in the order of their delays: those with a delay in [`PLAUSIBLE_DELAYS`] that do
/// not contradict the best one. A clock that was set within a burst causes two groups of exchanges, of which
/// one is left.
fn plausible(exchanges: &[Exchange<Timestamp, Raw>]) -> Vec<Exchange<Timestamp, Raw>> {
    let mut plausible: Vec<_> =
        exchanges.iter().copied().filter(|exchange| PLAUSIBLE_DELAYS.contains(&exchange.delay())).collect();
    plausible.sort_by_key(Exchange::delay);
    if let Some(best) = plausible.first().copied() {
        plausible.retain(|exchange| {
            let drift = Span::from_secs_f64(FASTEST_DRIFT * (exchange.t2 - best.t2).as_secs_f64().abs());
            let possible = (exchange.delay() + best.delay()).half() + drift;
            (exchange.offset() - best.offset()).abs() <= possible
        });
    }
    plausible
}

/// The class with the most evidence.
fn leader(classes: &[Class]) -> &Class {
    let first = &classes[0];
    classes.iter().fold(first, |best, class| if class.ln_evidence > best.ln_evidence { class } else { best })
}

/// The moment of the newest exchange.
fn newest(exchanges: &[Exchange<Timestamp, Raw>]) -> Raw {
    exchanges.iter().map(|exchange| exchange.t3).max().unwrap_or_default()
}

/// The rate that the server has commanded: a piecewise linear time line, of which the last piece is stored.
#[derive(Clone, Copy, Debug, Default)]
struct CommandedRate {
    reference: Raw,
    /// Seconds gained until `reference`.
    gained: f64,
    /// The rate from then on, minus one.
    rate: f64,
}

impl CommandedRate {
    fn change(&mut self, at: Raw, change: Frequency) {
        self.gained = self.phase(at);
        self.reference = at;
        self.rate += change.ratio();
    }

    fn phase(&self, at: Raw) -> f64 {
        self.gained + self.rate * (at - self.reference).as_secs_f64()
    }
}

/// One class for each sharpness.
type Classes = [Class; SHARPNESSES.len()];

/// The sharpnesses of the classes.
const SHARPNESSES: [Sharpness; 4] =
    [Sharpness::Edge(0.003), Sharpness::Edge(0.1), Sharpness::Edge(0.6), Sharpness::None];
/// Plausible round-trip delays. A longer exchange was held up, or has a wrong timestamp.
const PLAUSIBLE_DELAYS: RangeInclusive<Span> = Span::ZERO..=Span::from_secs(2);
/// The number of first bursts that may turn out not to be representative.
const YOUNG: u32 = 32;
/// The number of outliers in a row that show it.
const YOUNG_TRUST: u32 = 4;
/// Limit of a class's evidence, so that a few hundred bursts can restore it.
const MIN_LN_EVIDENCE: f64 = -40.0;
/// The difference of two crystals of ±100 ppm.
const ANY_FREQUENCY: Frequency = Frequency::from_ppm(200.0);

#[cfg(test)]
mod tests;
