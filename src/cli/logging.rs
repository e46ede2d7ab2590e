//! The log: to stderr, and to a file if one is named. Timestamps are RFC 3339 in UTC, by the *machine's*
//! wall clock, which may well be wrong: the cluster's time is in the events.
//!
//! A line is shown once to each reader. Events go to stdout. If stdout is text, stderr has only what is not
//! an event: failures of the program and its environment. If stdout is JSON, for programs, stderr also has
//! the important events for people; the log file always has them.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use log::LevelFilter;
use simplelog::{CombinedLogger, ConfigBuilder, SharedLogger, WriteLogger};

use super::Failure;

/// The log target of lines that stdout has as well.
pub(super) const EVENT_TARGET: &str = "event";

/// Whether stderr has the events that stdout has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StderrEvents {
    /// People read stdout.
    Omit,
    /// A program reads stdout; people read stderr.
    Log,
}

/// Where the log is written, and how much.
#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    /// Also append the log, with all important events, to this file
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// Minimum severity of the lines in the log: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", hide_possible_values = true)]
    #[arg(value_parser = levels())]
    log_level: LevelFilter,
}

impl LogArgs {
    /// Starts the log.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn start(&self, events: StderrEvents) -> Result<(), Failure> {
        let mut stderr = config();
        if events == StderrEvents::Omit {
            stderr.add_filter_ignore_str(EVENT_TARGET);
        }
        let mut loggers: Vec<Box<dyn SharedLogger>> =
            vec![WriteLogger::new(self.log_level, stderr.build(), std::io::stderr())];
        if let Some(path) = &self.log_file {
            loggers.push(WriteLogger::new(self.log_level, config().build(), open(path)?));
        }
        CombinedLogger::init(loggers).map_err(|error| Failure::Runtime(format!("no log: {error}")))
    }
}

fn open(path: &Path) -> Result<std::fs::File, Failure> {
    OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
        let path = path.display();
        Failure::Runtime(format!("cannot write the log file {path}: {error}; name another with --log-file"))
    })
}

fn levels() -> impl TypedValueParser<Value = LevelFilter> {
    PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .map(|level| level.parse().unwrap_or(LevelFilter::Info))
}

fn config() -> ConfigBuilder {
    let mut config = ConfigBuilder::new();
    config
        .set_time_format_rfc3339()
        .set_target_level(LevelFilter::Off)
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off);
    config
}
