//! The options of `meantime simulate`.

use std::path::PathBuf;

use super::fault;
use super::reference;
use super::values::{probability, wander};
use crate::cli::units;
use meantime_core::time::{Frequency, Span};
use meantime_sim::{Fault, MemberIndex, ReferenceModel};

/// Simulate a server and clients with bad clocks, bad networks and lying clients
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SimulateArgs {
    /// Number of clients, liars included, 1 to 5000
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub(super) clients: u32,
    /// Number of servers, 1 to 15. One of several is active, the others are standby servers. Their names are
    /// server-1, server-2 and so on; that of the only one is server
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=15))]
    pub(super) servers: u8,
    /// With several servers: of how many of the members that it knew a server must hear to be active
    #[arg(long, value_name = "KIND", default_value = "any")]
    pub(super) quorum: QuorumKind,
    /// Simulated duration
    #[arg(long, value_name = "SPAN", default_value = "10min", value_parser = units::positive_span)]
    pub(super) duration: Span,
    /// Time from the start that the summary leaves out of the clocks' disagreement; less than the duration
    #[arg(long, value_name = "SPAN", default_value = "1min", value_parser = units::unsigned_span)]
    pub(super) settle: Span,
    /// The time from one round to the next
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = units::positive_span)]
    pub(super) interval: Span,
    /// Number of exchanges with each client in a round, 1 to 32
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(super) burst: u8,

    /// Probability that a datagram is lost, in each direction: 0.2 or 20%
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub(super) loss: f64,
    /// Probability that a datagram arrives twice
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub(super) duplication: f64,
    /// Probability that a datagram is delayed by up to half a second
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub(super) reordering: f64,
    /// Probability that some bytes of a datagram are changed
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub(super) corruption: f64,
    /// Minimum delay in each direction
    #[arg(long, value_name = "SPAN", default_value = "100us", value_parser = units::unsigned_span)]
    pub(super) delay: Span,
    /// How much longer the delay is from the server to a client than back
    #[arg(long, value_name = "SPAN", default_value = "0", value_parser = units::unsigned_span)]
    pub(super) asymmetry: Span,
    /// Random delay that is added for each datagram: the mean; for pareto the minimum, for gaussian one
    /// standard deviation
    #[arg(long, value_name = "SPAN", default_value = "20us", value_parser = units::unsigned_span)]
    pub(super) jitter: Span,
    /// Distribution of the random delay
    #[arg(long, value_name = "KIND", default_value = "exponential")]
    pub(super) jitter_kind: JitterKind,
    /// One standard deviation of a further delay, in a queue that fills and empties within about a minute
    #[arg(long, value_name = "SPAN", default_value = "0", value_parser = units::unsigned_span)]
    pub(super) queue: Span,

    /// All nodes use keys
    #[arg(long)]
    pub(super) keys: bool,
    /// Server and clients discard exchanges with a longer round-trip delay, at most 2s
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = units::max_delay)]
    pub(super) max_delay: Span,

    /// Maximum offset of a clock from true time at the start
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = units::unsigned_span)]
    pub(super) offset: Span,
    /// Maximum frequency error of an oscillator, fast or slow, at most 500ppm
    #[arg(long, value_name = "FREQUENCY", default_value = "100ppm", value_parser = units::frequency)]
    pub(super) drift: Frequency,
    /// Wander of every oscillator's frequency: one standard deviation per square root of a second, 0 to 1e-5
    #[arg(long, value_name = "RATIO", default_value = "1e-9", value_parser = wander)]
    pub(super) wander: f64,
    /// Offset of the first server's clock at the start (negative: behind) [default: random, up to --offset]
    #[arg(long, value_name = "SPAN", value_parser = units::span, allow_hyphen_values = true)]
    pub(super) server_offset: Option<Span>,
    /// Frequency error of the first server's oscillator (negative: slow) [default: random, up to --drift]
    #[arg(long, value_name = "FREQUENCY", value_parser = units::frequency, allow_hyphen_values = true)]
    pub(super) server_drift: Option<Frequency>,
    /// Wander of the first server's frequency [default: as --wander]
    #[arg(long, value_name = "RATIO", value_parser = wander)]
    pub(super) server_wander: Option<f64>,
    /// One standard deviation of the noise of every timestamp
    #[arg(long, value_name = "SPAN", default_value = "0", value_parser = units::unsigned_span)]
    pub(super) timestamp_noise: Span,
    /// Maximum delay with which a timer fires
    #[arg(long, value_name = "SPAN", default_value = "0", value_parser = units::unsigned_span)]
    pub(super) timer_latency: Span,
    /// Idle states of the machines' processors. An idle machine wakes up before it stamps a datagram
    #[arg(long, value_name = "KIND", default_value = "none")]
    pub(super) wake_up: WakeUpKind,
    /// How the machines' network cards delay their interrupts. A datagram is stamped after the interrupt
    #[arg(long, value_name = "KIND", default_value = "none")]
    pub(super) interrupt_moderation: ModerationKind,

    /// Number of clients that lie; less than the number of clients
    #[arg(long, value_name = "N", default_value = "0")]
    pub(super) liars: u32,
    /// How they lie. With several kinds, separated by commas, each liar takes the next one
    #[arg(long, value_name = "KIND", default_value = "constant", value_delimiter = ',')]
    pub(super) liar_kind: Vec<LiarKind>,
    /// The offset that liars add
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = units::span, allow_hyphen_values = true)]
    pub(super) lie: Span,

    /// A fault: WHEN:WHAT:WHO[:HOW], as in 600s:jump:server:1h; see below. May be repeated
    #[arg(long = "fault", value_name = "FAULT", value_parser = fault::fault)]
    pub(super) faults: Vec<(Span, Fault)>,
    /// A node that starts later: WHO@WHEN, as in client-3@600s. May be repeated
    #[arg(long = "join", value_name = "WHO@WHEN", value_parser = fault::join)]
    pub(super) joins: Vec<(MemberIndex, Span)>,

    /// A member that offers a time from outside, which the server follows: WHO, or WHO:PROPERTY=VALUE,...
    /// with error, drift, max-error and outage, as in client-1:error=300us,outage=4h/16h. True time is UTC.
    /// May be repeated
    #[arg(long = "reference", value_name = "REFERENCE", value_parser = reference::reference)]
    pub(super) references: Vec<(MemberIndex, ReferenceModel)>,

    /// Seed of all random numbers: the same seed gives the same run
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) seed: u64,
    /// Run the scenario of random faults with this seed. It replaces the options for clients, clocks, network
    /// and faults
    #[arg(long, value_name = "N")]
    pub(super) faults_seed: Option<u64>,
    /// With --faults-seed: repeat half an hour of random faults and recovery for this duration, as in 90d.
    /// Clocks jump in it, which violates the stated bounds
    #[arg(long, value_name = "SPAN", requires = "faults_seed", value_parser = units::positive_span)]
    pub(super) soak: Option<Span>,
    /// With --soak: nodes keep nothing over restarts, as without --state-dir
    #[arg(long, requires = "soak")]
    pub(super) forget: bool,
    /// Format of the results on stdout
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) output: ResultFormat,
    /// Also print the nodes' events
    #[arg(long)]
    pub(super) events: bool,
    /// Write every clock's offset from cluster time, and the error that its node states, to this CSV file
    #[arg(long, value_name = "FILE")]
    pub(super) samples: Option<PathBuf>,
    /// Time from one comparison of the clocks to the next
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = units::positive_span)]
    pub(super) sample: Span,
}

