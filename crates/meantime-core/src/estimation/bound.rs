//! The guaranteed bound: an interval that contains the cluster's time as long as its assumptions hold.
//!
//! Like the discipline, it works on the node's free-running oscillator: the interval contains the phase x,
//! the cluster's time minus the oscillator's reading. Adjustments of the published clock do not affect it.
//!
//! One exchange proves, whatever the asymmetry of the path, since delays are not negative,
//!
//! ```text
//! t1 ≤ C(t2),  C(t3) ≤ t4      hence      −θ − δ/2 − q ≤ x ≤ −θ + δ/2 + q
//! ```
//!
//! with C the cluster's time and q an allowance for the timestamps ([`STAMP_ALLOWANCE`]). The intervals of
//! all exchanges are intersected. Between exchanges the interval moves with the frequency f that the node
//! uses, and grows on both sides. At a time t after the newest rate command was received, it grows by
//!
//! ```text
//! d(growth)/dt = ρ + s·(T + t)
//! ```
//!
//! * ρ: the cluster's rate over this oscillator differs from f by at most ρ. That is an *assumption*, about
//!   crystals and temperature; see [`Bound::rho`]. Measurements cannot prove it, and neither can an estimate:
//!   delays that an attacker increases slowly look like a wrong frequency of the oscillator. So ρ also
//!   contains what measurements do prove: from the first interval to one a time T later, the rate is known to
//!   within the sum of their widths over T, whatever the delays. ρ includes the largest distance of f from
//!   that range. On an honest path this part is small after some minutes.
//! * s: the server changes the cluster's rate by at most s per second, in steps, one in each round of length
//!   T. It announces each change; s·(T + t) covers the changes that were not received yet. The server's
//!   Corrections say which of two values s has.
//!
//! If the intersection is empty, one of the assumptions was wrong: the oscillator has jumped or changed its
//! frequency, a timestamp was wrong, or the server's clock has jumped. The interval then restarts from that
//! exchange, and the client reports it. The same applies when the interval begins anew for another reason,
//! with a new session for example: what was proved before is kept, grows on, and must meet the next proof.
//!
//! Intersected intervals that grow at the rate of the worst clock in between are due to Marzullo and Owicki,
//! *Maintaining the time in a distributed system* (1983).

use super::exchange::Exchange;
use crate::time::{Frequency, Raw, Span, Timestamp};

/// How fast the server may change the cluster's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SteeringPace {
    /// The rate has never settled.
    Brisk,
    /// The rate has settled.
    Gentle,
}

/// The interval that a node has proved for the cluster's time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    interval: Option<Interval>,
    /// What was proved before the interval began anew. `None`: nothing, or the new interval has met it.
    before: Option<Interval>,
    /// The interval that at least two bursts prove, on either side. `None`: there is none.
    supported: Option<Interval>,
    /// The frequency with which the interval moves: the one that the node's clock has.
    frequency: Frequency,
    /// When the newest rate command was received.
    heard: Raw,
    /// How fast the server may change the cluster's rate.
    steering: SteeringPace,
    /// The length of a round, T.
    round: Span,
    /// The operator's assumption about this oscillator: see [`Bound::rho`].
    drift_allowance: Frequency,
    /// Whether the frequency is known well enough to rely on that.
    locked: bool,
    /// The sum of all changes of the rate command.
    commanded: Frequency,
    /// The first interval since the bound started, moved by the rate commands, and its instant.
    first: Option<(Interval, Raw)>,
    /// The proved range of the cluster's rate over this oscillator, without the rate commands.
    rates: Option<(Frequency, Frequency)>,
}

/// Where the cluster's time was when the oscillator read `at`: from `low` to `high` ahead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    at: Raw,
    low: Span,
    high: Span,
}

impl Interval {
    /// The same at another moment, at this rate.
    fn moved(&self, to: Raw, rate: Frequency) -> Interval {
        let by = rate.over(to - self.at);
        Interval { at: to, low: self.low + by, high: self.high + by }
    }

