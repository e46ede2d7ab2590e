//! Correction: how far off a client's clock was, and what the vote found.

use core::fmt;

use byteorder::{BigEndian, ByteOrder};

use super::datagram::BodyBytes;
use super::error::DecodeError;
use super::probe::Stamps;
use crate::time::{self, Frequency, Span, Timestamp};

/// Server to client: how far off the client's clock was at its report number `about`.
///
/// It refers to a reading that the client remembers, not to the moment of arrival, so a late, duplicated or
/// reordered Correction does no harm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CorrectionMessage {
    /// The report number that the correction refers to; not 0.
    pub about: u32,
    /// What had to be added to the client's clock at that report.
    pub correction: time::Correction,
    /// The server's side of the last exchange of the burst.
    pub last: Option<Stamps>,
    /// The server's cumulative rate command.
    pub rate: Frequency,
    /// Readings farther than this from the median count as falsetickers; 0 to 4.29 s, the latter also for
    /// more.
    pub window: Span,
    /// The vote's judgement of this client's clock.
    pub verdict: Verdict,
    /// Whether the server is still learning the cluster's time from its members: then its time has
    /// no guaranteed bound.
    pub learning: bool,
    /// Whether the cluster's rate has not settled yet: the server may then change it by 100 ppb/s, and by
    /// 1 ppb/s later.
    pub brisk: bool,
    /// How many reports of the burst arrived in time and were usable, 1 to 255; 0: unknown, as in a
    /// repeated Correction.
    pub heard: u8,
    /// How many members the cluster has, the server's own clock included.
    pub members: u32,
}

/// The vote's judgement of one clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// No vote has judged this clock yet.
    #[default]
    Unjudged = 0,
    /// It agrees with the majority.
    Agrees = 1,
    /// It does not agree with the majority: it is a falseticker.
    Minority = 2,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Unjudged => "unjudged",
            Verdict::Agrees => "agrees",
            Verdict::Minority => "minority",
        })
    }
}

impl CorrectionMessage {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        let last = self.last.unwrap_or_default();
        let window = self.window.as_nanos().clamp(0, u32::MAX.into()) as u32;
        BigEndian::write_u32(&mut body[field::ABOUT], self.about);
        BigEndian::write_u32(&mut body[field::STAMPS_OF], last.report);
        BigEndian::write_i64(&mut body[field::CORRECTION], self.correction.span().as_nanos());
        BigEndian::write_i64(&mut body[field::T1], last.t1.as_nanos());
        BigEndian::write_i64(&mut body[field::T4], last.t4.as_nanos());
        BigEndian::write_i32(&mut body[field::RATE], self.rate.as_ppt());
        BigEndian::write_u32(&mut body[field::WINDOW], window);
        body[field::VERDICT] = self.verdict as u8;
        body[field::LEARNING] = self.learning.into();
        body[field::BRISK] = self.brisk.into();
        body[field::HEARD] = self.heard;
        BigEndian::write_u32(&mut body[field::MEMBERS], self.members);
    }

    pub(super) fn decode(body: &BodyBytes) -> Result<CorrectionMessage, DecodeError> {
        let verdict = match body[field::VERDICT] {
            0 => Verdict::Unjudged,
            1 => Verdict::Agrees,
            2 => Verdict::Minority,
            _ => return Err(DecodeError::Field("verdict")),
        };
        let flag = |at: usize, name| match body[at] {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Field(name)),
        };
        let about = BigEndian::read_u32(&body[field::ABOUT]);
        if about == 0 {
            return Err(DecodeError::Field("report number"));
        }
        let last = Stamps {
            report: BigEndian::read_u32(&body[field::STAMPS_OF]),
            t1: Timestamp::from_nanos(BigEndian::read_i64(&body[field::T1])),
            t4: Timestamp::from_nanos(BigEndian::read_i64(&body[field::T4])),
        };
        let correction = Span::from_nanos(BigEndian::read_i64(&body[field::CORRECTION]));
        Ok(CorrectionMessage {
            about,
            correction: time::Correction::adding(correction),
            last: (last.report != 0).then_some(last),
            rate: Frequency::from_ppt(BigEndian::read_i32(&body[field::RATE])),
            window: Span::from_nanos(BigEndian::read_u32(&body[field::WINDOW]).into()),
            verdict,
            learning: flag(field::LEARNING, "learning")?,
            brisk: flag(field::BRISK, "brisk")?,
            heard: body[field::HEARD],
            members: BigEndian::read_u32(&body[field::MEMBERS]),
        })
    }
}

mod field {
    use core::ops::Range;

    pub(super) const ABOUT: Range<usize> = 0..4;
    pub(super) const STAMPS_OF: Range<usize> = 4..8;
    pub(super) const CORRECTION: Range<usize> = 8..16;
    pub(super) const T1: Range<usize> = 16..24;
    pub(super) const T4: Range<usize> = 24..32;
    pub(super) const RATE: Range<usize> = 32..36;
    pub(super) const WINDOW: Range<usize> = 36..40;
    pub(super) const VERDICT: usize = 40;
    pub(super) const LEARNING: usize = 41;
    pub(super) const BRISK: usize = 42;
    pub(super) const HEARD: usize = 43;
    pub(super) const MEMBERS: Range<usize> = 44..48;
}
