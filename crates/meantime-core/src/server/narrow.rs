//! Numbers in 32 bits, of which there are many.

use crate::time::Span;

/// A span in 32 bits of nanoseconds; values that do not fit saturate.
pub(super) fn to_u32_ns(span: Span) -> u32 {
    span.as_nanos().clamp(0, i64::from(NONE) - 1) as u32
}

pub(super) fn from_u32_ns(ns: u32) -> Option<Span> {
    (ns != NONE).then(|| Span::from_nanos(ns.into()))
}

/// No place, or no value.
pub(super) const NONE: u32 = u32::MAX;
