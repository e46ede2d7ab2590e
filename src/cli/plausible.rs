//! The options that say which times are plausible.

use super::Failure;
use super::units;
use meantime_core::PlausibleTimes;
use meantime_core::plausible::{PLAUSIBLE_FROM, PLAUSIBLE_UNTIL};
use meantime_core::time::Timestamp;

/// Which times a correct clock can show.
#[derive(Debug, clap::Args)]
pub(super) struct PlausibleArgs {
    /// The earliest plausible date, as in 2026-01-31: a server leaves out clocks that show less, a client
    /// refuses an earlier cluster time [default: 2025-06-01]
    #[arg(long, value_name = "DATE", value_parser = units::date)]
    plausible_from: Option<Timestamp>,
    /// The latest plausible date, likewise [default: 2075-06-01]
    #[arg(long, value_name = "DATE", value_parser = units::date)]
    plausible_until: Option<Timestamp>,
}

impl PlausibleArgs {
    /// The range of plausible times.
    ///
    /// # Errors
    /// When it is empty.
    pub(super) fn range(&self) -> Result<PlausibleTimes, Failure> {
        let from = self.plausible_from.unwrap_or(PLAUSIBLE_FROM);
        let until = self.plausible_until.unwrap_or(PLAUSIBLE_UNTIL);
        PlausibleTimes::new(from, until).map_err(|error| {
            Failure::Usage(format!("{error}; --plausible-until must be later than --plausible-from"))
        })
    }
}
