//! The options of a node's record.

use std::path::PathBuf;

use super::Failure;
use super::units::{self, ValueError};
use crate::store::record::{RecordLimits, Recorder};

/// Where the record is written, and how many older files stay.
#[derive(Debug, clap::Args)]
pub(super) struct RecordArgs {
    /// Append the clocks of all members to this CSV file, one row per round and member. docs/RECORD.md
    /// describes the columns; `meantime plot` draws the file
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Maximum size of the record's file, at least 4KiB. A file that would grow larger is renamed to FILE.1,
    /// and a new one begins
    #[arg(long, value_name = "SIZE", default_value = "64MiB", requires = "record", value_parser = max_size)]
    record_size: u64,
    /// Maximum number of older files (FILE.1 is the newest), 0 to 1000
    #[arg(long, value_name = "N", default_value = "4", requires = "record")]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=1000))]
    record_keep: u16,
}

impl RecordArgs {
    /// Opens the record, if the options ask for one.
    ///
    /// # Errors
    /// When the file cannot be written, for another reason than a full disk.
    pub(super) fn open(&self) -> Result<Option<Recorder>, Failure> {
        let Some(path) = &self.record else { return Ok(None) };
        let limits = RecordLimits { size: self.record_size, older_files: self.record_keep };
        let recorder = Recorder::open(path, limits).map_err(|error| {
            let path = path.display();
            Failure::Runtime(format!("cannot write the record {path}: {error}; name another with --record"))
        })?;
        Ok(Some(recorder))
    }
}

fn max_size(text: &str) -> Result<u64, ValueError> {
    match units::size(text)? {
        size if size < MIN_SIZE => Err(ValueError::TooSmall("4KiB")),
        size => Ok(size),
    }
}

/// In bytes: space for the names of the columns and some rounds.
const MIN_SIZE: u64 = 4 << 10;
