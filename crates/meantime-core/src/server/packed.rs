//! Compact forms of what the server stores of each member.
//!
//! There may be half a million members, so each value takes as few bits as its range and resolution need.

use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::measurement::Measurement;
use super::narrow::to_u32_ns;
use super::quality::ReportedQuality;
use crate::consensus::FrequencyReport;
use crate::time::{Frequency, Monotonic, Raw, Span};
use crate::wire::Report;

/// A socket address without the IPv6 flow label.
#[derive(Clone, Copy, Debug)]
pub struct PackedAddress {
    /// IPv4 as `::ffff:192.0.2.1`.
    pub ip: [u8; 16],
    pub scope: u32,
    pub port: u16,
}

impl From<SocketAddr> for PackedAddress {
    fn from(address: SocketAddr) -> PackedAddress {
        let (ip, scope) = match address {
            SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
        };
        PackedAddress { ip: ip.octets(), scope, port: address.port() }
    }
}

impl From<PackedAddress> for SocketAddr {
    fn from(address: PackedAddress) -> SocketAddr {
        let ip = Ipv6Addr::from(address.ip);
        match IpAddr::V6(ip).to_canonical() {
            v4 @ IpAddr::V4(_) => SocketAddr::new(v4, address.port),
            IpAddr::V6(_) => SocketAddrV6::new(ip, address.port, 0, address.scope).into(),
        }
    }
}

/// The yes-or-no facts about a member.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MemberBits(u8);

impl MemberBits {
    /// Its last burst was an extra one, outside of the round's vote.
    pub(super) const EXTRA: u8 = 1;
    /// Its last burst had a result.
    pub(super) const MEASURED: u8 = 2;
    /// A correction was sent to it since its burst began.
    pub(super) const CORRECTED: u8 = 8;
    /// The timer of its extra bursts runs.
    pub(super) const EXTRA_TIMER: u8 = 16;
    /// A burst has had a result in its round: that of the round, or an extra one.
    pub(super) const READING_FRESH: u8 = 32;

    pub(super) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    pub(super) fn set(&mut self, flag: u8, on: bool) {
        self.0 = if on { self.0 | flag } else { self.0 & !flag };
    }
}

/// A [`Measurement`]; report number 0 means none.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, packed(4))]
pub(super) struct PackedMeasurement {
    pub t1: i64,
    pub phase: i64,
    pub report: u32,
    /// From t1 to t4.
    pub width: u32,
    pub delay: u32,
    pub quality: ReportedQuality,
}

impl PackedMeasurement {
    pub(super) fn of(measured: &Measurement) -> PackedMeasurement {
        PackedMeasurement {
            t1: measured.t1.as_nanos(),
            phase: measured.phase.as_nanos(),
            report: measured.report,
            width: to_u32_ns(measured.t4 - measured.t1),
            delay: to_u32_ns(measured.delay),
            quality: measured.quality,
        }
    }

    pub(super) fn unpacked(self) -> Option<Measurement> {
        let PackedMeasurement { t1, phase, report, width, delay, quality } = self;
        let t1 = Raw::from_nanos(t1);
        (report != 0).then(|| Measurement {
            report,
            t1,
            t4: t1 + Span::from_nanos(width.into()),
            phase: Span::from_nanos(phase),
            delay: Span::from_nanos(delay.into()),
            quality,
        })
    }
}

/// The server's two timestamps of an exchange; report number 0 means none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ServerStamps {
    pub t1: i64,
    pub report: u32,
    pub width: u32,
}

impl ServerStamps {
    pub(super) fn of(measured: &Measurement) -> ServerStamps {
        let width = to_u32_ns(measured.t4 - measured.t1);
        ServerStamps { t1: measured.t1.as_nanos(), report: measured.report, width }
    }

    pub(super) fn get(self) -> Option<(u32, Raw, Raw)> {
        let t1 = Raw::from_nanos(self.t1);
        (self.report != 0).then(|| (self.report, t1, t1 + Span::from_nanos(self.width.into())))
    }
}

