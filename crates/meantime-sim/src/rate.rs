//! How fast the cluster's time runs, compared with its members' oscillators.
//!
//! Over windows of an hour, from differences of phase: the median of the good clocks against true
//! time, minus the fault-tolerant mean of the good members' oscillators against true time. The mean is
//! the winsorised one that the rate's anchor is to keep at zero: what is farther than 25 ppm from the
//! median counts as that far.

use meantime_core::time::{Frequency, Span};

/// Compares the cluster's rate with its members'.
#[derive(Clone, Debug, Default)]
pub struct RateMeter {
    begun: Option<WindowStart>,
    windows: u64,
    squares: f64,
    largest: f64,
}

/// Phases at the beginning of a window, in seconds off the truth.
#[derive(Clone, Debug)]
struct WindowStart {
    at: Span,
    cluster: Span,
    oscillators: Vec<Option<Span>>,
}

impl RateMeter {
    /// Takes one look: how far the cluster's time and each good member's oscillator are off the truth.
    pub fn look(&mut self, at: Span, cluster: Span, oscillators: &[Option<Span>]) {
        let Some(begun) = &self.begun else { return self.begin(at, cluster, oscillators) };
        let length = at - begun.at;
        if length < WINDOW {
            return;
        }
        let rate = |now: Span, then: Span| (now - then).as_secs_f64() / length.as_secs_f64();
        let pairs = begun.oscillators.iter().zip(oscillators);
        let mut rates: Vec<f64> = pairs
            .filter_map(|(then, now)| Some(rate((*now)?, (*then)?)))
            .filter(|r| r.abs() < JUMPED)
            .collect();
        let error = rate(cluster, begun.cluster) - winsorised_mean(&mut rates);
        if error.abs() < JUMPED {
            self.windows += 1;
            self.squares += error * error;
            self.largest = self.largest.max(error.abs());
        }
        self.begin(at, cluster, oscillators);
    }

    /// The RMS of the rate error over the windows; `None` before the first is over.
    pub fn rms(&self) -> Option<Frequency> {
        let mean = self.squares / self.windows as f64;
        (self.windows > 0).then(|| Frequency::from_ratio(mean.sqrt()))
    }

    /// The largest rate error of a window, without its sign.
    pub fn largest(&self) -> Frequency {
        Frequency::from_ratio(self.largest)
    }

    /// Forgets the window that has begun: a phase has jumped.
    pub fn interrupt(&mut self) {
        self.begun = None;
    }

    fn begin(&mut self, at: Span, cluster: Span, oscillators: &[Option<Span>]) {
        self.begun = Some(WindowStart { at, cluster, oscillators: oscillators.to_vec() });
    }
}

/// The mean of values, those far from the median moved to 25 ppm from it; 0 for none.
fn winsorised_mean(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = (values[middle] + values[(values.len() - 1) / 2]) / 2.0;
    let total: f64 = values.iter().map(|value| value.clamp(median - REACH, median + REACH)).sum();
    total / values.len() as f64
}

/// Long against the anchor's time constant of five minutes, within which the cluster's rate has to follow the
/// server's oscillator: over ten minutes even an all-knowing anchor would be off by 9 ppb at a wander of
/// 1e-9.
const WINDOW: Span = Span::from_secs(3_600);
/// The reach of the winsorised mean: see research on the anchor, 25 ppm.
const REACH: f64 = 25e-6;
/// No oscillator is so far off: a phase has jumped.
const JUMPED: f64 = 1e-3;

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(cluster_ppb: i64, oscillators_ppb: [i64; 3]) -> RateMeter {
        let mut meter = RateMeter::default();
        for second in (0..36_001).step_by(60) {
            let off = |ppb: i64| Span::from_nanos(ppb * second);
            let oscillators = oscillators_ppb.map(|ppb| Some(off(ppb)));
            meter.look(Span::from_secs(second), off(cluster_ppb), &oscillators);
        }
        meter
    }

    #[test]
    fn a_cluster_at_its_members_mean_rate_has_no_error() {
        let error = meter(2_000, [-10_000, 5_000, 11_000]).rms().unwrap();
        assert!(error.ppb() < 0.01, "{error:?}");
    }

    #[test]
    fn a_cluster_that_follows_one_member_is_seen() {
        let meter = meter(-10_000, [-10_000, 5_000, 11_000]);
        assert!((meter.rms().unwrap().ppb() - 12_000.0).abs() < 1.0);
        assert!((meter.largest().ppb() - 12_000.0).abs() < 1.0);
    }

    #[test]
    fn one_wild_oscillator_counts_for_25_ppm_only() {
        let error = meter(0, [0, 0, 600_000]).rms().unwrap();
        assert!((error.ppb() - 25_000.0 / 3.0).abs() < 1.0, "{error:?}");
    }
}
