//! The last events of a node, for programs that ask now and then.

use std::collections::VecDeque;

use super::protocol::{EventEntry, EventLevel};
use crate::report::rfc3339;
use meantime_core::time::Timestamp;

/// The last events that are worth a line in a log, numbered from 1.
#[derive(Debug, Default)]
pub struct EventLog {
    entries: VecDeque<(u64, LoggedEvent)>,
    /// The number of the newest event.
    newest: u64,
}

/// An event of the log. It is kept in this form, because the JSON object takes several times as much memory.
#[derive(Debug)]
pub struct LoggedEvent {
    /// Cluster time at this node.
    pub time: Timestamp,
    /// The kind of the event, in snake case.
    pub kind: &'static str,
    /// How important it is.
    pub level: EventLevel,
    /// The event in a sentence.
    pub text: Box<str>,
    /// The name of the client that it is about, if it is about one.
    pub client: Option<Box<str>>,
    /// The address of the client or peer that it is about, if it is about one.
    pub address: Option<Box<str>>,
}

impl EventLog {
    /// Adds an event, and drops the oldest one if there are too many.
    pub fn push(&mut self, event: LoggedEvent) {
        self.newest += 1;
        self.entries.push_back((self.newest, event));
        if self.entries.len() > MAX_ENTRIES {
            self.entries.pop_front();
        }
    }

    /// The events after this number, oldest first.
    pub(super) fn since(&self, number: u64) -> Vec<EventEntry> {
        let newer = self.entries.iter().filter(|(entry, _)| *entry > number);
        newer.map(|(number, event)| event.entry(*number)).collect()
    }

    /// The number of the newest event; 0: there was none.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }
}

impl LoggedEvent {
    fn entry(&self, number: u64) -> EventEntry {
        EventEntry {
            number,
            time: rfc3339(self.time),
            event: self.kind.into(),
            level: self.level.clone(),
            text: self.text.to_string(),
            client: self.client.as_deref().map(str::to_owned),
            address: self.address.as_deref().map(str::to_owned),
        }
    }
}

/// More than a screen shows.
const MAX_ENTRIES: usize = 256;
