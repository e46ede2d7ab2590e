//! Which times a correct clock can show.

use crate::event::Exclusion;
use crate::time::Timestamp;

/// The range of the times that a correct clock can show, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlausibleTimes {
    from: Timestamp,
    until: Timestamp,
}

/// A range that ends before it begins, or where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the latest plausible time is not after the earliest")]
pub struct EmptyRange;

impl PlausibleTimes {
    /// All times from `from` to `until`.
    ///
    /// # Errors
    /// If `until` is not after `from`.
    pub fn new(from: Timestamp, until: Timestamp) -> Result<PlausibleTimes, EmptyRange> {
        if until <= from {
            return Err(EmptyRange);
        }
        Ok(PlausibleTimes { from, until })
    }

    /// The earliest plausible time.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// The latest plausible time.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Whether a correct clock can show this time.
    pub fn contains(&self, time: Timestamp) -> bool {
        self.excludes(time).is_none()
    }

    /// Why a clock that shows this time has no vote; `None`: the time is plausible.
    pub fn excludes(&self, time: Timestamp) -> Option<Exclusion> {
        match time {
            time if time < self.from => Some(Exclusion::BeforePlausible),
            time if time > self.until => Some(Exclusion::AfterPlausible),
            _ => None,
        }
    }
}

impl Default for PlausibleTimes {
    fn default() -> PlausibleTimes {
        PlausibleTimes { from: PLAUSIBLE_FROM, until: PLAUSIBLE_UNTIL }
    }
}

/// 2025-06-01T00:00:00Z: before that day meantime did not exist, so no correct clock shows less.
pub const PLAUSIBLE_FROM: Timestamp = Timestamp::from_nanos(1_748_736_000_000_000_000);
/// 2075-06-01T00:00:00Z: no machine of today runs for so long.
pub const PLAUSIBLE_UNTIL: Timestamp = Timestamp::from_nanos(3_326_572_800_000_000_000);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    const NS: Span = Span::from_nanos(1);

    #[test]
    fn both_ends_are_plausible_and_what_is_beyond_them_is_not() {
        let times = PlausibleTimes::default();
        assert!(times.contains(PLAUSIBLE_FROM) && times.contains(PLAUSIBLE_UNTIL));
        assert_eq!(times.excludes(PLAUSIBLE_FROM - NS), Some(Exclusion::BeforePlausible));
        assert_eq!(times.excludes(PLAUSIBLE_UNTIL + NS), Some(Exclusion::AfterPlausible));
    }

    #[test]
    fn the_ends_are_independent_and_the_range_is_not_empty() {
        let epoch = Timestamp::from_nanos(0);
        let times = PlausibleTimes::new(epoch, PLAUSIBLE_UNTIL).expect("1970 is before 2075");
        assert!(times.contains(epoch) && times.contains(PLAUSIBLE_UNTIL));
        assert_eq!(PlausibleTimes::new(epoch, epoch), Err(EmptyRange));
        assert_eq!(PlausibleTimes::new(epoch, epoch - NS), Err(EmptyRange));
    }
}
