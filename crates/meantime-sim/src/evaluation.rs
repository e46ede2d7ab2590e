//! The evaluation of a run against the truth, as it goes on: from samples and events to a [`Summary`].

use std::collections::BTreeMap;

use super::calibration::Calibration;
use super::rate::RateMeter;
use super::sample::{ClockSample, Sample};
use super::spread::{Spread, Spreads};
use super::summary::{Excluded, FromUtc, Rounds, Summary, word};
use super::{MemberIndex, ReportedEvent};
use meantime_core::ServerEvent;
use meantime_core::event::{Falseticker, Voter};
use meantime_core::time::Span;

/// Evaluates a run as it goes on.
#[derive(Clone, Debug)]
pub struct Evaluation {
    settle: Span,
    spreads: Spreads,
    from_utc: Option<FromUtc>,
    agreements: [WithinLimit; 3],
    minutes: Minutes,
    calibration: Calibration,
    rate: RateMeter,
    rounds: Rounds,
    excluded: BTreeMap<(String, &'static str), Excluded>,
    oscillators: Vec<Option<Span>>,
}

impl Evaluation {
    /// Sums up disagreement only after `settle`.
    pub fn new(settle: Span) -> Evaluation {
        Evaluation {
            settle,
            spreads: Spreads::default(),
            from_utc: None,
            agreements: LIMITS.map(|limit| WithinLimit { limit, since: None }),
            minutes: Minutes::default(),
            calibration: Calibration::default(),
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
        self.calibration.look_at_bounds(sample);
        if sample.at >= self.settle {
            if let Some(last) = sample.synchronized().map(|(_, off)| off.abs()).max() {
                let max = self.from_utc.map_or(last, |before| before.max.max(last));
                self.from_utc = Some(FromUtc { max, last });
            }
            self.calibration.look_at_errors(sample);
        }
        let cluster = sample.cluster();
        if let Some(cluster) = cluster.filter(|_| sample.at >= self.settle) {
            self.oscillators.clear();
            let honest =
                |clock: &Option<ClockSample>| clock.filter(|clock| !clock.lies).map(|clock| clock.raw_off);
            self.oscillators.extend(sample.clocks.iter().map(honest));
            self.rate.look(sample.at, cluster, &self.oscillators);
        }
    }

    /// Takes an event that a node has reported.
    pub fn note(&mut self, happening: &ReportedEvent) {
        let Some(event) = happening.event.of_server() else { return };
        match event {
            ServerEvent::RoundEnded(report) => self.rounds.count(report.outcome),
            ServerEvent::Falseticker(falseticker) => {
                self.exclude(happening.at, happening.member, falseticker);
            }
            _ => {}
        }
    }

    /// What has been shown so far.
    pub fn summary(&self) -> Summary {
        Summary {
            seed: 0,
            spreads: self.spreads,
            from_utc: self.from_utc,
            agreed: self.agreements.map(|agreement| agreement.since),
            calm: self.minutes.calm,
            calibration: self.calibration,
            rate_rms: self.rate.rms(),
            rate_max: self.rate.largest(),
            rounds: self.rounds,
            excluded: self.excluded.values().cloned().collect(),
            packets_per_client_per_s: 0.0,
            trace: 0,
        }
    }

    fn exclude(&mut self, at: Span, server: MemberIndex, falseticker: &Falseticker) {
        let Falseticker { voter, offset, reason } = *falseticker;
        let name = match voter {
            Voter::Server => server.to_string(),
            Voter::Client(peer) => peer.name.to_string(),
        };
        let key = (name.clone(), word(reason));
        let new = || Excluded { name, reason, times: 0, first: at, offset: offset.span() };
        self.excluded.entry(key).or_insert_with(new).times += 1;
    }
}

/// Since when all have been closer than a limit.
#[derive(Clone, Copy, Debug)]
struct WithinLimit {
    limit: Span,
    since: Option<Span>,
}

impl WithinLimit {
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

/// The limits of agreement that people ask for.
pub const LIMITS: [Span; 3] = [Span::from_millis(1), Span::from_micros(100), Span::from_micros(10)];
/// A pair's RMS distance that counts as calm.
const CALM: Span = Span::from_micros(10);
/// Over so much time it is taken.
const MINUTE: Span = Span::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::{sample, us};

    #[test]
    fn a_cluster_that_disagrees_is_seen() {
        let mut evaluation = Evaluation::new(Span::ZERO);
        evaluation.look(&mut sample(1, &[0, 1, 2]));
        evaluation.look(&mut sample(2, &[0, 1, 500]));
        evaluation.look(&mut sample(3, &[0, 1, 2]));
        let summary = evaluation.summary();
        let s = Span::from_secs;
        assert_eq!(summary.agreed, [Some(s(1)), Some(s(3)), Some(s(3))]);
        assert_eq!(summary.spreads.max(), Some(us(500)));
        assert!(summary.spreads.rms() > Some(us(200)));
    }

    #[test]
    fn the_farthest_clock_from_utc_counts_once_the_clocks_have_settled() {
        let mut evaluation = Evaluation::new(Span::from_secs(2));
        for (at, offs) in [(1, [0, -900]), (2, [20, -500]), (3, [0, 30])] {
            evaluation.look(&mut sample(at, &offs));
        }
        assert_eq!(evaluation.summary().from_utc, Some(FromUtc { max: us(500), last: us(30) }));
    }

    #[test]
    fn agreement_that_does_not_last_to_the_end_is_none() {
        let mut evaluation = Evaluation::new(Span::ZERO);
        evaluation.look(&mut sample(1, &[0, 1]));
        evaluation.look(&mut sample(2, &[0, 2_000]));
        assert_eq!(evaluation.summary().agreed, [None; 3]);
    }

    #[test]
    fn the_first_calm_minute_is_found_though_single_looks_are_farther_apart() {
        let mut evaluation = Evaluation::new(Span::ZERO);
        for at in 1..=300 {
            let apart = if at <= 150 { 1_000 } else { 7 + i64::from(at % 10 == 0) * 10 };
            evaluation.look(&mut sample(at, &[0, apart]));
        }
        assert_eq!(evaluation.summary().calm, Some(Span::from_secs(240)));
        assert_eq!(evaluation.summary().agreed[2], None);
    }
}
