//! What can be set, and what it is unless set.

use alloc::vec::Vec;
use ipnet::IpNet;

use crate::estimation::bound::DRIFT_ALLOWANCE;
use crate::time::{Frequency, Span, Timestamp};
use crate::wire::{ClusterId, Name};
use crate::{MasterKeys, NodeKeys};

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
    /// The most of them at one address (IPv6: in one /64, which is what one machine may have). This machine's
    /// own, which talk over the loopback interface, are not limited.
    pub max_clients_per_address: usize,
    /// The most of them in one network: IPv4 /24, IPv6 /48.
    pub max_clients_per_network: usize,
    /// Whose datagrams are read at all; none given: everybody's.
    pub allow: Vec<IpNet>,
    /// Whose datagrams are not, even so.
    pub deny: Vec<IpNet>,
    /// The keys; with any, only what is tagged is read and answered.
    pub keys: MasterKeys,
    /// Exchanges that take longer there and back measure nothing: half of this is what somebody on the path
    /// can make of a reading.
    pub max_delay: Span,
    /// The most probes a second that a round sends; those to newcomers, which are measured beside it, come on
    /// top. Not 0.
    pub probe_rate: u32,
    /// Up to so many clients, every measurement and correction of each is told.
    pub tell_each: usize,
    /// At the start, readings farther than this from the median are thrown out.
    pub radius: Span,
    /// Clocks that show less than this never vote.
    pub plausible_from: Timestamp,
    /// The rate of the cluster's time over the server's oscillator, minus one, if it is known from an earlier
    /// run; and one standard deviation of that.
    pub initial_frequency: Option<(Frequency, Frequency)>,
    /// The cluster whose time the server's oscillator shows already, if it is a clock that is kept by others:
    /// it is told as it is, and neither the vote nor the members' frequencies move it. For a server that is a
    /// client of another.
    pub given: Option<ClusterId>,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            name: Name::new("server"),
            interval: Span::from_secs(5),
            burst: 4,
            max_clients: 10_000,
            max_clients_per_address: 256,
            max_clients_per_network: usize::MAX,
            allow: Vec::new(),
            deny: Vec::new(),
            keys: MasterKeys::default(),
            max_delay: MAX_DELAY,
            probe_rate: PROBE_RATE,
            tell_each: 1_000,
            radius: Span::from_secs(30),
            plausible_from: PLAUSIBLE_FROM,
            initial_frequency: None,
            given: None,
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
    /// Once a correction was followed without a step, and so has confirmed the first, steps beyond this are
    /// refused; zero: all.
    pub max_step: Span,
    /// Until then, steps that lead farther than this from where the clock was at first are refused; `None`:
    /// none are.
    pub panic: Option<Span>,
    /// Nothing makes the clock run faster or slower than its oscillator by more than this.
    pub max_frequency: Frequency,
    /// Corrections to a time before this are refused.
    pub plausible_from: Timestamp,
    /// How far the oscillator may depart from its learned frequency beyond what the estimate's uncertainty
    /// says: the assumption under the guaranteed bound.
    pub drift_allowance: Frequency,
    /// This node's keys; with any, only what is tagged is believed.
    pub keys: NodeKeys,
    /// Exchanges that take longer there and back measure nothing.
    pub max_delay: Span,
    /// How much longer the way from the server is than the way back, if somebody knows; half of it corrects
    /// every exchange.
    pub asymmetry: Span,
    /// The rate of the cluster's time over this node's oscillator, minus one, if it is known from an earlier
    /// run; and one standard deviation of that.
    pub initial_frequency: Option<(Frequency, Frequency)>,
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        ClientConfig {
            name: Name::default(),
            step_threshold: STEP_THRESHOLD,
            max_step: MAX_STEP,
            panic: None,
            max_frequency: MAX_FREQUENCY,
            plausible_from: PLAUSIBLE_FROM,
            drift_allowance: DRIFT_ALLOWANCE,
            keys: NodeKeys::default(),
            max_delay: MAX_DELAY,
            asymmetry: Span::ZERO,
            initial_frequency: None,
        }
    }
}

/// What a server does in two thirds of a core's time (docs/PERFORMANCE.md); 14 MB a second on an Ethernet.
pub const PROBE_RATE: u32 = 100_000;

/// 2025-06-01T00:00:00Z: before that day there was no meantime, so no clock that is right can show less.
pub const PLAUSIBLE_FROM: Timestamp = Timestamp::from_nanos(1_748_736_000_000_000_000);

/// A longer way there and back than any network's: by way of a satellite it is 0.6 s. What takes longer was
/// held up.
pub const MAX_DELAY: Span = Span::from_secs(2);

/// How far past [`PLAUSIBLE_FROM`] (or what was set instead) a clock may be: 50 years.
pub const PLAUSIBLE_FOR: Span = Span::from_secs(50 * 365 * 86_400);

/// Rounds for which a server that follows leaves its members alone: long enough to learn their frequency.
pub const SILENT_ROUNDS: u32 = 24;

/// Larger differences than this would take longer than four minutes to slew: step.
pub const STEP_THRESHOLD: Span = Span::from_millis(128);

/// A clock that followed a cluster and is off by hours may come from a machine that was frozen and went on;
/// it should mend by itself. If it is off by more than a day, somebody has another idea of the date, and a
/// human should look.
pub const MAX_STEP: Span = Span::from_secs(86_400);

/// No crystal that works is farther off, and no operating system lets its clock run farther off.
pub const MAX_FREQUENCY: Frequency = Frequency::from_ppm(500.0);
