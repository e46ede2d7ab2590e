//! The machine's own time as a reference: a time from outside of the cluster, which another program keeps,
//! such as chrony with a satellite receiver.
//!
//! It counts only while the kernel calls the clock synchronized, with a maximum error within the operator's
//! limit. The kernel lets that error grow by 500 ppm while no program renews it, so a program that has ended
//! is noticed. Reading needs no right.

use std::io;

use super::pair::ClockPair;
use super::system::kernel::{KernelState, KernelStatus};
use meantime_core::reference::NoReference;
use meantime_core::time::Span;

/// The system clock, and when it counts as a reference.
#[derive(Clone, Copy, Debug)]
pub struct SystemReference {
    /// Reads the state of the kernel's clock.
    pub state: fn() -> io::Result<KernelState>,
    /// Whether a meantime steers that clock now.
    pub is_steered: fn() -> bool,
    /// The largest maximum error with which it counts.
    pub limit: Span,
}

impl SystemReference {
    /// The maximum error of the wall clock in `pair`, which was read just now.
    ///
    /// # Errors
    /// Why that clock is no reference.
    pub(super) fn max_error(&self, pair: &ClockPair) -> Result<Span, NoReference> {
        let state = (self.state)().map_err(|_| NoReference::Unreadable)?;
        if state.status.has(KernelStatus::NOT_SYNCHRONIZED) {
            return Err(NoReference::Unsynchronized);
        }
        if state.max_error > self.limit {
            return Err(NoReference::ErrorTooLarge);
        }
        if (self.is_steered)() {
            return Err(NoReference::Steered);
        }
        Ok(state.max_error + pair.width.half())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HostRaw;
    use crate::clock::system::kernel::ScaledPpm;
    use meantime_core::time::Timestamp;

    /// A kernel whose clock stands like this.
    fn stands(status: i32, max_error: Span) -> io::Result<KernelState> {
        Ok(KernelState {
            frequency: ScaledPpm::from_scaled(0),
            tick: KernelState::NOMINAL_TICK,
            status: KernelStatus::from_bits(status),
            offset: 0,
            max_error,
        })
    }

    fn read(state: fn() -> io::Result<KernelState>, is_steered: fn() -> bool) -> Result<Span, NoReference> {
        let (raw, real) = (HostRaw::from_nanos(0), Timestamp::from_nanos(0));
        let pair = ClockPair { raw, real, width: Span::from_nanos(200) };
        SystemReference { state, is_steered, limit: Span::from_millis(100) }.max_error(&pair)
    }

    #[test]
    fn a_synchronized_clock_with_a_small_maximum_error_is_a_reference() {
        let found = read(|| stands(0x2001, Span::from_millis(3)), || false);
        assert_eq!(found, Ok(Span::from_millis(3) + Span::from_nanos(100)));
        let found = read(|| stands(0x2001, Span::from_millis(101)), || false);
        assert_eq!(found, Err(NoReference::ErrorTooLarge));
        let found = read(|| stands(0x2041, Span::from_millis(3)), || false);
        assert_eq!(found, Err(NoReference::Unsynchronized));
        let found = read(|| stands(0x3001, Span::from_millis(3)), || false);
        assert_eq!(found, Err(NoReference::Unsynchronized), "the clock hardware has failed");
    }

    #[test]
    fn a_clock_that_a_meantime_steers_or_that_cannot_be_read_is_none() {
        assert_eq!(read(|| stands(0, Span::ZERO), || true), Err(NoReference::Steered));
        let unreadable = || Err(io::ErrorKind::Unsupported.into());
        assert_eq!(read(unreadable, || false), Err(NoReference::Unreadable));
    }
}
