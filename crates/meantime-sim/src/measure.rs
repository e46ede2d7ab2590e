//! The truth about a run: how far the clocks really are apart.
//!
//! The simulator knows true time, so nothing here rests on what nodes say of themselves, except who
//! has the cluster's time at all. A *good* clock is one that runs and does not lie.

use std::collections::BTreeMap;

use super::honesty::Honesty;
use super::rate::RateMeter;
use super::{Happening, Member, NodeEvent};
use meantime_core::ServerEvent;
use meantime_core::event::{Exclusion, Falseticker, Outcome, Voter};
use meantime_core::time::{Frequency, Span};
use meantime_core::wire::{ClientState, ClusterId};

/// All clocks at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When, in true time.
    pub at: Span,
    /// Each member's clock, the server's first; `None`: its process does not run.
    pub clocks: Vec<Option<Standing>>,
    scratch: Vec<Span>,
}

/// One clock at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
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
    /// Whether it tells lies to the server.
    pub lies: bool,
}

impl Sample {
    /// The good clocks, synchronized or not: who, and how far off the truth.
    pub fn good(&self) -> impl Iterator<Item = (Member, Span)> {
        let running = self.clocks.iter().enumerate().filter_map(|(i, clock)| Some((Member(i), (*clock)?)));
        running.filter(|(_, clock)| !clock.lies).map(|(member, clock)| (member, clock.off))
    }

    /// The good clocks that say that they have the cluster's time.
    pub fn synchronized(&self) -> impl Iterator<Item = (Member, Span)> {
        self.good().filter(|(member, _)| {
            self.clocks[member.index()].is_some_and(|clock| clock.state.has_cluster_time())
        })
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
        // From where each clock says its cluster's time is at least to where another says it is at most.
        let mut clusters: BTreeMap<ClusterId, (Span, Span)> = BTreeMap::new();
        for clock in self.clocks.iter().flatten().filter(|clock| !clock.lies) {
            let Some(bound) = clock.bound else { continue };
            let (least, most) = (clock.off - bound, clock.off + bound);
            let stated = clusters.entry(clock.cluster).or_insert((least, most));
            *stated = (stated.0.max(least), stated.1.min(most));
        }
        clusters.values().map(|(least, most)| *least - *most).max()
    }

    /// The largest distance of any of these clocks from the median of the others among them.
    pub fn worst(&self, whose: impl Fn(Member) -> bool) -> Option<Span> {
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

/// How far clocks are apart, over all pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// The mean of the squared distances of all pairs, in ns².
    pub mean_square: f64,
    /// The largest distance.
    pub max: Span,
}

impl Spread {
    /// Of clocks at one moment; `None` with fewer than two. Over n clocks the sum of (xᵢ − xⱼ)² over all
    /// pairs is n·Σx² − (Σx)², the x taken from the first so that they are small.
    pub fn of(offs: impl IntoIterator<Item = Span>) -> Option<Spread> {
        let mut offs = offs.into_iter();
        let first = offs.next()?;
        let (mut low, mut high) = (first, first);
        let (mut n, mut sum, mut squares) = (1.0, 0.0, 0.0);
        for off in offs {
            let x = (off - first).as_nanos() as f64;
            (n, sum, squares) = (n + 1.0, sum + x, squares + x * x);
            (low, high) = (low.min(off), high.max(off));
        }
        let pairs = n * (n - 1.0) / 2.0;
        let mean_square = ((n * squares - sum * sum) / pairs).max(0.0);
        (n > 1.0).then_some(Spread { mean_square, max: high - low })
    }
}

/// Spreads over many moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spreads {
    count: u64,
    squares: f64,
    max: Span,
}

impl Spreads {
    /// Adds one moment's.
    pub fn add(&mut self, spread: Spread) {
        self.count += 1;
        self.squares += spread.mean_square;
        self.max = self.max.max(spread.max);
    }

    /// Root of the mean square over all pairs and moments; `None` without any.
    pub fn rms(&self) -> Option<Span> {
        let mean = self.squares / self.count as f64;
        (self.count > 0).then(|| Span::from_nanos(mean.sqrt().round() as i64))
    }

    /// The largest distance at any moment; `None` without any.
    pub fn max(&self) -> Option<Span> {
        (self.count > 0).then_some(self.max)
    }
}

/// Since when all have been closer than a limit.
#[derive(Clone, Copy, Debug)]
struct Agreement {
    limit: Span,
    since: Option<Span>,
}

impl Agreement {
    fn look(&mut self, at: Span, disagreement: Span) {
        if disagreement > self.limit {
            self.since = None;
        } else {
            self.since.get_or_insert(at);
        }
    }
}