    /// The same, if all is ahead by so much, which is known to within `reach`.
    fn shifted(&self, by: Span, reach: Span) -> Interval {
        Interval { at: self.at, low: self.low + by - reach, high: self.high + by + reach }
    }
}

/// The effect of an exchange on an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intersection {
    /// There was no interval; it starts here.
    Started,
    /// The interval and the exchange intersect.
    Narrowed,
    /// They do not intersect, by this distance: an assumption was wrong, and the interval restarts.
    Empty(Span),
}

impl Bound {
    /// No interval is proved yet.
    pub fn unknown(raw: Raw, drift_allowance: Frequency) -> Bound {
        Bound {
            interval: None,
            before: None,
            supported: None,
            frequency: Frequency::ZERO,
            heard: raw,
            steering: SteeringPace::Brisk,
            round: Span::ZERO,
            drift_allowance,
            locked: false,
            commanded: Frequency::ZERO,
            first: None,
            rates: None,
        }
    }

    /// ρ: the largest difference between the cluster's true rate over this oscillator and the frequency in
    /// use, whose standard deviation is `error` (`None`: unknown).
    ///
    /// Before the frequency is known: [`TOLERANCE`] plus all of the frequency in use, which may be wrong.
    /// After that: the drift allowance, for changes of temperature, shocks and ageing, plus the larger of six
    /// standard deviations of the estimate and its distance from the proved range; never more than before.
    pub fn rho(&self, error: Option<Frequency>) -> Frequency {
        let learned = error.filter(|_| self.locked);
        let learned =
            learned.map(|error| self.drift_allowance.ratio() + self.unproved().max(SIGMAS * error.ratio()));
        let any = TOLERANCE.ratio() + self.frequency.ratio().abs();
        Frequency::from_ratio(learned.map_or(any, |rho| rho.min(any)))
    }

    /// The distance of the frequency in use from the farther end of the proved range.
    fn unproved(&self) -> f64 {
        let own = (self.frequency - self.commanded).ratio();
        self.rates.map_or(0.0, |(low, high)| (own - low.ratio()).max(high.ratio() - own).max(0.0))
    }

    /// The frequency in use has the standard deviation `error`. Early estimates understate their error, so
    /// they count only once six standard deviations are within the drift allowance.
    pub fn learn(&mut self, error: Frequency) {
        self.locked |= SIGMAS * error.ratio() <= self.drift_allowance.ratio();
    }

    /// The oscillator has changed: its frequency has to be learned again.
    pub fn doubt(&mut self) {
        self.locked = false;
        (self.first, self.rates) = (None, None);
    }

    /// Sets how fast the server may change the cluster's rate, from `raw` on.
    pub fn set_pace(&mut self, raw: Raw, steering: SteeringPace, rho: Frequency) {
        self.advance(raw, rho);
        self.steering = steering;
    }

    /// Discards all that is proved of the phase; the next exchange starts a new interval.
    pub fn forget(&mut self) {
        (self.interval, self.before, self.supported, self.first) = (None, None, None, None);
    }

    /// The next exchange starts a new interval, since it may be about another time. It is compared with what
    /// is proved until now, moved by `shift`: the server's time changes by that although clocks show the
    /// same. The shift is known to within `reach`.
    pub fn begin_anew(&mut self, shift: Span, reach: Span) {
        self.before = self.interval.take().map(|interval| interval.shifted(shift, reach)).or(self.before);
        (self.supported, self.first) = (None, None);
    }

    /// From `raw` on the server's time is that of another scale, ahead of the one before by the first and
    /// faster by the second. The change is known to within `reach`; `None`: not well enough.
    pub fn change_scale(
        &mut self,
        raw: Raw,
        (ahead, faster): (Span, Frequency),
        reach: Option<Span>,
        rho: Frequency,
    ) {
        let Some(reach) = reach else { return self.forget() };
        self.advance(raw, rho);
        (self.supported, self.first) = (None, None);
        let shifted = |interval: Interval| interval.shifted(ahead, reach);
        (self.interval, self.before) = (self.interval.map(shifted), self.before.map(shifted));
        (self.commanded, self.frequency) = (self.commanded + faster, self.frequency + faster);
    }

