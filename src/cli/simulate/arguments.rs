//! What can be typed after `meantime simulate`, and the scenario that it describes.

use std::path::PathBuf;

use super::fault;
use super::values::{probability, wander};
use crate::cli::Failure;
use crate::cli::units;
use meantime_core::time::{Frequency, Span};
use meantime_sim::chaos::{Endurance, Soak};
use meantime_sim::machine::Habits;
use meantime_sim::scenario::Clock;
use meantime_sim::seed::Seed;
use meantime_sim::{Fault, Jitter, Lie, Member, Scenario, SlowQueue, Trouble};

/// Run server and clients in a simulated world with bad clocks, bad networks and liars
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SimulateArgs {
    /// How many clients, liars included
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=5_000))]
    clients: u32,
    /// How long the simulated world runs
    #[arg(long, value_name = "SPAN", default_value = "10min", value_parser = units::positive_span)]
    duration: Span,
    /// How long the clocks may settle before the summary counts their disagreement
    #[arg(long, value_name = "SPAN", default_value = "1min", value_parser = units::unsigned_span)]
    settle: Span,
    /// The time from one round to the next
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = units::positive_span)]
    interval: Span,
    /// How often each client is measured in a round, 1 to 32
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u8).range(1..=32))]
    burst: u8,

    /// How often a datagram is lost, each way: 0.2 or 20%
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    loss: f64,
    /// How often a datagram arrives twice
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    duplication: f64,
    /// How often a datagram is held back for up to half a second
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    reordering: f64,
    /// How often some bytes of a datagram are changed
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    corruption: f64,
    /// How long a datagram takes at least, each way
    #[arg(long, value_name = "SPAN", default_value = "100us", value_parser = units::unsigned_span)]
    delay: Span,
    /// How much longer it takes from the server to a client than back
    #[arg(long, value_name = "SPAN", default_value = "0", value_parser = units::unsigned_span)]
    asymmetry: Span,
    /// How long each datagram waits on top of that: the mean; for pareto the least, for gaussian one sigma
    #[arg(long, value_name = "SPAN", default_value = "20us", value_parser = units::unsigned_span)]
    jitter: Span,
    /// How these waits are distributed
    #[arg(long, value_name = "KIND", default_value = "exponential")]
    jitter_kind: JitterKind,
    /// One sigma of a further wait, in a queue that fills and empties within a minute or so
    #[arg(long, value_name = "SPAN", default_value = "0", value_parser = units::unsigned_span)]
    queue: Span,

    /// Let all nodes use keys
    #[arg(long)]
    keys: bool,
    /// Do not use measurements that took longer there and back, on either side
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = units::max_delay)]
    max_delay: Span,

    /// Clocks start within this of the true time
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = units::unsigned_span)]
    offset: Span,
    /// Clocks run fast or slow by up to this
    #[arg(long, value_name = "FREQUENCY", default_value = "100ppm", value_parser = units::frequency)]
    drift: Frequency,
    /// How much every clock's frequency wanders: one sigma, per root of a second
    #[arg(long, value_name = "RATIO", default_value = "1e-9", value_parser = wander)]
    wander: f64,
    /// Let the server's clock start ahead by exactly this (negative: behind)
    #[arg(long, value_name = "SPAN", value_parser = units::span, allow_hyphen_values = true)]
    server_offset: Option<Span>,
    /// Let the server's clock run fast by exactly this (negative: slow)
    #[arg(long, value_name = "FREQUENCY", value_parser = units::frequency, allow_hyphen_values = true)]
    server_drift: Option<Frequency>,
    /// How much the server's frequency wanders, if not like all others
    #[arg(long, value_name = "RATIO", value_parser = wander)]
    server_wander: Option<f64>,
    /// One sigma of the noise of every timestamp
    #[arg(long, value_name = "SPAN", default_value = "0", value_parser = units::unsigned_span)]
    timestamp_noise: Span,
    /// Timers fire up to this too late
    #[arg(long, value_name = "SPAN", default_value = "0", value_parser = units::unsigned_span)]
    timer_latency: Span,

    /// How many of the clients lie
    #[arg(long, value_name = "N", default_value = "0")]
    liars: u32,
    /// How they lie; of several kinds, separated by commas, each liar takes the next
    #[arg(long, value_name = "KIND", default_value = "constant", value_delimiter = ',')]
    liar_kind: Vec<LiarKind>,
    /// How far off liars claim to be
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = units::span, allow_hyphen_values = true)]
    lie: Span,

    /// Let something go wrong: WHEN:WHAT:WHO[:HOW], as in 600s:jump:server:1h; see below. May be repeated
    #[arg(long = "fault", value_name = "FAULT", value_parser = fault::fault)]
    faults: Vec<(Span, Fault)>,
    /// Let a client start later: WHO@WHEN, as in client-3@600s. May be repeated
    #[arg(long = "join", value_name = "WHO@WHEN", value_parser = fault::join)]
    joins: Vec<(Member, Span)>,

    /// Everything random follows from this number
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Replay the scenario of random faults with this seed; it brings a world of its own, whatever the
    /// options say
    #[arg(long, value_name = "N")]
    pub(super) faults_seed: Option<u64>,
    /// With --faults-seed: half an hour of faults and recovery after the other, for so long, as in 90d.
    /// Clocks jump in it, which no stated bound allows for
    #[arg(long, value_name = "SPAN", requires = "faults_seed", value_parser = units::positive_span)]
    soak: Option<Span>,
    /// With --soak: let processes forget what they know when they end, as nodes without --state-dir do
    #[arg(long, requires = "soak")]
    forget: bool,
    /// How to print the results
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) output: Format,
    /// Also print what the nodes tell
    #[arg(long)]
    pub(super) events: bool,
    /// Write every node's distance from the cluster's time, and the error it states, to this file, as CSV
    #[arg(long, value_name = "FILE")]
    pub(super) samples: Option<PathBuf>,
    /// How often the clocks are compared
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = units::positive_span)]
    sample: Span,
}

