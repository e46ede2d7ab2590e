//! Reference: what a client knows of the time outside of the cluster.

use byteorder::{BigEndian, ByteOrder};

use super::datagram::BodyBytes;
use super::error::DecodeError;
use crate::time::{Span, Timestamp};

/// Client to server: a reading of the client's reference, or that it has none now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// The reading; `None`: the client has no reference now.
    pub stated: Option<StatedReference>,
}

/// A reading of a client's reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatedReference {
    /// The client's base time at the reading.
    pub at: Timestamp,
    /// The reference minus the client's base time.
    pub offset: Span,
    /// The maximum distance of the reference from UTC, as the client's machine states it; not negative.
    pub max_error: Span,
}

impl Reference {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        let StatedReference { at, offset, max_error } = self.stated.unwrap_or_default();
        BigEndian::write_i64(&mut body[field::AT], at.as_nanos());
        BigEndian::write_i64(&mut body[field::OFFSET], offset.as_nanos());
        BigEndian::write_i64(&mut body[field::MAX_ERROR], max_error.as_nanos().max(0));
        body[field::AVAILABLE] = self.stated.is_some().into();
    }

    pub(super) fn decode(body: &BodyBytes) -> Result<Reference, DecodeError> {
        let stated = StatedReference {
            at: Timestamp::from_nanos(BigEndian::read_i64(&body[field::AT])),
            offset: Span::from_nanos(BigEndian::read_i64(&body[field::OFFSET])),
            max_error: Span::from_nanos(BigEndian::read_i64(&body[field::MAX_ERROR])),
        };
        if stated.max_error < Span::ZERO {
            return Err(DecodeError::Field("max_error"));
        }
        match body[field::AVAILABLE] {
            0 => Ok(Reference { stated: None }),
            1 => Ok(Reference { stated: Some(stated) }),
            _ => Err(DecodeError::Field("available")),
        }
    }
}

mod field {
    use core::ops::Range;

    pub(super) const AT: Range<usize> = 0..8;
    pub(super) const OFFSET: Range<usize> = 8..16;
    pub(super) const MAX_ERROR: Range<usize> = 16..24;
    pub(super) const AVAILABLE: usize = 24;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maximum_error_is_never_negative() {
        let mut body = [0; super::super::datagram::BODY_LEN];
        let stated = StatedReference { max_error: Span::from_nanos(-1), ..StatedReference::default() };
        Reference { stated: Some(stated) }.encode(&mut body);
        assert_eq!(Reference::decode(&body).unwrap().stated.unwrap().max_error, Span::ZERO);
        body[field::MAX_ERROR].fill(0xff);
        assert_eq!(Reference::decode(&body), Err(DecodeError::Field("max_error")));
    }

    #[test]
    fn a_reference_is_there_or_not() {
        let mut body = [0; super::super::datagram::BODY_LEN];
        body[field::AVAILABLE] = 2;
        assert_eq!(Reference::decode(&body), Err(DecodeError::Field("available")));
    }
}
