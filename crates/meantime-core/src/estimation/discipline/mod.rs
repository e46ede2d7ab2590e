//! The discipline: from a round's exchanges to phase and frequency of the cluster's time over this node's
//! oscillator, by all that every one-way difference says.
//!
//! It works on the free-running timescale only. Whatever the node does with its published clock meanwhile,
//! step or slew, is invisible to it; so nothing that is in flight has to be accounted for. What the server
//! announces of the cluster's rate is taken out of the observations and put back into the estimate, so that
//! it is invisible, too.
//!
//! Each class holds that the path's noise has a certain sharpness, learns its density, and keeps a bank of
//! filters for different wanders of the oscillator; the evidence weighs the classes. The first bursts are
//! kept and replayed now and then, since what they say is understood only when the noise is known.
//!
//! What is impossible if waiting times are not negative means that something has moved:
//!
//! * the clock, if one way became shorter and the other longer by the same, or if the offset lies farther
//!   from the expectation than half the delay allows. Such bursts are outliers: ignored, unless they persist,
//!   three in a row if the server says that this clock is in the minority, twelve if it does not (so that a
//!   clock that is right does not follow a server that jumped), four in the first bursts, after which all
//!   begins again; a burst in between that is none halves their count. Then the phase is taken anew; the
//!   frequency is doubted only by as much as the outliers drifted among themselves, for a pure step says
//!   nothing about it. What only a sudden change of the oscillator explains is left out once, and followed if
//!   the next burst says the same;
//! * the path, if one way became shorter. Then its least delay is doubted, and nothing else.
//!
//! A way whose delays all became longer has moved, too; that is no impossibility, but soon very unlikely.

mod check;
mod class;
mod density;
mod filter;
mod moves;
mod replay;

use self::check::Check;
use self::class::{Burst, Class};
use self::density::Sharpness;
use self::filter::{Clock, Filter, Observation, Way};
use self::moves::{FASTEST_DRIFT, Moved, Outliers, Watch};
use self::replay::Replay;
use super::exchange::Exchange;
use super::kalman::Estimate;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use crate::time::{Frequency, Raw, Span, Timestamp};

/// What became of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It was the first: the phase is known, the frequency not yet.
    Started,
    /// It was weighed in.
    Followed,
    /// It was held for an outlier, the n-th in a row.
    Ignored(u32),
    /// It confirmed the outliers before it: the phase was taken anew.
    Restarted,
}

/// How readily a persistent outlier is believed: for long not if the vote agrees with this clock, soon if it
/// does not, and at once if the server keeps another cluster's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// After this many in a row.
    After(u32),
    /// At once.
    AtOnce,
}

impl Trust {
    /// For a clock that the vote has found in the minority.
    pub const MINORITY: Trust = Trust::After(3);
    /// For a clock that the vote agrees with: a guard against being locked out for ever.
    pub const MAJORITY: Trust = Trust::After(12);

    fn at_most(self, limit: u32) -> Trust {
        match self {
            Trust::After(own) => Trust::After(own.min(limit)),
            Trust::AtOnce => Trust::AtOnce,
        }
    }

    fn believes(self, in_a_row: u32) -> bool {
        match self {
            Trust::After(limit) => in_a_row >= limit,
            Trust::AtOnce => true,
        }
    }
}

/// The estimator of one node.
#[derive(Clone, Debug)]
pub struct Discipline {
    /// What is known of the frequency before the first burst: the oscillator runs fast by so much, give or
    /// take.
    frequency: (f64, f64),
    command: Command,
    usual_delay: Option<Span>,
    outliers: Option<Outliers>,
    belief: Option<Box<Belief>>,
}

impl Default for Discipline {
    fn default() -> Discipline {
        Discipline::with_frequency(Frequency::ZERO, ANY_FREQUENCY)
    }
}

