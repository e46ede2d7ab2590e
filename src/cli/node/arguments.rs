//! The options that every node has.

use std::path::PathBuf;

use crate::cli::Failure;
use crate::cli::logging::{LogArgs, StderrEvents};
use crate::cli::output::OutputFormat;
use crate::cli::record::RecordArgs;
use crate::cli::units::{self, ValueError};
use meantime_core::time::{Frequency, Span};

/// The options that every node has.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct NodeArgs {
    /// The clock that follows cluster time: overlay, a clock of meantime's own, needs no privilege and sets
    /// nothing; system, the machine's clock, needs CAP_SYS_TIME
    #[arg(long, value_name = "CLOCK", default_value = "overlay", hide_possible_values = true)]
    pub(super) clock: ClockKind,
    /// With --clock system: steer the clock even if another program seems to steer it
    #[arg(long)]
    pub(super) force: bool,
    /// Offer this machine's own time to the cluster as a reference, a time from outside: system, the system
    /// clock, while another program such as chrony keeps it
    #[arg(long, value_name = "REFERENCE", hide_possible_values = true)]
    pub(super) reference: Option<ReferenceKind>,
    /// With --reference: offer it only while the kernel states a maximum error of at most this
    #[arg(long, value_name = "SPAN", default_value = "100ms", value_parser = units::positive_span)]
    pub(super) reference_max_error: Span,
    /// Keep the oscillator's frequency over restarts, and the time until the machine reboots, in a file in
    /// this directory. The directory is made if it does not exist
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// After opening sockets and files, switch to this user and its groups (needs root). A node always drops
    /// all rights except CAP_SYS_TIME with --clock system
    #[arg(long, value_name = "NAME")]
    pub(super) user: Option<String>,
    /// Simulate a clock that is ahead by this at the start, as in 2.5s (negative: behind)
    #[arg(long, value_name = "SPAN", default_value = "0", allow_hyphen_values = true)]
    #[arg(value_parser = units::span)]
    pub(super) simulate_offset: Span,
    /// Simulate an oscillator that runs fast by this, as in 50ppm (negative: slow)
    #[arg(long, value_name = "FREQUENCY", default_value = "0", allow_hyphen_values = true)]
    #[arg(value_parser = units::frequency)]
    pub(super) simulate_drift: Frequency,
    /// Output format of the events on stdout
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) output: OutputFormat,
    /// Also print the clock's state once per period, as in 100ms; at least 1ms
    #[arg(long, value_name = "PERIOD", allow_hyphen_values = true, value_parser = tick_period)]
    pub(super) tick: Option<Span>,
    /// Path of the Unix socket for `meantime status` and other programs [default: server.sock or client.sock
    /// in /run/meantime for root, in $XDG_RUNTIME_DIR/meantime or /tmp/meantime-UID for other users]
    #[arg(long, value_name = "PATH")]
    pub(super) control: Option<PathBuf>,
    /// Timestamp source: what records when a datagram is sent or received
    #[arg(long, value_name = "SOURCE", default_value = "auto")]
    pub(super) timestamps: TimestampChoice,
    #[command(flatten)]
    pub(super) record: RecordArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// What records when a datagram is sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TimestampChoice {
    /// The network card if its timestamps are on, else the kernel, else the program
    Auto,
    /// The network card, which is set up, in one direction at least; if none can, the node does not start
    Hardware,
    /// The kernel; if it cannot, the node does not start
    Kernel,
    /// The program (user space): less exact on a busy machine
    User,
}

/// The clock that follows cluster time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ClockKind {
    Overlay,
    System,
}

/// A time from outside of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ReferenceKind {
    System,
}

impl NodeArgs {
    /// Starts the log. With text on stdout, stderr does not repeat the events.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(in crate::cli) fn start_log(&self) -> Result<(), Failure> {
        self.log.start(match self.output {
            OutputFormat::Text => StderrEvents::Omit,
            OutputFormat::Json => StderrEvents::Log,
        })
    }

    /// Checks that the options can be combined.
    ///
    /// # Errors
    /// When they cannot.
    pub(in crate::cli) fn check(&self) -> Result<(), Failure> {
        let simulated = self.simulate_offset != Span::ZERO || self.simulate_drift != Frequency::ZERO;
        match self.clock {
            ClockKind::System if simulated => Err(Failure::Usage(
                "--clock system is for the machine's real clock: leave out --simulate-offset and --simulate-drift".into(),
            )),
            ClockKind::System if !cfg!(target_os = "linux") => {
                Err(Failure::Usage("--clock system works on Linux only; type --clock overlay".into()))
            }
            ClockKind::System if self.reference.is_some() => Err(Failure::Usage(
                "with --clock system this machine's clock is the cluster's own time, and no reference: leave out --reference"
                    .into(),
            )),
            ClockKind::Overlay if self.reference.is_some() && !cfg!(target_os = "linux") => {
                Err(Failure::Usage("--reference system works on Linux only".into()))
            }
            ClockKind::Overlay if self.force => {
                Err(Failure::Usage("--force works with --clock system only".into()))
            }
            _ => Ok(()),
        }
    }
}

fn tick_period(text: &str) -> Result<Span, ValueError> {
    match units::positive_span(text)? {
        period if period < Span::from_millis(1) => Err(ValueError::TooShort("1ms")),
        period => Ok(period),
    }
}
