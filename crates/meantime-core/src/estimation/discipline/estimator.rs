//! The discipline itself: assimilates bursts, ignores outliers, and restarts when they persist.

use alloc::boxed::Box;

use super::changes::{Change, Outliers};
use super::commanded_rate::CommandedRate;
use super::outlier_limit::OutlierLimit;
use super::plausible::plausible;
use super::tracking::Tracking;
use crate::estimation::exchange::Exchange;
use crate::estimation::kalman::Estimate;
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

/// The estimator of one node.
///
/// ```
/// use meantime_core::estimation::discipline::{BurstOutcome, Discipline, OutlierLimit};
/// use meantime_core::estimation::exchange::Exchange;
/// use meantime_core::time::{Raw, Span, Timestamp};
///
/// let mut discipline = Discipline::default();
/// // The oscillator reads 1 s less than cluster time; the delay is 50 µs each way.
/// let exchange = Exchange {
///     t1: Timestamp::from_nanos(5_000_000_000),
///     t2: Raw::from_nanos(4_000_050_000),
///     t3: Raw::from_nanos(4_000_060_000),
///     t4: Timestamp::from_nanos(5_000_110_000),
/// };
/// let outcome = discipline.update(&[exchange], OutlierLimit::MAJORITY);
/// assert_eq!(outcome, Some(BurstOutcome::Started));
/// let estimate = discipline.estimate(exchange.t3).unwrap();
/// assert!((estimate.phase - Span::from_secs(1)).abs() < Span::from_micros(1));
/// ```
#[derive(Clone, Debug)]
pub struct Discipline {
    /// Prior of the oscillator's frequency before the first burst, and its standard deviation.
    frequency: (f64, f64),
    command: CommandedRate,
    /// What is known of the phase before the first burst.
    known: Option<KnownPhase>,
    usual_delay: Option<Span>,
    outliers: Option<Outliers>,
    tracking: Option<Box<Tracking>>,
}

/// A phase that is known before the first burst.
#[derive(Clone, Copy, Debug)]
struct KnownPhase {
    /// When the oscillator reads this, …
    at: Raw,
    /// … cluster time is so much ahead of it, …
    phase: Span,
    /// … with this standard deviation.
    error: Span,
}

impl Default for Discipline {
    fn default() -> Discipline {
        Discipline::with_frequency(Frequency::ZERO, ANY_FREQUENCY)
    }
}

impl Discipline {
    /// An estimator with a prior of the frequency: the cluster's rate over this oscillator, minus one, with
    /// one standard deviation.
    pub fn with_frequency(frequency: Frequency, error: Frequency) -> Discipline {
        Discipline {
            frequency: (-frequency.ratio(), error.ratio()),
            command: CommandedRate::default(),
            known: None,
            usual_delay: None,
            outliers: None,
            tracking: None,
        }
    }

