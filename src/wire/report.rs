//! Report: a client's answer to a probe.

use byteorder::{BigEndian, ByteOrder};

use super::BodyBytes;
use crate::time::{Frequency, Span, Timestamp};

/// Client to server: the reading that was asked for. The header's round is the probe's, its sequence
/// is the *report number* that a Correction refers to, its flags hold the client's state.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// The probe's nonce.
    pub nonce: u64,
    /// When the client received the probe, by its clock.
    pub t2: Timestamp,
    /// From the receipt of the probe to the sending of this report, as far as known when it is
    /// written; 0 to 4.29 s. t3 = t2 + processing.
    pub processing: Span,
    /// How much later than it said the client's report before this one really left; ± 2.1 s, 0 if
    /// not measured.
    pub transmit_lag: Span,
    /// The client's frequency adjustment: its clock's rate over its oscillator's, minus one.
    pub frequency: Frequency,
    /// One standard deviation of the uncertainty of that frequency; not negative.
    pub frequency_error: Frequency,
    /// The cumulative rate command that the frequency includes.
    pub rate: Frequency,
    /// The report number of the newest Correction that the client has applied in this session; 0: none.
    pub applied: u32,
    /// The client's guaranteed distance from cluster time; `None`: it knows none (or 4.29 s and more).
    pub bound: Option<Span>,
    /// One standard deviation of the client's estimated distance from cluster time; `None`: unknown
    /// (or 4.29 s and more).
    pub error: Option<Span>,
}

impl Report {
    /// When the client sent this report, by its clock, as far as it knew.
    pub fn t3(&self) -> Timestamp {
        self.t2 + self.processing
    }

    pub(super) fn encode(&self, body: &mut BodyBytes) {
        let lag = self.transmit_lag.as_nanos().clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        let frequency_error = (self.frequency_error.ratio() * 1e12).round() as u32;
        BigEndian::write_u64(&mut body[field::NONCE], self.nonce);
        BigEndian::write_i64(&mut body[field::T2], self.t2.as_nanos());
        BigEndian::write_u32(&mut body[field::PROCESSING], saturated(self.processing));
        BigEndian::write_i32(&mut body[field::TRANSMIT_LAG], lag);
        BigEndian::write_i32(&mut body[field::FREQUENCY], self.frequency.as_ppt());
        BigEndian::write_u32(&mut body[field::FREQUENCY_ERROR], frequency_error);
        BigEndian::write_i32(&mut body[field::RATE], self.rate.as_ppt());
        BigEndian::write_u32(&mut body[field::APPLIED], self.applied);
        BigEndian::write_u32(&mut body[field::BOUND], self.bound.map_or(UNKNOWN, saturated));
        BigEndian::write_u32(&mut body[field::ERROR], self.error.map_or(UNKNOWN, saturated));
    }

    pub(super) fn decode(body: &BodyBytes) -> Report {
        let span = |range| Span::from_nanos(BigEndian::read_u32(&body[range]).into());
        let known = |range| Some(span(range)).filter(|known| known.as_nanos() != i64::from(UNKNOWN));
        Report {
            nonce: BigEndian::read_u64(&body[field::NONCE]),
            t2: Timestamp::from_nanos(BigEndian::read_i64(&body[field::T2])),
            processing: span(field::PROCESSING),
            transmit_lag: Span::from_nanos(BigEndian::read_i32(&body[field::TRANSMIT_LAG]).into()),
            frequency: Frequency::from_ppt(BigEndian::read_i32(&body[field::FREQUENCY])),
            frequency_error: Frequency::from_ratio(
                f64::from(BigEndian::read_u32(&body[field::FREQUENCY_ERROR])) * 1e-12,
            ),
            rate: Frequency::from_ppt(BigEndian::read_i32(&body[field::RATE])),
            applied: BigEndian::read_u32(&body[field::APPLIED]),
            bound: known(field::BOUND),
            error: known(field::ERROR),
        }
    }
}

/// A length of time as 32 bits of nanoseconds; what does not fit becomes the nearest that does.
fn saturated(span: Span) -> u32 {
    span.as_nanos().clamp(0, u32::MAX.into()) as u32
}

/// All ones: no figure.
const UNKNOWN: u32 = u32::MAX;

mod field {
    use std::ops::Range;

    pub const NONCE: Range<usize> = 0..8;
    pub const T2: Range<usize> = 8..16;
    pub const PROCESSING: Range<usize> = 16..20;
    pub const TRANSMIT_LAG: Range<usize> = 20..24;
    pub const FREQUENCY: Range<usize> = 24..28;
    pub const FREQUENCY_ERROR: Range<usize> = 28..32;
    pub const RATE: Range<usize> = 32..36;
    pub const APPLIED: Range<usize> = 36..40;
    pub const BOUND: Range<usize> = 40..44;
    pub const ERROR: Range<usize> = 44..48;
}