/// One minute after the other, until there is one in which the RMS of all pairs was within 10 µs.
#[derive(Clone, Copy, Debug, Default)]
struct Minutes {
    begun: Span,
    spreads: Spreads,
    calm: Option<Span>,
}

impl Minutes {
    fn look(&mut self, at: Span, spread: Spread) {
        self.spreads.add(spread);
        if at - self.begun < MINUTE {
            return;
        }
        if self.calm.is_none() && self.spreads.rms() <= Some(CALM) {
            self.calm = Some(at);
        }
        (self.begun, self.spreads) = (at, Spreads::default());
    }
}

/// A member that the vote left out for one reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Excluded {
    /// Who: `server`, or the client's name.
    pub name: String,
    /// Why.
    pub reason: Exclusion,
    /// How often it was told.
    pub times: u64,
    /// When it was told first, in true time.
    pub first: Span,
    /// Its distance from the vote's median that first time.
    pub offset: Span,
}

/// How rounds ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rounds {
    /// All that ended.
    pub ended: u64,
    /// In agreement.
    pub agreed: u64,
    /// Without a majority.
    pub unsure: u64,
    /// With the server's clock in doubt.
    pub in_doubt: u64,
}

/// What a run has shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The seed.
    pub seed: u64,
    /// Disagreement of the good clocks after the time to settle.
    pub spreads: Spreads,
    /// Since when all good clocks have been within 1 ms, 100 µs and 10 µs of one another.
    pub agreed: [Option<Span>; 3],
    /// When the first whole minute was over in which the RMS of all pairs was within 10 µs.
    pub calm: Option<Span>,
    /// What nodes stated of their errors after the time to settle, and of their bounds at any time.
    pub honesty: Honesty,
    /// RMS of the cluster's rate minus its members' mean rate, after the time to settle.
    pub rate_rms: Option<Frequency>,
    /// The largest of that.
    pub rate_max: Frequency,
    /// How rounds ended.
    pub rounds: Rounds,
    /// Whom the vote left out.
    pub excluded: Vec<Excluded>,
    /// Datagrams sent and received by a client in a second, on average.
    pub packets_per_client_per_s: f64,
    /// A number that differs as soon as two runs differ.
    pub trace: u64,
}

/// The limits of agreement that people ask for.
pub const LIMITS: [Span; 3] = [Span::from_millis(1), Span::from_micros(100), Span::from_micros(10)];
/// A pair's RMS distance that counts as calm.
const CALM: Span = Span::from_micros(10);
/// Over so much time it is taken.
const MINUTE: Span = Span::from_secs(60);

/// Keeps the truth about a run as it goes on.
#[derive(Clone, Debug)]
pub struct Measure {
    settle: Span,
    spreads: Spreads,
    agreements: [Agreement; 3],
    minutes: Minutes,
    honesty: Honesty,
    rate: RateMeter,
    rounds: Rounds,
    excluded: BTreeMap<(String, &'static str), Excluded>,
    oscillators: Vec<Option<Span>>,
}

impl Measure {
    /// Sums up disagreement only after `settle`.
    pub fn new(settle: Span) -> Measure {
        Measure {
            settle,
            spreads: Spreads::default(),
            agreements: LIMITS.map(|limit| Agreement { limit, since: None }),
            minutes: Minutes::default(),
            honesty: Honesty::default(),
            rate: RateMeter::default(),
            rounds: Rounds::default(),
            excluded: BTreeMap::new(),
            oscillators: Vec::new(),
        }
    }

    /// Takes a look at all clocks.
    pub fn look(&mut self, sample: &mut Sample) {
        if let Some(spread) = Spread::of(sample.good().map(|(_, off)| off)) {
            for agreement in &mut self.agreements {
                agreement.look(sample.at, spread.max);
            }
            self.minutes.look(sample.at, spread);
            if sample.at >= self.settle {
                self.spreads.add(spread);
            }
        }
        self.honesty.look_at_bounds(sample);
        if sample.at >= self.settle {
            self.honesty.look_at_errors(sample);
        }
        let cluster = sample.cluster();
        if let Some(cluster) = cluster.filter(|_| sample.at >= self.settle) {
            self.oscillators.clear();
            let honest =
                |clock: &Option<Standing>| clock.filter(|clock| !clock.lies).map(|clock| clock.raw_off);
            self.oscillators.extend(sample.clocks.iter().map(honest));
            self.rate.look(sample.at, cluster, &self.oscillators);
        }
    }

