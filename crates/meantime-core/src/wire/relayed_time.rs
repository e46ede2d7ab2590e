//! RelayedTime: how the cluster's time stands to the scale by which a relay measures.

use byteorder::{BigEndian, ByteOrder};

use super::datagram::BodyBytes;
use super::id::ClusterId;
use crate::time::{Frequency, Span, Timestamp};

/// Server to client: what the clients of a relay add to the time of its scale, and how good that is.
///
/// Its effect is derived in [`crate::relayed_time`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RelayedTime {
    /// The cluster whose time it is.
    pub cluster: ClusterId,
    /// The moment, by the relay's scale, to which all other fields belong.
    pub at: Timestamp,
    /// Base time minus the relay's scale.
    pub difference: Span,
    /// The rate of base time over the scale, minus one; ± 2147 ppm.
    pub rate: Frequency,
    /// The maximum error of the difference; `None`: unknown (or 4.29 s and more).
    pub bound: Option<Span>,
    /// How fast the bound grows; 0 to 4295 ppm, the latter also for more.
    pub growth: Frequency,
    /// How much faster it grows after each second; 0 to 4295 ppm.
    pub acceleration: Frequency,
    /// One standard deviation of the difference's error; `None`: unknown (or 4.29 s and more).
    pub error: Option<Span>,
    /// One standard deviation of the rate's error; 0 to 4295 ppm, the latter also for more.
    pub frequency_error: Frequency,
}

impl RelayedTime {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        let span =
            |span: Option<Span>| span.map_or(UNKNOWN, |span| span.as_nanos().clamp(0, UNKNOWN.into()) as u32);
        let ppt = |frequency: Frequency| (frequency.ratio() * 1e12).round() as u32;
        BigEndian::write_u64(&mut body[field::CLUSTER], self.cluster.0);
        BigEndian::write_i64(&mut body[field::AT], self.at.as_nanos());
        BigEndian::write_i64(&mut body[field::DIFFERENCE], self.difference.as_nanos());
        BigEndian::write_i32(&mut body[field::RATE], self.rate.as_ppt());
        BigEndian::write_u32(&mut body[field::BOUND], span(self.bound));
        BigEndian::write_u32(&mut body[field::GROWTH], ppt(self.growth));
        BigEndian::write_u32(&mut body[field::ACCELERATION], ppt(self.acceleration));
        BigEndian::write_u32(&mut body[field::ERROR], span(self.error));
        BigEndian::write_u32(&mut body[field::FREQUENCY_ERROR], ppt(self.frequency_error));
    }

    pub(super) fn decode(body: &BodyBytes) -> RelayedTime {
        let span = |range| match BigEndian::read_u32(&body[range]) {
            UNKNOWN => None,
            nanos => Some(Span::from_nanos(nanos.into())),
        };
        let ppt = |range| Frequency::from_ratio(f64::from(BigEndian::read_u32(&body[range])) * 1e-12);
        RelayedTime {
            cluster: ClusterId(BigEndian::read_u64(&body[field::CLUSTER])),
            at: Timestamp::from_nanos(BigEndian::read_i64(&body[field::AT])),
            difference: Span::from_nanos(BigEndian::read_i64(&body[field::DIFFERENCE])),
            rate: Frequency::from_ppt(BigEndian::read_i32(&body[field::RATE])),
            bound: span(field::BOUND),
            growth: ppt(field::GROWTH),
            acceleration: ppt(field::ACCELERATION),
            error: span(field::ERROR),
            frequency_error: ppt(field::FREQUENCY_ERROR),
        }
    }
}

/// All ones: no figure.
const UNKNOWN: u32 = u32::MAX;

mod field {
    use core::ops::Range;

    pub(super) const CLUSTER: Range<usize> = 0..8;
    pub(super) const AT: Range<usize> = 8..16;
    pub(super) const DIFFERENCE: Range<usize> = 16..24;
    pub(super) const RATE: Range<usize> = 24..28;
    pub(super) const BOUND: Range<usize> = 28..32;
    pub(super) const GROWTH: Range<usize> = 32..36;
    pub(super) const ACCELERATION: Range<usize> = 36..40;
    pub(super) const ERROR: Range<usize> = 40..44;
    pub(super) const FREQUENCY_ERROR: Range<usize> = 44..48;
}
