//! Which references a server follows, and how fast.

use super::names::{self, NameError};
use super::units;
use meantime_core::config::{FollowedReferences, LeadingConfig};
use meantime_core::time::{Frequency, Span};
use meantime_core::wire::Name;

/// The options of a server that follows references.
#[derive(Debug, clap::Args)]
pub(super) struct FollowArgs {
    /// Lead the cluster's time to the references (times from outside) that these members offer: names
    /// separated by commas, or any. A majority of the references has to agree [default: none]
    #[arg(long, value_name = "NAMES", value_parser = followed)]
    follow_references: Option<FollowedReferences>,
    /// With --follow-references: the maximum rate at which the cluster's time approaches UTC
    #[arg(long, value_name = "FREQUENCY", default_value = "50ppm", allow_hyphen_values = true)]
    #[arg(value_parser = units::positive_frequency)]
    reference_rate: Frequency,
    /// With --follow-references: the maximum by which the cluster's time approaches UTC in 24 hours
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = units::positive_span)]
    reference_daily: Span,
}

impl FollowArgs {
    /// The references that are followed.
    pub(super) fn followed(&self) -> FollowedReferences {
        self.follow_references.clone().unwrap_or_default()
    }

    /// How fast they are followed.
    pub(super) fn leading(&self) -> LeadingConfig {
        LeadingConfig { max_rate: self.reference_rate, daily: self.reference_daily }
    }
}

/// Why `--follow-references` cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum FollowError {
    /// A name is empty.
    #[error("a name is missing; type names of members separated by commas, as in bridge,attic, or any")]
    NoName,
    /// All references, and some of them.
    #[error("any means all references; type any alone, or names only")]
    AnyAndNames,
    /// A name is too long.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// `any`, or names of members.
fn followed(text: &str) -> Result<FollowedReferences, FollowError> {
    match text {
        "any" => Ok(FollowedReferences::Any),
        names => {
            let mut names: Vec<Name> = names.split(',').map(followed_name).collect::<Result<_, _>>()?;
            names.sort_unstable();
            names.dedup();
            Ok(FollowedReferences::Named(names))
        }
    }
}

/// One of several names.
fn followed_name(text: &str) -> Result<Name, FollowError> {
    match text {
        "any" => Err(FollowError::AnyAndNames),
        text if text.trim().is_empty() => Err(FollowError::NoName),
        text => Ok(names::node_name(text)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_or_some_references_are_followed() {
        assert_eq!(followed("any"), Ok(FollowedReferences::Any));
        let names = vec![Name::new("bridge"), Name::new("radio room")];
        assert_eq!(followed("radio room,bridge,radio room"), Ok(FollowedReferences::Named(names)));
        for missing in ["", "bridge,", "bridge,,attic", " "] {
            assert_eq!(followed(missing), Err(FollowError::NoName), "{missing:?}");
        }
        assert_eq!(followed("any,bridge"), Err(FollowError::AnyAndNames));
    }
}
