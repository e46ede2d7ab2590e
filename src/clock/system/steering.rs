//! Makes `CLOCK_REALTIME` follow the time that a node publishes.
//!
//! The published time is the truth and a function p(r) of the oscillator, `CLOCK_MONOTONIC_RAW`, which nobody
//! can steer; so nothing that is done here is ever seen by a measurement. Once a second, and after each
//! correction, p(r) is compared with the system's time s read at the same r. The kernel's frequency, by which
//! s runs faster than r, is then set to
//!
//! ```text
//! f = (p(r + H) − p(r))/H − 1  +  (p(r) − s)/τ        within ± 500 ppm
//! ```
//!
//! The first part alone keeps a distance constant, slews of the published time included, since the kernel's
//! arithmetic is exact; the second lets it shrink to 1/e in τ. So s is off by no more than the noise of
//! reading two clocks together, and that is averaged over τ. A distance above a threshold is stepped: a lower
//! one at joining, when the machine's time may be anything, a higher one after that.
//!
//! Before each setting the kernel is asked whether it still has what was set last, and the time is compared
//! with what it should have become. If not, somebody else sets the clock. That is told and taken back; but
//! fighting helps nobody, so after the third time within ten minutes the clock is left to the other one.
//!
//! The kernel is told how good its clock is, for whoever asks it. The maximum error is the node's guaranteed
//! bound and the distance from the published time; while there is no bound, the last one, growing by 15 ppm
//! (RFC 5905). The estimated error is the node's estimate and that distance. A clock whose error may be more
//! than a second, of which nothing was ever guaranteed, or whose node has lost the cluster's time, is called
//! unsynchronized.

use std::io;

use super::kernel::{KernelAdjustment, KernelClock, KernelState, KernelStatus, ScaledPpm};
use meantime_core::ClockReading;
use meantime_core::estimation::timescale::SLEW_LIMIT;
use meantime_core::time::{Correction, Frequency, Raw, Span, Timestamp};

/// Steers a kernel's clock.
#[derive(Debug)]
pub struct Steering<K> {
    kernel: K,
    settings: SteeringConfig,
    /// What was set last; `None` before the clock has joined.
    last: Option<Set>,
    /// The published rate without any slew: what the kernel is left with at the end.
    rate: Frequency,
    /// When the node's error was bounded last, and the bound; `None`: never since the oscillator ran through.
    guaranteed: Option<(Raw, Span)>,
    /// The node has lost the cluster's time, and the kernel was told.
    lapsed: bool,
    /// The machine was suspended: no steps before this.
    waking: Option<Raw>,
    /// When somebody else set the clock lately.
    disturbed: Vec<Raw>,
    given_up: bool,
    failing: bool,
}

/// How the system's clock is to be steered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SteeringConfig {
    /// Once joined, distances beyond this are stepped, smaller ones slewed.
    pub step_threshold: Span,
    /// Never leave the clock to somebody else.
    pub force: bool,
}

/// The machine's clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SystemClockReading {
    /// The node's oscillator.
    pub raw: Raw,
    /// The system's time.
    pub system: Timestamp,
    /// How long the machine has been suspended since it started.
    pub suspended: Span,
}

/// What happened to the system's clock.
#[derive(Clone, Debug, PartialEq)]
pub enum SystemClockEvent {
    /// From now on it follows the cluster's time.
    Following {
        /// How much it lacked.
        missing: Correction,
    },
    /// It was stepped.
    Stepped {
        /// What was added.
        added: Correction,
    },
    /// Somebody else has set it; that is taken back.
    Disturbed {
        /// What was done.
        how: ForeignAdjustment,
    },
    /// Somebody else keeps setting it, and has it from now on.
    GivenUp,
    /// The kernel refuses. Told once until it works again.
    Failed {
        /// In the system's words.
        error: String,
    },
}

/// What somebody else did to the system's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignAdjustment {
    /// Set its frequency.
    Frequency,
    /// Slewed it: by `adjtime()`, the length of the tick, or the kernel's own loop.
    Slew,
    /// Set its time; this is what was added.
    Step(Correction),
}

/// What was set, and when.
#[derive(Clone, Copy, Debug)]
struct Set {
    at: Raw,
    system: Timestamp,
    suspended: Span,
    frequency: ScaledPpm,
}

impl<K: KernelClock> Steering<K> {
    /// Touches nothing before the node knows the cluster's time.
    pub fn new(kernel: K, settings: SteeringConfig) -> Steering<K> {
        Steering {
            kernel,
            settings,
            last: None,
            rate: Frequency::ZERO,
            guaranteed: None,
            lapsed: false,
            waking: None,
            disturbed: Vec::new(),
            given_up: false,
            failing: false,
        }
    }

