//! The last things that happened, for those who look only now and then.

use std::collections::VecDeque;

use log::Level;
use serde_json::{Value, json};

use crate::cli::output::{Record, Tell};
use crate::event_loop::ClockSnapshot;
use crate::report::rfc3339;
use meantime_core::time::Timestamp;

/// The last events that are worth a line in a log, numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: VecDeque<Entry>,
    /// The number of the newest.
    newest: u64,
}

/// An event, kept small: as JSON it takes several times as much.
#[derive(Debug)]
struct Entry {
    number: u64,
    time: Timestamp,
    kind: &'static str,
    level: Level,
    text: Box<str>,
    /// Whom it is about, as far as it says so.
    about: [Option<Box<str>>; ABOUT.len()],
}

impl Journal {
    /// Takes note of an event, if it is worth it.
    pub(super) fn note(&mut self, at: &ClockSnapshot, what: &(impl Tell + ?Sized)) {
        let (Some(level), Some(text)) = (what.level(), what.text(at)) else { return };
        self.newest += 1;
        let mut record = Record::new(what.kind(), at);
        what.fields(&mut record);
        self.entries.push_back(Entry {
            number: self.newest,
            time: at.reading.time,
            kind: what.kind(),
            level,
            text: text.into(),
            about: ABOUT.map(|name| record.field(name).and_then(Value::as_str).map(Box::from)),
        });
        if self.entries.len() > LENGTH {
            self.entries.pop_front();
        }
    }

    /// The events after this number, oldest first.
    pub(super) fn since(&self, number: u64) -> Vec<Value> {
        self.entries.iter().filter(|entry| entry.number > number).map(Entry::told).collect()
    }

    /// The number of the newest event; 0: there was none.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }
}

impl Entry {
    fn told(&self) -> Value {
        let mut told = json!({
            "number": self.number,
            "time": rfc3339(self.time),
            "event": self.kind,
            "level": if self.level <= Level::Warn { "warning" } else { "info" },
            "text": self.text,
        });
        for (name, value) in ABOUT.into_iter().zip(&self.about) {
            if let Some(value) = value {
                told[name] = value.as_ref().into();
            }
        }
        told
    }
}

/// The fields of an event that say whom it is about.
const ABOUT: [&str; 2] = ["client", "address"];
/// More than a screen shows.
const LENGTH: usize = 256;
