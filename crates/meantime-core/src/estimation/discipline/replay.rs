//! Replay of the first bursts: their interpretation depends on the noise density, which is learned from them.
//!
//! The first bursts are stored and replayed from the beginning: after the second, and then each time their
//! number has grown by half. Before a replay, the learned density moves a part of the way back to the uniform
//! one: it was learned from a worse estimate of clock and path, and would confirm itself. Five passes learn
//! the noise, with one filter for each class; a last pass uses the density to compute the state and the
//! evidence.
//!
//! A pass begins with what the pass before has found, taken back to the first burst and doubted ([`DOUBT`]),
//! so that the first bursts are not interpreted with a clock of which nothing is known. A filter replaces a
//! truncated Gaussian by a Gaussian after each observation; where its variance is wide beside the edge, that
//! can leave it far from the truth with a small variance, for minutes.
//!
//! At the end a replay takes tens of milliseconds, and the same thread has to answer probes. So a replay has
//! classes of its own, does a piece of its work with each burst, and replaces the classes when it has reached
//! the present.

use super::class::{Classes, Noise, ObservedBurst, SHARPNESSES};
use super::filter::{Filter, PathDirection};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The bursts since the start.
#[derive(Clone, Debug)]
pub(super) struct Replay {
    start: Filter,
    bursts: Vec<StoredBurst>,
    /// Path changes that belong to the next stored burst.
    doubts: Vec<(PathDirection, f64)>,
    observations: usize,
    /// Seconds since the last stored burst, without the next one's own.
    skipped: f64,
    /// The number of bursts at which the next run is due.
    due: usize,
    run: Option<Box<Run>>,
    over: bool,
}

#[derive(Clone, Debug)]
struct StoredBurst {
    burst: ObservedBurst,
    /// Path changes before it, in seconds.
    doubts: Vec<(PathDirection, f64)>,
}

/// A replay that is under way.
#[derive(Clone, Debug)]
struct Run {
    classes: Classes,
    /// The number of completed passes.
    passes: usize,
    /// A filter for each class, for the present pass.
    filters: [Filter; SHARPNESSES.len()],
    /// The index of the next burst.
    next: usize,
}

impl Replay {
    /// A replay that starts from the state `start`.
    pub(super) fn new(start: Filter) -> Replay {
        let (bursts, doubts) = (Vec::new(), Vec::new());
        Replay { start, bursts, doubts, observations: 0, skipped: 0.0, due: 2, run: None, over: false }
    }

    /// Stores a burst.
    pub(super) fn store(&mut self, mut burst: ObservedBurst) {
        burst.dt += core::mem::take(&mut self.skipped);
        self.observations += burst.observations.len();
        self.bursts.push(StoredBurst { burst, doubts: core::mem::take(&mut self.doubts) });
    }

    /// The minimum delay of a direction may have changed by about `by` seconds, from the next burst on.
    pub(super) fn inflate_path(&mut self, way: PathDirection, by: f64) {
        self.doubts.push((way, by));
    }

    /// Accounts for the time of a burst that is not stored.
    pub(super) fn skip(&mut self, dt: f64) {
        self.skipped += dt;
    }

    /// Whether the replays are complete.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Does a piece of a replay, if one is due, and replaces the classes when it has reached the present.
    pub(super) fn advance(&mut self, classes: &mut Classes) {
        let complete = self.observations >= ENOUGH;
        if self.run.is_none() && (self.bursts.len() >= self.due || complete) {
            self.due = self.bursts.len() * 3 / 2 + 1;
            self.run = Some(Box::new(Run::start(classes, self.start)));
        }
        if let Some(mut run) = self.run.take() {
            if run.advance(self.start, &self.bursts) {
                *classes = run.classes;
                self.over = complete;
            } else {
                self.run = Some(run);
            }
        }
    }
}

impl Run {
    fn start(classes: &Classes, start: Filter) -> Run {
        let mut classes = classes.clone();
        for class in &mut classes {
            class.density_mut().doubt();
        }
        Run { classes, passes: 0, filters: [start; SHARPNESSES.len()], next: 0 }
    }