    /// How fast the interval grows at either end when the oscillator reads `raw`, and how much faster after
    /// each second.
    pub fn growth_at(&self, raw: Raw, rho: Frequency) -> (Frequency, Frequency) {
        let unheard = self.round + (raw - self.heard).max(Span::ZERO);
        let growth = rho.ratio() + self.pace() * unheard.as_secs_f64();
        (Frequency::from_ratio(growth), Frequency::from_ratio(self.pace()))
    }

    /// How far this phase is outside of what is proved, or was proved before the interval began anew, when
    /// the oscillator reads `raw`; zero: it is inside, or nothing is proved.
    pub fn outside(&self, raw: Raw, phase: Span, rho: Frequency) -> Span {
        let proved = self.interval.as_ref().or(self.before.as_ref());
        let proved = proved.map(|interval| self.carried(interval, raw, rho));
        proved.map_or(Span::ZERO, |proved| (proved.low - phase).max(phase - proved.high).max(Span::ZERO))
    }

    /// A rate command was received at `raw`, changed by `change`, from a server with rounds of length
    /// `round`. The clock, and with it the interval, follows that change.
    pub fn steer(&mut self, raw: Raw, change: Frequency, round: Span, rho: Frequency) {
        self.advance(raw, rho);
        self.first = self.first.map(|(first, began)| (first.moved(raw, self.commanded), began));
        self.commanded = self.commanded + change;
        self.frequency = self.frequency + change;
        (self.heard, self.round) = (raw, round);
    }

    /// From `raw` on the clock runs at `frequency`; `rho` belongs to the frequency before.
    pub fn set_frequency(&mut self, raw: Raw, frequency: Frequency, rho: Frequency) {
        self.advance(raw, rho);
        self.frequency = frequency;
    }

    /// Intersects with the exchanges of a burst; returns the largest distance of one that did not intersect.
    pub fn prove_burst(
        &mut self,
        exchanges: impl Iterator<Item = Exchange<Timestamp, Raw>>,
        rho: Frequency,
    ) -> Option<Span> {
        let (before, mut alone) = (self.interval, Bound { interval: None, ..*self });
        let mut broken = None;
        for exchange in exchanges {
            alone.prove(&exchange, rho);
            if let Intersection::Empty(gap) = self.prove(&exchange, rho) {
                broken = broken.max(Some(gap));
            }
        }
        let Some((burst, both)) = alone.interval.zip(self.interval) else { return broken };
        let met = self.before.take().map(|earlier| self.carried(&earlier, both.at, rho));
        let missed = met.map_or(Span::ZERO, |met| (met.low - both.high).max(both.low - met.high));
        broken = broken.max((missed > Span::ZERO).then_some(missed));
        self.supported = before.filter(|_| broken.is_none()).map(|before| {
            let at = |interval: &Interval| self.carried(interval, both.at, rho);
            let (before, burst) = (at(&before), at(&burst));
            let (low, high) = (before.low.min(burst.low), before.high.max(burst.high));
            match self.supported.as_ref().map(at) {
                Some(old) => Interval { at: both.at, low: old.low.max(low), high: old.high.min(high) },
                None => Interval { at: both.at, low, high },
            }
        });
        broken
    }

    /// Intersects with an exchange: server's stamps in cluster time, client's on its oscillator.
    fn prove(&mut self, exchange: &Exchange<Timestamp, Raw>, rho: Frequency) -> Intersection {
        let middle = exchange.t2 + (exchange.t3 - exchange.t2).half();
        let reach = exchange.delay().half() + STAMP_ALLOWANCE;
        let phase = -exchange.offset();
        let proved = Interval { at: middle, low: phase - reach, high: phase + reach };
        self.prove_rate(proved);
        let Some(interval) = self.interval else {
            self.interval = Some(proved);
            return Intersection::Started;
        };
        let at = interval.at.max(middle);
        let (old, new) = (self.carried(&interval, at, rho), self.carried(&proved, at, rho));
        let both = Interval { at, low: old.low.max(new.low), high: old.high.min(new.high) };
        if both.low > both.high {
            self.interval = Some(new);
            return Intersection::Empty(both.low - both.high);
        }
        self.interval = Some(both);
        Intersection::Narrowed
    }

