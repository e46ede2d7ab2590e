//! What the kernel lets a program set about its clock, as a trait, so that the steering can be tested against
//! a simulated kernel.
//!
//! The kernel's arithmetic (adjtimex(2), `kernel/time/ntp.c`): `CLOCK_REALTIME` runs as `CLOCK_MONOTONIC_RAW`
//! does, times 1 + frequency + (tick − 10,000 µs)/10,000 µs, plus what an `adjtime()` or the kernel's own
//! phase-locked loop still slews. A step cancels those two, and the kernel calls the clock unsynchronized.
//! While it does not, it writes the hardware clock every 11 minutes. The maximum error grows by 500 µs each
//! second by itself, and at 16 s the kernel calls the clock unsynchronized.

use std::io;

use meantime_core::time::{Frequency, Span};

/// The kernel's clock, as something that can be steered.
pub trait KernelClock {
    /// The state of the clock, as the kernel reports it. Needs no privilege.
    ///
    /// # Errors
    /// The system's.
    fn state(&self) -> io::Result<KernelState>;

    /// Sets all of `wanted` in one call.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] without `CAP_SYS_TIME`, else the system's.
    fn adjust(&mut self, wanted: &KernelAdjustment) -> io::Result<()>;

    /// Ends every slew that another program has started and sets the tick to its nominal length; the
    /// frequency stays.
    ///
    /// # Errors
    /// As [`adjust`](KernelClock::adjust).
    fn quiet(&mut self) -> io::Result<()>;
}

/// The kernel's clock, as the kernel describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelState {
    /// The frequency adjustment.
    pub frequency: ScaledPpm,
    /// The length of a tick in µs; nominally [`NOMINAL_TICK`](KernelState::NOMINAL_TICK).
    pub tick: i64,
    /// The status bits.
    pub status: KernelStatus,
    /// What the kernel's own loop still has to slew; the unit does not matter here.
    pub offset: i64,
    /// The maximum error, according to the program that keeps the clock.
    pub max_error: Span,
}

impl KernelState {
    /// A hundredth of a second, on all architectures that matter.
    pub const NOMINAL_TICK: i64 = 10_000;

    /// Whether no slew of another program is going on.
    pub fn is_quiet(&self) -> bool {
        self.offset == 0 && self.tick == KernelState::NOMINAL_TICK && !self.status.has(KernelStatus::LOOPS)
    }
}

/// What is to be set; `None` leaves it alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelAdjustment {
    /// Added to the clock at once.
    pub step: Option<Span>,
    /// The new frequency adjustment.
    pub frequency: Option<ScaledPpm>,
    /// The new status bits; those that cannot be set are ignored.
    pub status: Option<KernelStatus>,
    /// The maximum and the estimated error; the kernel counts in µs.
    pub errors: Option<(Span, Span)>,
}

/// A frequency in the kernel's unit, 2⁻¹⁶ ppm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScaledPpm(i64);

impl ScaledPpm {
    /// The kernel accepts no more: 500 ppm.
    pub const MAX: ScaledPpm = ScaledPpm(500 << 16);

    /// In the kernel's unit.
    pub const fn from_scaled(scaled: i64) -> ScaledPpm {
        ScaledPpm(scaled)
    }

    /// The nearest one that the kernel accepts.
    pub fn nearest(frequency: Frequency) -> ScaledPpm {
        let scaled = (frequency.ppm() * SCALE).round() as i64;
        ScaledPpm(scaled.clamp(-ScaledPpm::MAX.0, ScaledPpm::MAX.0))
    }

    /// In the kernel's unit.
    pub const fn scaled(self) -> i64 {
        self.0
    }

    /// As a relative frequency.
    pub fn frequency(self) -> Frequency {
        Frequency::from_ppm(self.0 as f64 / SCALE)
    }
}

/// The kernel's status bits (`STA_*` of adjtimex(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelStatus(i32);

impl KernelStatus {
    /// `STA_UNSYNC`: the clock is not synchronized.
    pub const UNSYNCHRONIZED: KernelStatus = KernelStatus(0x0040);
    /// `STA_UNSYNC` or `STA_CLOCKERR`: no program keeps the clock, or its hardware has failed.
    pub const NOT_SYNCHRONIZED: KernelStatus = KernelStatus(0x0040 | 0x1000);
    /// `STA_PLL`, `STA_PPSFREQ`, `STA_PPSTIME`, `STA_FLL`: the kernel steers the clock by itself.
    pub const LOOPS: KernelStatus = KernelStatus(0x0001 | 0x0002 | 0x0004 | 0x0008);
    /// `STA_INS`, `STA_DEL`, `STA_FREQHOLD`: a leap second is coming (cluster time has none); a detail of the
    /// kernel's loop.
    pub const LEAPS: KernelStatus = KernelStatus(0x0010 | 0x0020 | 0x0080);

    /// These bits.
    pub const fn from_bits(bits: i32) -> KernelStatus {
        KernelStatus(bits)
    }

    /// The bits.
    pub const fn bits(self) -> i32 {
        self.0
    }

    /// Whether any of `bits` is set.
    pub const fn has(self, bits: KernelStatus) -> bool {
        self.0 & bits.0 != 0
    }

    /// With these bits set.
    #[must_use]
    pub const fn with(self, bits: KernelStatus) -> KernelStatus {
        KernelStatus(self.0 | bits.0)
    }

    /// With these bits cleared.
    #[must_use]
    pub const fn without(self, bits: KernelStatus) -> KernelStatus {
        KernelStatus(self.0 & !bits.0)
    }
}

const SCALE: f64 = 65_536.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_are_rounded_to_the_kernels_unit_and_clamped_to_its_range() {
        assert_eq!(ScaledPpm::nearest(Frequency::from_ppm(1.0)).scaled(), 65_536);
        assert_eq!(ScaledPpm::nearest(Frequency::from_ppm(-0.5)).scaled(), -32_768);
        assert_eq!(ScaledPpm::nearest(Frequency::from_ppm(501.0)), ScaledPpm::MAX);
        assert_eq!(ScaledPpm::nearest(Frequency::from_ratio(f64::NAN)).scaled(), 0);
        let f = ScaledPpm::nearest(Frequency::from_ppm(-87.125_01)).frequency();
        assert!((f.ppm() + 87.125_01).abs() < 1e-5);
    }

    #[test]
    fn status_bits_are_those_of_the_kernel() {
        let status = KernelStatus::from_bits(0x2001).with(KernelStatus::UNSYNCHRONIZED);
        assert_eq!(status.bits(), 0x2041);
        assert!(status.has(KernelStatus::LOOPS) && !status.has(KernelStatus::LEAPS));
        assert_eq!(status.without(KernelStatus::LOOPS).bits(), 0x2040);
    }
}
