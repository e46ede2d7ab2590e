//! How many outliers in a row the discipline ignores.

/// How many outliers in a row reset the phase: many if the vote agrees with this clock, few if it does not,
/// and none if the server keeps another cluster's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutlierLimit {
    /// After this many outliers in a row.
    After(u32),
    /// The first burst resets the phase.
    None,
}

impl OutlierLimit {
    /// For a clock that the vote has found in the minority.
    pub const MINORITY: OutlierLimit = OutlierLimit::After(3);
    /// For a clock that the vote agrees with: it must not ignore the server forever.
    pub const MAJORITY: OutlierLimit = OutlierLimit::After(12);

    pub(super) fn at_most(self, limit: u32) -> OutlierLimit {
        match self {
            OutlierLimit::After(own) => OutlierLimit::After(own.min(limit)),
            OutlierLimit::None => OutlierLimit::None,
        }
    }

    /// The same, but a burst that is no outlier resets nothing.
    pub fn at_least_one(self) -> OutlierLimit {
        match self {
            OutlierLimit::After(limit) => OutlierLimit::After(limit),
            OutlierLimit::None => OutlierLimit::After(1),
        }
    }

    pub(super) fn is_reached(self, in_a_row: u32) -> bool {
        match self {
            OutlierLimit::After(limit) => in_a_row >= limit,
            OutlierLimit::None => true,
        }
    }
}
