//! Whether this node itself has been stopped: by a signal, or by a host that gave a virtual machine no
//! processor.
//!
//! A node that was stopped for longer than a lifetime knows nothing of the present: every statement that it
//! has is too old, and other servers may have taken over. It notices that by its own timers, which are late.
//! The clock of these timers stands still while the machine is suspended. So a node that is told of that
//! ([`Node::handle_suspended`](crate::Node::handle_suspended)) has to act as after a stall.

use crate::time::{Monotonic, Span};

/// When this node has run last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StallDetector {
    last: Monotonic,
    lifetime: Span,
}

impl StallDetector {
    /// The node runs at `now`. It is to be told the time at least once in each `lifetime`.
    pub fn new(now: Monotonic, lifetime: Span) -> StallDetector {
        StallDetector { last: now, lifetime }
    }

    /// The node runs at `now`. Returns whether it has been stopped for longer than a lifetime: then it
    /// forgets all statements, and its [role](super::server_role::ServerRole::handle_stall) is told.
    pub fn handle_wakeup(&mut self, now: Monotonic) -> bool {
        let stalled = now - self.last > self.lifetime;
        self.last = now;
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_ran_within_the_lifetime_has_not_been_stopped() {
        let at = |ms| Monotonic::from_nanos(0) + Span::from_millis(ms);
        let mut stall = StallDetector::new(at(0), Span::from_millis(17_500));
        assert!(!stall.handle_wakeup(at(5_000)));
        assert!(!stall.handle_wakeup(at(22_500)));
        assert!(stall.handle_wakeup(at(40_001)));
        assert!(!stall.handle_wakeup(at(45_000)), "it has been told");
    }
}