    /// Compares the system's clock with the published time, and sets it accordingly. `node` is the published
    /// time as a function of the oscillator.
    pub fn follow(
        &mut self,
        seen: SystemClockReading,
        node: &dyn Fn(Raw) -> ClockReading,
    ) -> Vec<SystemClockEvent> {
        let mut events = Vec::new();
        let published = node(seen.raw);
        if self.given_up {
            return events;
        }
        let result = match published.state.has_cluster_time() {
            true => self.steer(seen, published, node, &mut events),
            false => self.lapse(&seen),
        };
        match result {
            Ok(()) => self.failing = false,
            Err(_) if self.failing => {}
            Err(error) => {
                self.failing = true;
                events.push(SystemClockEvent::Failed { error: error.to_string() });
            }
        }
        events
    }

    /// Leaves the clock as somebody finds it sane who knows nothing of us: at the rate that was learned,
    /// without what was being slewed, and called unsynchronized.
    pub fn release(&mut self) {
        if self.last.take().is_none() || self.given_up {
            return;
        }
        if let Err(error) = self.leave() {
            log::warn!("the system's clock could not be left at its learned rate: {error}");
        }
    }

    fn steer(
        &mut self,
        seen: SystemClockReading,
        published: ClockReading,
        node: &dyn Fn(Raw) -> ClockReading,
        events: &mut Vec<SystemClockEvent>,
    ) -> io::Result<()> {
        let state = self.kernel.state()?;
        let missing = published.time - seen.system;
        self.notice_a_nap(&seen);
        match self.disturbance(&state, &seen) {
            Some(how) => {
                events.push(SystemClockEvent::Disturbed { how });
                if self.loses_patience(seen.raw) {
                    self.given_up = true;
                    events.push(SystemClockEvent::GivenUp);
                    // If the other one vouches for the clock, it says so by itself.
                    let status = Some(state.status.with(KernelStatus::UNSYNCHRONIZED));
                    return self.kernel.adjust(&KernelAdjustment { status, ..KernelAdjustment::default() });
                }
                self.kernel.quiet()?;
            }
            None if self.last.is_none() => self.kernel.quiet()?,
            None => {}
        }
        let threshold = match self.last {
            None => JOINING,
            Some(_) => self.settings.step_threshold,
        };
        let far = missing.abs() > threshold;
        let waits = far && self.is_waking(&seen);
        let step = (far && !waits).then_some(missing);
        let pull = if far { Frequency::ZERO } else { pull(missing) };
        let frequency = ScaledPpm::nearest(rate_ahead(seen.raw, &published, node) + pull);
        let distance = if step.is_some() { Span::ZERO } else { missing.abs() };
        let (max, estimated) = self.errors(seen.raw, &published, distance);
        let unsynchronized =
            if max > MAX_ERROR { KernelStatus::UNSYNCHRONIZED } else { KernelStatus::default() };
        self.kernel.adjust(&KernelAdjustment {
            step,
            frequency: Some(frequency),
            status: Some(status(state.status).with(unsynchronized)),
            errors: Some((max, estimated)),
        })?;
        if self.last.is_none() {
            events.push(SystemClockEvent::Following { missing: Correction::adding(missing) });
        }
        events.extend(step.map(|step| SystemClockEvent::Stepped { added: Correction::adding(step) }));
        let system = seen.system + step.unwrap_or_default();
        self.last = Some(Set { at: seen.raw, system, suspended: seen.suspended, frequency });
        self.rate = published.frequency;
        self.lapsed = false;
        Ok(())
    }

    /// The node has no cluster's time any more: nobody vouches for the clock, and it runs on at the learned
    /// rate. Nothing is touched if it has not joined yet.
    fn lapse(&mut self, seen: &SystemClockReading) -> io::Result<()> {
        if self.last.is_none() || self.lapsed {
            return Ok(());
        }
        self.notice_a_nap(seen);
        self.guaranteed = None;
        let frequency = self.leave()?;
        self.last = Some(Set { at: seen.raw, system: seen.system, suspended: seen.suspended, frequency });
        self.lapsed = true;
        Ok(())
    }

    /// Leaves the clock at the learned rate, without what was being slewed, and calls it unsynchronized.
    fn leave(&mut self) -> io::Result<ScaledPpm> {
        let frequency = ScaledPpm::nearest(self.rate);
        let now = self.kernel.state()?.status;
        let status = Some(status(now).with(KernelStatus::UNSYNCHRONIZED));
        self.kernel.adjust(&KernelAdjustment {
            frequency: Some(frequency),
            status,
            ..KernelAdjustment::default()
        })?;
        Ok(frequency)
    }

