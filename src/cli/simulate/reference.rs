//! `--reference`: a simulated member that has a time from outside.

use super::fault::{FaultError, member};
use crate::cli::units::{self, ValueError};
use meantime_core::time::Span;
use meantime_sim::{MemberIndex, ReferenceModel};

/// Why a reference cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReferenceError {
    /// The member is none.
    #[error(transparent)]
    Member(#[from] FaultError),
    /// A value cannot be parsed.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// There is no such property.
    #[error("no property of a reference: {0}; there are error, drift, max-error and outage, as in {EXAMPLE}")]
    NoProperty(String),
}

/// Parses `WHO` or `WHO:PROPERTY=VALUE,…`.
pub(super) fn reference(text: &str) -> Result<(MemberIndex, ReferenceModel), ReferenceError> {
    let (who, properties) = text.split_once(':').unwrap_or((text, ""));
    let mut model = ReferenceModel::default();
    for property in properties.split(',').filter(|property| !property.is_empty()) {
        let (name, value) = property.split_once('=').unwrap_or((property, ""));
        match name {
            "error" => model.error = units::span(value)?,
            "drift" => model.drift = units::frequency(value)?,
            "max-error" => model.max_error = units::unsigned_span(value)?,
            "outage" => model.outages.push(outage(value)?),
            name => return Err(ReferenceError::NoProperty(name.to_owned())),
        }
    }
    Ok((member(who)?, model))
}

/// `4h/16h`: from one time to another.
fn outage(text: &str) -> Result<(Span, Span), ValueError> {
    let (from, to) = text.split_once('/').unwrap_or((text, "1000000d"));
    Ok((units::unsigned_span(from)?, units::unsigned_span(to)?))
}

const EXAMPLE: &str = "client-1:error=300us,outage=4h/16h";

#[cfg(test)]
mod tests {
    use super::*;
    use meantime_core::time::Frequency;

    #[test]
    fn references_read_as_they_are_written() {
        let plain = ReferenceModel::default();
        assert_eq!(reference("server"), Ok((MemberIndex::SERVER, plain.clone())));
        let bad = ReferenceModel {
            error: Span::from_secs(-1),
            drift: Frequency::from_ppm(5.0),
            max_error: Span::from_millis(2),
            outages: vec![(Span::from_secs(3_600), Span::from_secs(7_200))],
            ..plain
        };
        assert_eq!(
            reference("client-2:error=-1s,drift=5ppm,max-error=2ms,outage=1h/2h"),
            Ok((MemberIndex::client(2), bad))
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in ["me", "client-1:error", "client-1:size=3", "client-1:outage=-1h/2h"] {
            assert!(reference(wrong).is_err(), "{wrong}");
        }
    }
}
