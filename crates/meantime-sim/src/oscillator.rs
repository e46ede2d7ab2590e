//! Raw clocks: what a free-running oscillator shows at a given true time.
//!
//! The frequency error is constant in steps of one second: a constant, plus a random walk of
//! `wander · √s` a second (random-walk frequency noise), plus temperature ramps, plus steps. Phase is
//! kept as an integer: whole nanoseconds for the start and the jumps, 2⁻²⁰ ns for what frequency has
//! gathered. So a reading is exact to the nanosecond after any number of days, which an `f64` of Unix
//! nanoseconds (256 ns apart) could not be.
//!
//! The walk is made as time goes on. The second before the newest can still be read, since
//! processes send a little later than the events that make them send.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::START;
use meantime_core::time::{Frequency, Raw, Span};

/// How an oscillator error.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OscillatorError {
    /// Its reading at true time zero minus the truth.
    pub offset: Span,
    /// Its constant frequency error.
    pub drift: Frequency,
    /// Standard deviation of the random walk of its frequency, per √s; dimensionless.
    pub wander: f64,
}

/// A free-running oscillator.
#[derive(Clone, Debug)]
pub struct Oscillator {
    error: OscillatorError,
    /// What random walk and steps have added to the frequency.
    walked: f64,
    /// Changes of temperature.
    ramps: Vec<Ramp>,
    now: Segment,
    earlier: Segment,
    /// True nanoseconds at which the frequency changes next.
    until: i64,
    rng: ChaCha8Rng,
}

/// A frequency that moves with the temperature: linearly, then stays.
#[derive(Clone, Copy, Debug)]
struct Ramp {
    from: Span,
    over: Span,
    by: Frequency,
}

/// A time of constant frequency.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// True nanoseconds.
    from: i64,
    /// Start and jumps: raw minus true time, without what frequency has gathered.
    base: i64,
    /// What frequency had gathered at `from`, in units of 2⁻²⁰ ns.
    gathered: i64,
    frequency: f64,
}

impl Oscillator {
    /// An oscillator at true time zero that error in this way; `rng` makes it wander.
    pub fn new(error: OscillatorError, rng: ChaCha8Rng) -> Oscillator {
        let base = START.as_nanos().saturating_add(error.offset.as_nanos());
        let now = Segment { from: 0, base, gathered: 0, frequency: error.drift.ratio() };
        Oscillator { error, walked: 0.0, ramps: Vec::new(), now, earlier: now, until: SECOND, rng }
    }

    /// What it shows at a true time, which may lie up to a second before the latest ever asked for.
    pub fn raw(&mut self, at: Span) -> Raw {
        let at = at.as_nanos();
        while at >= self.until {
            self.next_second();
        }
        let segment = if at >= self.now.from { &self.now } else { &self.earlier };
        Raw::from_nanos(segment.base + at + (segment.gathered_at(at) >> FRACTION))
    }

    /// Its frequency error in the second of the latest reading.
    pub fn frequency(&self) -> Frequency {
        Frequency::from_ratio(self.now.frequency)
    }

    /// Makes it show `by` more from a true time on.
    pub fn jump(&mut self, at: Span, by: Span) {
        self.cut(at);
        self.now.base = self.now.base.saturating_add(by.as_nanos());
    }

    /// Changes its frequency from a true time on.
    pub fn step_frequency(&mut self, at: Span, by: Frequency) {
        self.cut(at);
        self.walked += by.ratio();
        self.now.frequency += by.ratio();
    }

    /// Lets its frequency change linearly from a true time on, until it has changed by `by`; it stays so.
    pub fn ramp(&mut self, from: Span, over: Span, by: Frequency) {
        self.ramps.push(Ramp { from, over, by });
    }

    /// Begins a segment at a true time within the newest one.
    fn cut(&mut self, at: Span) {
        self.raw(at);
        let at = at.as_nanos().max(self.now.from);
        self.begin(at, self.now.frequency);
    }

    fn next_second(&mut self) {
        if self.error.wander > 0.0 {
            let draw: f64 = StandardNormal.sample(&mut self.rng);
            self.walked += draw * self.error.wander;
        }
        self.begin(self.until, self.frequency_at(self.until));
        self.until += SECOND;
    }

    fn begin(&mut self, from: i64, frequency: f64) {
        self.earlier = self.now;
        self.now = Segment { from, gathered: self.now.gathered_at(from), frequency, ..self.now };
    }

