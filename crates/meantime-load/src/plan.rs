//! What a load generator is to do, and what it reports.

use meantime_core::MasterKeys;
use meantime_core::time::Span;

use crate::statistics::LoadStatistics;

/// What a load generator does.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadPlan {
    /// How many clients there are.
    pub clients: usize,
    /// The seed of everything random.
    pub seed: u64,
    /// How many clients register in a second.
    pub join_rate: u32,
    /// How long after all have registered measurements begin.
    pub settle: Span,
    /// The duration of the whole run.
    pub duration: Span,
    /// The maximum number of heartbeats in flight; 0: clients send them only when one is due.
    pub pressure: usize,
    /// The cluster's keys; if there are any, the newest tags all datagrams.
    pub keys: MasterKeys,
}

/// What a load generator reports.
#[derive(Clone, Debug)]
pub enum LoadEvent {
    /// All clients have registered; it took so long.
    AllRegistered(Span),
    /// Measurements begin.
    Measuring,
    /// The end: the statistics, over how long they were taken, and how many clients were registered.
    Finished(Box<LoadStatistics>, Span, usize),
}
