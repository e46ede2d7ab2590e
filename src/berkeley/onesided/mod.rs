//! The one-sided filter: from a round's exchanges to phase and frequency of the cluster's time over this node's
//! oscillator, by all that every one-way difference says.
//!
//! It works on the free-running timescale only. Whatever the node does with its published clock meanwhile, step or
//! slew, is invisible to it; so nothing that is in flight has to be accounted for. What the server announces of the
//! cluster's rate is taken out of the observations and put back into the estimate, so that it is invisible, too.
//!
//! Each class holds that the path's noise has a certain sharpness, learns its density, and keeps a bank of
//! filters for different wanders of the oscillator; the evidence weighs the classes. The first bursts are kept
//! and replayed now and then, since what they say is understood only when the noise is known.
//!
//! What is impossible if waiting times are not negative means that something has moved:
//!
//! * the clock, if one way became shorter and the other longer by the same, or if the offset lies farther from the
//!   expectation than half the delay allows. Such bursts are outliers: ignored, unless they persist, three in a row if
//!   the server says that this clock is in the minority, twelve if it does not (so that a clock that is right does not
//!   follow a server that jumped). Then the phase is taken anew; the frequency is doubted only by as much as the
//!   outliers drifted among themselves, for a pure step says nothing about it;
//! * the path, if one way became shorter. Then its least delay is doubted, and nothing else.
//!
//! A way whose delays all became longer has moved, too; that is no impossibility, but soon very unlikely.

mod class;
mod density;
mod filter;
mod moves;
mod replay;

use self::class::{Burst, Class};
use self::density::Sharpness;
use self::filter::{Clock, Filter, Observation, Way};
use self::moves::{FASTEST_DRIFT, Moved, Outliers, Watch};
use self::replay::Replay;
use super::discipline::{Judgement, Trust};
use super::exchange::Exchange;
use super::kalman::Estimate;
use crate::time::{Frequency, Raw, Span, Timestamp};

/// The estimator of one node.
#[derive(Clone, Debug)]
pub struct OneSided {
    /// What is known of the frequency before the first burst: the oscillator runs fast by so much, give or take.
    frequency: (f64, f64),
    command: Command,
    usual_delay: Option<Span>,
    outliers: Option<Outliers>,
    belief: Option<Box<Belief>>,
}

impl Default for OneSided {
    fn default() -> OneSided {
        OneSided::with_frequency(Frequency::ZERO, ANY_FREQUENCY)
    }
}

/// Everything that is believed after the first burst.
#[derive(Clone, Debug)]
struct Belief {
    /// Phases are kept relative to this one, so that a double carries them even from 1970: the oscillator's lead at
    /// the start, or when it was taken anew.
    base: Span,
    /// The instant that all states speak of.
    at: Raw,
    bursts: u32,
    classes: [Class; SHARPNESSES.len()],
    watch: Watch,
    replay: Option<Replay>,
}

impl OneSided {
    /// An estimator that knows the frequency from before: the cluster's rate over this oscillator, minus one, with
    /// one standard deviation.
    pub fn with_frequency(frequency: Frequency, error: Frequency) -> OneSided {
        OneSided {
            frequency: (-frequency.ratio(), error.ratio()),
            command: Command::default(),
            usual_delay: None,
            outliers: None,
            belief: None,
        }
    }

