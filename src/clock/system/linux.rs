//! The real kernel, through clock_adjtime(2): the one place that sets the machine's clock, and the one with
//! unsafe code. The wrapper crates (clock-steering, nix) can neither read the status bits nor set several
//! things in one call, which a step needs: it makes the kernel call the clock unsynchronized.

use std::io;

use super::kernel::{KernelAdjustment, KernelClock, KernelState, KernelStatus, ScaledPpm};
use meantime_core::time::Span;

/// The kernel that this program runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinuxClock;

#[expect(clippy::useless_conversion, reason = "a C long is shorter on some machines")]
impl KernelClock for LinuxClock {
    fn state(&self) -> io::Result<KernelState> {
        let timex = call(|_| {})?;
        Ok(KernelState {
            frequency: ScaledPpm::from_scaled(i64::from(timex.freq)),
            tick: i64::from(timex.tick),
            status: KernelStatus::from_bits(timex.status),
            offset: i64::from(timex.offset),
            max_error: Span::from_micros(i64::from(timex.maxerror)),
        })
    }

    fn adjust(&mut self, wanted: &KernelAdjustment) -> io::Result<()> {
        call(|timex| fill(timex, wanted)).map(drop)
    }

    fn quiet(&mut self) -> io::Result<()> {
        // What an adjtime() has left to slew: an offset of zero cancels it.
        call(|timex| timex.modes = libc::ADJ_OFFSET_SINGLESHOT)?;
        // What the kernel's loop has left to slew can be cancelled only while that loop runs.
        let before = self.state()?.status.without(KernelStatus::LOOPS);
        call(|timex| {
            timex.modes = libc::ADJ_STATUS | libc::ADJ_OFFSET | libc::ADJ_TICK;
            timex.status = before.bits() | libc::STA_PLL | libc::STA_FREQHOLD;
            timex.tick = KernelState::NOMINAL_TICK as _;
        })?;
        self.adjust(&KernelAdjustment { status: Some(before), ..KernelAdjustment::default() })
    }
}

fn fill(timex: &mut libc::timex, wanted: &KernelAdjustment) {
    if let Some(step) = wanted.step {
        timex.modes |= libc::ADJ_SETOFFSET | libc::ADJ_NANO;
        // The kernel wants whole seconds, rounded down, and nanoseconds where a timeval has microseconds.
        timex.time.tv_sec = step.as_nanos().div_euclid(NANOS) as _;
        timex.time.tv_usec = step.as_nanos().rem_euclid(NANOS) as _;
    }
    if let Some(frequency) = wanted.frequency {
        timex.modes |= libc::ADJ_FREQUENCY;
        timex.freq = frequency.scaled() as _;
    }
    if let Some(status) = wanted.status {
        timex.modes |= libc::ADJ_STATUS;
        if wanted.step.is_none() {
            // A step has made the kernel report nanoseconds to all programs; at its start it reports
            // microseconds.
            timex.modes |= libc::ADJ_MICRO;
        }
        timex.status = status.bits();
    }
    if let Some((max, estimated)) = wanted.errors {
        timex.modes |= libc::ADJ_MAXERROR | libc::ADJ_ESTERROR;
        timex.maxerror = micros(max) as _;
        timex.esterror = micros(estimated) as _;
    }
}

/// Rounded up: an error is never reported smaller than it is.
fn micros(span: Span) -> i64 {
    (span.as_nanos().max(0) + 999) / 1_000
}

/// Calls the kernel with an empty request as `fill` fills it in.
#[expect(unsafe_code, reason = "no safe wrapper can do this")]
#[expect(clippy::disallowed_methods, reason = "the one place that sets the machine's clock")]
fn call(fill: impl FnOnce(&mut libc::timex)) -> io::Result<libc::timex> {
    // SAFETY: timex is a C struct of integers, for which all bits zero is a value.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    fill(&mut timex);
    // SAFETY: the pointer is to a whole timex of ours that outlives the call; the kernel checks what is in
    // it.
    let result = unsafe { libc::clock_adjtime(libc::CLOCK_REALTIME, &mut timex) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(timex) }
}

const NANOS: i64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    // Reads and fills in only: the tests must not set the clock of the machine that runs them.

    fn filled(wanted: KernelAdjustment) -> libc::timex {
        #[expect(unsafe_code, reason = "as in `call`")]
        // SAFETY: as in `call`.
        let mut timex: libc::timex = unsafe { std::mem::zeroed() };
        fill(&mut timex, &wanted);
        timex
    }

    #[test]
    fn the_state_can_be_read_without_any_privilege() {
        let state = LinuxClock.state().unwrap();
        assert!(state.frequency.scaled().abs() <= ScaledPpm::MAX.scaled());
        assert!(state.tick > 0 && state.max_error >= Span::ZERO);
    }

    #[test]
    fn a_step_back_is_whole_seconds_down_and_nanoseconds_up() {
        let timex =
            filled(KernelAdjustment { step: Some(Span::from_nanos(-1)), ..KernelAdjustment::default() });
        assert_eq!((timex.time.tv_sec, timex.time.tv_usec), (-1, 999_999_999));
        assert_eq!(timex.modes, libc::ADJ_SETOFFSET | libc::ADJ_NANO);
    }

    #[test]
    fn only_what_is_requested_is_set() {
        assert_eq!(filled(KernelAdjustment::default()).modes, 0);
        let timex = filled(KernelAdjustment {
            frequency: Some(ScaledPpm::from_scaled(-77)),
            status: Some(KernelStatus::UNSYNCHRONIZED),
            errors: Some((Span::from_nanos(1_001), Span::ZERO)),
            ..KernelAdjustment::default()
        });
        let set = libc::ADJ_FREQUENCY | libc::ADJ_STATUS | libc::ADJ_MAXERROR | libc::ADJ_ESTERROR;
        assert_eq!(timex.modes, set | libc::ADJ_MICRO);
        assert_eq!((timex.freq, timex.status, timex.maxerror, timex.esterror), (-77, libc::STA_UNSYNC, 2, 0));
    }

    #[test]
    fn the_bits_are_those_of_this_system() {
        assert_eq!(KernelStatus::UNSYNCHRONIZED.bits(), libc::STA_UNSYNC);
        assert_eq!(KernelStatus::NOT_SYNCHRONIZED.bits(), libc::STA_UNSYNC | libc::STA_CLOCKERR);
        let loops = libc::STA_PLL | libc::STA_PPSFREQ | libc::STA_PPSTIME | libc::STA_FLL;
        assert_eq!(KernelStatus::LOOPS.bits(), loops);
        assert_eq!(KernelStatus::LEAPS.bits(), libc::STA_INS | libc::STA_DEL | libc::STA_FREQHOLD);
    }
}
