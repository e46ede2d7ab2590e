//! What nodes say of their own errors, held against the truth.
//!
//! A client states one standard deviation of its distance from the cluster's time. Over many looks at many
//! clients the distance divided by what was stated should have a root mean square of 1, and be within 1 for
//! 68 of a hundred looks: a larger ratio is too bold, a smaller one too cautious. The cluster's time is what
//! the active server publishes, while it carries that time: only then does it state a bound.

use super::Sample;
use super::sample::ClockSample;
use meantime_core::time::Span;

/// How honest the stated errors and bounds were.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calibration {
    looks: u64,
    squares: f64,
    within: u64,
    violations: u64,
}

impl Calibration {
    /// Compares each good client's error with what it states of it.
    pub fn look_at_errors(&mut self, sample: &Sample) {
        let carries = |clock: &&ClockSample| clock.active && !clock.lies && clock.bound.is_some();
        let mut carriers = sample.clocks.iter().flatten().filter(carries);
        // In the parts of a network that was cut in two there are two times.
        let (Some(cluster), None) = (carriers.next(), carriers.next()) else { return };
        for clock in sample.clocks.iter().flatten().filter(|clock| !clock.active && !clock.lies) {
            if let Some(stated) = clock.error {
                self.add(clock.off - cluster.off, stated);
            }
        }
    }

    /// Counts the moments at which two good clocks of one cluster are farther apart than the bounds that they
    /// state.
    pub fn look_at_bounds(&mut self, sample: &Sample) {
        self.violations += u64::from(sample.beyond_bounds() > Some(Span::ZERO));
    }

    /// Root of the mean square of a client's error over the error it states; `None` if nothing was stated.
    pub fn ratio_rms(&self) -> Option<f64> {
        (self.looks > 0).then(|| (self.squares / self.looks as f64).sqrt())
    }

    /// The share of looks at which a client's error was within the one it states, 0 to 1; `None` if nothing
    /// was stated.
    pub fn within_share(&self) -> Option<f64> {
        (self.looks > 0).then(|| self.within as f64 / self.looks as f64)
    }

    /// At how many looks two good clocks were farther apart than they guarantee. Should be 0.
    pub fn bound_violations(&self) -> u64 {
        self.violations
    }

    fn add(&mut self, error: Span, stated: Span) {
        let ratio = error.as_nanos() as f64 / stated.max(MIN).as_nanos() as f64;
        self.looks += 1;
        self.squares += ratio * ratio;
        self.within += u64::from(ratio.abs() <= 1.0);
    }
}

/// Errors are stated in whole nanoseconds: one of zero says as much as one of 1 ns.
const MIN: Span = Span::from_nanos(1);

#[cfg(test)]
mod tests {
    use super::*;
    use meantime_core::wire::{ClientState, ClusterId};

    fn standing(off_ns: i64, error_ns: Option<i64>, bound_ns: Option<i64>) -> Option<ClockSample> {
        Some(ClockSample {
            off: Span::from_nanos(off_ns),
            raw_off: Span::ZERO,
            state: ClientState::Synchronized,
            error: error_ns.map(Span::from_nanos),
            bound: bound_ns.map(Span::from_nanos),
            cluster: ClusterId(1),
            active: false,
            lies: false,
        })
    }

    fn seen(clocks: Vec<Option<ClockSample>>) -> Calibration {
        let mut sample = Sample::default();
        sample.clocks = clocks;
        let mut calibration = Calibration::default();
        calibration.look_at_errors(&sample);
        calibration.look_at_bounds(&sample);
        calibration
    }

    /// Where a server's clock is that carries the cluster's time: nowhere near the truth.
    const SERVER: i64 = 1_000_000;

    fn server() -> Option<ClockSample> {
        active(standing(SERVER, Some(0), Some(0)))
    }

    fn active(clock: Option<ClockSample>) -> Option<ClockSample> {
        clock.map(|clock| ClockSample { active: true, ..clock })
    }

    #[test]
    fn a_clients_error_is_its_distance_from_the_servers_time() {
        let clients = [standing(SERVER + 300, Some(100), None), standing(SERVER - 100, Some(100), None)];
        let calibration = seen(vec![server(), clients[0], clients[1]]);
        // 3 and 1 sigma: the root of (9 + 1)/2.
        assert!((calibration.ratio_rms().unwrap() - 5.0_f64.sqrt()).abs() < 1e-9);
        assert_eq!(calibration.within_share(), Some(0.5));
    }

    #[test]
    fn who_states_no_error_or_lies_or_has_not_one_servers_time_to_follow_is_not_judged() {
        let client = standing(SERVER + 300, Some(100), None);
        let mut liar = client;
        liar.as_mut().unwrap().lies = true;
        let calibration = seen(vec![server(), None, standing(SERVER + 300, None, None), liar]);
        assert_eq!((calibration.ratio_rms(), calibration.within_share()), (None, None));
        assert_eq!(seen(vec![None, client]).ratio_rms(), None);
        assert_eq!(seen(vec![active(standing(SERVER, Some(0), None)), client]).ratio_rms(), None);
        assert_eq!(seen(vec![server(), client, server()]).ratio_rms(), None, "two times");
    }

    #[test]
    fn an_error_of_zero_counts_as_a_nanosecond() {
        let calibration = seen(vec![server(), standing(SERVER + 2, Some(0), None)]);
        assert_eq!(calibration.ratio_rms(), Some(2.0));
    }

    #[test]
    fn clocks_farther_apart_than_they_guarantee_are_counted() {
        assert_eq!(seen(vec![server(), standing(SERVER + 300, None, Some(300))]).bound_violations(), 0);
        assert_eq!(seen(vec![server(), standing(SERVER + 300, None, Some(299))]).bound_violations(), 1);
        assert_eq!(seen(vec![server(), standing(SERVER + 300, None, None)]).bound_violations(), 0);
    }

    #[test]
    fn a_bound_says_nothing_of_another_clusters_time() {
        let [one, two] = [0, 1_000].map(|off| standing(off, None, Some(1)));
        let elsewhere =
            |clock: Option<ClockSample>| clock.map(|clock| ClockSample { cluster: ClusterId(2), ..clock });
        assert_eq!(seen(vec![one, two]).bound_violations(), 1);
        assert_eq!(seen(vec![one, elsewhere(two)]).bound_violations(), 0);
        assert_eq!(seen(vec![one, elsewhere(one), elsewhere(two)]).bound_violations(), 1);
    }
}
