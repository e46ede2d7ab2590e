//! One line of JSON, and how its values are written: whole nanoseconds, frequencies in ppb, names of
//! variants in snake case, times as RFC 3339.

use std::fmt;

use serde_json::{Map, Value};

use crate::report::ClockSnapshot;
use crate::report::{classic_time, rfc3339, rounded_ppb, snake_case};
use meantime_core::event::{Adjustment, Peer, Voter};
use meantime_core::time::{Correction, Frequency, Offset, Span};
use meantime_core::wire::{ClientState, ClusterId, ManualAdjustment};

/// An event as a JSON object; the order of the fields is kept.
#[derive(Clone, Debug)]
pub struct Record {
    at: ClockSnapshot,
    fields: Map<String, Value>,
}

impl Record {
    /// An event of this kind at this moment.
    pub fn new(kind: &str, at: &ClockSnapshot) -> Record {
        let mut record = Record { at: *at, fields: Map::new() };
        record.put("event", kind);
        record.put("time", rfc3339(at.reading.time));
        record.put("raw_ns", at.host.as_nanos());
        record.put("cluster_ns", at.reading.time.as_nanos());
        record.known_span("error_ns", at.reading.error);
        record.known_span("bound_ns", at.reading.bound);
        record
    }

    /// The node's clock at the moment of the event.
    pub fn at(&self) -> &ClockSnapshot {
        &self.at
    }

    /// A field that was added.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// Adds a field.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// Adds a duration.
    pub fn span(&mut self, name: &str, span: Span) {
        self.put(name, span.as_nanos());
    }

    /// Adds a duration, or null.
    pub fn known_span(&mut self, name: &str, span: Option<Span>) {
        self.put(name, span.map_or(Value::Null, |span| span.as_nanos().into()));
    }

    pub(super) fn offset(&mut self, name: &str, offset: Offset) {
        self.span(name, offset.span());
    }

    /// A round, and the correction that belongs to it.
    pub(super) fn round_correction(&mut self, round: u32, correction: Correction) {
        self.put("round", round);
        self.correction("correction_ns", correction);
    }

    pub(super) fn correction(&mut self, name: &str, correction: Correction) {
        self.span(name, correction.span());
    }

    /// Adds a frequency in ppb.
    pub fn frequency(&mut self, name: &str, frequency: Frequency) {
        self.put(name, rounded_ppb(frequency));
    }

    /// Adds the system clock at the same moment, if it follows cluster time.
    pub fn system(&mut self) {
        if let Some(system) = self.at.system {
            self.put("system_ns", system.as_nanos());
        }
    }

    /// Adds a cluster's identifier.
    pub fn cluster(&mut self, cluster: ClusterId) {
        self.put("cluster", format!("{:016x}", cluster.0));
    }

    /// Adds a manual time adjustment.
    pub(super) fn manual_adjustment(&mut self, setting: &ManualAdjustment) {
        self.span("amount_ns", setting.amount);
        self.put("adjustment", snake_case(pace(setting)));
        self.put("starts", rfc3339(setting.start + setting.before));
        self.span("takes_ns", setting.length());
    }

    pub(super) fn client(&mut self, client: &Peer) {
        self.put("client", client.name.as_str());
        self.put("address", client.address.to_string());
    }

    /// Adds the member; nulls stand for the server.
    pub(super) fn voter(&mut self, voter: &Voter) {
        match voter {
            Voter::Server => {
                self.put("client", Value::Null);
                self.put("address", Value::Null);
            }
            Voter::Client(client) => self.client(client),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(&self.fields).map_err(|_| fmt::Error)?)
    }
}

/// The text of a manual time adjustment.
pub fn time_set(setting: &ManualAdjustment) -> String {
    let (amount, start) = (setting.amount, classic_time(setting.start + setting.before));
    if setting.number == 0 {
        return "The cluster's time has no manual adjustment".into();
    }
    match setting.step {
        true => format!("The cluster's time is set by {amount:+}: a step, at {start}"),
        false => format!(
            "The cluster's time is set by {amount:+}: a slew, from {start} on, for {}",
            setting.length()
        ),
    }
}

fn pace(setting: &ManualAdjustment) -> Adjustment {
    if setting.step { Adjustment::Step } else { Adjustment::Slew }
}

/// A clock's state as programs read it.
pub(super) fn state(state: ClientState) -> String {
    snake_case(state)
}
