//! The start: what the first bursts said is understood only when the noise is known.
//!
//! So they are kept, and replayed from the beginning: after the second, and then each time their number has
//! grown by half. Before, a part of what was learned about the noise is put in doubt: it was learned in the
//! wrong light of an earlier idea of clock and path, and would confirm itself. Then five times to learn about
//! the noise, with one filter of each class, and once with what was learned, for the state and the evidence.
//!
//! That is work for tens of milliseconds at the end, and the same thread has probes to answer. So a replay
//! has classes of its own, goes on by a piece with each burst, and takes over when it has come to the
//! present.

use super::class::Burst;
use super::filter::{Filter, Way};
use super::{Classes, SHARPNESSES};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The bursts since the start.
#[derive(Clone, Debug)]
pub(super) struct Replay {
    start: Filter,
    bursts: Vec<Kept>,
    /// Doubts about a way that the next burst to be kept comes with.
    doubts: Vec<(Way, f64)>,
    observations: usize,
    /// Seconds since the last burst that was kept, before the next one's own.
    unkept: f64,
    /// The number of bursts from which on the next run is due.
    due: usize,
    run: Option<Box<Run>>,
    over: bool,
}

#[derive(Clone, Debug)]
struct Kept {
    burst: Burst,
    /// What was doubted before it was taken in, and by how much, in seconds.
    doubts: Vec<(Way, f64)>,
}

/// A replay that is under way.
#[derive(Clone, Debug)]
struct Run {
    classes: Classes,
    /// How often all bursts were studied.
    lessons: usize,
    /// For the present lesson, a filter for each class.
    students: [Filter; SHARPNESSES.len()],
    /// The burst that is next.
    next: usize,
}

impl Replay {
    /// A start of which `start` was known.
    pub(super) fn new(start: Filter) -> Replay {
        let (bursts, doubts) = (Vec::new(), Vec::new());
        Replay { start, bursts, doubts, observations: 0, unkept: 0.0, due: 2, run: None, over: false }
    }

    /// Keeps a burst.
    pub(super) fn keep(&mut self, mut burst: Burst) {
        burst.dt += core::mem::take(&mut self.unkept);
        self.observations += burst.observations.len();
        self.bursts.push(Kept { burst, doubts: core::mem::take(&mut self.doubts) });
    }

    /// The least delay of a way may be another by about so many seconds from the next burst on.
    pub(super) fn doubt_way(&mut self, way: Way, by: f64) {
        self.doubts.push((way, by));
    }

    /// Time passed with a burst that is not kept.
    pub(super) fn pass(&mut self, dt: f64) {
        self.unkept += dt;
    }

    /// Whether nothing more is to be learned from the start.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Replays a piece, if it is time to, and replaces the classes if that brings the replay up to the
    /// present.
    pub(super) fn go_on(&mut self, classes: &mut Classes) {
        let complete = self.observations >= ENOUGH;
        if self.run.is_none() && (self.bursts.len() >= self.due || complete) {
            self.due = self.bursts.len() * 3 / 2 + 1;
            self.run = Some(Box::new(Run::begin(classes, self.start)));
        }
        if let Some(mut run) = self.run.take() {
            if run.go_on(self.start, &self.bursts) {
                *classes = run.classes;
                self.over = complete;
            } else {
                self.run = Some(run);
            }
        }
    }
}

impl Run {
    fn begin(classes: &Classes, start: Filter) -> Run {
        let mut classes = classes.clone();
        for class in &mut classes {
            class.density_mut().doubt();
        }
        Run { classes, lessons: 0, students: [start; SHARPNESSES.len()], next: 0 }
    }

    /// Does a piece of the work; true if it has come to the present.
    fn go_on(&mut self, start: Filter, bursts: &[Kept]) -> bool {
        let mut work = 0;
        while work < PIECE {
            if self.next == bursts.len() {
                if self.lessons == LESSONS {
                    return true;
                }
                self.lessons += 1;
                self.next = 0;
            }
            if self.next == 0 {
                self.begin_again(start, bursts);
            }
            let Kept { burst, doubts } = &bursts[self.next];
            self.next += 1;
            if self.lessons < LESSONS {
                for (class, student) in self.classes.iter_mut().zip(&mut self.students) {
                    doubts.iter().for_each(|(way, by)| student.doubt_way(*way, *by));
                    class.study(student, burst);
                }
                work += 1;
            } else {
                for class in &mut self.classes {
                    class.predict(burst.dt);
                    doubts.iter().for_each(|(way, by)| class.doubt(|filter| filter.doubt_way(*way, *by)));
                    class.assimilate(&burst.observations, false);
                }
                work += ALL_FILTERS;
            }
        }
        false
    }

    fn begin_again(&mut self, start: Filter, bursts: &[Kept]) {
        self.students = [start; SHARPNESSES.len()];
        for class in &mut self.classes {
            if self.lessons < LESSONS {
                let seen = class.density().seen() / 2.0;
                class.density_mut().rest_on(seen);
            } else {
                let observations: usize = bursts.iter().map(|kept| kept.burst.observations.len()).sum();
                class.density_mut().rest_on(observations as f64);
                class.restart(start);
            }
        }
    }
}

/// How often a replay learns about the noise.
const LESSONS: usize = 5;
/// What is done with each burst, in units of a burst studied by one filter of each class: some milliseconds
/// on a slow machine.
const PIECE: usize = 128;
/// A burst taken in by all filters, in the same units.
const ALL_FILTERS: usize = 4;
/// Observations after which the start is over: 256 bursts of four exchanges, 1,024 of one.
const ENOUGH: usize = 2048;

#[cfg(test)]
mod tests {
    use super::super::class::Class;
    use super::super::filter::Observation;
    use super::*;

    fn burst() -> Burst {
        let observation = |way| Observation { way, tau: 0.0, difference: 100e-6 };
        Burst { dt: 5.0, observations: Way::BOTH.map(observation).to_vec() }
    }

    fn moments(classes: &Classes) -> [f64; SHARPNESSES.len()] {
        classes.each_ref().map(|class| class.clock(0.0).xx)
    }

    #[test]
    fn a_long_replay_is_done_in_pieces_and_takes_over_at_its_end() {
        let start = Filter::start(200e-6, 0.0, 1e-4);
        let mut classes = SHARPNESSES.map(|sharpness| Class::new(sharpness, start));
        let mut replay = Replay::new(start);
        (0..100).for_each(|_| replay.keep(burst()));
        let before = moments(&classes);
        let pieces = (LESSONS + ALL_FILTERS) * 100 / PIECE;
        for _ in 0..pieces {
            replay.go_on(&mut classes);
            assert_eq!(moments(&classes), before);
        }
        replay.keep(burst());
        replay.go_on(&mut classes);
        let after = moments(&classes);
        assert!(
            after.iter().zip(before).all(|(after, before)| *after < before / 4.0),
            "{after:?} {before:?}"
        );
        replay.go_on(&mut classes);
        assert_eq!(moments(&classes), after, "the next one is not due yet");
    }
}
