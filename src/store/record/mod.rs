//! The record: every round and member as CSV, in a file that is rotated by its size; docs/RECORD.md describes
//! the columns.
//!
//! A node says which rows an event calls for ([`Recorded`]); they are written out when the loop is about to
//! wait, once for all of a round. No trouble with the file ever ends a node, or says more than that it began
//! and that it is over.

mod file;
mod row;
mod rows;

use std::io;
use std::path::PathBuf;

pub use row::COLUMNS;
pub use rows::Recorded;

use crate::cli::{Failure, units};
use crate::clock::HostRaw;
use crate::event_loop::ClockSnapshot;
use file::{Limits, RecordFile};
use meantime_core::time::Now;
use row::Row;

/// Where the record goes, and how much of it is kept.
#[derive(Debug, clap::Args)]
pub struct RecordArgs {
    /// Append every round and member to this file, as CSV; docs/RECORD.md describes it, meantime plot draws
    /// it
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// When the record's file would grow beyond this, it becomes FILE.1, and a new one begins
    #[arg(long, value_name = "SIZE", default_value = "64MiB", requires = "record", value_parser = size)]
    record_size: u64,
    /// How many such older files to keep, FILE.1 being the newest; 0 to 1000
    #[arg(long, value_name = "N", default_value = "4", requires = "record")]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=1000))]
    record_keep: u16,
}

impl RecordArgs {
    /// Begins the record, if there shall be one.
    ///
    /// # Errors
    /// When the file cannot be written, for another reason than a full disk.
    pub fn open(&self) -> Result<Option<Recorder>, Failure> {
        let Some(path) = &self.record else { return Ok(None) };
        let limits = Limits { size: self.record_size, keep: self.record_keep };
        let file = RecordFile::open(path, limits).map_err(|error| {
            let path = path.display();
            Failure::Runtime(format!("cannot write the record {path}: {error}; name another with --record"))
        })?;
        Ok(Some(Recorder { file, pending: Vec::new(), newest: None }))
    }
}

/// Writes a node's record.
#[derive(Debug)]
pub struct Recorder {
    file: RecordFile,
    /// What was not written out yet.
    pending: Vec<Row>,
    /// When the newest of it was noted.
    newest: Option<HostRaw>,
}

impl Recorder {
    /// Takes note of what an event has to say.
    pub fn note<N: Recorded>(&mut self, node: &N, now: Now, at: &ClockSnapshot, event: &N::Event) {
        node.record(now, at, event, &mut self.pending);
        self.newest = Some(at.host);
    }

    /// Writes out what was noted.
    pub fn flush(&mut self) {
        if let Some(now) = self.newest.filter(|_| !self.pending.is_empty()) {
            match row::written(&self.pending) {
                Ok(lines) => self.file.append(&lines, now),
                // Writing into memory does not fail.
                Err(error) => log::debug!("no record of a round: {error}"),
            }
            self.pending.clear();
        }
    }
}

/// A file's size that makes sense here.
fn size(text: &str) -> Result<u64, String> {
    match units::size(text)? {
        size if size < MIN_SIZE => Err("too small; at least 4KiB".into()),
        size => Ok(size),
    }
}

/// Room for the columns' names and some rounds.
const MIN_SIZE: u64 = 4 << 10;

/// Whether an error says that there is no room, which may be otherwise tomorrow.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
