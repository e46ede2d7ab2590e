//! ManualAdjustment: by how much, and when, an operator has set the cluster's time.

use byteorder::{BigEndian, ByteOrder};

use super::datagram::BodyBytes;
use super::error::DecodeError;
use super::id::ClusterId;
use crate::time::{Span, Timestamp};

/// Server to client: what all clocks add to the base time that they agree on. Also from a client that carries
/// a cluster's time, to a restarted server that does not know the adjustment yet.
///
/// Its effect is derived in [`crate::manual_adjustment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManualAdjustment {
    /// The cluster whose time is adjusted.
    pub cluster: ClusterId,
    /// Counts the adjustments of a cluster: 1, 2, … 255, 1, … Not 0 in a datagram; 0: there was none.
    pub number: u8,
    /// The sum of all earlier adjustments.
    pub before: Span,
    /// What this one adds; negative: clocks are set back.
    pub amount: Span,
    /// When it begins, in base time.
    pub start: Timestamp,
    /// Whether clocks step; else they slew.
    pub step: bool,
}

impl ManualAdjustment {
    /// No adjustment.
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
            0 => return Err(DecodeError::Field("adjustment number")),
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
