//! Makes `CLOCK_REALTIME` follow the time that a node publishes.
//!
//! The published time is a function p(r) of the oscillator, `CLOCK_MONOTONIC_RAW`, which cannot be steered;
//! so no measurement ever sees what is done here. Once a second, and after each correction, p(r) is compared
//! with the system's time s read at the same r. The kernel's frequency, by which s runs faster than r, is
//! then set to
//!
//! ```text
//! f = (p(r + H) − p(r))/H − 1  +  (p(r) − s)/τ        within ± the fastest slew
//! ```
//!
//! The first part alone keeps the distance constant, slews of the published time included, since the kernel's
//! arithmetic is exact; the second lets it shrink to 1/e in τ. So s is off by no more than the noise of
//! reading two clocks together, and that is averaged over τ. A distance above a threshold is stepped: a lower
//! threshold at the first adjustment, when the machine's time may be anything, a higher one after that.
//!
//! `foreign` detects what other programs do to the clock, `errors` is what the kernel reports of it. A
//! clock whose error may be more than a second, that never had a guaranteed bound, or whose node has lost the
//! cluster time, is called unsynchronized.

mod errors;
mod foreign;

use std::io;

use self::errors::LastBound;
pub use self::foreign::SystemClockReading;
use self::foreign::{Conflicts, LastAdjustment};
use super::config::{OnConflict, SteeringConfig};
use super::event::SystemClockEvent;
use super::kernel::{KernelAdjustment, KernelClock, KernelState, KernelStatus, ScaledPpm};
use super::lock::Predecessor;
use crate::clock::published_time::PublishedTime;
use meantime_core::time::{Correction, Frequency, Raw, Span};

/// Steers a kernel's clock.
#[derive(Debug)]
pub struct Steering<K> {
    kernel: K,
    config: SteeringConfig,
    phase: SteeringPhase,
    /// The published rate without any slew: the kernel keeps it at the end.
    learned_rate: Frequency,
    bound: LastBound,
    /// The machine was suspended: no steps before this.
    no_step_before: Option<Raw>,
    conflicts: Conflicts,
    /// The kernel has refused, and that was reported.
    failing: bool,
}

/// What the steering does.
#[derive(Clone, Copy, Debug)]
enum SteeringPhase {
    /// The node has not had the cluster time yet; nothing was set.
    Waiting,
    /// As `Waiting`; and a predecessor was killed, which may have called the clock synchronized.
    Inherited,
    /// The clock follows.
    Following(LastAdjustment),
    /// The node has lost the cluster time; the clock runs at the learned rate.
    Lapsed(LastAdjustment),
    /// Another program controls the clock.
    GivenUp,
}

impl SteeringPhase {
    fn last(&self) -> Option<LastAdjustment> {
        match self {
            SteeringPhase::Following(last) | SteeringPhase::Lapsed(last) => Some(*last),
            SteeringPhase::Waiting | SteeringPhase::Inherited | SteeringPhase::GivenUp => None,
        }
    }
}

/// How the clock is brought to the published time.
struct Plan {
    step: Option<Span>,
    frequency: ScaledPpm,
    /// What remains to be slewed, as an absolute value.
    distance: Span,
}

impl<K: KernelClock> Steering<K> {
    /// Sets nothing before the node has the cluster time.
    pub fn new(kernel: K, config: SteeringConfig, predecessor: Predecessor) -> Steering<K> {
        let phase = match predecessor {
            Predecessor::NoneOrEnded => SteeringPhase::Waiting,
            Predecessor::Killed => SteeringPhase::Inherited,
        };
        Steering {
            kernel,
            config,
            phase,
            learned_rate: Frequency::ZERO,
            bound: LastBound::default(),
            no_step_before: None,
            conflicts: Conflicts::default(),
            failing: false,
        }
    }

