//! What server and client have in common: the options of a node, and the run of it.

use std::io;
use std::path::PathBuf;

use rand::TryRng;
use rand::rngs::SysRng;

use super::Failure;
use super::logging::LogArgs;
use super::memory::Memory;
use super::output::{Format, Output, Tell};
use super::units;
use crate::berkeley::Node;
use crate::clock::system::steering::Settings;
use crate::clock::{Clock, Overlay, SystemEvent};
use crate::net::{self, EventLoop, Link, Observation, Observer};
use crate::time::{Frequency, Span};
use crate::wire::Name;

/// The options that every node has.
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    /// Which clock to keep: overlay (one of its own; needs no privilege, sets nothing), or system (the machine's own
    /// time is made to follow that; needs CAP_SYS_TIME)
    #[arg(long, value_name = "CLOCK", default_value = "overlay", value_parser = clock_kind)]
    clock: ClockKind,
    /// With --clock system: steer it even if another program seems to do so
    #[arg(long)]
    force: bool,
    /// Keep the oscillator's frequency in this directory over restarts (clients; a server keeps nothing yet)
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Pretend that this machine's clock is ahead by so much at the start (negative: behind)
    #[arg(long, value_name = "SPAN", default_value = "0", allow_hyphen_values = true)]
    #[arg(value_parser = units::span)]
    simulate_offset: Span,
    /// Pretend that this machine's oscillator runs fast by so much, as in 50ppm (negative: slow)
    #[arg(long, value_name = "FREQUENCY", default_value = "0", allow_hyphen_values = true)]
    #[arg(value_parser = units::frequency)]
    simulate_drift: Frequency,
    /// What to print on stdout: text, or one JSON object a line
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Format,
    /// Print the clock's state at this period as well, as in 100ms
    #[arg(long, value_name = "PERIOD", allow_hyphen_values = true, value_parser = tick_period)]
    tick: Option<Span>,
    /// Who takes the times at which datagrams come and go: the kernel, this program, or the kernel if it can
    #[arg(long, value_name = "WHOSE", default_value = "auto")]
    timestamps: Whose,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

/// Whose timestamps are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Whose {
    /// The kernel's, and the program's own where it has none
    Auto,
    /// The kernel's; it is an error if it has none
    Kernel,
    /// The program's own
    User,
}

/// The clocks that a node can keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClockKind {
    Overlay,
    System,
}

impl NodeArgs {
    /// Whether the options go together.
    ///
    /// # Errors
    /// When they do not.
    pub fn check(&self) -> Result<(), Failure> {
        let simulated = self.simulate_offset != Span::ZERO || self.simulate_drift != Frequency::ZERO;
        match self.clock {
            ClockKind::System if simulated => Err(Failure::Usage(
                "--clock system is for the machine's real clock: leave out --simulate-offset and --simulate-drift".into(),
            )),
            ClockKind::System if !cfg!(target_os = "linux") => {
                Err(Failure::Usage("--clock system works on Linux only; type --clock overlay".into()))
            }
            ClockKind::Overlay if self.force => {
                Err(Failure::Usage("--force says something with --clock system only".into()))
            }
            _ => Ok(()),
        }
    }

    /// Whether the kernel is to take the timestamps.
    ///
    /// # Errors
    /// When it must and cannot.
    pub fn wants_kernel_timestamps(&self) -> Result<bool, Failure> {
        match (self.timestamps, net::require_kernel_timestamps()) {
            (Whose::Kernel, Err(error)) => Err(Failure::Runtime(format!(
                "the kernel takes no timestamps: {error}; --timestamps auto does without"
            ))),
            (whose, _) => Ok(whose != Whose::User),
        }
    }

    /// The clock that the node keeps. Once it has joined, the system's is stepped beyond `step_threshold`.
    ///
    /// # Errors
    /// When the system's clock cannot be had.
    pub fn clock(&self, step_threshold: Span) -> Result<Box<dyn Clock>, Failure> {
        let settings = Settings { step_threshold, force: self.force };
        match self.clock {
            ClockKind::Overlay => Ok(Box::new(Overlay::start(self.simulate_offset, self.simulate_drift))),
            ClockKind::System => system_clock(settings),
        }
    }