    fn frequency_at(&self, at: i64) -> f64 {
        let ramps: f64 = self.ramps.iter().map(|ramp| ramp.at(at)).sum();
        self.error.drift.ratio() + self.walked + ramps
    }
}

impl Segment {
    fn gathered_at(&self, at: i64) -> i64 {
        self.gathered + ((at - self.from) as f64 * self.frequency * FRACTIONS).round() as i64
    }
}

impl Ramp {
    fn at(&self, at: i64) -> f64 {
        let gone = (at - self.from.as_nanos()) as f64 / self.over.as_nanos().max(1) as f64;
        self.by.ratio() * gone.clamp(0.0, 1.0)
    }
}

/// Bits of a nanosecond's fraction: errors of 2⁻²¹ ns a second gather to less than 2 ns in a month,
/// and a month at 500 ppm still fits into 63 bits.
const FRACTION: u32 = 20;
const FRACTIONS: f64 = (1u64 << FRACTION) as f64;
const SECOND: i64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, Seed};

    fn oscillator(error: OscillatorError) -> Oscillator {
        Oscillator::new(error, Seed(1).stream(Purpose::Wander, 0))
    }

    /// How far an oscillator is off at a true time.
    fn off(oscillator: &mut Oscillator, at: Span) -> Span {
        oscillator.raw(at) - Raw::from_nanos(START.as_nanos()) - at
    }

    #[test]
    fn a_perfect_oscillator_shows_true_time() {
        let mut perfect = oscillator(OscillatorError::default());
        assert_eq!(perfect.raw(Span::ZERO).as_nanos(), START.as_nanos());
        assert_eq!(off(&mut perfect, Span::from_secs(86_400 * 30)), Span::ZERO);
    }

    #[test]
    fn a_constant_frequency_error_gathers_exactly_for_a_month() {
        let mut fast =
            oscillator(OscillatorError { drift: Frequency::from_ppm(100.0), ..OscillatorError::default() });
        for day in 1..=30 {
            let gathered = off(&mut fast, Span::from_secs(86_400 * day));
            assert!(
                (gathered - Span::from_micros(8_640_000 * day)).abs() <= Span::from_nanos(2),
                "{gathered}"
            );
        }
    }

    #[test]
    fn a_jump_moves_the_reading_once_and_the_moment_before_can_still_be_read() {
        let mut clock = oscillator(OscillatorError::default());
        clock.jump(Span::from_millis(1_500), Span::from_secs(-3_600));
        assert_eq!(off(&mut clock, Span::from_millis(1_499)), Span::ZERO);
        assert_eq!(off(&mut clock, Span::from_millis(1_500)), Span::from_secs(-3_600));
        assert_eq!(off(&mut clock, Span::from_secs(9)), Span::from_secs(-3_600));
    }

    #[test]
    fn a_frequency_step_counts_from_its_moment() {
        let mut clock = oscillator(OscillatorError::default());
        clock.step_frequency(Span::from_millis(2_500), Frequency::from_ppm(150.0));
        assert_eq!(off(&mut clock, Span::from_millis(3_500)), Span::from_micros(150));
        assert_eq!(off(&mut clock, Span::from_millis(12_500)), Span::from_micros(1_500));
    }

    #[test]
    fn a_temperature_ramp_changes_the_frequency_and_then_holds() {
        let mut clock = oscillator(OscillatorError::default());
        clock.ramp(Span::from_secs(10), Span::from_secs(600), Frequency::from_ppm(1.0));
        assert_eq!(off(&mut clock, Span::from_secs(10)), Span::ZERO);
        let after_ramp = off(&mut clock, Span::from_secs(610));
        assert!((after_ramp - Span::from_micros(300)).abs() < Span::from_micros(1), "{after_ramp}");
        assert_eq!(off(&mut clock, Span::from_secs(1_610)) - after_ramp, Span::from_micros(1_000));
    }

    #[test]
    fn the_walk_of_the_frequency_grows_with_the_root_of_time() {
        let seconds = 400;
        let runs = 500;
        let mut squares = 0.0;
        for number in 0..runs {
            let error = OscillatorError { wander: 1e-9, ..OscillatorError::default() };
            let mut clock = Oscillator::new(error, Seed(3).stream(Purpose::Wander, number));
            clock.raw(Span::from_secs(seconds));
            squares += clock.frequency().ratio().powi(2);
        }
        let rms = (squares / runs as f64).sqrt() / (seconds as f64).sqrt();
        assert!((0.9e-9..1.1e-9).contains(&rms), "{rms}");
    }
}