    /// Weighs in the exchanges of a burst: server's stamps in cluster time, client's on its oscillator.
    /// `None`, and nothing changes, if none of them makes sense.
    pub fn update(&mut self, exchanges: &[Exchange<Timestamp, Raw>], trust: Trust) -> Option<Judgement> {
        let mut sensible: Vec<_> =
            exchanges.iter().copied().filter(|exchange| exchange.delay() >= Span::ZERO).collect();
        sensible.sort_by_key(Exchange::delay);
        let best = sensible.first()?;
        self.learn_delay(best.delay());
        let Some(belief) = &mut self.belief else {
            self.belief = Some(Box::new(Belief::start(&sensible, &self.command, self.frequency)));
            return Some(Judgement::Started);
        };
        let mut burst = belief.meet(&sensible, &self.command);
        match belief.watch.moved(&belief.classes, &burst, belief.bursts) {
            Moved::Clock { by } => {
                let outliers = Outliers::after(self.outliers, best.t2, by);
                self.outliers = Some(outliers);
                if !trust.believes(outliers.count()) {
                    return Some(Judgement::Ignored(outliers.count()));
                }
                self.outliers = None;
                let noise = leader(&belief.classes).density().scale();
                belief.take_phase_anew(by, best.delay(), outliers.drift(noise), &mut burst);
                belief.follow(burst);
                return Some(Judgement::Restarted);
            }
            Moved::Way { way, by } => belief.doubt(|filter| filter.doubt_way(way, by)),
            Moved::Nothing { impossible } => burst.leave_out(&impossible),
        }
        self.outliers = None;
        belief.follow(burst);
        if belief.clock(best.t2).f.abs() > FASTEST_DRIFT {
            // Whatever it has learned, it was not an oscillator's frequency.
            self.belief = Some(Box::new(Belief::start(&sensible, &self.command, self.frequency)));
            return Some(Judgement::Restarted);
        }
        Some(Judgement::Followed)
    }

    /// The server has changed the cluster's rate by this much, from `at` on.
    pub fn shift_frequency(&mut self, at: Raw, change: Frequency) {
        self.command.change(at, change);
    }

    /// What is known about the cluster's time at `at`; `None` before the first burst.
    pub fn estimate(&self, at: Raw) -> Option<Estimate> {
        let belief = self.belief.as_ref()?;
        let clock = belief.clock(at);
        Some(Estimate {
            phase: Span::from_secs_f64(self.command.phase(at) - clock.x) - belief.base,
            frequency: Frequency::from_ratio(self.command.rate - clock.f),
            error: Span::from_secs_f64(clock.xx.sqrt()),
            frequency_error: Frequency::from_ratio(clock.ff.sqrt()),
        })
    }

    /// The delay that an exchange on this path usually has, for readings that come without one.
    pub fn usual_delay(&self) -> Span {
        self.usual_delay.unwrap_or(Span::from_millis(1))
    }

    fn learn_delay(&mut self, delay: Span) {
        let usual = self.usual_delay.unwrap_or(delay);
        self.usual_delay = Some((usual + (delay - usual).over(8)).min(usual.times(2)));
    }
}

impl Belief {
    fn start(exchanges: &[Exchange<Timestamp, Raw>], command: &Command, frequency: (f64, f64)) -> Belief {
        let best = &exchanges[0];
        let start = Filter::start(best.delay().as_secs_f64().max(1e-6), frequency.0, frequency.1);
        let mut belief = Belief {
            base: best.offset() + Span::from_secs_f64(command.phase(best.t2)),
            at: newest(exchanges),
            bursts: 0,
            classes: SHARPNESSES.map(|sharpness| Class::new(sharpness, start)),
            watch: Watch::default(),
            replay: None,
        };
        let burst = belief.meet(exchanges, command);
        belief.replay = Some(Replay::new(start));
        belief.follow(burst);
        belief
    }

    /// Moves all states on to the burst, and puts its exchanges into their terms.
    fn meet(&mut self, exchanges: &[Exchange<Timestamp, Raw>], command: &Command) -> Burst {
        let at = newest(exchanges).max(self.at);
        let dt = (at - self.at).as_secs_f64();
        self.at = at;
        for class in &mut self.classes {
            class.predict(dt);
        }
        let mut observations = Vec::with_capacity(2 * exchanges.len());
        for exchange in exchanges {
            let lead = |raw: Raw, time: Timestamp| {
                Span::from_nanos(raw.as_nanos()) - Span::from_nanos(time.as_nanos())
            };
            let forward = lead(exchange.t2, exchange.t1) - self.base;
            let backward = self.base - lead(exchange.t3, exchange.t4);
            observations.push(Observation {
                way: Way::Forward,
                tau: (exchange.t2 - at).as_secs_f64(),
                difference: forward.as_secs_f64() + command.phase(exchange.t2),
            });
            observations.push(Observation {
                way: Way::Backward,
                tau: (exchange.t3 - at).as_secs_f64(),
                difference: backward.as_secs_f64() - command.phase(exchange.t3),
            });
        }
        Burst { dt, observations }
    }