    /// An estimator that knows the clock already: when the oscillator reads `at`, cluster time is `phase`
    /// ahead of it and runs at `frequency` over it, each with one standard deviation. The path is unknown.
    pub fn with_clock(
        at: Raw,
        (phase, error): (Span, Span),
        (frequency, frequency_error): (Frequency, Frequency),
    ) -> Discipline {
        let known = Some(KnownPhase { at, phase, error });
        Discipline { known, ..Discipline::with_frequency(frequency, frequency_error) }
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
            let known = self.known.and_then(|known| self.lead_before(&known, best));
            let tracking = Tracking::start(&plausible, &self.command, self.frequency, known);
            self.tracking = Some(Box::new(tracking));
            return Some(if known.is_some() { BurstOutcome::Followed } else { BurstOutcome::Started });
        };
        if trust == OutlierLimit::None {
            // A small jump of the phase would pass for a frequency.
            self.reset_phase(&plausible, 0.0);
            return Some(BurstOutcome::Restarted);
        }
        let mut burst = tracking.predict_to_burst(&plausible, &self.command);
        match tracking.detect_change(&burst) {
            Change::ClockEstimate { by } => {
                let outliers = Outliers::after(self.outliers, best.t2, by);
                self.outliers = Some(outliers);
                let trust = if tracking.is_young() { trust.at_most(YOUNG_TRUST) } else { trust };
                if !trust.is_reached(outliers.count()) {
                    tracking.skip(burst.dt);
                    return Some(BurstOutcome::Ignored(outliers.count()));
                }
                let drift = outliers.drift(tracking.noise_scale());
                self.reset_phase(&plausible, drift);
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

    /// Forgets the phase, and takes that of these exchanges. The frequency may have changed by `drift`.
    fn reset_phase(&mut self, exchanges: &[Exchange<Timestamp, Raw>], drift: f64) {
        self.outliers = None;
        match &mut self.tracking {
            Some(tracking) if !tracking.is_young() => {
                tracking.reset_phase(exchanges, &self.command, drift);
                self.restart_if_implausible(exchanges);
            }
            _ => {
                // The first bursts were not representative: what was learned from them, above all the
                // frequency, is wrong.
                let any = (self.frequency.0, self.frequency.1.max(ANY_FREQUENCY.ratio()));
                self.tracking = Some(Box::new(Tracking::start(exchanges, &self.command, any, None)));
            }
        }
    }

    /// Restarts if the learned frequency is implausible for an oscillator.
    fn restart_if_implausible(&mut self, exchanges: &[Exchange<Timestamp, Raw>]) -> bool {
        let nonsense = self.tracking.as_ref().is_some_and(|tracking| !tracking.is_plausible());
        if nonsense {
            let tracking = Tracking::start(exchanges, &self.command, self.frequency, None);
            self.tracking = Some(Box::new(tracking));
        }
        nonsense
    }

    /// The server has changed the cluster's rate by this much, from `at` on.
    pub fn shift_frequency(&mut self, at: Raw, change: Frequency) {
        self.command.change(at, change);
    }

    /// From `at` on, the server's stamps are of a scale that is ahead of the one before by the first, and
    /// faster by the second.
    pub fn change_scale(&mut self, at: Raw, (ahead, faster): (Span, Frequency)) {
        self.command.change(at, faster);
        self.command.step(ahead);
    }

    /// The server keeps another cluster's time, whose rate is unknown.
    pub fn inflate_frequency(&mut self) {
        let by = ANY_FREQUENCY.ratio();
        if let Some(tracking) = &mut self.tracking {
            tracking.inflate_frequency(by);
        }
    }

    /// The estimate of the cluster's time at `at`; `None` before the first burst.
    pub fn estimate(&self, at: Raw) -> Option<Estimate> {
        let Some(tracking) = self.tracking.as_ref() else { return self.known_clock(at) };
        let clock = tracking.checked_clock(at);
        Some(Estimate {
            phase: Span::from_secs_f64(self.command.phase(at) - clock.x) - tracking.base(),
            frequency: Frequency::from_ratio(self.command.rate - clock.f),
            error: Span::from_secs_f64(clock.xx.sqrt()),
            frequency_error: Frequency::from_ratio(clock.ff.sqrt()),
        })
    }

    /// The estimate before the first burst.
    fn known_clock(&self, at: Raw) -> Option<Estimate> {
        let known = self.known?;
        let seconds = (at - known.at).as_secs_f64();
        let gained = self.command.phase(at) - self.frequency.0 * seconds;
        let error = known.error.as_secs_f64().hypot(self.frequency.1 * seconds);
        Some(Estimate {
            phase: known.phase + Span::from_secs_f64(gained),
            frequency: Frequency::from_ratio(self.command.rate - self.frequency.0),
            error: Span::from_secs_f64(error),
            frequency_error: Frequency::from_ratio(self.frequency.1),
        })
    }

    /// The oscillator's lead in the first exchange as it was known before, without the commanded rate, and
    /// its standard deviation in seconds; `None`: the exchange is of another time.
    fn lead_before(&self, known: &KnownPhase, first: &Exchange<Timestamp, Raw>) -> Option<(Span, f64)> {
        let expected = self.known_clock(first.t2)?;
        let apart = (first.offset() + expected.phase).abs();
        let reach = first.delay().half() + expected.error.times(KNOWN_SIGMAS);
        let command = Span::from_secs_f64(self.command.phase(first.t2));
        (apart <= reach).then_some((command - expected.phase, known.error.as_secs_f64()))
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

/// In standard deviations, how far from its known phase a clock may be found.
const KNOWN_SIGMAS: i64 = 6;
/// The number of outliers in a row that show it.
const YOUNG_TRUST: u32 = 4;
/// The difference of two crystals of ±100 ppm.
const ANY_FREQUENCY: Frequency = Frequency::from_ppm(200.0);
