//! The scenario that the options of `meantime simulate` describe.

use super::arguments::{JitterKind, LiarKind, ModerationKind, QuorumKind, SimulateArgs, WakeUpKind};
use crate::cli::Failure;
use meantime_core::roles::server_role::Quorum;
use meantime_core::time::{Frequency, Span};
use meantime_sim::machine::ProcessModel;
use meantime_sim::random_faults::{Recoveries, Soak};
use meantime_sim::scenario::ClockOverride;
use meantime_sim::seed::Seed;
use meantime_sim::{Impairments, Jitter, Lie, MemberIndex, Moderation, Scenario, SlowQueue, WakeUp};

impl SimulateArgs {
    /// The scenario that the options describe, and the observer of recoveries if it is a soak.
    ///
    /// # Errors
    /// When the options contradict one another.
    pub(super) fn world(&self) -> Result<(Scenario, Option<Recoveries>), Failure> {
        match (self.faults_seed, self.soak) {
            (Some(seed), Some(length)) => {
                let Soak { mut scenario, recoveries } = Soak::new(seed, length);
                scenario.process.keeps = !self.forget;
                Ok((scenario, Some(recoveries)))
            }
            _ => Ok((self.scenario()?, None)),
        }
    }

    fn scenario(&self) -> Result<Scenario, Failure> {
        if let Some(seed) = self.faults_seed {
            return Ok(Scenario::random_faults(seed));
        }
        self.check_combination()?;
        let scenario = Scenario {
            seed: Seed(self.seed),
            clients: self.clients as usize,
            servers: self.servers.into(),
            quorum: match self.quorum {
                QuorumKind::Any => Quorum::Any,
                QuorumKind::Majority => Quorum::Majority,
            },
            duration: self.duration,
            settle: self.settle,
            sample: self.sample,
            interval: self.interval,
            burst: self.burst,
            liars: self.liars as usize,
            lies: self.liar_kind.iter().map(|kind| self.lie(*kind)).collect(),
            faults: self.faults.clone(),
            joins: self.joins.clone(),
            references: self.references.clone(),
            clocks: vec![(MemberIndex::SERVER, self.server_clock())],
            offset: self.offset,
            drift: self.drift,
            wander: self.wander,
            ..self.network()
        };
        self.check_members(&scenario)?;
        Ok(scenario)
    }

    /// Refuses options that contradict one another.
    fn check_combination(&self) -> Result<(), Failure> {
        if self.liars >= self.clients {
            let message = format!(
                "{} liars of {} clients leave no honest client; raise --clients",
                self.liars, self.clients
            );
            return Err(Failure::Usage(message));
        }
        if self.settle >= self.duration {
            let message = format!(
                "nothing is left for the summary: --settle {} is not below --duration {}",
                self.settle, self.duration
            );
            return Err(Failure::Usage(message));
        }
        Ok(())
    }

    /// Refuses options that name a node that there is not.
    fn check_members(&self, scenario: &Scenario) -> Result<(), Failure> {
        let struck = self.faults.iter().flat_map(|(_, fault)| fault.members());
        let mut named = struck
            .chain(self.joins.iter().map(|(member, _)| *member))
            .chain(self.references.iter().map(|(member, _)| *member));
        let Some(unknown) = named.find(|member| !scenario.has(*member)) else { return Ok(()) };
        let (clients, servers) = (self.clients, self.servers);
        Err(Failure::Usage(match (unknown.is_server(), servers) {
            (false, _) => format!("there is no {unknown} among {clients} clients; raise --clients"),
            (true, 1) => format!("there is no {unknown}: the only server is server; raise --servers"),
            (true, _) => {
                format!(
                    "there is no {unknown} among {servers} servers: they are server-1 to server-{servers}"
                )
            }
        }))
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
            impairments: Impairments {
                loss: self.loss,
                duplication: self.duplication,
                reordering: self.reordering,
                corruption: self.corruption,
            },
            process: ProcessModel {
                noise: self.timestamp_noise,
                latency: self.timer_latency,
                ..default.process
            },
            wake_up: match self.wake_up {
                WakeUpKind::None => WakeUp::None,
                WakeUpKind::Shallow => WakeUp::Shallow,
                WakeUpKind::Deep => WakeUp::Deep,
            },
            moderation: match self.interrupt_moderation {
                ModerationKind::None => Moderation::None,
                ModerationKind::Fixed => Moderation::Fixed,
                ModerationKind::Adaptive => Moderation::Adaptive,
            },
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

    fn server_clock(&self) -> ClockOverride {
        ClockOverride { offset: self.server_offset, drift: self.server_drift, wander: self.server_wander }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use meantime_sim::Fault;

    use super::*;

    #[derive(Debug, Parser)]
    struct CommandLine {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn scenario(line: &str) -> Result<Scenario, String> {
        let line = std::iter::once("simulate").chain(line.split_whitespace());
        let parsed = CommandLine::try_parse_from(line).map_err(|error| error.to_string())?;
        parsed.args.scenario().map_err(|failure| failure.to_string())
    }

    #[test]
    fn without_options_it_is_the_default_scenario() {
        let clocks = vec![(MemberIndex::SERVER, ClockOverride::default())];
        assert_eq!(scenario(""), Ok(Scenario { clocks, ..Scenario::default() }));
    }

    #[test]
    fn all_kinds_of_values_are_parsed() {
        let found = scenario(
            "--clients 3 --duration 11000s --settle 1000s --loss 0.2 --delay 100us --jitter 20us \
             --offset 10s --drift 100ppm --wander 1e-9 --liars 1 --seed 7 --output text \
             --wake-up deep --interrupt-moderation adaptive",
        );
        let found = found.unwrap();
        assert_eq!((found.seed, found.liars, found.impairments.loss), (Seed(7), 1, 0.2));
        assert_eq!((found.duration, found.settle), (Span::from_secs(11_000), Span::from_secs(1_000)));
        assert_eq!((found.wake_up, found.moderation), (WakeUp::Deep, Moderation::Adaptive));
        let found = scenario("--servers 3 --quorum majority --fault 1s:kill:server-3").unwrap();
        assert_eq!((found.servers, found.quorum), (3, Quorum::Majority));
        assert_eq!(found.faults, [(Span::from_secs(1), Fault::Crash(MemberIndex::server(3)))]);
    }

    #[test]
    fn a_contradiction_is_refused_with_a_hint() {
        for (line, hint) in [
            ("--loss 2", "for per cent type 20%"),
            ("--loss x", "type for example"),
            ("--liars 3", "raise --clients"),
            ("--fault 1s:crash:client-4", "no client-4"),
            ("--join client-4@1s", "no client-4"),
            ("--fault 1s:cut:server-2/client-1", "no server-2: the only server is server"),
            ("--servers 2 --fault 1s:partition:client-1,server-3", "server-1 to server-2"),
            ("--servers 2 --fault 1s:crash:server", "server-1 to server-2"),
            ("--servers 16", "1..=15"),
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
