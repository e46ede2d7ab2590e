//! The log: to stderr, and to a file if one is named. Timestamps are RFC 3339 in UTC, by the *machine's*
//! wall clock, which may well be wrong: the cluster's time is in the events.
//!
//! Everything is said once to each reader. Events go to stdout. If that is text, stderr has only what is no
//! event: troubles of the program and its surroundings. If it is JSON, for programs, stderr also tells people
//! the events that matter; and the log file does so always.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use log::LevelFilter;
use simplelog::{CombinedLogger, ConfigBuilder, SharedLogger, WriteLogger};

use super::Failure;

/// The target of what stdout tells as well.
pub(super) const TOLD: &str = "told";

/// Where the log goes and how much of it.
#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    /// Append the log to this file as well, with all events that matter
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// How much to log: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", hide_possible_values = true)]
    #[arg(value_parser = levels())]
    log_level: LevelFilter,
}

impl LogArgs {
    /// Starts the log. If `told`, people read on stdout what happens, and stderr does not say it again.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn start(&self, told: bool) -> Result<(), Failure> {
        let mut stderr = config();
        if told {
            stderr.add_filter_ignore_str(TOLD);
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