/// What is printed on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Sentences, for people
    Text,
    /// One JSON object a line, the last one being the summary
    Json,
}

/// The distributions that have a name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum JitterKind {
    /// No waits at all
    None,
    /// Exponential: one busy queue
    Exponential,
    /// Gamma of shape 4: several queues, no sharp edge
    Gamma,
    /// Pareto of exponent 1.5: now and then very long
    Pareto,
    /// Gaussian, to both sides
    Gaussian,
    /// Exponential, and 500 us more for every fifth datagram
    Mixture,
}

/// The lies that have a name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LiarKind {
    /// Always off by --lie
    Constant,
    /// Off by anything up to --lie
    Random,
    /// Ahead for one probe, behind for the next
    TwoFaced,
    /// Runs away at 1 ppm
    Frog,
    /// Off by nine tenths of what the server believes
    Edge,
    /// Says that its frequency is 25 ppm off
    Frequency,
    /// Says that it is synchronized, off by --lie
    State,
    /// Holds its reports back for --lie
    Delayed,
}

impl SimulateArgs {
    /// The scenario that was typed, and who is to watch it if it is a soak.
    ///
    /// # Errors
    /// When its parts make no sense together.
    pub(super) fn world(&self) -> Result<(Scenario, Option<Endurance>), Failure> {
        match (self.faults_seed, self.soak) {
            (Some(seed), Some(length)) => {
                let Soak { mut scenario, endurance } = Soak::new(seed, length);
                scenario.habits.keeps = !self.forget;
                Ok((scenario, Some(endurance)))
            }
            _ => Ok((self.scenario()?, None)),
        }
    }

    fn scenario(&self) -> Result<Scenario, Failure> {
        if let Some(seed) = self.faults_seed {
            return Ok(Scenario::random_faults(seed));
        }
        if self.liars >= self.clients {
            let message = format!(
                "{} liars of {} clients leave nobody to agree; raise --clients",
                self.liars, self.clients
            );
            return Err(Failure::Usage(message));
        }
        if self.settle >= self.duration {
            let message = format!(
                "nothing is left to sum up: --settle {} is not below --duration {}",
                self.settle, self.duration
            );
            return Err(Failure::Usage(message));
        }
        let struck = self.faults.iter().filter_map(|(_, fault)| fault::victim(fault));
        let mut named = struck.chain(self.joins.iter().map(|(member, _)| *member));
        if let Some(nobody) = named.find(|member| member.index() > self.clients as usize) {
            let clients = self.clients;
            return Err(Failure::Usage(format!(
                "there is no {nobody} among {clients} clients; raise --clients"
            )));
        }
        Ok(Scenario {
            seed: Seed(self.seed),
            clients: self.clients as usize,
            duration: self.duration,
            settle: self.settle,
            sample: self.sample,
            interval: self.interval,
            burst: self.burst,
            liars: self.liars as usize,
            lies: self.liar_kind.iter().map(|kind| self.lie(*kind)).collect(),
            faults: self.faults.clone(),
            joins: self.joins.clone(),
            clocks: vec![(Member::SERVER, self.server_clock())],
            offset: self.offset,
            drift: self.drift,
            wander: self.wander,
            ..self.network()
        })
    }

    fn network(&self) -> Scenario {
        let default = Scenario::default();
        let (sigma, tau) = (self.queue, Span::from_secs(60));
        Scenario {
            delay: self.delay,
            asymmetry: self.asymmetry,
            keys: self.keys,
            max_delay: self.max_delay,
            jitter: self.jitter(),
            queue: (sigma > Span::ZERO).then_some(SlowQueue { sigma, tau }),
            trouble: Trouble {
                loss: self.loss,
                duplication: self.duplication,
                reordering: self.reordering,
                corruption: self.corruption,
            },
            habits: Habits { noise: self.timestamp_noise, latency: self.timer_latency, ..default.habits },
            ..default
        }
    }

