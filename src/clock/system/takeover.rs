//! Whether the system's clock can be set, and whether another program sets it.

use std::io;
use std::time::Duration;

use super::config::OnConflict;
use super::kernel::{KernelAdjustment, KernelClock, KernelState, KernelStatus};
use super::lock::{LockError, Predecessor};
use meantime_core::time::Span;

/// Why the system's clock cannot be steered.
#[derive(Debug, thiserror::Error)]
pub enum SystemClockError {
    /// There is no lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// `CAP_SYS_TIME` is missing.
    #[error(
        "the right to set this machine's clock is missing: run with CAP_SYS_TIME (as root, with AmbientCapabilities=\
         CAP_SYS_TIME, or after setcap cap_sys_time=ep), or without --clock system"
    )]
    Privilege,
    /// Another program steers it.
    #[error(
        "{0}: another program keeps this machine's clock; stop it (chronyd, ntpd, systemd-timesyncd), or use --force"
    )]
    Foreign(&'static str),
    /// The kernel has no such call, or refuses for another reason.
    #[error("this machine's clock cannot be set: {0}")]
    Kernel(#[from] io::Error),
}

/// Checks that the clock can be set, by setting it to its own frequency, and that no other program sets it,
/// by reading its state several times, with `wait` in between.
///
/// # Errors
/// When the clock cannot be set, or another program sets it and `on_conflict` is to give way.
pub(super) fn take_over(
    kernel: &mut impl KernelClock,
    on_conflict: OnConflict,
    predecessor: Predecessor,
    wait: impl Fn(Duration),
) -> Result<(), SystemClockError> {
    let mut before = kernel.state()?;
    let same = KernelAdjustment { frequency: Some(before.frequency), ..KernelAdjustment::default() };
    kernel.adjust(&same).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => SystemClockError::Privilege,
        _ => SystemClockError::Kernel(error),
    })?;
    if on_conflict == OnConflict::Insist {
        return Ok(());
    }
    for _ in 0..READINGS {
        wait(BETWEEN_READINGS);
        let after = kernel.state()?;
        if let Some(sign) = sign_of_another_program(&before, &after, predecessor) {
            return Err(SystemClockError::Foreign(sign));
        }
        before = after;
    }
    Ok(())
}

/// A sign that another program keeps the clock, in two readings of the kernel's state.
fn sign_of_another_program(
    before: &KernelState,
    after: &KernelState,
    predecessor: Predecessor,
) -> Option<&'static str> {
    if (before.frequency, before.tick) != (after.frequency, after.tick) {
        Some("its frequency changes")
    } else if before.offset != after.offset {
        Some("it is being slewed")
    } else if before.status != after.status || after.max_error < before.max_error {
        Some("its status is kept up to date")
    } else if after.status.has(KernelStatus::UNSYNCHRONIZED) {
        None
    } else if after.status.has(KernelStatus::LOOPS) {
        Some("the kernel steers it for a daemon")
    } else if after.max_error < RECENT && predecessor != Predecessor::Killed {
        Some("it was called synchronized within the last half hour")
    } else {
        None
    }
}

