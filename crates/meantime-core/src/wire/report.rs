//! Report: a client's answer to a Probe.

use byteorder::{BigEndian, ByteOrder};

use super::datagram::BodyBytes;
use super::error::DecodeError;
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
    /// How much later than its t3 the report before this one (number less one) departed; ± 2.1 s. 0 if that
    /// was not measured, or if the datagram of that number was no Report.
    pub transmit_latency: Span,
    /// The client's frequency adjustment: its clock's rate over its oscillator's, minus one.
    pub frequency: Frequency,
    /// One standard deviation of the uncertainty of that frequency; 0 to 4295 ppm, the latter also for
    /// more and for NaN.
    pub frequency_error: Frequency,
    /// The cumulative rate command that the frequency includes.
    pub rate: Frequency,
    /// The report number of the newest Correction that the client has applied in this session; 0: none.
    pub applied: u32,
    /// The client's guaranteed distance from cluster time; `None`: unknown (or 4.29 s and more).
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
        let latency = self.transmit_latency.as_nanos().clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        BigEndian::write_u64(&mut body[field::NONCE], self.nonce);
        BigEndian::write_i64(&mut body[field::T2], self.t2.as_nanos());
        BigEndian::write_u32(&mut body[field::PROCESSING], saturated(self.processing));
        BigEndian::write_i32(&mut body[field::TRANSMIT_LATENCY], latency);
        BigEndian::write_i32(&mut body[field::FREQUENCY], self.frequency.as_ppt());
        BigEndian::write_u32(&mut body[field::FREQUENCY_ERROR], uncertainty(self.frequency_error));
        BigEndian::write_i32(&mut body[field::RATE], self.rate.as_ppt());
        BigEndian::write_u32(&mut body[field::APPLIED], self.applied);
        BigEndian::write_u32(&mut body[field::BOUND], self.bound.map_or(UNKNOWN, saturated));
        BigEndian::write_u32(&mut body[field::ERROR], self.error.map_or(UNKNOWN, saturated));
    }

    /// Reads the body of the Report with this `number`, which a Correction must be able to name.
    pub(super) fn decode(number: u32, body: &BodyBytes) -> Result<Report, DecodeError> {
        if number == 0 {
            return Err(DecodeError::Field("report number"));
        }
        let span = |range| Span::from_nanos(BigEndian::read_u32(&body[range]).into());
        let known = |range| Some(span(range)).filter(|known| known.as_nanos() != i64::from(UNKNOWN));
        Ok(Report {
            nonce: BigEndian::read_u64(&body[field::NONCE]),
            t2: Timestamp::from_nanos(BigEndian::read_i64(&body[field::T2])),
            processing: span(field::PROCESSING),
            transmit_latency: Span::from_nanos(BigEndian::read_i32(&body[field::TRANSMIT_LATENCY]).into()),
            frequency: Frequency::from_ppt(BigEndian::read_i32(&body[field::FREQUENCY])),
            frequency_error: Frequency::from_ratio(
                f64::from(BigEndian::read_u32(&body[field::FREQUENCY_ERROR])) * 1e-12,
            ),
            rate: Frequency::from_ppt(BigEndian::read_i32(&body[field::RATE])),
            applied: BigEndian::read_u32(&body[field::APPLIED]),
            bound: known(field::BOUND),
            error: known(field::ERROR),
        })
    }
}

/// A length of time as 32 bits of nanoseconds; saturates at the limits of the field.
fn saturated(span: Span) -> u32 {
    span.as_nanos().clamp(0, u32::MAX.into()) as u32
}

/// An uncertainty as 32 bits of parts per trillion. NaN is the largest uncertainty: all ones.
fn uncertainty(frequency: Frequency) -> u32 {
    let ppt = (frequency.ratio() * 1e12).round();
    if ppt.is_nan() { u32::MAX } else { ppt as u32 }
}

/// All ones: no figure.
const UNKNOWN: u32 = u32::MAX;

mod field {
    use core::ops::Range;