    /// Narrows the proved range of the rate by this interval and the first.
    fn prove_rate(&mut self, proved: Interval) {
        let (first, began) = *self.first.get_or_insert((proved, proved.at));
        let first = first.moved(proved.at, self.commanded);
        let length = proved.at - began;
        if length < Span::from_secs(1) {
            return;
        }
        let rate = |span: Span| Frequency::from_ratio(span.as_secs_f64() / length.as_secs_f64());
        let (low, high) = (rate(proved.low - first.high), rate(proved.high - first.low));
        let known = self.rates.is_some_and(|(least, most)| (most - least).ratio() <= (high - low).ratio());
        if !known {
            self.rates = Some((low, high));
        }
    }

    /// The cluster's time is exactly this: `phase` ahead of the oscillator, which reads `raw`, and it runs at
    /// `frequency` over it.
    pub fn carry(&mut self, raw: Raw, phase: Span, frequency: Frequency) {
        let exactly = Interval { at: raw, low: phase, high: phase };
        (self.interval, self.before, self.supported) = (Some(exactly), None, None);
        (self.first, self.rates, self.frequency, self.heard) = (None, None, frequency, raw);
    }

    /// The interval that is proved for the phase when the oscillator reads `raw`; `None`: there is none.
    pub fn proved(&self, raw: Raw, rho: Frequency) -> Option<(Span, Span)> {
        let interval = self.carried(self.interval.as_ref()?, raw, rho);
        Some((interval.low, interval.high))
    }

    /// The largest possible distance from cluster time of a clock that is `phase` ahead of the oscillator
    /// when that reads `raw`; `None`: unknown.
    pub fn of(&self, raw: Raw, phase: Span, rho: Frequency) -> Option<Span> {
        let interval = self.carried(self.interval.as_ref()?, raw, rho);
        Some((interval.high - phase).max(phase - interval.low).max(Span::ZERO))
    }

    /// The phase nearest to this one within the interval that two bursts prove, when the oscillator reads
    /// `raw`. A single burst may come from a server whose clock has just failed, which must not move others.
    pub fn nearest(&self, raw: Raw, phase: Span, rho: Frequency) -> Span {
        let Some(interval) = &self.supported else { return phase };
        let interval = self.carried(interval, raw, rho);
        phase.max(interval.low).min(interval.high)
    }

    /// How far the cluster's time may have moved by rate commands that were not received since the server was
    /// last heard; zero in the first two rounds, where other uncertainties dominate.
    pub fn unheard(&self, raw: Raw) -> Span {
        let round = self.round.as_secs_f64();
        let late = ((raw - self.heard).as_secs_f64() - 2.0 * round).max(0.0);
        Span::from_secs_f64(self.pace() * late * (round + late / 2.0))
    }

    fn pace(&self) -> f64 {
        match self.steering {
            SteeringPace::Brisk => BRISK,
            SteeringPace::Gentle => GENTLE,
        }
    }

    fn advance(&mut self, raw: Raw, rho: Frequency) {
        let advanced = |interval: Interval| match interval.at < raw {
            true => self.carried(&interval, raw, rho),
            false => interval,
        };
        let [interval, before, supported] =
            [self.interval, self.before, self.supported].map(|interval| interval.map(advanced));
        (self.interval, self.before, self.supported) = (interval, before, supported);
    }

    /// The interval at another moment; it grows in both directions of time.
    fn carried(&self, interval: &Interval, to: Raw, rho: Frequency) -> Interval {
        let elapsed = to - interval.at;
        let moved = self.frequency.over(elapsed);
        let growth = self.growth(interval.at.min(to), elapsed.abs(), rho);
        Interval { at: to, low: interval.low + moved - growth, high: interval.high + moved + growth }
    }

