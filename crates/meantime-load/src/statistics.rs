//! What a load generator finds out about its server.
//!
//! The load generator knows each client's oscillator, so it knows what each clock showed against the host's
//! oscillator when a report was made. With the server's word on that clock added, that is the cluster's time
//! at that moment as the server has reported it to this client:
//!
//! ```text
//! k = shown + correction − host
//! ```
//!
//! If all corrections were exact, the k of a round lay on one line over the host's oscillator, the cluster's
//! time. How far they scatter about that line, fitted by least squares, is the error of the corrections; what
//! all have in common cannot be seen. The readings themselves, shown − host, scatter by what the clocks
//! disagree.

use std::collections::BTreeMap;

use meantime_core::time::{Monotonic, Raw, Span};

/// Sums for a line through points, and the scatter about it.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Line {
    fn add(&mut self, x: f64, y: f64) {
        self.n += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
        self.yy += y * y;
    }

    /// The sum of the squares of the distances from the best line, and how many degrees of freedom are in it.
    fn residual(&self) -> Option<(f64, f64)> {
        let free = self.n - 2.0;
        let (sxx, sxy) = (self.xx - self.x * self.x / self.n, self.xy - self.x * self.y / self.n);
        let syy = self.yy - self.y * self.y / self.n;
        let explained = if sxx > 0.0 { sxy * sxy / sxx } else { 0.0 };
        (free >= 1.0).then(|| ((syy - explained).max(0.0), free))
    }
}

/// A round as the load generator sees it.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// Values are kept relative to the first, so that doubles carry them.
    base: Option<(Raw, Span, Span)>,
    corrected: Line,
    clocks: Line,
}

/// All that was measured.
#[derive(Clone, Debug, Default)]
pub struct LoadStatistics {
    /// Since when measurements count.
    pub since: Option<Monotonic>,
    /// Probes answered, and heartbeats acknowledged.
    pub exchanges: u64,
    /// Probes that did not arrive.
    pub lost_probes: u64,
    /// Reports that, by the server's own word, were not heard when their burst was over: lost, or too late.
    pub lost_reports: u64,
    /// Reports of bursts of which the server never said anything: none was heard, or the Correction was lost,
    /// or the server sent no corrections in that round.
    pub unconfirmed_reports: u64,
    /// Heartbeats that were not acknowledged in time.
    pub lost_heartbeats: u64,
    /// Corrections that came.
    pub corrections: u64,
    rounds: BTreeMap<u32, Round>,
    corrected: (f64, f64),
    clocks: (f64, f64),
    newest: Option<(u32, Monotonic)>,
    periods: Vec<Span>,
    counted: u32,
}

impl LoadStatistics {
    /// Begins to count; what was before is forgotten.
    pub fn begin(&mut self, now: Monotonic) {
        *self = LoadStatistics { since: Some(now), ..LoadStatistics::default() };
    }

    /// Counts something, once measurements count.
    pub fn count(&mut self, what: fn(&mut LoadStatistics) -> &mut u64, by: u64) {
        if self.since.is_some() {
            *what(self) += by;
        }
    }

    /// A probe of this round has come.
    pub fn probed(&mut self, now: Monotonic, round: u32) {
        if self.since.is_none() || self.newest.is_some_and(|(newest, _)| round <= newest) {
            return;
        }
        if let Some((_, before)) =
            self.newest.replace((round, now)).filter(|_| self.periods.len() < MAX_ROUNDS)
        {
            self.periods.push(now - before);
        }
    }

    /// In this round a client that showed `clock` more than the host's oscillator at `host` got the
    /// correction `correction`; if it is `settled`, its clock should have agreed.
    pub fn corrected(&mut self, round: u32, host: Raw, clock: Span, correction: Span, settled: bool) {
        if self.since.is_none() {
            return;
        }
        self.corrections += 1;
        let corrected = clock + correction;
        let kept = self.rounds.entry(round).or_default();
        let (first, corrected_base, clock_base) = *kept.base.get_or_insert((host, corrected, clock));
        let x = (host - first).as_secs_f64();
        kept.corrected.add(x, (corrected - corrected_base).as_nanos() as f64);
        if settled {
            kept.clocks.add(x, (clock - clock_base).as_nanos() as f64);
        }
        while self.rounds.len() > OPEN_ROUNDS {
            let Some((_, over)) = self.rounds.pop_first() else { break };
            self.conclude(&over);
        }
    }

    /// No more corrections will come.
    pub fn finish(&mut self) {
        while let Some((_, over)) = self.rounds.pop_first() {
            self.conclude(&over);
        }
        self.periods.sort_unstable();
    }

    fn conclude(&mut self, round: &Round) {
        for (sum, line) in [(&mut self.corrected, &round.corrected), (&mut self.clocks, &round.clocks)] {
            if let Some((squares, free)) = line.residual() {
                (sum.0, sum.1) = (sum.0 + squares, sum.1 + free);
            }
        }
        self.counted += u32::from(round.corrected.residual().is_some());
    }

    /// How many rounds there were of which something could be said.
    pub fn rounds(&self) -> u32 {
        self.counted
    }

    /// The error of the corrections, root mean square, in nanoseconds.
    pub fn correction_error_ns(&self) -> Option<f64> {
        root_mean(self.corrected)
    }

    /// How far the clocks scatter, root mean square, in nanoseconds.
    pub fn disagreement_ns(&self) -> Option<f64> {
        root_mean(self.clocks)
    }

    /// A quantile of the rounds' periods, once finished.
    pub fn period(&self, quantile: f64) -> Option<Span> {
        let last = self.periods.len().checked_sub(1)?;
        self.periods.get((last as f64 * quantile).round() as usize).copied()
    }
}

fn root_mean((squares, free): (f64, f64)) -> Option<f64> {
    (free > 0.0).then(|| (squares / free).sqrt())
}

/// Corrections of a round come within the next but one.
const OPEN_ROUNDS: usize = 3;
/// Of so many rounds the periods are kept: two months of them.
const MAX_ROUNDS: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_runs_fast_is_no_error_and_what_scatters_about_it_is() {
        let mut measure = LoadStatistics::default();
        measure.begin(Monotonic::default());
        let start = Raw::from_nanos(1_800_000_000_000_000_000);
        for round in 1..=20 {
            for client in 0..1_000 {
                let at = Span::from_micros(3_000).times(client);
                let cluster = Span::from_secs(-7) + Span::from_nanos(at.as_nanos() / 1_000_000 * 50);
                let clock = Span::from_nanos(1_000_000 * (client % 17));
                let noise = Span::from_nanos(if client % 2 == 0 { 100 } else { -100 });
                measure.corrected(round, start + at, clock, cluster + noise - clock, true);
            }
        }
        measure.finish();
        let error = measure.correction_error_ns().unwrap();
        assert!((99.0..102.0).contains(&error), "{error}");
        assert!(measure.disagreement_ns().unwrap() > 1e6);
        assert_eq!((measure.rounds(), measure.corrections), (20, 20_000));
    }

    #[test]
    fn periods_are_those_from_one_round_to_the_next() {
        let mut measure = LoadStatistics::default();
        let at = |ms| Monotonic::default() + Span::from_millis(ms);
        measure.probed(at(0), 7);
        measure.begin(at(1));
        for (ms, round) in [(5_000, 8), (5_001, 8), (10_004, 9), (10_300, 8), (15_000, 10)] {
            measure.probed(at(ms), round);
        }
        measure.finish();
        assert_eq!(measure.period(1.0), Some(Span::from_millis(5_004)));
        assert_eq!(measure.period(0.0), Some(Span::from_millis(4_996)));
    }
}
