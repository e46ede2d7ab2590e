//! The last things that happened, for those who look only now and then.

use std::collections::VecDeque;

use log::Level;
use serde_json::{Value, json};

use crate::cli::output::{Record, Tell, rfc3339};
use crate::net::Observation;

/// The last events that are worth a line in a log, numbered from 1.
#[derive(Debug, Default)]
pub struct Journal {
    entries: VecDeque<Value>,
    /// The number of the newest.
    newest: u64,
}

impl Journal {
    /// Takes note of an event, if it is worth it.
    pub fn note(&mut self, at: &Observation, what: &(impl Tell + ?Sized)) {
        let (Some(level), Some(text)) = (what.level(), what.text(at)) else { return };
        self.newest += 1;
        let mut entry = json!({
            "number": self.newest,
            "time": rfc3339(at.reading.time),
            "event": what.kind(),
            "level": if level <= Level::Warn { "warning" } else { "info" },
            "text": text,
        });
        let mut record = Record::new(what.kind(), at);
        what.fields(&mut record);
        for name in ["client", "address"] {
            if let Some(value) = record.field(name) {
                entry[name] = value.clone();
            }
        }
        self.entries.push_back(entry);
        if self.entries.len() > LENGTH {
            self.entries.pop_front();
        }
    }

    /// The events after this number, oldest first.
    pub fn since(&self, number: u64) -> Vec<Value> {
        let after = |entry: &&Value| entry["number"].as_u64() > Some(number);
        self.entries.iter().filter(after).cloned().collect()
    }

    /// The number of the newest event; 0: there was none.
    pub fn newest(&self) -> u64 {
        self.newest
    }
}

/// More than a screen shows.
const LENGTH: usize = 256;
