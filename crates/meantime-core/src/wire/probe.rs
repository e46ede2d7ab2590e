//! Probe: the server asks for a reading.

use byteorder::{BigEndian, ByteOrder};

use super::datagram::BodyBytes;
use super::id::ClusterId;
use crate::time::{Frequency, Timestamp};

/// Server to client: a request for a reading. Carries the server's two timestamps of an earlier exchange, so
/// that the client's discipline has all four.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Probe {
    /// Random; the Report echoes it.
    pub nonce: u64,
    /// The server's side of the exchange before, if there was one.
    pub before: Option<Stamps>,
    /// Which probe of its burst this is, from 0.
    pub index: u8,
    /// How many probes the burst has.
    pub burst: u8,
    /// The server's cumulative rate command.
    pub rate: Frequency,
    /// The cluster whose time the server keeps; 0: its time is not decided yet.
    pub cluster: ClusterId,
}

/// The server's side of one exchange, in cluster time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// The exchange: the sequence number of its Report; not 0.
    pub report: u32,
    /// When the server sent the Probe.
    pub t1: Timestamp,
    /// When the server received the Report.
    pub t4: Timestamp,
}

impl Probe {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        let before = self.before.unwrap_or_default();
        BigEndian::write_u64(&mut body[field::NONCE], self.nonce);
        BigEndian::write_i64(&mut body[field::T1], before.t1.as_nanos());
        BigEndian::write_i64(&mut body[field::T4], before.t4.as_nanos());
        BigEndian::write_u32(&mut body[field::STAMPS_OF], before.report);
        BigEndian::write_i32(&mut body[field::RATE], self.rate.as_ppt());
        body[field::INDEX] = self.index;
        body[field::BURST] = self.burst;
        BigEndian::write_u64(&mut body[field::CLUSTER], self.cluster.0);
    }

    pub(super) fn decode(body: &BodyBytes) -> Probe {
        let before = Stamps {
            report: BigEndian::read_u32(&body[field::STAMPS_OF]),
            t1: Timestamp::from_nanos(BigEndian::read_i64(&body[field::T1])),
            t4: Timestamp::from_nanos(BigEndian::read_i64(&body[field::T4])),
        };
        Probe {
            nonce: BigEndian::read_u64(&body[field::NONCE]),
            before: (before.report != 0).then_some(before),
            index: body[field::INDEX],
            burst: body[field::BURST],
            rate: Frequency::from_ppt(BigEndian::read_i32(&body[field::RATE])),
            cluster: ClusterId(BigEndian::read_u64(&body[field::CLUSTER])),
        }
    }
}

mod field {
    use core::ops::Range;

    pub(super) const NONCE: Range<usize> = 0..8;
    pub(super) const T1: Range<usize> = 8..16;
    pub(super) const T4: Range<usize> = 16..24;
    pub(super) const STAMPS_OF: Range<usize> = 24..28;
    pub(super) const RATE: Range<usize> = 28..32;
    pub(super) const INDEX: usize = 32;
    pub(super) const BURST: usize = 33;
    pub(super) const CLUSTER: Range<usize> = 40..48;
}
