//! Reads a card's clock from the operating system (`/dev/ptp…`, a PTP hardware clock).
//!
//! Of three ways the first that the card and the kernel have is used:
//!
//! - the card latches both clocks at the same instant (`PTP_SYS_OFFSET_PRECISE`);
//! - the kernel reads the oscillator right before and after the card's clock (`PTP_SYS_OFFSET_EXTENDED` of
//!   Linux 6.12 and later);
//! - it does so with the wall clock (the same, before 6.12), and a pair of the wall clock and the oscillator
//!   is read right after that.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::card::CardClock;
use crate::clock::host;
use crate::clock::pair::ClockPair;
use crate::clock::reading::HostRaw;
use meantime_core::time::{Span, Timestamp};

/// The clock of a network card.
#[derive(Debug)]
pub struct Phc {
    device: File,
    /// The ways to read it, the best one last; one that fails is not tried again.
    ways: Vec<Way>,
}

/// A way to read a card's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Precise,
    AroundOscillator,
    AroundWallClock,
}

impl Phc {
    /// The clock of the card with this number.
    ///
    /// # Errors
    /// When there is no such device, or this process may not read it.
    pub fn open(number: u32) -> io::Result<Phc> {
        let device = File::open(format!("/dev/ptp{number}"))?;
        Ok(Phc { device, ways: vec![Way::AroundWallClock, Way::AroundOscillator, Way::Precise] })
    }

    fn read_by(&self, way: Way) -> io::Result<ClockPair> {
        match way {
            Way::Precise => self.precise(),
            Way::AroundOscillator => {
                let Between { system, card, width } = self.between(libc::CLOCK_MONOTONIC_RAW)?;
                Ok(ClockPair { raw: HostRaw::from_nanos(system), real: card, width })
            }
            Way::AroundWallClock => {
                let Between { system, card, width } = self.between(libc::CLOCK_REALTIME)?;
                let pair = host::pair();
                let raw = pair.raw.before(pair.real - Timestamp::from_nanos(system));
                Ok(ClockPair { raw, real: card, width: width + pair.width })
            }
        }
    }

    /// Both clocks as the card has latched them.
    fn precise(&self) -> io::Result<ClockPair> {
        let mut request = zeroed::<libc::ptp_sys_offset_precise>();
        ioctl(&self.device, libc::PTP_SYS_OFFSET_PRECISE, &mut request)?;
        let (raw, real) = (nanos(&request.sys_monoraw), Timestamp::from_nanos(nanos(&request.device)));
        Ok(ClockPair { raw: HostRaw::from_nanos(raw), real, width: Span::ZERO })
    }

    /// The card's clock between two readings of this clock of the system: the narrowest of some attempts.
    fn between(&self, clock: libc::clockid_t) -> io::Result<Between> {
        let mut request = zeroed::<libc::ptp_sys_offset_extended>();
        request.n_samples = SAMPLES as _;
        request.clockid = clock as _;
        ioctl(&self.device, libc::PTP_SYS_OFFSET_EXTENDED, &mut request)?;
        Ok(narrowest(request.ts[..SAMPLES].iter().map(|sample| sample.each_ref().map(nanos))))
    }
}

impl CardClock for Phc {
    fn read(&mut self) -> io::Result<ClockPair> {
        loop {
            let Some(way) = self.ways.last() else { return Err(io::ErrorKind::Unsupported.into()) };
            match self.read_by(*way) {
                Err(error) if is_unsupported(&error) => {
                    self.ways.pop();
                }
                result => return result,
            }
        }
    }
}

/// A reading of the card's clock, and one of a clock of the system at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Between {
    /// In nanoseconds, in the middle of `width`.
    system: i64,
    card: Timestamp,
    width: Span,
}

/// The attempt that took the least time. Each has the system's clock, the card's and the system's again, in
/// nanoseconds; there is at least one.
fn narrowest(attempts: impl Iterator<Item = [i64; 3]>) -> Between {
    let attempts = attempts.map(|[before, card, after]| {
        let width = Span::from_nanos(after) - Span::from_nanos(before);
        let system = (Span::from_nanos(before) + width.half()).as_nanos();
        Between { system, card: Timestamp::from_nanos(card), width }
    });
    attempts.min_by_key(|attempt| attempt.width).expect("there is at least one attempt")
}

fn nanos(time: &libc::ptp_clock_time) -> i64 {
    (Span::from_secs(time.sec) + Span::from_nanos(i64::from(time.nsec))).as_nanos()
}

/// The errors by which the kernel says that a card, or the kernel itself, cannot do this.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOTTY | libc::EINVAL | libc::ENOSYS))
}

#[expect(unsafe_code, reason = "the kernel's structures are made of integers")]
fn zeroed<T: Request>() -> T {
    // SAFETY: all bits zero is a value of these structures of integers.
    unsafe { std::mem::zeroed() }
}

#[expect(unsafe_code, reason = "no safe wrapper makes these calls")]
fn ioctl<T: Request>(device: &File, request: libc::Ioctl, argument: &mut T) -> io::Result<()> {
    // SAFETY: the structure is the one that this request reads and writes, and outlives the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), request, std::ptr::from_mut(argument)) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Structures of integers that the two requests take.
trait Request {}
impl Request for libc::ptp_sys_offset_precise {}
impl Request for libc::ptp_sys_offset_extended {}

/// Reading a card takes a microsecond or more, so an interruption is likelier than between two clocks of the
/// system.
const SAMPLES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_attempts_the_narrowest_counts() {
        let attempts = [[1_000, 77, 9_000], [10_000, 88, 12_000], [20_000, 99, 23_000]];
        let expected =
            Between { system: 11_000, card: Timestamp::from_nanos(88), width: Span::from_nanos(2_000) };
        assert_eq!(narrowest(attempts.into_iter()), expected);
    }

    #[test]
    fn a_device_that_is_no_cards_clock_cannot_be_read() {
        assert!(Phc::open(u32::MAX).is_err());
        let ways = vec![Way::AroundWallClock, Way::AroundOscillator, Way::Precise];
        let mut phc = Phc { device: File::open("/dev/null").unwrap(), ways };
        assert_eq!(phc.read().unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
