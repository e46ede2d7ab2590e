//! The record: every round and member as CSV, in a file that is rotated by its size. docs/RECORD.md describes
//! the columns.
//!
//! | module | what it does |
//! |---|---|
//! | `rows` | decides which rows an event adds ([`Recorded`]) |
//! | `row` | a row, and its text |
//! | `file` | appends to the file, and rotates it |
//! | [`reader`] | parses a file |
//! | [`history`] | sorts the rows of a record's files by member |
//!
//! Rows are written when the loop is about to wait, all rows of a round together. No failure of the file ends
//! a node; it is logged when it begins and when it is over.

mod file;
pub mod history;
pub mod reader;
mod row;
mod rows;

use std::path::Path;

pub use file::{RecordFileError, RecordLimits};
pub use row::COLUMNS;
pub use rows::Recorded;

use crate::clock::HostRaw;
use crate::report::ClockSnapshot;
use file::RecordFile;
use meantime_core::time::Now;
use row::Row;

/// Writes a node's record.
#[derive(Debug)]
pub struct Recorder {
    file: RecordFile,
    /// Rows that are not written yet.
    pending: Vec<Row>,
    /// When the newest of them was noted.
    newest: Option<HostRaw>,
}

impl Recorder {
    /// Opens a file to append to it. A full disk is logged and is no error: writing is tried again later.
    ///
    /// # Errors
    /// When the file cannot be written, or is not a record.
    pub fn open(path: &Path, limits: RecordLimits) -> Result<Recorder, RecordFileError> {
        Ok(Recorder { file: RecordFile::open(path, limits)?, pending: Vec::new(), newest: None })
    }

    /// Notes the rows that an event adds.
    pub fn note<N: Recorded>(&mut self, node: &N, now: Now, at: &ClockSnapshot, event: &N::Event) {
        node.record(now, at, event, &mut self.pending);
        self.newest = Some(at.host);
    }

    /// Writes the noted rows to the file.
    pub fn flush(&mut self) {
        if let Some(now) = self.newest.filter(|_| !self.pending.is_empty()) {
            match row::serialize(&self.pending) {
                Ok(lines) => self.file.append(&lines, now),
                // Writing into memory does not fail.
                Err(error) => log::debug!("no record of a round: {error}"),
            }
            self.pending.clear();
        }
    }
}
