//! Welcome: the terms of a registration.

use core::ops::RangeInclusive;

use byteorder::{BigEndian, ByteOrder};

use super::datagram::BodyBytes;
use super::error::DecodeError;
use super::id::ClusterId;
use crate::time::{Frequency, Span};

/// Server to client: the client has the session in the header, on these terms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Welcome {
    /// The nonce of the Register that this answers.
    pub nonce: u64,
    /// The cluster that this server keeps; 0: its time is not decided yet.
    pub cluster: ClusterId,
    /// From one round to the next; within [`Welcome::TERMS`].
    pub interval: Span,
    /// A client that has sent nothing for so long sends a Heartbeat; within [`Welcome::TERMS`].
    pub heartbeat: Span,
    /// Each side ends the session after a silence of this length; within [`Welcome::TERMS`] and longer
    /// than the heartbeat.
    pub lifetime: Span,
    /// The server's cumulative rate command now: the base for all later ones of this session.
    pub rate: Frequency,
    /// Whether the server is a relay: its clients follow corrections only by a RelayedTime.
    pub relay: bool,
}

impl Welcome {
    /// The range of the three spans: 1 ms to 7 days. A client obeys a Welcome, so a Welcome must not make it
    /// send a Heartbeat every nanosecond, nor wait for years.
    pub const TERMS: RangeInclusive<Span> = Span::from_millis(1)..=Span::from_secs(7 * 86_400);

    pub(super) fn encode(&self, body: &mut BodyBytes) {
        BigEndian::write_u64(&mut body[field::NONCE], self.nonce);
        BigEndian::write_u64(&mut body[field::CLUSTER], self.cluster.0);
        BigEndian::write_i64(&mut body[field::INTERVAL], self.interval.as_nanos());
        BigEndian::write_i64(&mut body[field::HEARTBEAT], self.heartbeat.as_nanos());
        BigEndian::write_i64(&mut body[field::LIFETIME], self.lifetime.as_nanos());
        BigEndian::write_i32(&mut body[field::RATE], self.rate.as_ppt());
        body[field::RELAY] = self.relay.into();
    }

    pub(super) fn decode(body: &BodyBytes) -> Result<Welcome, DecodeError> {
        let span = |range, name| {
            let span = Span::from_nanos(BigEndian::read_i64(&body[range]));
            if Welcome::TERMS.contains(&span) { Ok(span) } else { Err(DecodeError::Field(name)) }
        };
        let welcome = Welcome {
            nonce: BigEndian::read_u64(&body[field::NONCE]),
            cluster: ClusterId(BigEndian::read_u64(&body[field::CLUSTER])),
            interval: span(field::INTERVAL, "interval")?,
            heartbeat: span(field::HEARTBEAT, "heartbeat")?,
            lifetime: span(field::LIFETIME, "lifetime")?,
            rate: Frequency::from_ppt(BigEndian::read_i32(&body[field::RATE])),
            relay: match body[field::RELAY] {
                0 => false,
                1 => true,
                _ => return Err(DecodeError::Field("relay")),
            },
        };
        if welcome.lifetime <= welcome.heartbeat {
            return Err(DecodeError::Field("lifetime"));
        }
        Ok(welcome)
    }
}

mod field {
    use core::ops::Range;

    pub(super) const NONCE: Range<usize> = 0..8;
    pub(super) const CLUSTER: Range<usize> = 8..16;
    pub(super) const INTERVAL: Range<usize> = 16..24;
    pub(super) const HEARTBEAT: Range<usize> = 24..32;
    pub(super) const LIFETIME: Range<usize> = 32..40;
    pub(super) const RATE: Range<usize> = 40..44;
    pub(super) const RELAY: usize = 44;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(interval: Span, heartbeat: Span, lifetime: Span) -> Result<Welcome, DecodeError> {
        let mut body = [0; super::super::datagram::BODY_LEN];
        Welcome { interval, heartbeat, lifetime, ..Welcome::default() }.encode(&mut body);
        Welcome::decode(&body)
    }

    #[test]
    fn terms_at_their_limits_are_read_and_one_nanosecond_beyond_is_not() {
        let (least, most, tick) = (*Welcome::TERMS.start(), *Welcome::TERMS.end(), Span::from_nanos(1));
        let day = Span::from_secs(86_400);
        assert!(read(least, least, most).is_ok() && read(most, day, most).is_ok());
        assert_eq!(read(least - tick, day, most), Err(DecodeError::Field("interval")));
        assert_eq!(read(most + tick, day, most), Err(DecodeError::Field("interval")));
        assert_eq!(read(day, least - tick, most), Err(DecodeError::Field("heartbeat")));
        assert_eq!(read(day, most + tick, most), Err(DecodeError::Field("heartbeat")));
        assert_eq!(read(day, day, most + tick), Err(DecodeError::Field("lifetime")));
        assert_eq!(read(day, day, -most), Err(DecodeError::Field("lifetime")));
    }

    #[test]
    fn a_lifetime_not_longer_than_the_heartbeat_is_refused() {
        let second = Span::from_secs(1);
        assert_eq!(read(second, second, second), Err(DecodeError::Field("lifetime")));
        assert!(read(second, second, second + Span::from_nanos(1)).is_ok());
    }
}
