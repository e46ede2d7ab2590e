//! A processor that sleeps when it has nothing to do, and needs time to wake up.
//!
//! The kernel stamps a received datagram after its processor has woken up. So the receipt is late by the exit
//! latency of the idle state that the processor was in, and that latency is the larger the longer the machine
//! was idle. A timer fires late, too, but what it sends is stamped when it departs: only receipts are wrong.
//! Both ways of an exchange are late, the way to the node that slept longer by more; half of the difference
//! is an error that no exchange can show.
//!
//! The figures follow the idle states of Intel's processors (Linux, `drivers/idle/intel_idle.c`). C1E takes 2
//! to 15 µs to leave, C6 mostly 50 to 170 µs: Denverton 50, Skylake 85, Broadwell and Skylake-X 133, Ice
//! Lake-X 170. The kernel chooses the state by a prediction of how long the processor will be idle. Here the
//! state follows from how long it has been idle, which is what the prediction amounts to when a machine is
//! either quiet or in a burst of exchanges.

use std::ops::Range;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::jitter::Jitter;
use meantime_core::time::Span;

/// The idle states that machines use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WakeUp {
    /// None: every processor is awake at all times.
    #[default]
    None,
    /// One that is left within microseconds.
    Shallow,
    /// That one, and one that takes some 100 µs to leave.
    Deep,
}

/// The processor of one machine.
#[derive(Clone, Debug)]
pub struct Processor {
    /// The shallowest first.
    states: Vec<IdleState>,
    /// When it has woken up, or will have.
    awake: Span,
    /// When it had something to do for the last time.
    busy: Span,
    rng: ChaCha8Rng,
}

/// An idle state of one processor.
#[derive(Clone, Copy, Debug, PartialEq)]
struct IdleState {
    /// The processor enters it after so much idleness.
    after: Span,
    /// Its least exit latency.
    exit: Span,
}

impl Processor {
    /// A processor that uses these idle states; how long it takes to leave them is drawn from `rng`.
    pub fn new(wake_up: WakeUp, mut rng: ChaCha8Rng) -> Processor {
        let used = match wake_up {
            WakeUp::None => 0,
            WakeUp::Shallow => 1,
            WakeUp::Deep => 2,
        };
        let states = [(SHALLOW_AFTER, SHALLOW_EXIT), (DEEP_AFTER, DEEP_EXIT)];
        let mut draw = |range: Range<i64>| Span::from_nanos(rng.random_range(range));
        let drawn = states.map(|(after, exit)| IdleState { after: draw(after), exit: draw(exit) });
        let states = drawn[..used].to_vec();
        Processor { states, awake: Span::ZERO, busy: Span::ZERO, rng }
    }

    /// An interrupt or a timer at a true time: when the processor runs; at once if it is awake.
    pub fn wake(&mut self, at: Span) -> Span {
        let idle = at - self.busy;
        self.busy = self.busy.max(at);
        if at < self.awake {
            return self.awake;
        }
        let Some(state) = self.states.iter().rfind(|state| idle > state.after) else { return at };
        let jitter = Jitter::Exponential { mean: state.exit.scaled(EXIT_JITTER) };
        self.awake = at + state.exit + jitter.draw(&mut self.rng);
        self.busy = self.awake;
        self.awake
    }

    /// It has something to do until a true time.
    pub fn work(&mut self, until: Span) {
        self.busy = self.busy.max(until);
    }
}

/// When a processor enters the shallow state, in ns. C1E pays from 4 to 25 µs on; before it enters C1E, a
/// processor has other work after a datagram, and polls or uses C1, which it leaves within 2 µs.
const SHALLOW_AFTER: Range<i64> = 50_000..150_000;
/// The exit latency of the shallow state, in ns.
const SHALLOW_EXIT: Range<i64> = 5_000..10_000;
/// When a processor enters the deep state, in ns. C6 pays from 200 to 800 µs on. It is entered later here: on
/// virtual machines, probes 1 ms apart had a third of the error of probes 50 ms apart.
const DEEP_AFTER: Range<i64> = 1_000_000..2_000_000;
/// The exit latency of the deep state, in ns.
const DEEP_EXIT: Range<i64> = 50_000..150_000;
/// The mean of the exponential part of an exit latency, over the least: caches fill again, and voltage and
/// frequency rise, but most of the latency is a property of the processor.
const EXIT_JITTER: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, Seed};

    fn processor(wake_up: WakeUp, number: usize) -> Processor {
        Processor::new(wake_up, Seed(1).stream(Purpose::WakeUp, number))
    }

    /// How long it takes to wake a processor that has been idle for so long.
    fn woken_after(wake_up: WakeUp, idle: Span) -> Span {
        processor(wake_up, 0).wake(idle) - idle
    }

    #[test]
    fn the_wake_up_delay_grows_with_idleness() {
        let [soon, later, late] = [20, 500, 50_000].map(Span::from_micros);
        for wake_up in [WakeUp::None, WakeUp::Shallow, WakeUp::Deep] {
            assert_eq!(woken_after(wake_up, soon), Span::ZERO);
        }
        assert_eq!(woken_after(WakeUp::None, late), Span::ZERO);
        let shallow = woken_after(WakeUp::Shallow, late);
        assert!((5_000..20_000).contains(&shallow.as_nanos()), "{shallow}");
        assert_eq!(woken_after(WakeUp::Deep, later), woken_after(WakeUp::Shallow, later));
        let deep = woken_after(WakeUp::Deep, late);
        assert!((50_000..300_000).contains(&deep.as_nanos()), "{deep}");
    }

    #[test]
    fn machines_take_different_times_and_each_about_the_same_every_time() {
        let mut means = Vec::new();
        for number in 0..20 {
            let mut processor = processor(WakeUp::Deep, number);
            let delays = (1..=500).map(Span::from_secs).map(|at| processor.wake(at) - at);
            let delays: Vec<i64> = delays.map(Span::as_nanos).collect();
            let least = *delays.iter().min().unwrap() as f64;
            let mean = delays.iter().sum::<i64>() as f64 / delays.len() as f64;
            assert!((1.08..1.12).contains(&(mean / least)), "{mean} {least}");
            means.push(mean);
        }
        means.sort_by(f64::total_cmp);
        assert!(means[0] < 75e3 && means[19] > 140e3, "{means:?}");
    }

    #[test]
    fn what_arrives_while_the_processor_wakes_up_waits_for_that_only() {
        let mut processor = processor(WakeUp::Deep, 0);
        let first = processor.wake(Span::from_secs(1));
        assert_eq!(processor.wake(Span::from_secs(1) + Span::from_micros(10)), first);
        assert_eq!(processor.wake(first), first);
    }

    #[test]
    fn a_processor_that_has_worked_is_awake_for_a_while() {
        let mut processor = processor(WakeUp::Deep, 0);
        let (until, soon) = (Span::from_secs(2), Span::from_secs(2) + Span::from_micros(20));
        processor.work(until);
        assert_eq!(processor.wake(soon), soon);
    }
}
