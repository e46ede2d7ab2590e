//! All clocks at one moment of true time, as they really are.
//!
//! Nothing here rests on what nodes report, except whether they have cluster time.

use std::collections::BTreeMap;

use super::MemberIndex;
use super::spread::Spread;
use meantime_core::time::Span;
use meantime_core::wire::{ClientState, ClusterId};

/// All clocks at one moment. A *good* clock is one that runs and does not lie.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When, in true time.
    pub at: Span,
    /// Each member's clock, in the order of their places; `None`: its process does not run, or its machine is
    /// suspended.
    pub clocks: Vec<Option<ClockSample>>,
    /// How many of the members are servers; 0 counts as one.
    pub servers: usize,
    scratch: Vec<Span>,
}

/// One clock at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockSample {
    /// What it shows minus true time.
    pub off: Span,
    /// What its oscillator shows minus true time.
    pub raw_off: Span,
    /// What its node says of it.
    pub state: ClientState,
    /// What its node says of its error.
    pub error: Option<Span>,
    /// The farthest that its clock can be from the cluster's time, by its node's word.
    pub bound: Option<Span>,
    /// Which cluster's time that is.
    pub cluster: ClusterId,
    /// Whether it is that of an active server.
    pub active: bool,
    /// Whether it tells lies.
    pub lies: bool,
}

impl Sample {
    /// How many of the members are clients.
    pub fn clients(&self) -> usize {
        self.clocks.len().saturating_sub(self.servers.max(1))
    }

    /// A member's clock; `None`: its process does not run, or there is no such member.
    pub fn clock(&self, member: MemberIndex) -> Option<&ClockSample> {
        self.clocks.get(member.place(self.clients()))?.as_ref()
    }

    /// All members, in the order of their places, each with its clock if its process runs.
    pub fn members(&self) -> impl Iterator<Item = (MemberIndex, Option<&ClockSample>)> {
        let (clients, servers) = (self.clients(), self.servers);
        let clocks = self.clocks.iter().enumerate();
        clocks.map(move |(place, clock)| (MemberIndex::at(place, clients, servers), clock.as_ref()))
    }

    /// The good clocks, synchronized or not: who, and how far off the truth.
    pub fn good(&self) -> impl Iterator<Item = (MemberIndex, Span)> {
        self.good_clocks().map(|(member, clock)| (member, clock.off))
    }

    /// The good clocks that say that they have the cluster's time.
    pub fn synchronized(&self) -> impl Iterator<Item = (MemberIndex, Span)> {
        let synchronized = self.good_clocks().filter(|(_, clock)| clock.state.has_cluster_time());
        synchronized.map(|(member, clock)| (member, clock.off))
    }

    fn good_clocks(&self) -> impl Iterator<Item = (MemberIndex, &ClockSample)> {
        let running = self.members().filter_map(|(member, clock)| Some((member, clock?)));
        running.filter(|(_, clock)| !clock.lies)
    }

    /// The cluster's time minus the truth: the median of the synchronized good clocks.
    pub fn cluster(&mut self) -> Option<Span> {
        let mut offs = std::mem::take(&mut self.scratch);
        offs.clear();
        offs.extend(self.synchronized().map(|(_, off)| off));
        let median = median(&mut offs);
        self.scratch = offs;
        median
    }

    /// The median of the good clocks, synchronized or not, minus the truth.
    pub fn median(&self) -> Option<Span> {
        let mut offs: Vec<Span> = self.good().map(|(_, off)| off).collect();
        median(&mut offs)
    }

    /// The distance between the two good clocks that are farthest apart; `None` with fewer than two.
    pub fn disagreement(&self) -> Option<Span> {
        Spread::of(self.good().map(|(_, off)| off)).map(|spread| spread.max)
    }

    /// By how much any two good clocks of one cluster that state bounds are farther apart than those allow;
    /// negative: how much they are closer.
    pub fn beyond_bounds(&self) -> Option<Span> {
        self.beyond_bounds_among(|_| true)
    }

    /// The same, of these members only.
    pub fn beyond_bounds_among(&self, whose: impl Fn(MemberIndex) -> bool) -> Option<Span> {
        // From where each clock says its cluster's time is at least to where another says it is at most.
        let mut clusters: BTreeMap<ClusterId, (Span, Span)> = BTreeMap::new();
        for (_, clock) in self.good_clocks().filter(|(member, _)| whose(*member)) {
            let Some(bound) = clock.bound else { continue };
            let (least, most) = (clock.off - bound, clock.off + bound);
            let stated = clusters.entry(clock.cluster).or_insert((least, most));
            *stated = (stated.0.max(least), stated.1.min(most));
        }
        clusters.values().map(|(least, most)| *least - *most).max()
    }

    /// The largest distance of any of these clocks from the median of the others among them.
    pub fn worst(&self, whose: impl Fn(MemberIndex) -> bool) -> Option<Span> {
        let mut offs: Vec<Span> =
            self.synchronized().filter(|(member, _)| whose(*member)).map(|(_, off)| off).collect();
        let median = median(&mut offs)?;
        offs.iter().map(|off| (*off - median).abs()).max()
    }
}

fn median(values: &mut [Span]) -> Option<Span> {
    values.sort_unstable();
    let low = *values.get(values.len().checked_sub(1)? / 2)?;
    let high = values[values.len() / 2];
    Some(low + (high - low).half())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn us(us: i64) -> Span {
        Span::from_micros(us)
    }

    /// A sample of synchronized clocks that are off the truth by so many microseconds.
    pub(crate) fn sample(at: i64, offs: &[i64]) -> Sample {
        let clock = |off: &i64| {
            let (off, raw_off, error) = (us(*off), Span::ZERO, None);
            let state = ClientState::Synchronized;
            let (bound, cluster, active, lies) = (None, ClusterId(1), false, false);
            Some(ClockSample { off, raw_off, state, error, bound, cluster, active, lies })
        };
        Sample { at: Span::from_secs(at), clocks: offs.iter().map(clock).collect(), ..Sample::default() }
    }

    #[test]
    fn liars_and_the_dead_are_not_measured() {
        let mut sample = sample(1, &[0, 10, 1_000_000, 77]);
        sample.clocks[2].as_mut().unwrap().lies = true;
        sample.clocks[3] = None;
        assert_eq!(sample.disagreement(), Some(us(10)));
        assert_eq!(sample.cluster(), Some(us(5)));
    }

    #[test]
    fn the_worst_clock_is_measured_from_the_median_of_those_asked_for() {
        let sample = sample(1, &[-900, 0, 1, 2, 30]);
        assert_eq!(sample.worst(|member| member != MemberIndex::SERVER), Some(Span::from_nanos(28_500)));
        assert_eq!(sample.worst(|_| true), Some(us(901)));
    }
}