    /// Takes in a burst that nothing is wrong with any more.
    fn follow(&mut self, burst: Burst) {
        if burst.observations.is_empty() {
            return;
        }
        self.bursts = self.bursts.saturating_add(1);
        for class in &mut self.classes {
            class.assimilate(&burst.observations, true);
        }
        if let Some((way, by)) = self.watch.lengthened(leader(&self.classes), &burst, self.bursts) {
            self.doubt(|filter| filter.doubt_way(way, by));
        }
        if let Some(replay) = &mut self.replay {
            replay.keep(burst);
            replay.run_if_due(&mut self.classes);
            if replay.is_over() {
                self.replay = None;
            }
        }
        let highest = leader(&self.classes).ln_evidence;
        for class in &mut self.classes {
            class.ln_evidence = (class.ln_evidence - highest).max(LEAST_LN_EVIDENCE);
        }
    }

    fn doubt(&mut self, doubt: impl Fn(&mut Filter) + Copy) {
        for class in &mut self.classes {
            class.doubt(doubt);
        }
    }

    /// The oscillator's lead has changed by `by` seconds, as a burst of this least delay shows.
    fn take_phase_anew(&mut self, by: f64, delay: Span, drift: f64, burst: &mut Burst) {
        self.base += Span::from_secs_f64(by);
        burst.shift(by);
        self.doubt(|filter| filter.forget_phase(delay.as_secs_f64(), drift));
        self.watch = Watch::default();
        // What was kept belongs to the old phase.
        self.replay = None;
    }

    fn clock(&self, at: Raw) -> Clock {
        let dt = (at - self.at).as_secs_f64();
        let weights = self.classes.each_ref().map(|class| class.ln_evidence.exp());
        let total: f64 = weights.iter().sum();
        let parts = self.classes.iter().zip(weights);
        Clock::mixture(
            parts
                .filter(|(_, weight)| *weight > 1e-9)
                .map(|(class, weight)| (weight / total, class.clock(dt))),
        )
    }
}

/// The class with the most evidence.
fn leader(classes: &[Class]) -> &Class {
    let first = &classes[0];
    classes.iter().fold(first, |best, class| if class.ln_evidence > best.ln_evidence { class } else { best })
}

/// The moment of the newest exchange.
fn newest(exchanges: &[Exchange<Timestamp, Raw>]) -> Raw {
    exchanges.iter().map(|exchange| exchange.t3).max().unwrap_or_default()
}

/// What the server has announced of the cluster's rate: a time line of its own, of which only the last piece is kept.
#[derive(Clone, Copy, Debug, Default)]
struct Command {
    reference: Raw,
    /// Seconds gained until `reference`.
    gained: f64,
    /// The rate from then on, minus one.
    rate: f64,
}

impl Command {
    fn change(&mut self, at: Raw, change: Frequency) {
        self.gained = self.phase(at);
        self.reference = at;
        self.rate += change.ratio();
    }

    fn phase(&self, at: Raw) -> f64 {
        self.gained + self.rate * (at - self.reference).as_secs_f64()
    }
}

/// The sharpnesses that are tried.
const SHARPNESSES: [Sharpness; 4] =
    [Sharpness::Edge(0.003), Sharpness::Edge(0.1), Sharpness::Edge(0.6), Sharpness::None];
/// No class falls so far behind that a few hundred bursts could not bring it back.
const LEAST_LN_EVIDENCE: f64 = -40.0;
/// Two crystals of 100 ppm each, one fast, one slow.
const ANY_FREQUENCY: Frequency = Frequency::from_ppm(200.0);

#[cfg(test)]
mod tests;
