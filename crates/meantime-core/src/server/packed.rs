//! What the server keeps of a member, in as few bits as say it.

use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::burst::Measured;
use crate::consensus;
use crate::time::{Frequency, Monotonic, Raw, Span};
use crate::wire::Report;

/// A socket address without what nobody needs.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    /// IPv4 as `::ffff:192.0.2.1`.
    pub ip: [u8; 16],
    pub scope: u32,
    pub port: u16,
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        let (ip, scope) = match address {
            SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
        };
        Address { ip: ip.octets(), scope, port: address.port() }
    }
}

impl From<Address> for SocketAddr {
    fn from(address: Address) -> SocketAddr {
        let ip = Ipv6Addr::from(address.ip);
        match IpAddr::V6(ip).to_canonical() {
            v4 @ IpAddr::V4(_) => SocketAddr::new(v4, address.port),
            IpAddr::V6(_) => SocketAddrV6::new(ip, address.port, 0, address.scope).into(),
        }
    }
}

/// What is known of a member by yes or no.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks(u8);

impl Marks {
    /// Its burst stands alone, outside of the round's vote.
    pub(super) const ALONE: u8 = 1;
    /// Its last burst had a result.
    pub(super) const FOUND: u8 = 2;
    /// It has said how good its clock is since its burst of the round began.
    pub(super) const STATED: u8 = 4;
    /// A Correction was sent to it since its burst began.
    pub(super) const REPEATED: u8 = 8;
    /// The timer runs by which it is measured more often.
    pub(super) const HURRYING: u8 = 16;
    /// A burst has had a result in its round: that of the round, or one that stood alone beside it.
    pub(super) const FRESH: u8 = 32;

    pub(super) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    pub(super) fn set(&mut self, flag: u8, on: bool) {
        self.0 = if on { self.0 | flag } else { self.0 & !flag };
    }
}

/// A measurement without gaps; the report number 0 says that there is none.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, packed(4))]
pub(super) struct Packed {
    pub t1: i64,
    pub phase: i64,
    pub report: u32,
    /// From t1 to t4.
    pub width: u32,
    pub delay: u32,
}

impl Packed {
    pub(super) fn of(measured: &Measured) -> Packed {
        Packed {
            t1: measured.t1.as_nanos(),
            phase: measured.phase.as_nanos(),
            report: measured.report,
            width: narrow(measured.t4 - measured.t1),
            delay: narrow(measured.delay),
        }
    }

    pub(super) fn unpacked(self) -> Option<Measured> {
        let Packed { t1, phase, report, width, delay } = self;
        let t1 = Raw::from_nanos(t1);
        (report != 0).then(|| Measured {
            report,
            t1,
            t4: t1 + Span::from_nanos(width.into()),
            phase: Span::from_nanos(phase),
            delay: Span::from_nanos(delay.into()),
        })
    }
}

/// Our side of an exchange; the report number 0 says that there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sides {
    pub t1: i64,
    pub report: u32,
    pub width: u32,
}

impl Sides {
    pub(super) fn of(measured: &Measured) -> Sides {
        let width = narrow(measured.t4 - measured.t1);
        Sides { t1: measured.t1.as_nanos(), report: measured.report, width }
    }

    pub(super) fn get(self) -> Option<(u32, Raw, Raw)> {
        let t1 = Raw::from_nanos(self.t1);
        (self.report != 0).then(|| (self.report, t1, t1 + Span::from_nanos(self.width.into())))
    }
}

/// A Correction that was sent; the report number 0 says that there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub correction: i64,
    pub round: u32,
    pub about: u32,
}

/// How good a member's clock is, by its own word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quality {
    pub error: u32,
    pub bound: u32,
}

impl Quality {
    pub(super) const UNKNOWN: Quality = Quality { error: NONE, bound: NONE };

    pub(super) fn of(report: &Report) -> Quality {
        Quality { error: report.error.map_or(NONE, narrow), bound: report.bound.map_or(NONE, narrow) }
    }
}

