//! One row of the record, and how it is written.

use std::fmt::{Display, Write};
use std::io;
use std::net::SocketAddr;

use crate::report::{rfc3339, rounded_ppb, snake_case};
use meantime_core::event::{Exclusion, RoundReport};
use meantime_core::time::{Frequency, Offset, Span, Timestamp};
use meantime_core::view::UtcView;
use meantime_core::wire::{ClientState, Name};

/// A member's clock in a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// When it was noted, on the clock of the node that writes the record.
    pub time: Timestamp,
    /// The round; `None`: between rounds.
    pub round: Option<u32>,
    /// Whether the node is a server or a client.
    pub role: NodeRole,
    /// The node's name.
    pub name: Name,
    /// The node's address; `None`: it is the node that writes the record.
    pub address: Option<SocketAddr>,
    /// The state of its clock, as the node states it.
    pub state: ClientState,
    /// Whether it was measured in this round; if not, the fields below are empty.
    pub heard: bool,
    /// Its clock minus cluster time, before the correction.
    pub offset: Option<Offset>,
    /// One standard deviation of that.
    pub offset_error: Option<Span>,
    /// The round-trip delay of the best exchange.
    pub delay: Option<Span>,
    /// One standard deviation of its estimated distance from cluster time, as the node states it.
    pub error: Option<Span>,
    /// Its guaranteed maximum distance from cluster time, as the node states it.
    pub bound: Option<Span>,
    /// The rate of its clock over its oscillator's, minus one.
    pub frequency: Option<Frequency>,
    /// One standard deviation of that.
    pub frequency_error: Option<Frequency>,
    /// Whether the vote counts it; `None`: there was no vote on it.
    pub vote: Option<bool>,
    /// Why the vote excludes it.
    pub exclusion: Option<Exclusion>,
    /// The round's result: in the server's own row.
    pub report: Option<RoundReport>,
    /// How the cluster's time stands to UTC: in the server's own row.
    pub utc: Option<UtcView>,
}

/// Whether a node is a server or a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// The node that corrects the others.
    Server,
    /// A node that follows corrections.
    Client,
}

impl Row {
    /// A row whose other fields are unknown.
    pub fn new(time: Timestamp, role: NodeRole, name: Name, state: ClientState) -> Row {
        Row {
            time,
            round: None,
            role,
            name,
            address: None,
            state,
            heard: false,
            offset: None,
            offset_error: None,
            delay: None,
            error: None,
            bound: None,
            frequency: None,
            frequency_error: None,
            vote: None,
            exclusion: None,
            report: None,
            utc: None,
        }
    }

    fn write(&self, line: &mut LineWriter) -> csv::Result<()> {
        let ns = Span::as_nanos;
        line.put(rfc3339(self.time))?;
        line.known(self.round)?;
        line.put(snake_case(self.role))?;
        line.put(self.name.as_str())?;
        line.known(self.address)?;
        line.put(snake_case(self.state))?;
        line.put(u8::from(self.heard))?;
        line.known(self.offset.map(|offset| offset.span().as_nanos()))?;
        for span in [self.offset_error, self.delay, self.error, self.bound] {
            line.known(span.map(ns))?;
        }
        line.known(self.frequency.map(rounded_ppb))?;
        line.known(self.frequency_error.map(rounded_ppb))?;
        line.known(self.vote.map(|counts| if counts { "in" } else { "out" }))?;
        line.known(self.exclusion.map(snake_case))?;
        let report = self.report.as_ref();
        line.known(report.map(|report| snake_case(report.outcome)))?;
        line.known(report.map(|report| report.members))?;
        line.known(report.map(|report| report.heard))?;
        line.known(report.map(|report| report.agreeing))?;
        line.known(report.map(|report| report.median.span().as_nanos()))?;
        line.known(report.map(|report| ns(report.window)))?;
        line.known(report.map(|report| ns(report.spread)))?;
        line.known(report.and_then(|report| report.largest_bound).map(ns))?;
        // An error without the offset that it belongs to says nothing.
        let utc = self.utc.as_ref().and_then(|utc| utc.offset.zip(utc.error));
        line.known(utc.map(|(offset, _)| offset.span().as_nanos()))?;
        line.known(utc.map(|(_, error)| ns(error)))?;
        line.end()
    }
}

/// The rows as lines of the file.
///
/// # Errors
/// Never: it writes into memory.
pub(super) fn serialize(rows: &[Row]) -> csv::Result<Vec<u8>> {
    let mut line = LineWriter { csv: csv::Writer::from_writer(Vec::new()), field: String::new() };
    for row in rows {
        row.write(&mut line)?;
    }
    line.csv.into_inner().map_err(|error| io::Error::from(error.into_error().kind()).into())
}