/// The format of stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ResultFormat {
    /// Sentences for people
    Text,
    /// One JSON object per line; the last one is the summary
    Json,
}

/// How many members a server must hear to be active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum QuorumKind {
    /// Any number
    Any,
    /// More than half
    Majority,
}

/// A distribution of the random delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum JitterKind {
    /// No random delay
    None,
    /// Exponential: one busy queue
    Exponential,
    /// Gamma of shape 4: several queues, no sharp edge
    Gamma,
    /// Pareto of exponent 1.5: rarely, very long delays
    Pareto,
    /// Gaussian, also shorter than the minimum delay
    Gaussian,
    /// Exponential, and 500us more for every fifth datagram
    Mixture,
}

/// The idle states of processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum WakeUpKind {
    /// Processors never sleep
    None,
    /// After about 100us without work, waking up takes 5 to 10us
    Shallow,
    /// The same, and 50 to 150us after 1 to 2ms without work
    Deep,
}

/// How network cards moderate their interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ModerationKind {
    /// A datagram interrupts at once
    None,
    /// The interrupt waits, 20 to 70us with each card
    Fixed,
    /// The same, but only 10us within a millisecond of the last interrupt
    Adaptive,
}

/// How a client lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LiarKind {
    /// Adds --lie to its time, always
    Constant,
    /// Adds a random amount up to --lie
    Random,
    /// Adds --lie for one probe and subtracts it for the next
    TwoFaced,
    /// Drifts away at 1 ppm
    Frog,
    /// Adds nine tenths of the largest offset that the vote accepts
    Edge,
    /// States a frequency that is wrong by 25 ppm
    Frequency,
    /// States that it is synchronized, and adds --lie
    State,
    /// Delays its reports by --lie
    Delayed,
}

