//! What happens to the system's clock.

use meantime_core::time::Correction;

/// Something happened to the system's clock.
#[derive(Clone, Debug, PartialEq)]
pub enum SystemClockEvent {
    /// From now on it follows the cluster time.
    Following {
        /// Its first correction.
        missing: Correction,
    },
    /// It was stepped.
    Stepped {
        /// What was added.
        added: Correction,
    },
    /// Another program has set it; that is reverted.
    Disturbed {
        /// What the other program did.
        how: ForeignAdjustment,
    },
    /// Another program keeps setting it, and controls it from now on.
    GivenUp,
    /// The kernel refuses. Reported once until it works again.
    Failed {
        /// The system's message.
        error: String,
    },
}

/// What another program did to the system's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignAdjustment {
    /// Set its frequency.
    Frequency,
    /// Slewed it: by `adjtime()`, the length of the tick, or the kernel's own loop.
    Slew,
    /// Set its time; this is what was added.
    Step(Correction),
}