    /// Compares the system's clock with the published time, a function of the oscillator, and adjusts it.
    pub fn follow(
        &mut self,
        now: SystemClockReading,
        published: &dyn Fn(Raw) -> PublishedTime,
    ) -> Vec<SystemClockEvent> {
        let mut events = Vec::new();
        if matches!(self.phase, SteeringPhase::GivenUp) {
            return events;
        }
        let target = published(now.raw);
        let result = match target.is_cluster_time {
            true => self.steer(now, target, published, &mut events),
            false => self.lapse(&now),
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

    /// Leaves the clock in a sane state for programs that know nothing of this one: at the learned rate,
    /// without the remaining slew, and called unsynchronized. That is also done for a predecessor that was
    /// killed.
    pub fn release(&mut self) {
        let released = match self.phase {
            SteeringPhase::Waiting | SteeringPhase::GivenUp => return,
            SteeringPhase::Inherited => self.call_unsynchronized(),
            SteeringPhase::Following(_) | SteeringPhase::Lapsed(_) => self.set_learned_rate().map(drop),
        };
        self.phase = SteeringPhase::Waiting;
        if let Err(error) = released {
            log::warn!("the system's clock could not be released: {error}");
        }
    }

    fn steer(
        &mut self,
        now: SystemClockReading,
        target: PublishedTime,
        published: &dyn Fn(Raw) -> PublishedTime,
        events: &mut Vec<SystemClockEvent>,
    ) -> io::Result<()> {
        let state = self.kernel.state()?;
        let missing = target.time - now.system;
        self.check_suspension(&now);
        self.revert_foreign(&state, &now, events)?;
        if matches!(self.phase, SteeringPhase::GivenUp) {
            return Ok(());
        }
        let plan = self.plan(&now, missing, rate_ahead(now.raw, &target, published));
        let (max, estimated) = self.bound.errors(now.raw, &target, plan.distance);
        let unsynchronized =
            if max > MAX_ERROR { KernelStatus::UNSYNCHRONIZED } else { KernelStatus::default() };
        self.kernel.adjust(&KernelAdjustment {
            step: plan.step,
            frequency: Some(plan.frequency),
            status: Some(steered_status(state.status).with(unsynchronized)),
            errors: Some((max, estimated)),
        })?;
        if self.phase.last().is_none() {
            events.push(SystemClockEvent::Following { missing: Correction::adding(missing) });
        }
        events.extend(plan.step.map(|step| SystemClockEvent::Stepped { added: Correction::adding(step) }));
        let system = now.system + plan.step.unwrap_or_default();
        let at = SystemClockReading { system, ..now };
        self.phase = SteeringPhase::Following(LastAdjustment { at, frequency: plan.frequency });
        self.learned_rate = target.frequency;
        Ok(())
    }

    /// Reverts what another program has done since the last adjustment, or gives the clock up to it.
    fn revert_foreign(
        &mut self,
        state: &KernelState,
        now: &SystemClockReading,
        events: &mut Vec<SystemClockEvent>,
    ) -> io::Result<()> {
        let Some(last) = self.phase.last() else { return self.kernel.quiet() };
        let Some(how) = last.foreign_since(state, now) else { return Ok(()) };
        events.push(SystemClockEvent::Disturbed { how });
        if self.conflicts.add(now.raw) && self.config.on_conflict == OnConflict::GiveWay {
            self.phase = SteeringPhase::GivenUp;
            events.push(SystemClockEvent::GivenUp);
            // If the other program keeps the clock synchronized, it says so by itself.
            return self.call_unsynchronized();
        }
        self.kernel.quiet()
    }

    /// How to adjust a clock that lacks `missing` and whose target runs at `rate`.
    fn plan(&self, now: &SystemClockReading, missing: Span, rate: Frequency) -> Plan {
        let threshold = match self.phase.last() {
            None => FIRST_STEP_THRESHOLD,
            Some(_) => self.config.step_threshold,
        };
        let is_far = missing.abs() > threshold;
        let must_wait = self.no_step_before.is_some_and(|until| now.raw < until);
        let step = (is_far && !must_wait).then_some(missing);
        let slew = if is_far { Frequency::ZERO } else { self.slew(missing) };
        Plan {
            step,
            frequency: ScaledPpm::nearest(rate + slew),
            distance: if step.is_some() { Span::ZERO } else { missing.abs() },
        }
    }

    /// The frequency that brings the clock closer to the published time.
    fn slew(&self, missing: Span) -> Frequency {
        let (wanted, max) = (missing.as_secs_f64() / TIME_CONSTANT_S, self.config.max_slew.ratio());
        Frequency::from_ratio(wanted.clamp(-max, max))
    }

    /// The node has lost the cluster time: the clock is called unsynchronized, and runs at the learned rate.
    /// Nothing is set if it has not followed yet.
    fn lapse(&mut self, now: &SystemClockReading) -> io::Result<()> {
        if !matches!(self.phase, SteeringPhase::Following(_)) {
            return Ok(());
        }
        self.check_suspension(now);
        self.bound.reset();
        let frequency = self.set_learned_rate()?;
        self.phase = SteeringPhase::Lapsed(LastAdjustment { at: *now, frequency });
        Ok(())
    }

    /// Sets the learned rate, without the remaining slew, and calls the clock unsynchronized.
    fn set_learned_rate(&mut self) -> io::Result<ScaledPpm> {
        let frequency = ScaledPpm::nearest(self.learned_rate);
        let now = self.kernel.state()?.status;
        let status = Some(steered_status(now).with(KernelStatus::UNSYNCHRONIZED));
        let wanted = KernelAdjustment { frequency: Some(frequency), status, ..KernelAdjustment::default() };
        self.kernel.adjust(&wanted)?;
        Ok(frequency)
    }

    /// Calls the clock unsynchronized, and leaves its rate.
    fn call_unsynchronized(&mut self) -> io::Result<()> {
        let status = Some(self.kernel.state()?.status.with(KernelStatus::UNSYNCHRONIZED));
        self.kernel.adjust(&KernelAdjustment { status, ..KernelAdjustment::default() })
    }

    /// After a suspension the kernel puts the system's time forward, by the hardware clock; the published
    /// time, whose oscillator stood still, is wrong. The node gets some time to correct it; until then
    /// no bound from before holds.
    fn check_suspension(&mut self, now: &SystemClockReading) {
        if self.phase.last().is_some_and(|last| last.suspended_since(now)) {
            self.no_step_before = Some(now.raw + NO_STEP_AFTER_SUSPENSION);
            self.bound.reset();
        }
    }
}

/// The published rate over the oscillator's in the time until the next adjustment, minus one.
fn rate_ahead(raw: Raw, target: &PublishedTime, published: &dyn Fn(Raw) -> PublishedTime) -> Frequency {
    let ran = published(raw + HORIZON).time - target.time;
    Frequency::from_ratio((ran - HORIZON).as_secs_f64() / HORIZON.as_secs_f64())
}

/// The status bits of a clock that only this program steers.
fn steered_status(now: KernelStatus) -> KernelStatus {
    now.without(KernelStatus::LOOPS).without(KernelStatus::LEAPS).without(KernelStatus::UNSYNCHRONIZED)
}

/// H: until the next adjustment.
const HORIZON: Span = Span::from_secs(1);
/// τ: long against H, so that the loop is stable and averages; short enough to end soon after a slew of the
/// published time.
const TIME_CONSTANT_S: f64 = 4.0;
/// At the first adjustment, what would take longer than 20 s to slew is stepped.
const FIRST_STEP_THRESHOLD: Span = Span::from_millis(10);
/// A client that was away for longer than three rounds needs some more to register and be accepted again.
const NO_STEP_AFTER_SUSPENSION: Span = Span::from_secs(60);
/// RFC 5905 (MAXDIST): with a larger error a clock does not count as synchronized.
const MAX_ERROR: Span = Span::from_secs(1);

#[cfg(test)]
mod tests;