/// A correction that was sent; report number 0 means none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentCorrection {
    /// In nanoseconds.
    pub correction: i64,
    pub round: u32,
    /// The number of the report that it corrects.
    pub report: u32,
}

/// A member's frequency adjustment minus the rate command in it, as it has reported it last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PackedFrequency {
    pub at: Ticks,
    /// In 1e-12, the wire's unit.
    pub adjustment: i32,
    /// In 1e-12, plus one; 0 means none.
    pub error: u32,
}

impl PackedFrequency {
    pub(super) fn new(now: Monotonic, report: &Report) -> PackedFrequency {
        let adjustment = (report.frequency - report.rate).as_ppt();
        let error = report.frequency_error.as_ppt().unsigned_abs() + 1;
        PackedFrequency { at: Ticks::at(now), adjustment, error }
    }

    pub(super) fn is_some(&self) -> bool {
        self.error != 0
    }

    pub(super) fn is_old(&self, now: Monotonic) -> bool {
        self.at.until(now) > MAX_FREQUENCY_AGE
    }

    pub(super) fn get(&self, now: Monotonic) -> Option<FrequencyReport> {
        let error = Frequency::from_ppt(self.error.checked_sub(1)?.try_into().unwrap_or(i32::MAX));
        let report = FrequencyReport { adjustment: Frequency::from_ppt(self.adjustment), error };
        (!self.is_old(now)).then_some(report)
    }
}

/// A moment within three weeks before or after now, in units of 2^20 ns (about a millisecond).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ticks(u32);

impl Ticks {
    pub(super) fn at(moment: Monotonic) -> Ticks {
        Ticks((moment.as_nanos() >> 20) as u32)
    }

    /// The time from this moment to `now`; zero if `now` is earlier.
    pub(super) fn until(self, now: Monotonic) -> Span {
        Span::from_nanos(i64::from(Ticks::at(now).0.wrapping_sub(self.0) as i32).max(0) << 20)
    }

    pub(super) fn is_after(self, now: Monotonic) -> bool {
        (self.0.wrapping_sub(Ticks::at(now).0) as i32) > 0
    }
}

/// A moment of the last nine years, in units of 2^26 ns (a fifteenth of a second).
#[derive(Clone, Copy, Debug)]
pub(super) struct CoarseTicks(u32);

impl CoarseTicks {
    pub(super) fn at(moment: Monotonic) -> CoarseTicks {
        CoarseTicks((moment.as_nanos() >> 26) as u32)
    }

    pub(super) fn until(self, now: Monotonic) -> Span {
        Span::from_nanos(i64::from(CoarseTicks::at(now).0.wrapping_sub(self.0)) << 26)
    }
}

/// A reported frequency is valid for ten minutes: longer than losses last, and too short for it to wander
/// far.
const MAX_FREQUENCY_AGE: Span = Span::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_measurements_unpack_unchanged() {
        let t1 = Raw::from_nanos(1_800_000_000_123_456_789);
        let measured = Measurement {
            report: 7,
            t1,
            t4: t1 + Span::from_micros(250),
            phase: Span::from_secs(-86_400),
            delay: Span::from_nanos(249_999),
            quality: ReportedQuality::of(&Report { bound: Some(Span::from_nanos(9)), ..Report::default() }),
        };
        assert_eq!(PackedMeasurement::of(&measured).unpacked(), Some(measured));
        assert_eq!(PackedMeasurement::default().unpacked(), None);
        assert_eq!(ServerStamps::of(&measured).get(), Some((7, t1, measured.t4)));
    }

    #[test]
    fn packed_addresses_unpack_unchanged() {
        for text in ["192.0.2.7:40000", "[2001:db8::7]:1", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(PackedAddress::from(address)), address);
        }
    }

    #[test]
    fn ticks_measure_time_across_the_wrap() {
        let before = Monotonic::from_nanos((i64::from(u32::MAX) << 20) - 5);
        let after = before + Span::from_secs(10);
        let passed = Ticks::at(before).until(after);
        assert!((passed - Span::from_secs(10)).abs() <= Span::from_millis(2), "{passed}");
        assert!(Ticks::at(after).is_after(before) && !Ticks::at(before).is_after(after));
    }
}
