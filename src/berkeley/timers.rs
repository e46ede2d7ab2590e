//! Deadlines in order: a binary heap. A timer is never cancelled; whoever set it ignores it when it fires
//! too late for its purpose, which it recognises by the number in the timer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Monotonic;

/// Timers of kind `T`; setting and firing cost O(log n).
#[derive(Clone, Debug)]
pub struct Timers<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    set: u32,
}

impl<T: Ord> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers { heap: BinaryHeap::new(), set: 0 }
    }
}

impl<T: Ord> Timers<T> {
    /// Sets a timer. Of timers for the same moment, the one that was set first fires first (once in four billion times not).
    pub fn set(&mut self, at: Monotonic, timer: T) {
        self.set = self.set.wrapping_add(1);
        if self.heap.len() == self.heap.capacity() {
            // By small steps: many timers are not to hold twice the memory that they need.
            self.heap.reserve_exact(self.heap.len() / 16 + LEAST_STEP);
        }
        self.heap.push(Reverse(Entry { at, order: self.set, timer }));
    }

    /// When the next timer is due.
    pub fn next(&self) -> Option<Monotonic> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes the next timer that is due at `now`.
    pub fn fire(&mut self, now: Monotonic) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        let fired = self.heap.pop().map(|Reverse(entry)| entry.timer);
        if self.heap.capacity() > 4 * self.heap.len() + 8 * LEAST_STEP {
            self.heap.shrink_to(2 * self.heap.len() + LEAST_STEP);
        }
        fired
    }
}

/// Fields in the order in which they decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry<T> {
    at: Monotonic,
    order: u32,
    timer: T,
}

/// The least by which room for timers grows.
const LEAST_STEP: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_and_never_early() {
        let mut timers = Timers::default();
        let at = Monotonic::from_nanos;
        timers.set(at(20), 'b');
        timers.set(at(10), 'z');
        timers.set(at(10), 'a');
        assert_eq!((timers.next(), timers.fire(at(9))), (Some(at(10)), None));
        assert_eq!((timers.fire(at(30)), timers.fire(at(30))), (Some('z'), Some('a')));
        assert_eq!((timers.fire(at(30)), timers.fire(at(30))), (Some('b'), None));
    }
}
