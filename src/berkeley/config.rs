//! What can be set, and what it is unless set.

use super::estimator::Method;
use crate::time::{Span, Timestamp};
use crate::wire::Name;

/// What a server can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// The name of the server's own clock among the members.
    pub name: Name,
    /// From one round to the next.
    pub interval: Span,
    /// Exchanges with each member in each round, 1 to 32.
    pub burst: u8,
    /// The most clients at a time.
    pub max_clients: usize,
    /// At the start, readings farther than this from the median are thrown out.
    pub radius: Span,
    /// Clocks that show less than this never vote.
    pub plausible_from: Timestamp,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            name: Name::new("server"),
            interval: Span::from_secs(5),
            burst: 4,
            max_clients: 10_000,
            radius: Span::from_secs(30),
            plausible_from: PLAUSIBLE_FROM,
        }
    }
}

impl ServerConfig {
    /// A client that has sent nothing for so long sends a heartbeat: one round.
    pub fn heartbeat(&self) -> Span {
        self.interval
    }

    /// Silence that ends a membership: three rounds, and half a round so that the third heartbeat,
    /// sent at its very end, can still arrive.
    pub fn lifetime(&self) -> Span {
        self.interval.times(3) + self.interval.half()
    }
}

/// What a client can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// What people call this node.
    pub name: Name,
    /// After the first synchronization, corrections beyond this are stepped, smaller ones slewed.
    pub step_threshold: Span,
    /// How phase and frequency are estimated.
    pub estimator: Method,
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        ClientConfig { name: Name::default(), step_threshold: STEP_THRESHOLD, estimator: Method::default() }
    }
}

/// 2025-06-01T00:00:00Z: before that day there was no meantime, so no clock that is right can show less.
pub const PLAUSIBLE_FROM: Timestamp = Timestamp::from_nanos(1_748_736_000_000_000_000);

/// How far past [`PLAUSIBLE_FROM`] (or what was set instead) a clock may be: 50 years.
pub const PLAUSIBLE_FOR: Span = Span::from_secs(50 * 365 * 86_400);

/// Larger differences than this would take longer than four minutes to slew: step.
pub const STEP_THRESHOLD: Span = Span::from_millis(128);