/// Everything that is believed after the first burst.
#[derive(Clone, Debug)]
struct Belief {
    /// Phases are kept relative to this one, so that a double carries them even from 1970: the oscillator's
    /// lead at the start, or when it was taken anew.
    base: Span,
    /// The instant that all states speak of.
    at: Raw,
    bursts: u32,
    classes: Classes,
    watch: Watch,
    check: Check,
    replay: Option<Replay>,
}

impl Discipline {
    /// An estimator that knows the frequency from before: the cluster's rate over this oscillator, minus one,
    /// with one standard deviation.
    pub fn with_frequency(frequency: Frequency, error: Frequency) -> Discipline {
        Discipline {
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
        let sensible = sensible(exchanges);
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
                let young = belief.bursts < YOUNG;
                let trust = if young { trust.at_most(YOUNG_TRUST) } else { trust };
                if !trust.believes(outliers.count()) {
                    if let Some(replay) = &mut belief.replay {
                        replay.pass(burst.dt);
                    }
                    return Some(Judgement::Ignored(outliers.count()));
                }
                self.outliers = None;
                if young {
                    // The first bursts were not like what has come since: what was learned of them, the
                    // frequency above all, is worth less than nothing.
                    let any = (self.frequency.0, self.frequency.1.max(ANY_FREQUENCY.ratio()));
                    self.belief = Some(Box::new(Belief::start(&sensible, &self.command, any)));
                    return Some(Judgement::Restarted);
                }
                let noise = leader(&belief.classes).density().scale();
                belief.take_phase_anew(&sensible, &self.command, outliers.drift(noise));
                self.unlearn_nonsense(&sensible);
                return Some(Judgement::Restarted);
            }
            Moved::Way { way, by } => belief.doubt_way(way, by),
            Moved::Nothing { impossible } => burst.leave_out(&impossible),
        }
        self.outliers = self.outliers.and_then(Outliers::fade);
        belief.follow(burst);
        let nonsense = self.unlearn_nonsense(&sensible);
        Some(if nonsense { Judgement::Restarted } else { Judgement::Followed })
    }

    /// What is no oscillator's frequency was learned from something else: begin again.
    fn unlearn_nonsense(&mut self, exchanges: &[Exchange<Timestamp, Raw>]) -> bool {
        let nonsense = self.belief.as_ref().is_some_and(|belief| !belief.clock(belief.at).is_possible());
        if nonsense {
            self.belief = Some(Box::new(Belief::start(exchanges, &self.command, self.frequency)));
        }
        nonsense
    }

    /// The server has changed the cluster's rate by this much, from `at` on.
    pub fn shift_frequency(&mut self, at: Raw, change: Frequency) {
        self.command.change(at, change);
    }

    /// The cluster is another one: its time may run at any rate.
    pub fn doubt_frequency(&mut self) {
        let by = ANY_FREQUENCY.ratio();
        if let Some(belief) = &mut self.belief {
            belief.doubt(|filter| filter.doubt_frequency(by));
            belief.check.doubt_frequency(by);
        }
    }

    /// What is known about the cluster's time at `at`; `None` before the first burst.
    pub fn estimate(&self, at: Raw) -> Option<Estimate> {
        let belief = self.belief.as_ref()?;
        let clock = belief.check.temper(at, belief.clock(at));
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
            base: base(best, command),
            at: newest(exchanges),
            bursts: 0,
            classes: SHARPNESSES.map(|sharpness| Class::new(sharpness, start)),
            watch: Watch::default(),
            check: Check::new(frequency),
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
            if let Some(replay) = &mut self.replay {
                replay.pass(burst.dt);
            }
            return;
        }
        self.bursts = self.bursts.saturating_add(1);
        for class in &mut self.classes {
            class.assimilate(&burst.observations, true);
        }
        let Clock { f, ff, .. } = self.clock(self.at);
        self.check.observe(self.at, &burst, (f, ff.sqrt()));
        for (way, by) in self.watch.lengthened(leader(&self.classes), &burst, self.bursts) {
            self.doubt_way(way, by);
        }
        if let Some(replay) = &mut self.replay {
            replay.keep(burst);
            replay.go_on(&mut self.classes);
            if replay.is_over() {
                self.replay = None;
            }
        }
        let highest = leader(&self.classes).ln_evidence;
        for class in &mut self.classes {
            class.ln_evidence = (class.ln_evidence - highest).max(MIN_LN_EVIDENCE);
        }
    }

    fn doubt(&mut self, doubt: impl Fn(&mut Filter) + Copy) {
        for class in &mut self.classes {
            class.doubt(doubt);
        }
    }

    /// The least delay of this way may be another by about so many seconds.
    fn doubt_way(&mut self, way: Way, by: f64) {
        self.doubt(|filter| filter.doubt_way(way, by));
        if let Some(replay) = &mut self.replay {
            replay.doubt_way(way, by);
        }
    }

    /// The clock was set: forgets the phase, but neither the frequency, which may have changed by about
    /// `drift`, nor the noise. Only here does the belief's instant go back: the oscillator itself may have
    /// jumped.
    fn take_phase_anew(&mut self, exchanges: &[Exchange<Timestamp, Raw>], command: &Command, drift: f64) {
        let best = &exchanges[0];
        self.base = base(best, command);
        self.at = newest(exchanges);
        let delay = best.delay().as_secs_f64();
        self.doubt(|filter| filter.forget_phase(delay, drift));
        self.watch = Watch::default();
        self.check.forget_phase(drift);
        // What was kept belongs to the old phase.
        self.replay = None;
        let burst = self.meet(exchanges, command);
        self.follow(burst);
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

/// The oscillator's lead in an exchange: from there, phases are counted.
fn base(exchange: &Exchange<Timestamp, Raw>, command: &Command) -> Span {
    exchange.offset() + Span::from_secs_f64(command.phase(exchange.t2))
}

/// The exchanges that can be true, in the order of their delays: none takes less than no time, nor longer
/// than any network, and none contradicts the best. A clock that was set in the middle of a burst makes two
/// groups of them; what is left then is one.
fn sensible(exchanges: &[Exchange<Timestamp, Raw>]) -> Vec<Exchange<Timestamp, Raw>> {
    let mut sensible: Vec<_> =
        exchanges.iter().copied().filter(|exchange| POSSIBLE.contains(&exchange.delay())).collect();
    sensible.sort_by_key(Exchange::delay);
    if let Some(best) = sensible.first().copied() {
        sensible.retain(|exchange| {
            let drift = Span::from_secs_f64(FASTEST_DRIFT * (exchange.t2 - best.t2).as_secs_f64().abs());
            let possible = (exchange.delay() + best.delay()).half() + drift;
            (exchange.offset() - best.offset()).abs() <= possible
        });
    }
    sensible
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

/// What the server has announced of the cluster's rate: a time line of its own, of which only the last piece
/// is kept.
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

/// One class for each sharpness.
type Classes = [Class; SHARPNESSES.len()];

/// The sharpnesses that are tried.
const SHARPNESSES: [Sharpness; 4] =
    [Sharpness::Edge(0.003), Sharpness::Edge(0.1), Sharpness::Edge(0.6), Sharpness::None];
/// The round-trip delays that can be: what takes longer was held up, or a stamp is wrong.
const POSSIBLE: RangeInclusive<Span> = Span::ZERO..=Span::from_secs(2);
/// So many bursts long a belief may rest on a start that was not like the rest.
const YOUNG: u32 = 32;
/// So many outliers in a row show that it does.
const YOUNG_TRUST: u32 = 4;
/// No class falls so far behind that a few hundred bursts could not bring it back.
const MIN_LN_EVIDENCE: f64 = -40.0;
/// Two crystals of 100 ppm each, one fast, one slow.
const ANY_FREQUENCY: Frequency = Frequency::from_ppm(200.0);

#[cfg(test)]
mod tests;
