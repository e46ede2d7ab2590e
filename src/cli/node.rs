//! What server and client have in common: the options of a node, and the run of it.

use std::io;

use rand::TryRng;
use rand::rngs::SysRng;

use super::Failure;
use super::logging::LogArgs;
use super::output::{Format, Output, Tell};
use super::units;
use crate::berkeley::Node;
use crate::clock::Overlay;
use crate::net::{self, EventLoop, Link, Observation, Observer};
use crate::time::{Frequency, Span};
use crate::wire::Name;

/// The options that every node has.
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
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

impl NodeArgs {
    /// The clock that the node reads.
    pub fn clock(&self) -> Overlay {
        Overlay::start(self.simulate_offset, self.simulate_drift)
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

    /// Runs a node until a signal ends it. `hello` is told before anything else.
    ///
    /// # Errors
    /// When the system has no descriptors left, or what is printed cannot be written.
    pub fn run<N>(
        &self,
        node: N,
        link: impl Link,
        clock: Overlay,
        hello: Option<&dyn Tell>,
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
        match hello.and_then(|()| event_loop.run(&mut output)) {
            // Whoever read this has had enough (`| head`): that is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|error| Failure::Runtime(format!("cannot go on: {error}"))),
        }
    }
}

impl<E: Tell, W: io::Write> Observer<E> for Output<W> {
    fn event(&mut self, at: Observation, event: E) -> io::Result<()> {
        self.tell(&at, &event)
    }

    fn tick(&mut self, at: Observation) -> io::Result<()> {
        self.tell(&at, &super::output::Tick)
    }

    fn flush(&mut self) -> io::Result<()> {
        Output::flush(self)
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
