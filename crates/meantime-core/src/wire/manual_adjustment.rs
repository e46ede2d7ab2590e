//! Setting: by how much, and when, somebody has set the cluster's time.

use byteorder::{BigEndian, ByteOrder};

use super::{BodyBytes, ClusterId, DecodeError};
use crate::time::{Span, Timestamp};

/// Server to client: add this to the time that we agree on. And from a client that carries a time on, to a
/// server that does not know it yet.
///
/// What it does is derived in [`berkeley::setting`](crate::manual_adjustment).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManualAdjustment {
    /// Whose time is set.
    pub cluster: ClusterId,
    /// Counts the settings of a cluster: 1, 2, … 255, 1, … In a datagram not 0; 0: nobody has ever set the
    /// time.
    pub number: u8,
    /// What the settings before this one have added, all in all.
    pub before: Span,
    /// What this one adds; negative: takes away.
    pub amount: Span,
    /// When it begins, in the time that the cluster agrees on.
    pub start: Timestamp,
    /// Whether all of it is added at once.
    pub step: bool,
}

impl ManualAdjustment {
    /// Nobody has ever set the time.
    pub const NONE: ManualAdjustment = ManualAdjustment {
        cluster: ClusterId(0),
        number: 0,
        before: Span::ZERO,
        amount: Span::ZERO,
        start: Timestamp::from_nanos(0),
        step: false,
    };

    pub(super) fn encode(&self, body: &mut BodyBytes) {
        BigEndian::write_u64(&mut body[field::CLUSTER], self.cluster.0);
        BigEndian::write_i64(&mut body[field::BEFORE], self.before.as_nanos());
        BigEndian::write_i64(&mut body[field::AMOUNT], self.amount.as_nanos());
        BigEndian::write_i64(&mut body[field::START], self.start.as_nanos());
        body[field::NUMBER] = self.number;
        body[field::STEP] = self.step.into();
    }

    pub(super) fn decode(body: &BodyBytes) -> Result<ManualAdjustment, DecodeError> {
        let span = |field: core::ops::Range<usize>| Span::from_nanos(BigEndian::read_i64(&body[field]));
        let number = match body[field::NUMBER] {
            0 => return Err(DecodeError::Field("setting number")),
            number => number,
        };
        let step = match body[field::STEP] {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::Field("step")),
        };
        Ok(ManualAdjustment {
            cluster: ClusterId(BigEndian::read_u64(&body[field::CLUSTER])),
            number,
            before: span(field::BEFORE),
            amount: span(field::AMOUNT),
            start: Timestamp::from_nanos(BigEndian::read_i64(&body[field::START])),
            step,
        })
    }
}

mod field {
    use core::ops::Range;

    pub(super) const CLUSTER: Range<usize> = 0..8;
    pub(super) const BEFORE: Range<usize> = 8..16;
    pub(super) const AMOUNT: Range<usize> = 16..24;
    pub(super) const START: Range<usize> = 24..32;
    pub(super) const NUMBER: usize = 32;
    pub(super) const STEP: usize = 33;
}
