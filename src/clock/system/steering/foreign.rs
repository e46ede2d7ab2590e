//! Adjustments that another program has made.
//!
//! Before each adjustment the kernel is asked whether it still has the frequency that was set last, and the
//! time is compared with what it should have become. If either differs, another program has set the clock.
//! Its adjustment is reverted; but two programs that set one clock only disturb it, so after the third time
//! within ten minutes the clock is left to the other program.

use crate::clock::system::event::ForeignAdjustment;
use crate::clock::system::kernel::{KernelState, ScaledPpm};
use meantime_core::time::{Correction, Frequency, Raw, Span, Timestamp};

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

/// What was set last, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastAdjustment {
    /// The clocks right after it.
    pub(super) at: SystemClockReading,
    /// The frequency that was set.
    pub(super) frequency: ScaledPpm,
}

impl LastAdjustment {
    /// What another program has done since.
    pub(super) fn foreign_since(
        &self,
        state: &KernelState,
        now: &SystemClockReading,
    ) -> Option<ForeignAdjustment> {
        if state.frequency != self.frequency {
            return Some(ForeignAdjustment::Frequency);
        }
        if !state.is_quiet() {
            return Some(ForeignAdjustment::Slew);
        }
        let elapsed = now.raw - self.at.raw;
        let expected = self.at.system + elapsed + self.frequency.frequency().over(elapsed);
        let jump = now.system - expected;
        let tolerance = MAX_JUMP + MAX_RATE_ERROR.over(elapsed);
        let is_step = jump.abs() > tolerance && !self.suspended_since(now);
        is_step.then(|| ForeignAdjustment::Step(Correction::adding(jump)))
    }

    /// Whether the machine has been suspended since.
    pub(super) fn suspended_since(&self, now: &SystemClockReading) -> bool {
        now.suspended - self.at.suspended > MIN_SUSPENSION
    }
}

/// When another program has set the clock lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Conflicts {
    recent: Vec<Raw>,
}

impl Conflicts {
    /// Adds one. True if there are too many now.
    pub(super) fn add(&mut self, now: Raw) -> bool {
        self.recent.retain(|at| now - *at < CONFLICT_WINDOW);
        self.recent.push(now);
        self.recent.len() >= MAX_CONFLICTS
    }
}

/// A clock that jumps by more was set by another program: no interrupt between two readings takes as long...
const MAX_JUMP: Span = Span::from_millis(1);
/// ... and frequencies take effect at a tick, up to 10 ms late.
const MAX_RATE_ERROR: Frequency = Frequency::from_ppm(20.0);
/// Suspensions last for seconds; readings of two clocks are closer together than this.
const MIN_SUSPENSION: Span = Span::from_millis(100);
/// The third conflict within this time is one too many.
const CONFLICT_WINDOW: Span = Span::from_secs(600);
const MAX_CONFLICTS: usize = 3;
