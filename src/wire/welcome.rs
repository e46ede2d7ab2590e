//! Welcome: the terms of a registration.

use byteorder::{BigEndian, ByteOrder};

use super::{BodyBytes, ClusterId, DecodeError};
use crate::time::{Frequency, Span};

/// Server to client: you are in, under the session in the header, on these terms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Welcome {
    /// The nonce of the Register that this answers.
    pub nonce: u64,
    /// The cluster that this server keeps; 0: its time is not decided yet.
    pub cluster: ClusterId,
    /// From one round to the next; positive.
    pub interval: Span,
    /// A client that has sent nothing for so long sends a Heartbeat; positive.
    pub heartbeat: Span,
    /// Each side takes the other for dead after so long a silence; positive.
    pub lifetime: Span,
    /// The server's cumulative rate command now: the base for all later ones of this session.
    pub rate: Frequency,
}

impl Welcome {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        BigEndian::write_u64(&mut body[field::NONCE], self.nonce);
        BigEndian::write_u64(&mut body[field::CLUSTER], self.cluster.0);
        BigEndian::write_i64(&mut body[field::INTERVAL], self.interval.as_nanos());
        BigEndian::write_i64(&mut body[field::HEARTBEAT], self.heartbeat.as_nanos());
        BigEndian::write_i64(&mut body[field::LIFETIME], self.lifetime.as_nanos());
        BigEndian::write_i32(&mut body[field::RATE], self.rate.as_ppt());
    }

    pub(super) fn decode(body: &BodyBytes) -> Result<Welcome, DecodeError> {
        let span = |range, name| match BigEndian::read_i64(&body[range]) {
            ns if ns > 0 => Ok(Span::from_nanos(ns)),
            _ => Err(DecodeError::Field(name)),
        };
        Ok(Welcome {
            nonce: BigEndian::read_u64(&body[field::NONCE]),
            cluster: ClusterId(BigEndian::read_u64(&body[field::CLUSTER])),
            interval: span(field::INTERVAL, "interval")?,
            heartbeat: span(field::HEARTBEAT, "heartbeat")?,
            lifetime: span(field::LIFETIME, "lifetime")?,
            rate: Frequency::from_ppt(BigEndian::read_i32(&body[field::RATE])),
        })
    }
}

mod field {
    use std::ops::Range;

    pub const NONCE: Range<usize> = 0..8;
    pub const CLUSTER: Range<usize> = 8..16;
    pub const INTERVAL: Range<usize> = 16..24;
    pub const HEARTBEAT: Range<usize> = 24..32;
    pub const LIFETIME: Range<usize> = 32..40;
    pub const RATE: Range<usize> = 40..44;
}