/// The kernel works in seconds: in a little more than one, everything that goes on shows. The readings are an
/// odd part of a second apart, so that no periodic change can hide between them.
const READINGS: u32 = 9;
const BETWEEN_READINGS: Duration = Duration::from_millis(137);
/// The kernel adds 500 µs a second to the error, and daemons poll up to every 2048 s.
const RECENT: Span = Span::from_millis(1_024);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::system::kernel::ScaledPpm;

    const GIVE_WAY: OnConflict = OnConflict::GiveWay;
    const INSIST: OnConflict = OnConflict::Insist;
    const CLEAN: Predecessor = Predecessor::NoneOrEnded;
    const KILLED: Predecessor = Predecessor::Killed;

    const FREE: KernelState = KernelState {
        frequency: ScaledPpm::from_scaled(0),
        tick: KernelState::NOMINAL_TICK,
        status: KernelStatus::UNSYNCHRONIZED,
        offset: 0,
        max_error: Span::from_secs(16),
    };

    /// A kernel with one state at the first reading, and one later.
    struct KernelFake {
        first: std::cell::Cell<Option<KernelState>>,
        later: KernelState,
        privileged: bool,
        set: Vec<KernelAdjustment>,
    }

    impl KernelFake {
        fn new(first: KernelState, later: KernelState) -> KernelFake {
            KernelFake { first: Some(first).into(), later, privileged: true, set: Vec::new() }
        }
    }

    impl KernelClock for KernelFake {
        fn state(&self) -> io::Result<KernelState> {
            Ok(self.first.take().unwrap_or(self.later))
        }

        fn adjust(&mut self, wanted: &KernelAdjustment) -> io::Result<()> {
            self.set.push(*wanted);
            if self.privileged { Ok(()) } else { Err(io::Error::from_raw_os_error(nix::libc::EPERM)) }
        }

        fn quiet(&mut self) -> io::Result<()> {
            panic!("nothing is to be set yet");
        }
    }

    fn error(first: KernelState, later: KernelState) -> Option<String> {
        take_over(&mut KernelFake::new(first, later), GIVE_WAY, CLEAN, |_| ())
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn a_clock_that_no_program_keeps_is_taken_over_unchanged() {
        let foreign_rate = KernelState { frequency: ScaledPpm::from_scaled(-77), ..FREE };
        let mut kernel = KernelFake::new(foreign_rate, foreign_rate);
        assert!(take_over(&mut kernel, GIVE_WAY, CLEAN, |_| ()).is_ok());
        let same =
            KernelAdjustment { frequency: Some(ScaledPpm::from_scaled(-77)), ..KernelAdjustment::default() };
        assert_eq!(kernel.set, [same]);
    }

    #[test]
    fn without_the_privilege_the_message_names_it() {
        let mut kernel = KernelFake { privileged: false, ..KernelFake::new(FREE, FREE) };
        let error = take_over(&mut kernel, INSIST, CLEAN, |_| ()).unwrap_err().to_string();
        assert!(error.contains("CAP_SYS_TIME") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn every_kind_of_daemon_is_detected() {
        let kept = KernelState { status: KernelStatus::default(), max_error: Span::from_millis(30), ..FREE };
        let pll =
            KernelState { status: KernelStatus::from_bits(0x2001), max_error: Span::from_secs(8), ..FREE };
        for (first, later, sign) in [
            (FREE, KernelState { frequency: ScaledPpm::from_scaled(1), ..FREE }, "frequency"),
            (FREE, KernelState { tick: 10_001, ..FREE }, "frequency"),
            (KernelState { offset: 500, ..FREE }, KernelState { offset: 400, ..FREE }, "slewed"),
            (FREE, kept, "kept up to date"),
            (kept, KernelState { max_error: Span::from_millis(1), ..kept }, "kept up to date"),
            (kept, kept, "half hour"),
            (pll, pll, "the kernel steers it"),
        ] {
            let said =
                error(first, later).unwrap_or_else(|| panic!("{later:?} after {first:?} is taken over"));
            assert!(said.contains(sign) && said.contains("--force"), "{said}");
        }
    }

    #[test]
    fn any_clock_is_taken_over_by_force() {
        let kept = KernelState { status: KernelStatus::default(), max_error: Span::ZERO, ..FREE };
        let unwatched = |_| panic!("no further reading is needed");
        assert!(take_over(&mut KernelFake::new(kept, kept), INSIST, CLEAN, unwatched).is_ok());
    }

    #[test]
    fn the_state_that_a_killed_predecessor_left_is_no_daemon() {
        let kept = KernelState { status: KernelStatus::default(), max_error: Span::from_millis(30), ..FREE };
        let later = KernelState { max_error: Span::from_millis(31), ..kept };
        assert!(take_over(&mut KernelFake::new(kept, later), GIVE_WAY, KILLED, |_| ()).is_ok());
        assert!(
            take_over(&mut KernelFake::new(later, kept), GIVE_WAY, KILLED, |_| ()).is_err(),
            "but this one lives"
        );
    }

    #[test]
    fn a_daemon_that_stopped_long_ago_is_no_obstacle() {
        let old = KernelState { status: KernelStatus::default(), max_error: Span::from_secs(3), ..FREE };
        assert_eq!(error(old, old), None);
    }
}
