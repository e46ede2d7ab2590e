//! Timers, in the order of their deadlines. A timer cannot be cancelled; the caller ignores it if it fires
//! after it has become obsolete, which a number in the timer shows.
//!
//! Most timers are set for a fixed time from now, so the deadlines of each kind are ascending. Such timers
//! wait in a few sorted queues: setting and firing one costs O(1), amortised. A timer that fits at the end of
//! no queue goes into a binary heap, at O(log n).

use alloc::collections::{BinaryHeap, VecDeque};
use core::cmp::Reverse;

use crate::time::Monotonic;

/// Timers of kind `T`.
#[derive(Clone, Debug)]
pub struct Timers<T> {
    queues: [VecDeque<TimerEntry<T>>; QUEUES],
    heap: BinaryHeap<Reverse<TimerEntry<T>>>,
    set: u32,
}

impl<T: Ord> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers { queues: core::array::from_fn(|_| VecDeque::new()), heap: BinaryHeap::new(), set: 0 }
    }
}

impl<T: Ord + Copy> Timers<T> {
    /// Sets a timer. Of timers with the same deadline, the one that was set first fires first, until the
    /// counter of timers wraps around.
    pub fn set(&mut self, at: Monotonic, timer: T) {
        self.set = self.set.wrapping_add(1);
        let entry = TimerEntry { at, order: self.set, timer };
        // It goes to the queue with the latest end that is not later, so that each queue gets one kind of
        // timers.
        let last = |queue: &VecDeque<TimerEntry<T>>| queue.back().map(|back| back.at);
        match self.queues.iter_mut().filter(|queue| last(queue) <= Some(at)).max_by_key(|queue| last(queue)) {
            Some(queue) => {
                if queue.len() == queue.capacity() {
                    queue.reserve_exact(step(queue.len()));
                }
                queue.push_back(entry);
            }
            None => {
                if self.heap.len() == self.heap.capacity() {
                    self.heap.reserve_exact(step(self.heap.len()));
                }
                self.heap.push(Reverse(entry));
            }
        }
    }

    /// When the next timer is due.
    pub fn next(&self) -> Option<Monotonic> {
        self.first().map(|(entry, _)| entry.at)
    }

    /// Takes the next timer that is due at `now`.
    pub fn fire(&mut self, now: Monotonic) -> Option<T> {
        let (entry, place) = self.first().filter(|(entry, _)| entry.at <= now)?;
        let timer = entry.timer;
        match place {
            Some(index) => {
                let queue = &mut self.queues[index];
                queue.pop_front();
                if let Some(room) = spare(queue.len(), queue.capacity()) {
                    queue.shrink_to(room);
                }
            }
            None => {
                self.heap.pop();
                if let Some(room) = spare(self.heap.len(), self.heap.capacity()) {
                    self.heap.shrink_to(room);
                }
            }
        }
        Some(timer)
    }

    /// The next timer, and the queue that it waits in; `None`: in the heap.
    fn first(&self) -> Option<(&TimerEntry<T>, Option<usize>)> {
        let queued =
            self.queues.iter().enumerate().filter_map(|(index, queue)| Some((queue.front()?, Some(index))));
        queued.chain(self.heap.peek().map(|Reverse(entry)| (entry, None))).min_by_key(|(entry, _)| *entry)
    }
}

/// By how much a queue or the heap grows: little, so that many timers do not take twice the memory that they
/// need.
fn step(len: usize) -> usize {
    len / 16 + MIN_STEP
}

/// The new capacity, if the capacity is far too large.
fn spare(len: usize, capacity: usize) -> Option<usize> {
    (capacity > 4 * len + 8 * MIN_STEP).then_some(2 * len + MIN_STEP)
}

/// A timer that was set. The order of the fields is that of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TimerEntry<T> {
    at: Monotonic,
    order: u32,
    timer: T,
}

/// A server has five kinds of timers that are set by the thousand: a probe now, the next one, the end of a
/// burst by two reply timeouts, and a new member's next burst. The other queues are for those that are set
/// rarely and far ahead.
const QUEUES: usize = 8;
/// The minimum number of timers by which the capacity grows.
const MIN_STEP: usize = 16;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use proptest::prelude::*;

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

    #[test]
    fn timers_for_fixed_times_from_now_need_no_heap() {
        let mut timers = Timers::default();
        let mut heaped = 0;
        for now in 0..20_000 {
            let mut set = |after| {
                let before = timers.heap.len();
                timers.set(Monotonic::from_nanos(now + after), after);
                heaped += timers.heap.len() - before;
            };
            [0, 50, 400, 1_000, 1_250].into_iter().for_each(&mut set);
            // What comes once a round.
            if now % 5_000 == 0 {
                [2_500, 4_300, 5_000].into_iter().for_each(&mut set);
            }
            while timers.fire(Monotonic::from_nanos(now)).is_some() {}
        }
        assert!(heaped <= 20, "{heaped} of 100,000 went into the heap");
    }

    proptest! {
        #[test]
        fn every_timer_fires_once_and_in_order(
            steps in prop::collection::vec((0i64..50, any::<bool>()), 0..400)
        ) {
            let (mut timers, mut model) = (Timers::default(), Vec::new());
            let mut now = 0;
            for (number, (after, fires)) in steps.into_iter().enumerate() {
                if fires {
                    now += after / 10;
                    let at = Monotonic::from_nanos(now);
                    let expected = model.iter().min().copied().filter(|(due, _)| *due <= at);
                    model.retain(|entry| Some(*entry) != expected);
                    prop_assert_eq!(timers.fire(at), expected.map(|(_, number)| number));
                } else {
                    let at = Monotonic::from_nanos(now + after);
                    timers.set(at, number);
                    model.push((at, number));
                }
                prop_assert_eq!(timers.next(), model.iter().min().map(|(due, _)| *due));
            }
        }
    }
}