    /// Where the node `name` keeps its oscillator's frequency, if it shall.
    pub fn memory(&self, name: &Name) -> Option<Memory> {
        self.state_dir.as_ref().map(|directory| Memory::new(directory, name, self.simulate_drift))
    }

    /// Runs a node until a signal ends it. `hello` is told before anything else; what is learned goes to `memory`.
    ///
    /// # Errors
    /// When the system has no descriptors left, or what is printed cannot be written.
    pub fn run<N>(
        &self,
        node: N,
        link: impl Link,
        clock: impl Clock,
        hello: Option<&dyn Tell>,
        memory: Option<Memory>,
    ) -> Result<(), Failure>
    where
        N: Node,
        N::Event: Tell,
    {
        let mut output = Output::new(self.output, io::stdout().lock());
        log::info!("timestamps: {}", link.timestamps());
        let start = Observation::of(&node, &clock, link.timestamps());
        let hello = hello.map_or(Ok(()), |hello| output.tell(&start, hello));
        let event_loop = EventLoop::new(node, link, clock).and_then(EventLoop::with_signals);
        let mut event_loop = event_loop.map_err(cannot_run)?.with_tick(self.tick);
        let mut audience = Audience { output, memory };
        let result = hello.and_then(|()| event_loop.run(&mut audience));
        audience.memory.iter_mut().for_each(Memory::keep);
        match result {
            // Whoever read this has had enough (`| head`): that is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|error| Failure::Runtime(format!("cannot go on: {error}"))),
        }
    }
}

/// Who watches a node: the output, and the memory of its frequency.
struct Audience<W: io::Write> {
    output: Output<W>,
    memory: Option<Memory>,
}

impl<E: Tell, W: io::Write> Observer<E> for Audience<W> {
    fn event(&mut self, at: Observation, event: E) -> io::Result<()> {
        self.memory.iter_mut().for_each(|memory| memory.note(&at));
        self.output.tell(&at, &event)
    }

    fn tick(&mut self, at: Observation) -> io::Result<()> {
        self.output.tell(&at, &super::output::Tick)
    }

    fn system_clock(&mut self, at: Observation, event: SystemEvent) -> io::Result<()> {
        self.output.tell(&at, &event)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.memory.iter_mut().for_each(Memory::keep_if_due);
        self.output.flush()
    }
}

#[cfg(target_os = "linux")]
fn system_clock(settings: Settings) -> Result<Box<dyn Clock>, Failure> {
    let clock = crate::clock::SystemClock::start(settings);
    let clock = clock.map_err(|refusal| Failure::Runtime(refusal.to_string()))?;
    log::info!("this machine's clock will follow the cluster's time");
    Ok(Box::new(clock))
}

#[cfg(not(target_os = "linux"))]
fn system_clock(_: Settings) -> Result<Box<dyn Clock>, Failure> {
    Err(Failure::Runtime("this machine's clock cannot be set".into()))
}

fn clock_kind(text: &str) -> Result<ClockKind, String> {
    match text {
        "overlay" => Ok(ClockKind::Overlay),
        "system" => Ok(ClockKind::System),
        _ => Err("there is no such clock; type overlay or system".into()),
    }
}

/// 32 bytes that nobody can guess.
///
/// # Errors
/// When the system has none.
pub fn seed() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    match SysRng.try_fill_bytes(&mut seed) {
        Ok(()) => Ok(seed),
        Err(error) => Err(Failure::Runtime(format!("the system gives no random numbers: {error}"))),
    }
}

/// Reads a node's name, which has to fit into a datagram.
///
/// # Errors
/// When it does not, or cannot be printed.
pub fn name(text: &str) -> Result<Name, String> {
    let name = Name::new(text);
    match name.as_str() == text {
        true => Ok(name),
        false => Err(format!("at most {} bytes without control characters, as in '{name}'", Name::LEN)),
    }
}

fn tick_period(text: &str) -> Result<Span, String> {
    match units::positive_span(text)? {
        period if period < Span::from_millis(1) => Err("must be at least 1ms".into()),
        period => Ok(period),
    }
}

fn cannot_run(error: io::Error) -> Failure {
    Failure::Runtime(format!("cannot start: {error}"))
}