/// Writes the fields of a line.
struct LineWriter {
    csv: csv::Writer<Vec<u8>>,
    field: String,
}

impl LineWriter {
    fn put(&mut self, value: impl Display) -> csv::Result<()> {
        self.field.clear();
        // Into a string it cannot fail.
        let _ = write!(self.field, "{value}");
        self.csv.write_field(&self.field)
    }

    fn known(&mut self, value: Option<impl Display>) -> csv::Result<()> {
        match value {
            Some(value) => self.put(value),
            None => self.csv.write_field(""),
        }
    }

    fn end(&mut self) -> csv::Result<()> {
        self.csv.write_record(None::<&[u8]>)
    }
}

/// The names of the columns, the file's first line.
pub const COLUMNS: &str = "time,round,role,name,address,state,heard,offset_ns,offset_error_ns,delay_ns,error_ns,\
                           bound_ns,frequency_ppb,frequency_error_ppb,vote,excluded,outcome,members,\
                           members_heard,members_agreeing,median_offset_ns,window_ns,spread_ns,\
                           largest_bound_ns,utc_offset_ns,utc_error_ns";

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use meantime_core::event::Outcome;
    use meantime_core::reference::UtcState;

    /// A round's first row, with all fields.
    pub(in crate::store::record) fn full() -> Row {
        Row {
            round: Some(7),
            address: Some("[fd00::1]:4000".parse().unwrap()),
            heard: true,
            offset: Some(Offset::ahead_by(Span::from_nanos(-1_500))),
            offset_error: Some(Span::from_nanos(20)),
            delay: Some(Span::from_micros(110)),
            error: Some(Span::from_nanos(30)),
            bound: Some(Span::from_micros(60)),
            frequency: Some(Frequency::from_ppm(-12.5)),
            frequency_error: Some(Frequency::from_ppm(0.001)),
            vote: Some(false),
            exclusion: Some(Exclusion::OutsideWindow),
            report: Some(RoundReport {
                votes: meantime_core::consensus::Weight::votes(3),
                round: 7,
                outcome: Outcome::Agreed,
                members: 4,
                heard: 3,
                agreeing: 2,
                median: Offset::ZERO,
                window: Span::from_micros(50),
                spread: Span::from_micros(3),
                covered: 0,
                not_covered: 1,
                largest_bound: None,
                mean_frequency: None,
                rate: Frequency::ZERO,
            }),
            utc: Some(UtcView {
                state: UtcState::Leading,
                offset: Some(Offset::ahead_by(Span::from_micros(-700))),
                error: Some(Span::from_micros(90)),
                offered: 3,
                agreeing: 2,
                own: None,
            }),
            ..Row::new(
                Timestamp::from_nanos(1_755_793_812_123_456_789),
                NodeRole::Client,
                Name::new("pump, \"old\""),
                ClientState::Synchronized,
            )
        }
    }

    fn text(rows: &[Row]) -> String {
        String::from_utf8(serialize(rows).unwrap()).unwrap()
    }

    #[test]
    fn a_row_has_its_units_and_quotes_what_needs_it() {
        assert_eq!(
            text(&[full()]),
            "2025-08-21T16:30:12.123456789Z,7,client,\"pump, \"\"old\"\"\",[fd00::1]:4000,synchronized,1,-1500,20,\
             110000,30,60000,-12500,1,out,outside_window,agreed,4,3,2,0,50000,3000,,-700000,90000\n"
        );
    }

    #[test]
    fn an_unknown_value_is_empty() {
        let row = Row::new(
            Timestamp::from_nanos(0),
            NodeRole::Server,
            Name::new("hub"),
            ClientState::Unsynchronized,
        );
        assert_eq!(
            text(&[row]),
            format!("1970-01-01T00:00:00.000000000Z,,server,hub,,unsynchronized,0{}\n", ",".repeat(19))
        );
    }

    #[test]
    fn an_error_to_utc_is_not_written_without_the_offset() {
        let mut row = full();
        row.utc = row.utc.map(|utc| UtcView { offset: None, ..utc });
        assert!(text(&[row]).ends_with(",3000,,,\n"));
    }

    #[test]
    fn every_column_is_described() {
        let described = include_str!("../../../docs/RECORD.md");
        for column in COLUMNS.split(',') {
            assert!(described.contains(&format!("`{column}`")), "{column}");
        }
    }

    #[test]
    fn every_row_has_all_columns() {
        let empty =
            Row::new(Timestamp::from_nanos(0), NodeRole::Client, Name::default(), ClientState::Holdover);
        let file = format!("{COLUMNS}\n{}", text(&[full(), empty]));
        // The reader refuses lines of unequal length.
        assert_eq!(csv::Reader::from_reader(file.as_bytes()).records().filter_map(Result::ok).count(), 2);
    }
}