    /// What somebody else has done since the clock was set last.
    fn disturbance(&self, state: &KernelState, seen: &SystemClockReading) -> Option<ForeignAdjustment> {
        let last = self.last?;
        if state.frequency != last.frequency {
            return Some(ForeignAdjustment::Frequency);
        }
        if !state.is_quiet() {
            return Some(ForeignAdjustment::Slew);
        }
        let elapsed = seen.raw - last.at;
        let expected = last.system + elapsed + last.frequency.frequency().over(elapsed);
        let jump = seen.system - expected;
        let tolerance = JUMP + JUMP_RATE.over(elapsed);
        let slept = seen.suspended - last.suspended > NAP;
        (jump.abs() > tolerance && !slept).then(|| ForeignAdjustment::Step(Correction::adding(jump)))
    }

    /// Whether this disturbance is one too many.
    fn loses_patience(&mut self, now: Raw) -> bool {
        self.disturbed.retain(|at| now - *at < MEMORY);
        self.disturbed.push(now);
        self.disturbed.len() >= PATIENCE && !self.settings.force
    }

    /// After a suspension the kernel puts the system's time forward, by the hardware clock; the published
    /// time, whose oscillator stood still, is what is wrong. It gets some time to be corrected; until then
    /// nothing is guaranteed that was before.
    fn notice_a_nap(&mut self, seen: &SystemClockReading) {
        if self.last.is_some_and(|last| seen.suspended - last.suspended > NAP) {
            self.waking = Some(seen.raw + WAKING);
            self.guaranteed = None;
        }
    }

    fn is_waking(&self, seen: &SystemClockReading) -> bool {
        self.waking.is_some_and(|until| seen.raw < until)
    }

    /// The largest error that the clock may have, and the estimated one, when it is so far from the published
    /// time.
    fn errors(&mut self, now: Raw, published: &ClockReading, distance: Span) -> (Span, Span) {
        if let Some(bound) = published.bound {
            self.guaranteed = Some((now, bound));
        }
        let guaranteed = self.guaranteed.map_or(UNKNOWN_ERROR, |(at, bound)| bound + FREE_RUN.over(now - at));
        // Where nothing is estimated, the guarantee is the best guess.
        let estimated = published.error.unwrap_or(guaranteed);
        (distance + guaranteed.max(estimated), distance + estimated)
    }
}

/// The published rate over the oscillator's in the time until the clock is set again, minus one.
fn rate_ahead(raw: Raw, published: &ClockReading, node: &dyn Fn(Raw) -> ClockReading) -> Frequency {
    let ran = node(raw + HORIZON).time - published.time;
    Frequency::from_ratio((ran - HORIZON).as_secs_f64() / HORIZON.as_secs_f64())
}

/// The frequency that brings the clock nearer to the published time.
fn pull(missing: Span) -> Frequency {
    let wanted = missing.as_secs_f64() / TIME_CONSTANT_S;
    Frequency::from_ratio(wanted.clamp(-SLEW_LIMIT.ratio(), SLEW_LIMIT.ratio()))
}

/// The status bits of a clock that nobody but us steers.
fn status(now: KernelStatus) -> KernelStatus {
    now.without(KernelStatus::LOOPS).without(KernelStatus::LEAPS).without(KernelStatus::UNSYNCHRONIZED)
}

/// H: until the clock is set again.
const HORIZON: Span = Span::from_secs(1);
/// τ: long against H, so that the loop is stable and averages; short enough that a slew is over when it is
/// over.
const TIME_CONSTANT_S: f64 = 4.0;
/// At joining, what would take longer than 20 s to slew is stepped.
const JOINING: Span = Span::from_millis(10);
/// A clock that jumps by more was set by somebody: between two readings, no interrupt takes as long...
const JUMP: Span = Span::from_millis(1);
/// ... and frequencies take effect at a tick, up to 10 ms late.
const JUMP_RATE: Frequency = Frequency::from_ppm(20.0);
/// Suspensions last for seconds; less is the distance between readings of two clocks.
const NAP: Span = Span::from_millis(100);
/// A client that was away for longer than three rounds needs some more to be in again and be believed.
const WAKING: Span = Span::from_secs(60);
/// The third disturbance within this time is one too many.
const MEMORY: Span = Span::from_secs(600);
const PATIENCE: usize = 3;
/// RFC 5905 (PHI): how fast the error of a clock may grow that nobody corrects.
const FREE_RUN: Frequency = Frequency::from_ppm(15.0);
/// RFC 5905 (MAXDIST): with a larger error a clock does not count as synchronized.
const MAX_ERROR: Span = Span::from_secs(1);
/// What the kernel says of a clock that nobody keeps.
const UNKNOWN_ERROR: Span = Span::from_secs(16);

#[cfg(test)]
mod tests;