    fn jitter(&self) -> Jitter {
        let mean = self.jitter;
        match self.jitter_kind {
            JitterKind::None => Jitter::None,
            JitterKind::Exponential => Jitter::Exponential { mean },
            JitterKind::Gamma => Jitter::Gamma { shape: 4.0, mean },
            JitterKind::Pareto => Jitter::Pareto { alpha: 1.5, scale: mean },
            JitterKind::Gaussian => Jitter::Gaussian { sigma: mean },
            JitterKind::Mixture => Jitter::Mixture { mean, chance: 0.2, extra: Span::from_micros(500) },
        }
    }

    fn lie(&self, kind: LiarKind) -> Lie {
        match kind {
            LiarKind::Constant => Lie::Constant(self.lie),
            LiarKind::Random => Lie::Random(self.lie),
            LiarKind::TwoFaced => Lie::TwoFaced(self.lie),
            LiarKind::Frog => Lie::Frog(Frequency::from_ppm(1.0)),
            LiarKind::Edge => Lie::Edge(0.9),
            LiarKind::Frequency => Lie::Frequency(Frequency::from_ppm(25.0)),
            LiarKind::State => Lie::State(self.lie),
            LiarKind::Delayed => Lie::Delayed(self.lie.abs()),
        }
    }

    fn server_clock(&self) -> Clock {
        Clock { offset: self.server_offset, drift: self.server_drift, wander: self.server_wander }
    }
}

const EXAMPLES: &str = "\
Examples:
  Three clients on a good LAN, ten minutes:
    meantime simulate
  A bad network for a day:
    meantime simulate --clients 8 --loss 20% --duration 1d
  Two of five lie, each in its way:
    meantime simulate --clients 5 --liars 2 --liar-kind constant,two-faced
  The server starts an hour off; every clock's error goes to a file:
    meantime simulate --server-offset 1h --samples run.csv
  The server's clock jumps, and a client dies:
    meantime simulate --fault 300s:jump:server:1h --fault 400s:crash:client-2
  With keys, and somebody on a client's path:
    meantime simulate --keys --fault 300s:mitm:client-1:chaos
  Random faults, replayed:
    meantime simulate --faults-seed 17 --events
  Random faults again and again, for three months:
    meantime simulate --faults-seed 17 --soak 90d

Faults, each from the moment WHEN on:
  WHEN:crash:WHO          the process dies
  WHEN:leave:WHO          it says goodbye and ends
  WHEN:start:WHO          it is started again
  WHEN:pause:WHO          the process stands still, until WHEN:resume:WHO
  WHEN:jump:WHO:BY        the oscillator shows so much more, as in server:-1h
  WHEN:drift:WHO:BY       its frequency changes at once, as in server:5ppm
  WHEN:ramp:WHO:BY:SPAN   or within so long, as in client-1:1ppm:10min
  WHEN:sleep:WHO:SPAN     the machine has slept for so long
  WHEN:cut:CLIENT         nothing gets through, until WHEN:heal:CLIENT
  WHEN:delay:CLIENT:SPAN  the least delay is this, either way; with :down only
                          from the server, with :up only to it
  WHEN:mitm:CLIENT:HOW    somebody comes between it and the server, until :off; he
                          does anything (chaos), lets through nothing but what is
                          old (replay), changes times (forge:50ms), or delays
                          ever more (creep:10ppm)
  WHEN:set-time:BY        somebody sets the cluster's time by so much, slowly;
                          with :step at once

A SPAN is a number and a unit (ns, us, ms, s, min, h, d), as in 250ms;
a FREQUENCY is in ppm or ppb; P is a probability, as in 0.2 or 20%.";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn scenario(line: &str) -> Result<Scenario, String> {
        let line = std::iter::once("simulate").chain(line.split_whitespace());
        let parsed = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        parsed.args.scenario().map_err(|failure| failure.to_string())
    }

    #[test]
    fn without_options_it_is_the_default_scenario() {
        let clocks = vec![(Member::SERVER, Clock::default())];
        assert_eq!(scenario(""), Ok(Scenario { clocks, ..Scenario::default() }));
    }

    #[test]
    fn the_line_of_the_issue_is_understood() {
        let found = scenario(
            "--clients 3 --duration 11000s --settle 1000s --loss 0.2 --delay 100us --jitter 20us \
             --offset 10s --drift 100ppm --wander 1e-9 --liars 1 --seed 7 --output text",
        );
        let found = found.unwrap();
        assert_eq!((found.seed, found.liars, found.trouble.loss), (Seed(7), 1, 0.2));
        assert_eq!((found.duration, found.settle), (Span::from_secs(11_000), Span::from_secs(1_000)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_hint() {
        for (line, hint) in [
            ("--loss 2", "for per cent type 20%"),
            ("--loss x", "type for example"),
            ("--liars 3", "raise --clients"),
            ("--fault 1s:crash:client-4", "no client-4"),
            ("--join client-4@1s", "no client-4"),
            ("--settle 1d", "--duration"),
            ("--wander 1", "quartz"),
            ("--clients 0", "1..=5000"),
            ("--jitter-kind odd", "exponential"),
            ("--duration 5", "type 5s"),
        ] {
            let error = scenario(line).unwrap_err();
            assert!(error.contains(hint), "{line}: {error}");
        }
    }
}
