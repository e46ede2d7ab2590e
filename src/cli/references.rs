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

/// `any`, or names of members.
fn followed(text: &str) -> Result<FollowedReferences, NameError> {
    match text {
        "any" => Ok(FollowedReferences::Any),
        names => {
            let mut names: Vec<Name> = names.split(',').map(names::client_name).collect::<Result<_, _>>()?;
            names.sort_unstable();
            names.dedup();
            Ok(FollowedReferences::Named(names))
        }
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
        assert!(followed("bridge,").is_err());
    }
}