const EXAMPLES: &str = "\
Examples:
  Three clients on a good LAN, ten minutes:
    meantime simulate
  A bad network for a day:
    meantime simulate --clients 8 --loss 20% --duration 1d
  Two of five clients lie, each in its own way:
    meantime simulate --clients 5 --liars 2 --liar-kind constant,two-faced
  The server's clock starts an hour off; all clocks' offsets go to a file:
    meantime simulate --server-offset 1h --samples run.csv
  The server's clock jumps, and a client crashes:
    meantime simulate --fault 300s:jump:server:1h --fault 400s:crash:client-2
  With keys, and an attacker on a client's path:
    meantime simulate --keys --fault 300s:mitm:client-1:chaos
  Three machines have UTC, one of them a second off, and all lose it after two hours:
    meantime simulate --offset 20ms --duration 6h --events \\
      --reference client-1:outage=2h --reference client-2:outage=2h \\
      --reference client-3:error=1s,outage=2h
  Three servers, and the active one is killed and comes back:
    meantime simulate --servers 3 --clients 8 --events \\
      --fault 300s:crash:server-1 --fault 500s:start:server-1
  A network that is cut in two for an hour:
    meantime simulate --servers 2 --clients 8 --duration 2h --events \\
      --fault 10min:partition:server-1,client-1,client-2,client-3 \\
      --fault 70min:heal
  Random faults, replayed:
    meantime simulate --faults-seed 17 --events
  Random faults for three months:
    meantime simulate --faults-seed 17 --soak 90d

Faults, each from the moment WHEN on:
  WHEN:crash:WHO          the process ends without a message (or: kill)
  WHEN:leave:WHO          the node says goodbye and ends (or: stop); an active
                          server of several hands over first
  WHEN:start:WHO          the node starts again
  WHEN:pause:WHO          the process is stopped, until WHEN:resume:WHO
  WHEN:jump:WHO:BY        the oscillator jumps ahead by BY, as in server:-1h
  WHEN:drift:WHO:BY       its frequency changes by BY, as in server:5ppm
  WHEN:ramp:WHO:BY:SPAN   the same within SPAN, as in client-1:1ppm:10min
  WHEN:sleep:WHO:SPAN     the machine was suspended for SPAN, and all others, too
  WHEN:suspend:WHO:SPAN   the machine is suspended for SPAN, while others go on
  WHEN:cut:WHO            all its datagrams are lost, until WHEN:heal:WHO
  WHEN:partition:WHO,WHO  nothing gets through between these nodes and all
                          others, until WHEN:heal
  WHEN:delay:WHO:SPAN     the minimum delay is SPAN, in both directions; with
                          :down only to the node, with :up only from it
  WHEN:mitm:WHO:HOW       an attacker is on its path to the server, until :off;
                          it changes, drops, delays and repeats datagrams at
                          random (chaos), replaces all datagrams by old ones
                          (replay), changes times (forge:50ms), or delays more
                          and more (creep:10ppm)
  WHEN:lie:SERVER:HOW     the server lies about its time, until :off: by BY
                          (constant:BY), more and more (ramp:1ppm), ahead to
                          half of the members and behind to the others
                          (two-faced:BY), only to one (one:client-3:BY), or by
                          BY while it states that its bound is zero
                          (false-bounds:BY); or about its role: it claims
                          terms and steps down in turn (terms)
  WHEN:set-time:BY        the operator sets the cluster's time by BY, as a slew;
                          with :step as a step

With several servers a node has a path to each of them. For cut, heal, delay and
mitm WHO means all paths of the node, and WITH/WHO, as in server-2/client-1, that
between the two.

A SPAN is a number and a unit (ns, us, ms, s, min, h, d), as in 250ms;
a FREQUENCY is in ppm or ppb; P is a probability, as in 0.2 or 20%.";