    /// Notes what a node told.
    pub fn note(&mut self, happening: &Happening) {
        let NodeEvent::Server(event) = &happening.event else { return };
        match event {
            ServerEvent::RoundEnded(report) => self.rounds.count(report.outcome),
            ServerEvent::Falseticker(falseticker) => self.exclude(happening.at, falseticker),
            _ => {}
        }
    }

    /// What has been shown so far.
    pub fn summary(&self) -> Summary {
        Summary {
            seed: 0,
            spreads: self.spreads,
            agreed: self.agreements.map(|agreement| agreement.since),
            calm: self.minutes.calm,
            honesty: self.honesty,
            rate_rms: self.rate.rms(),
            rate_max: self.rate.largest(),
            rounds: self.rounds,
            excluded: self.excluded.values().cloned().collect(),
            packets_per_client_per_s: 0.0,
            trace: 0,
        }
    }

    fn exclude(&mut self, at: Span, falseticker: &Falseticker) {
        let Falseticker { voter, offset, reason } = *falseticker;
        let name = match voter {
            Voter::Server => "server".to_owned(),
            Voter::Client(peer) => peer.name.to_string(),
        };
        let key = (name.clone(), word(reason));
        let new = || Excluded { name, reason, times: 0, first: at, offset: offset.span() };
        self.excluded.entry(key).or_insert_with(new).times += 1;
    }
}

impl Rounds {
    fn count(&mut self, outcome: Outcome) {
        self.ended += 1;
        match outcome {
            Outcome::Agreed => self.agreed += 1,
            Outcome::Unsure => self.unsure += 1,
            Outcome::ServerInDoubt => self.in_doubt += 1,
            Outcome::Listening | Outcome::Following => {}
        }
    }
}

/// The reason for an exclusion in one word, for programs.
pub fn word(reason: Exclusion) -> &'static str {
    match reason {
        Exclusion::OutsideWindow => "outside_window",
        Exclusion::BeforePlausible => "before_plausible",
        Exclusion::AfterPlausible => "after_plausible",
        Exclusion::Removed => "removed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(us: i64) -> Span {
        Span::from_micros(us)
    }

    fn sample(at: i64, offs: &[i64]) -> Sample {
        let clock = |off: &i64| {
            let (off, raw_off, error) = (us(*off), Span::ZERO, None);
            let state = ClientState::Synchronized;
            Some(Standing { off, raw_off, state, error, bound: None, cluster: ClusterId(1), lies: false })
        };
        Sample { at: Span::from_secs(at), clocks: offs.iter().map(clock).collect(), scratch: Vec::new() }
    }

    #[test]
    fn the_spread_is_that_of_all_pairs() {
        // Pairs: 3, 4 and 1 µs apart.
        let spread = Spread::of([us(1_000_000), us(1_000_003), us(1_000_004)]).unwrap();
        assert!((spread.mean_square - (9.0 + 16.0 + 1.0) / 3.0 * 1e6).abs() < 1.0);
        assert_eq!(spread.max, us(4));
        assert_eq!(Spread::of([us(7)]), None);
    }

    #[test]
    fn a_cluster_that_disagrees_is_seen() {
        let mut measure = Measure::new(Span::ZERO);
        measure.look(&mut sample(1, &[0, 1, 2]));
        measure.look(&mut sample(2, &[0, 1, 500]));
        measure.look(&mut sample(3, &[0, 1, 2]));
        let summary = measure.summary();
        let s = Span::from_secs;
        assert_eq!(summary.agreed, [Some(s(1)), Some(s(3)), Some(s(3))]);
        assert_eq!(summary.spreads.max(), Some(us(500)));
        assert!(summary.spreads.rms() > Some(us(200)));
    }

    #[test]
    fn agreement_that_does_not_last_to_the_end_is_none() {
        let mut measure = Measure::new(Span::ZERO);
        measure.look(&mut sample(1, &[0, 1]));
        measure.look(&mut sample(2, &[0, 2_000]));
        assert_eq!(measure.summary().agreed, [None; 3]);
    }

    #[test]
    fn the_first_calm_minute_is_found_though_single_looks_are_farther_apart() {
        let mut measure = Measure::new(Span::ZERO);
        for at in 1..=300 {
            let apart = if at <= 150 { 1_000 } else { 7 + i64::from(at % 10 == 0) * 10 };
            measure.look(&mut sample(at, &[0, apart]));
        }
        assert_eq!(measure.summary().calm, Some(Span::from_secs(240)));
        assert_eq!(measure.summary().agreed[2], None);
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
        assert_eq!(sample.worst(|member| member != Member::SERVER), Some(Span::from_nanos(28_500)));
        assert_eq!(sample.worst(|_| true), Some(us(901)));
    }
}