    /// Does a piece of the work; returns true when it has reached the present.
    fn advance(&mut self, start: Filter, bursts: &[StoredBurst]) -> bool {
        let mut work = 0;
        while work < PIECE {
            if self.next == bursts.len() {
                if self.passes == PASSES {
                    return true;
                }
                self.passes += 1;
                self.next = 0;
            }
            if self.next == 0 {
                self.start_pass(start, bursts);
            }
            let StoredBurst { burst, doubts } = &bursts[self.next];
            self.next += 1;
            if self.passes < PASSES {
                for (class, filter) in self.classes.iter_mut().zip(&mut self.filters) {
                    doubts.iter().for_each(|(way, by)| filter.inflate_path(*way, *by));
                    class.learn_noise(filter, burst);
                }
                work += 1;
            } else {
                for class in &mut self.classes {
                    class.predict(burst.dt);
                    doubts.iter().for_each(|(way, by)| class.doubt(|filter| filter.inflate_path(*way, *by)));
                    class.assimilate(&burst.observations, Noise::Fixed);
                }
                work += ALL_FILTERS;
            }
        }
        false
    }

    fn start_pass(&mut self, start: Filter, bursts: &[StoredBurst]) {
        let starts = core::array::from_fn(|index| self.start_of_pass(index, start, bursts));
        self.filters = starts;
        for (class, start) in self.classes.iter_mut().zip(starts) {
            if self.passes < PASSES {
                let observed = class.density().observed() / 2.0;
                class.density_mut().limit_memory(observed);
            } else {
                let observations: usize = bursts.iter().map(|stored| stored.burst.observations.len()).sum();
                class.density_mut().limit_memory(observations as f64);
                class.restart(start);
            }
        }
    }

    /// The state with which a class begins a pass, before the first burst: after the first pass, what its
    /// filter has found in the one before.
    fn start_of_pass(&self, class: usize, start: Filter, bursts: &[StoredBurst]) -> Filter {
        let mut found = self.filters[class];
        for (way, by) in bursts.iter().flat_map(|stored| &stored.doubts) {
            found.inflate_path(*way, *by);
        }
        let age = bursts.iter().map(|stored| stored.burst.dt).sum();
        let found = found.earlier(age, self.classes[class].likeliest_wander(), DOUBT);
        // A frequency that was known before the first burst is knowledge of another kind, and stays.
        let is_known = self.passes > 0 && found.is_better_than(&start);
        if is_known { found.with_frequency_of(&start) } else { start }
    }
}

/// The number of passes; all but the last learn the noise.
const PASSES: usize = 5;
/// How much wider a pass begins than the one before has ended, in variance: its observations are the same.
/// With less a wrong state outlives the passes, with more the first bursts are interpreted badly again.
const DOUBT: f64 = 16.0;
/// The work per call, in units of a burst processed by one filter of each class: some milliseconds on a slow
/// machine.
const PIECE: usize = 128;
/// The work of a burst assimilated by all filters, in the same units.
const ALL_FILTERS: usize = 4;
/// Observations after which the replays end; each exchange makes two. They are those of 256 bursts of four
/// exchanges, of 342 trains of four without the first exchange of each, or of 1,024 bursts of one.
const ENOUGH: usize = 2048;

#[cfg(test)]
mod tests {
    use super::super::class::Class;
    use super::super::filter::OneWayDifference;
    use super::*;

    fn burst() -> ObservedBurst {
        let observation = |way| OneWayDifference { way, tau: 0.0, difference: 100e-6 };
        ObservedBurst { dt: 5.0, observations: PathDirection::BOTH.map(observation).to_vec() }
    }

    fn moments(classes: &Classes) -> [f64; SHARPNESSES.len()] {
        classes.each_ref().map(|class| class.clock(0.0).xx)
    }

    #[test]
    fn a_long_replay_is_done_in_pieces_and_takes_over_at_its_end() {
        let start = Filter::start(200e-6, 0.0, 1e-4);
        let mut classes = SHARPNESSES.map(|sharpness| Class::new(sharpness, start));
        let mut replay = Replay::new(start);
        (0..100).for_each(|_| replay.store(burst()));
        let before = moments(&classes);
        let pieces = (PASSES + ALL_FILTERS) * 100 / PIECE;
        for _ in 0..pieces {
            replay.advance(&mut classes);
            assert_eq!(moments(&classes), before);
        }
        replay.store(burst());
        replay.advance(&mut classes);
        let after = moments(&classes);
        assert!(
            after.iter().zip(before).all(|(after, before)| *after < before / 4.0),
            "{after:?} {before:?}"
        );
        replay.advance(&mut classes);
        assert_eq!(moments(&classes), after, "the next one is not due yet");
    }
}