    /// ρ·Δ + s·(T·Δ + ((t + Δ)² − t²)/2), t being the time from the last rate command to `from`;
    /// rounded up.
    fn growth(&self, from: Raw, length: Span, rho: Frequency) -> Span {
        let (before, length) = ((from - self.heard).max(Span::ZERO).as_secs_f64(), length.as_secs_f64());
        let unheard = self.round.as_secs_f64() * length + length * (before + length / 2.0);
        Span::from_nanos(((rho.ratio() * length + self.pace() * unheard) * 1e9).ceil() as i64) + ROUNDING
    }
}

/// The difference of two crystals of ±200 ppm, twice the tolerance of the worst crystals sold for clocks.
pub const TOLERANCE: Frequency = Frequency::from_ppm(400.0);
/// Frequency changes of crystals in a room within minutes; a heated or shaken machine needs more.
pub const DRIFT_ALLOWANCE: Frequency = Frequency::from_ppm(1.0);
/// Timestamps of user space are taken before sending and after receipt, so their error is delay. What remains
/// is rounding, the conversion of the kernel's timestamps from one clock to another, and a transmit latency
/// below the expected minimum where no transmit timestamp is available.
pub const STAMP_ALLOWANCE: Span = Span::from_micros(1);
/// The largest assumed error of a frequency, in standard deviations of its estimate.
const SIGMAS: f64 = 6.0;
/// s, per second: the rate anchor's limit in a settled cluster.
const GENTLE: f64 = 1e-9;
/// s in a cluster whose rate has not settled.
const BRISK: f64 = 100e-9;
/// Moving an interval rounds its ends to nanoseconds.
const ROUNDING: Span = Span::from_nanos(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_800_000_000_000_000_000;
    const RHO: Frequency = Frequency::from_ppm(1.0);

    fn raw(s: f64) -> Raw {
        Raw::from_nanos(START) + Span::from_secs_f64(s)
    }

    /// An exchange at second `s` with these one-way delays (ns), the cluster's time being `phase` ns ahead.
    fn exchange(s: f64, phase: i64, there: i64, back: i64) -> Exchange<Timestamp, Raw> {
        let t2 = raw(s);
        let t3 = t2 + Span::from_nanos(1_000);
        let cluster = |raw: Raw| Timestamp::from_nanos(raw.as_nanos() + phase);
        Exchange {
            t1: cluster(t2) - Span::from_nanos(there),
            t2,
            t3,
            t4: cluster(t3) + Span::from_nanos(back),
        }
    }

    /// Takes a burst of one exchange in; returns the phase that is nearest to zero then.
    fn nearest_to_zero(bound: &mut Bound, s: f64, phase: i64) -> i64 {
        bound.prove_burst([exchange(s, phase, 100_000, 100_000)].into_iter(), RHO);
        bound.nearest(raw(s), Span::ZERO, RHO).as_nanos()
    }

    /// An honest quarter of an hour, then delays that grow: the discipline follows them, by half of 10 ppm.
    #[test]
    fn a_frequency_that_growing_delays_have_taught_is_not_relied_on() {
        for honest in [0.0, 900.0] {
            let mut bound = calm();
            bound.learn(Frequency::from_ppm(0.01));
            for round in 0..600 {
                let s = f64::from(round) * 5.0;
                let grown = ((s - honest).max(0.0) * 10_000.0) as i64;
                let rho = bound.rho(Some(Frequency::from_ppm(0.01)));
                bound.prove_burst([exchange(s, 0, 100_000 + grown, 100_000)].into_iter(), rho);
                let followed = if grown > 0 { -5.0 } else { 0.0 };
                bound.set_frequency(raw(s), Frequency::from_ppm(followed), rho);
            }
            let rho = bound.rho(Some(Frequency::from_ppm(0.01)));
            assert!(rho.ppm() >= 6.0 && rho.ppm() < 12.0, "{} ppm", rho.ppm());
        }
    }

    #[test]
    fn what_is_proved_of_the_rate_takes_nothing_from_a_clock_on_an_honest_path() {
        let mut bound = calm();
        bound.learn(Frequency::from_ppm(0.01));
        for round in 0..600 {
            // All members follow the rate commands, so these are no error.
            let s = f64::from(round) * 5.0;
            bound.steer(raw(s), Frequency::from_ppm(0.1), Span::from_secs(5), RHO);
            let phase = (0.1e-6 * 5.0 * f64::from(round * (round + 1) / 2) * 1e9) as i64;
            bound.prove_burst([exchange(s, phase, 100_000, 100_000)].into_iter(), RHO);
        }
        let rho = bound.rho(Some(Frequency::from_ppm(0.01)));
        assert!(rho.ppm() > 1.06 && rho.ppm() < 1.1, "{} ppm", rho.ppm());
    }

    #[test]
    fn a_clock_is_held_to_what_two_bursts_prove() {
        for sign in [1, -1] {
            let mut bound = calm();
            // What a path of 100 µs each way allows is 101 µs to either side, and a little for the time
            // between.
            assert_eq!(nearest_to_zero(&mut bound, 0.0, sign * 500_000), 0, "one says nothing");
            let held = nearest_to_zero(&mut bound, 1.0, sign * 500_000);
            assert!((sign * held - 399_000).abs() < 5_000, "{held}");
            let held = nearest_to_zero(&mut bound, 2.0, sign * 600_000);
            assert!(
                (sign * held - 399_000).abs() < 5_000,
                "the one that says the most does not count: {held}"
            );
            assert_eq!(nearest_to_zero(&mut bound, 3.0, 0), 0, "contradicted proofs have no effect");
        }
    }

    /// The bound of a node in a settled cluster.
    fn calm() -> Bound {
        let mut bound = Bound::unknown(raw(0.0), DRIFT_ALLOWANCE);
        bound.set_pace(raw(0.0), SteeringPace::Gentle, RHO);
        bound
    }

    fn of(bound: &Bound, s: f64, phase: i64) -> i64 {
        bound.of(raw(s), Span::from_nanos(phase), RHO).expect("something is proved").as_nanos()
    }

    #[test]
    fn nothing_is_proved_before_the_first_exchange() {
        assert_eq!(calm().of(raw(1.0), Span::ZERO, RHO), None);
    }

    #[test]
    fn one_exchange_proves_half_its_delay_however_asymmetric() {
        let mut bound = calm();
        assert_eq!(bound.prove(&exchange(0.0, 7_000, 100_000, 0), RHO), Intersection::Started);
        // The phase looks 50 µs smaller than it is; from there the proof reaches just as far as the truth.
        assert_eq!(of(&bound, 0.0, 7_000 - 50_000), 50_000 + 1_002);
        assert_eq!(of(&bound, 0.0, 7_000), 100_000 + 1_002);
    }

    #[test]
    fn opposite_asymmetries_prove_more_than_each_alone() {
        let mut bound = calm();
        bound.prove(&exchange(0.0, 0, 100_000, 2_000), RHO);
        assert_eq!(bound.prove(&exchange(0.1, 0, 2_000, 100_000), RHO), Intersection::Narrowed);
        assert!(of(&bound, 0.1, 0) < 3_200, "{}", of(&bound, 0.1, 0));
    }

    #[test]
    fn it_grows_by_the_drift_allowance_and_by_what_the_server_may_steer_meanwhile() {
        let mut bound = calm();
        bound.steer(raw(0.0), Frequency::ZERO, Span::from_secs(5), RHO);
        bound.prove(&exchange(0.0, 0, 50_000, 50_000), RHO);
        let start = of(&bound, 0.0, 0);
        // A ppm for 100 s, a ppb/s for 100 s, and the round of 5 s that was under way.
        let grown = 100_000 + 5_000 + 500;
        assert!((of(&bound, 100.0, 0) - start - grown).abs() <= 2);
        let two_hours = of(&bound, 7_200.0, 0);
        assert!((33_000_000..34_000_000).contains(&two_hours), "{two_hours}");
    }

    #[test]
    fn it_moves_with_the_clock_and_its_rate_commands() {
        let mut bound = calm();
        bound.set_frequency(raw(0.0), Frequency::from_ppm(50.0), RHO);
        bound.prove(&exchange(0.0, 0, 1_000, 1_000), RHO);
        let start = of(&bound, 0.0, 0);
        bound.steer(raw(10.0), Frequency::from_ppm(-0.004), Span::from_secs(5), RHO);
        // 50 ppm for 10 s, 49.996 ppm for 10 more.
        assert!((of(&bound, 20.0, 999_960) - start) <= 20_000 + 400);
    }

    #[test]
    fn in_a_cluster_that_has_never_settled_more_steering_may_be_unheard() {
        let mut bound = calm();
        bound.prove(&exchange(0.0, 0, 0, 0), RHO);
        let gentle = of(&bound, 60.0, 0);
        bound.set_pace(raw(0.0), SteeringPace::Brisk, RHO);
        // 100 ppb/s for a minute.
        assert!((of(&bound, 60.0, 0) - gentle - 180_000).abs() < 2_000);
    }

    #[test]
    fn an_exchange_that_fits_nowhere_starts_it_anew_and_says_by_how_much() {
        let mut bound = calm();
        bound.prove(&exchange(0.0, 0, 10_000, 10_000), RHO);
        let Intersection::Empty(gap) = bound.prove(&exchange(1.0, 1_000_000, 10_000, 10_000), RHO) else {
            panic!("a millisecond in a second fits into no interval");
        };
        assert!((gap.as_nanos() - (1_000_000 - 20_000 - 2_000)).abs() < 1_100, "{gap}");
        assert!(of(&bound, 1.0, 1_000_000) <= 11_010);
        assert!(of(&bound, 1.0, 0) >= 1_000_000, "a clock that has not followed is that far off");
    }

    #[test]
    fn an_interval_that_begins_anew_is_compared_with_what_was_proved_before() {
        for (phase, shift, gap) in
            [(50_000, 0, None), (1_000_000, 0, Some(872_998)), (1_000_000, 1_000_000, None)]
        {
            let mut bound = calm();
            bound.prove(&exchange(0.0, 0, 10_000, 10_000), RHO);
            bound.begin_anew(Span::from_nanos(shift), Span::ZERO);
            assert_eq!(bound.of(raw(1.0), Span::ZERO, RHO), None, "nothing is proved of the new time");
            // A ppm for 100 s, and a ppb/s of steering.
            let proved = [exchange(100.0, phase, 10_000, 10_000)];
            let broken = bound.prove_burst(proved.into_iter(), RHO).map(Span::as_nanos);
            assert_eq!(broken, gap);
            let again = [exchange(101.0, phase, 10_000, 10_000)];
            assert_eq!(bound.prove_burst(again.into_iter(), RHO), None, "it is told once");
        }
    }

    #[test]
    fn a_phase_is_outside_of_what_is_proved_now_or_was_before() {
        let mut bound = calm();
        let outside = |bound: &Bound, us| bound.outside(raw(0.0), Span::from_micros(us), RHO).as_nanos();
        assert_eq!(outside(&bound, 500), 0);
        bound.prove(&exchange(0.0, 0, 100_000, 100_000), RHO);
        assert_eq!((outside(&bound, 100), outside(&bound, 500)), (0, 398_998));
        bound.begin_anew(Span::ZERO, Span::ZERO);
        assert_eq!(outside(&bound, -500), 398_998);
        bound.forget();
        assert_eq!(outside(&bound, 500), 0);
    }

    #[test]
    fn what_is_proved_of_one_scale_is_kept_for_another() {
        let mut bound = calm();
        bound.prove(&exchange(0.0, 0, 10_000, 10_000), RHO);
        let change = (Span::from_millis(3), Frequency::from_ppm(20.0));
        bound.change_scale(raw(10.0), change, Some(Span::from_micros(7)), RHO);
        let before = of(&bound, 10.0, 3_000_000);
        assert!((28_000..29_000).contains(&before), "{before}");
        // 20 ppm for 10 s.
        let proved = [exchange(20.0, 3_200_000, 10_000, 10_000)];
        assert_eq!(bound.prove_burst(proved.into_iter(), RHO), None);
        assert!(of(&bound, 20.0, 3_200_000) <= 11_100, "{}", of(&bound, 20.0, 3_200_000));
        bound.change_scale(raw(20.0), change, None, RHO);
        assert_eq!(bound.of(raw(20.0), Span::ZERO, RHO), None);
    }

    #[test]
    fn an_exchange_of_the_past_proves_less_but_nothing_false() {
        let mut bound = calm();
        bound.prove(&exchange(0.0, 0, 50_000, 50_000), RHO);
        bound.set_frequency(raw(10.0), Frequency::ZERO, RHO);
        bound.prove(&exchange(4.0, 0, 1_000, 1_000), RHO);
        assert!((7_000..9_000).contains(&of(&bound, 10.0, 0)), "{}", of(&bound, 10.0, 0));
    }

    #[test]
    fn what_is_not_learned_yet_is_a_crystals_tolerance_and_never_more() {
        let mut bound = calm();
        let ppm = |ppm| Some(Frequency::from_ppm(ppm));
        assert_eq!((bound.rho(None), bound.rho(ppm(0.01))), (TOLERANCE, TOLERANCE));
        bound.learn(Frequency::from_ppm(0.2));
        assert_eq!(bound.rho(ppm(0.2)), TOLERANCE);
        bound.learn(Frequency::from_ppm(0.01));
        assert!((bound.rho(ppm(0.01)).ppm() - 1.06).abs() < 1e-9);
        assert!((bound.rho(ppm(1.0)).ppm() - 7.0).abs() < 1e-9, "in holdover it is known ever less");
        assert_eq!(bound.rho(ppm(200.0)), TOLERANCE);
        bound.doubt();
        bound.set_frequency(raw(1.0), Frequency::from_ppm(-90.0), RHO);
        assert!((bound.rho(None).ppm() - 490.0).abs() < 1e-9, "the guess itself may be wrong");
        bound.set_frequency(raw(2.0), Frequency::ZERO, RHO);
        assert_eq!(bound.rho(ppm(0.01)), TOLERANCE);
    }

    proptest! {
        /// An oscillator that does whatever it likes within ρ, links that do whatever they like, a rate that
        /// is steered as fast as it may be, commands that are heard late: the truth is never left out.
        #[test]
        fn the_truth_is_never_left_out_while_the_assumptions_hold(
            start in -1_000_000_000i64..1_000_000_000,
            used in -100.0..100.0f64,
            steps in proptest::collection::vec(
                (1u32..20, -0.999..0.999f64, -1.0..1.0f64, any::<bool>(), 0i64..5_000_000, 0i64..5_000_000),
                1..80)
        ) {
            let round = Span::from_secs(5);
            let mut bound = calm();
            bound.steer(raw(0.0), Frequency::ZERO, round, RHO);
            bound.set_frequency(raw(0.0), Frequency::from_ppm(used), RHO);
            let (mut at, mut phase) = (0.0, start as f64);
            let (mut commanded, mut heard) = (0.0, 0.0);
            for (rounds, wander, steering, hears, there, back) in steps {
                for _ in 0..rounds {
                    commanded += steering * GENTLE * 5.0;
                    at += 5.0;
                    phase += 5e9 * (used * 1e-6 + wander * RHO.ratio() + commanded);
                    if hears {
                        bound.steer(raw(at), Frequency::from_ratio(commanded - heard), round, RHO);
                        heard = commanded;
                    }
                }
                let truth = phase.round() as i64;
                let proof = bound.prove(&exchange(at, truth, there, back), RHO);
                prop_assert!(!matches!(proof, Intersection::Empty(_)), "{proof:?}");
                let shown = truth + (back - there) / 2;
                prop_assert!(of(&bound, at, shown) >= (shown - truth).abs());
                prop_assert!(of(&bound, at, shown) <= (there + back) + 2_000);
            }
        }
    }
}
