//! What happens next: the order of events in true time.
//!
//! Events at the same nanosecond happen in the order in which they were planned, so that a run is the
//! same every time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use meantime_core::time::Span;

/// Events in the order in which they happen.
#[derive(Clone, Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<Planned<E>>>,
    planned: u64,
}

#[derive(Clone, Copy, Debug)]
struct Planned<E> {
    at: Span,
    number: u64,
    event: E,
}

impl<E> Queue<E> {
    /// Plans an event for a true time.
    pub fn plan(&mut self, at: Span, event: E) {
        self.planned += 1;
        self.heap.push(Reverse(Planned { at, number: self.planned, event }));
    }

    /// When the next event happens.
    pub fn first(&self) -> Option<Span> {
        self.heap.peek().map(|entry| entry.0.at)
    }

    /// Takes the next event, if it happens no later than `until`.
    pub fn next(&mut self, until: Span) -> Option<(Span, E)> {
        if self.heap.peek()?.0.at > until {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.event))
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Queue<E> {
        Queue { heap: BinaryHeap::new(), planned: 0 }
    }
}

impl<E> Ord for Planned<E> {
    fn cmp(&self, other: &Planned<E>) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Planned<E>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Planned<E>) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Planned<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_happen_in_the_order_of_time_and_then_of_planning() {
        let mut queue = Queue::default();
        for (at, event) in [(3, 'd'), (1, 'a'), (2, 'b'), (2, 'c')] {
            queue.plan(Span::from_secs(at), event);
        }
        let mut order = String::new();
        while let Some((_, event)) = queue.next(Span::from_secs(2)) {
            order.push(event);
        }
        assert_eq!(order, "abc");
        assert_eq!(queue.next(Span::MAX), Some((Span::from_secs(3), 'd')));
    }
}