/// A member's frequency adjustment less the rate command in it, as it was sure of it last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claim {
    pub at: Ticks,
    /// In 1e-12, the wire's unit.
    pub adjustment: i32,
    /// In 1e-12, and one more; 0: there is none.
    pub error: u32,
}

impl Claim {
    pub(super) fn new(now: Monotonic, report: &Report) -> Claim {
        let adjustment = (report.frequency - report.rate).as_ppt();
        let error = report.frequency_error.as_ppt().unsigned_abs() + 1;
        Claim { at: Ticks::at(now), adjustment, error }
    }

    pub(super) fn is_some(&self) -> bool {
        self.error != 0
    }

    pub(super) fn is_old(&self, now: Monotonic) -> bool {
        self.at.until(now) > CLAIM_AGE
    }

    pub(super) fn get(&self, now: Monotonic) -> Option<consensus::FrequencyReport> {
        let error = Frequency::from_ppt(self.error.checked_sub(1)?.try_into().unwrap_or(i32::MAX));
        let claim = consensus::FrequencyReport { adjustment: Frequency::from_ppt(self.adjustment), error };
        (!self.is_old(now)).then_some(claim)
    }
}

/// A moment of the last or of the next three weeks, to about a millisecond.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ticks(u32);

impl Ticks {
    pub(super) fn at(moment: Monotonic) -> Ticks {
        Ticks((moment.as_nanos() >> 20) as u32)
    }

    /// From this moment to `now`, if that is later.
    pub(super) fn until(self, now: Monotonic) -> Span {
        Span::from_nanos(i64::from(Ticks::at(now).0.wrapping_sub(self.0) as i32).max(0) << 20)
    }

    pub(super) fn is_after(self, now: Monotonic) -> bool {
        (self.0.wrapping_sub(Ticks::at(now).0) as i32) > 0
    }
}

/// A moment of the last nine years, to a fifteenth of a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coarse(u32);

impl Coarse {
    pub(super) fn at(moment: Monotonic) -> Coarse {
        Coarse((moment.as_nanos() >> 26) as u32)
    }

    pub(super) fn until(self, now: Monotonic) -> Span {
        Span::from_nanos(i64::from(Coarse::at(now).0.wrapping_sub(self.0)) << 26)
    }
}

/// As 32 bits of nanoseconds; what does not fit becomes the nearest that does.
pub(super) fn narrow(span: Span) -> u32 {
    span.as_nanos().clamp(0, i64::from(NONE) - 1) as u32
}

pub(super) fn wide(ns: u32) -> Option<Span> {
    (ns != NONE).then(|| Span::from_nanos(ns.into()))
}

/// A member's frequency is good for ten minutes: far more than losses can hide, far less than it wanders.
const CLAIM_AGE: Span = Span::from_secs(600);
/// No place, or no figure.
pub(super) const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_as_it_was() {
        let t1 = Raw::from_nanos(1_800_000_000_123_456_789);
        let measured = Measured {
            report: 7,
            t1,
            t4: t1 + Span::from_micros(250),
            phase: Span::from_secs(-86_400),
            delay: Span::from_nanos(249_999),
        };
        assert_eq!(Packed::of(&measured).unpacked(), Some(measured));
        assert_eq!(Packed::default().unpacked(), None);
        assert_eq!(Sides::of(&measured).get(), Some((7, t1, measured.t4)));
    }

    #[test]
    fn addresses_come_out_as_they_were() {
        for text in ["192.0.2.7:40000", "[2001:db8::7]:1", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(Address::from(address)), address);
        }
    }

    #[test]
    fn ticks_tell_time_across_the_wrap() {
        let before = Monotonic::from_nanos((i64::from(u32::MAX) << 20) - 5);
        let after = before + Span::from_secs(10);
        let passed = Ticks::at(before).until(after);
        assert!((passed - Span::from_secs(10)).abs() <= Span::from_millis(2), "{passed}");
        assert!(Ticks::at(after).is_after(before) && !Ticks::at(before).is_after(after));
    }
}