    pub(super) const NONCE: Range<usize> = 0..8;
    pub(super) const T2: Range<usize> = 8..16;
    pub(super) const PROCESSING: Range<usize> = 16..20;
    pub(super) const TRANSMIT_LATENCY: Range<usize> = 20..24;
    pub(super) const FREQUENCY: Range<usize> = 24..28;
    pub(super) const FREQUENCY_ERROR: Range<usize> = 28..32;
    pub(super) const RATE: Range<usize> = 32..36;
    pub(super) const APPLIED: Range<usize> = 36..40;
    pub(super) const BOUND: Range<usize> = 40..44;
    pub(super) const ERROR: Range<usize> = 44..48;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_the_wire(report: Report) -> Report {
        let mut body = [0; super::super::datagram::BODY_LEN];
        report.encode(&mut body);
        Report::decode(1, &body).unwrap()
    }

    #[test]
    fn processing_beyond_its_field_saturates() {
        let sent = |ns| {
            let report = Report { processing: Span::from_nanos(ns), ..Report::default() };
            through_the_wire(report).processing.as_nanos()
        };
        assert_eq!(sent(-1), 0);
        assert_eq!(sent(0), 0);
        assert_eq!(sent(1), 1);
        assert_eq!(sent(u32::MAX.into()), i64::from(u32::MAX));
        assert_eq!(sent(i64::from(u32::MAX) + 1), i64::from(u32::MAX));
        assert_eq!((sent(i64::MIN), sent(i64::MAX)), (0, u32::MAX.into()));
    }

    #[test]
    fn transmit_latency_beyond_its_field_saturates() {
        let sent = |ns| {
            let report = Report { transmit_latency: Span::from_nanos(ns), ..Report::default() };
            through_the_wire(report).transmit_latency.as_nanos()
        };
        let (least, most) = (i64::from(i32::MIN), i64::from(i32::MAX));
        assert_eq!((sent(least), sent(least - 1), sent(i64::MIN)), (least, least, least));
        assert_eq!((sent(most), sent(most + 1), sent(i64::MAX)), (most, most, most));
        assert_eq!(sent(-1), -1);
    }

    #[test]
    fn frequencies_beyond_their_fields_saturate() {
        let sent = |ratio| {
            let it = Frequency::from_ratio(ratio);
            let report = Report { frequency: it, frequency_error: it, rate: it, ..Report::default() };
            let read = through_the_wire(report);
            assert_eq!(read.frequency, read.rate);
            (read.frequency.as_ppt(), (read.frequency_error.ratio() * 1e12).round() as i64)
        };
        assert_eq!(sent(-1e-12), (-1, 0));
        assert_eq!(sent(2.147_483_647e-3), (i32::MAX, 2_147_483_647));
        assert_eq!(sent(2.147_483_648e-3), (i32::MAX, 2_147_483_648));
        assert_eq!(sent(-2.147_483_649e-3), (i32::MIN, 0));
        assert_eq!(sent(4.294_967_296e-3), (i32::MAX, u32::MAX.into()));
        assert_eq!(sent(f64::INFINITY), (i32::MAX, u32::MAX.into()));
    }

    #[test]
    fn an_uncertainty_of_nan_is_encoded_as_the_largest() {
        assert_eq!(uncertainty(Frequency::from_ratio(f64::NAN)), u32::MAX);
    }

    #[test]
    fn a_bound_too_large_for_its_field_is_unknown() {
        let sent = |ns| {
            let it = Some(Span::from_nanos(ns));
            let read = through_the_wire(Report { bound: it, error: it, ..Report::default() });
            assert_eq!(read.bound, read.error);
            read.bound.map(Span::as_nanos)
        };
        assert_eq!(sent(0), Some(0));
        assert_eq!(sent(i64::from(UNKNOWN) - 1), Some(i64::from(UNKNOWN) - 1));
        assert_eq!(sent(UNKNOWN.into()), None);
        assert_eq!(sent(i64::MAX), None);
        assert_eq!(sent(-1), Some(0));
        assert_eq!(through_the_wire(Report::default()).bound, None);
    }

    #[test]
    fn a_report_with_number_zero_is_refused() {
        let body = [0; super::super::datagram::BODY_LEN];
        assert_eq!(Report::decode(0, &body), Err(DecodeError::Field("report number")));
    }
}
