//! A record, as far as it is drawn.

use std::fs;
use std::path::Path;

use chrono::DateTime;
use csv::StringRecord;

use crate::store::record::COLUMNS;

/// A row of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When, in nanoseconds since 1970.
    pub time_ns: i64,
    /// The round, if it is of one.
    pub round: Option<u32>,
    /// Whether it is of the node that has written the record.
    pub own: bool,
    /// Whose clock.
    pub name: String,
    /// Where that is; empty for the node's own.
    pub address: String,
    /// How it stands, as it is written.
    pub state: String,
    /// Its clock minus the cluster's time, in nanoseconds.
    pub offset_ns: Option<f64>,
    /// The round-trip delay, in nanoseconds.
    pub delay_ns: Option<f64>,
    /// The clock's rate over its oscillator's, minus one, in parts per billion.
    pub frequency_ppb: Option<f64>,
}

/// All rows of a file. A last line that is not whole is left out: it is being written, or never was.
///
/// # Errors
/// What is wrong with the file.
pub fn file(path: &Path) -> Result<Vec<Entry>, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    entries(&bytes)
}

/// All rows of a file that consists of these bytes.
///
/// # Errors
/// What is wrong with them.
pub fn entries(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut reader = csv::Reader::from_reader(&bytes[..whole]);
    let names = reader.headers().map_err(|_| NO_RECORD.to_owned())?;
    if !names.iter().eq(COLUMNS.split(',')) {
        return Err(NO_RECORD.to_owned());
    }
    let columns = Columns::new();
    let mut entries = Vec::new();
    for row in reader.into_records() {
        let row = row.map_err(|error| explained(&error))?;
        let line = row.position().map_or(0, csv::Position::line);
        entries.push(columns.entry(&row).map_err(|why| format!("line {line}: {why}"))?);
    }
    Ok(entries)
}

fn explained(error: &csv::Error) -> String {
    let line = error.position().map_or(0, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {line} has {len} columns instead of {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => format!("line {line} is no text"),
        _ => error.to_string(),
    }
}

/// Where in a row the values are.
struct Columns {
    time: usize,
    round: usize,
    name: usize,
    address: usize,
    state: usize,
    offset: usize,
    delay: usize,
    frequency: usize,
}

impl Columns {
    fn new() -> Columns {
        let place = |name| COLUMNS.split(',').position(|column| column == name).unwrap_or(usize::MAX);
        Columns {
            time: place("time"),
            round: place("round"),
            name: place("name"),
            address: place("address"),
            state: place("state"),
            offset: place("offset_ns"),
            delay: place("delay_ns"),
            frequency: place("frequency_ppb"),
        }
    }

    fn entry(&self, row: &StringRecord) -> Result<Entry, String> {
        let text = |place: usize| row.get(place).unwrap_or("");
        let number = |place: usize, name: &str| match text(place) {
            "" => Ok(None),
            text => match text.parse::<f64>() {
                Ok(value) if value.abs() <= MAX => Ok(Some(value)),
                _ => Err(format!("'{text}' is no {name}")),
            },
        };
        let round = match text(self.round) {
            "" => None,
            text => Some(text.parse().map_err(|_| format!("'{text}' is no round"))?),
        };
        let time = DateTime::parse_from_rfc3339(text(self.time)).ok();
        let time_ns = time.and_then(|time| time.timestamp_nanos_opt());
        Ok(Entry {
            time_ns: time_ns.ok_or_else(|| format!("'{}' is no time", text(self.time)))?,
            round,
            own: text(self.address).is_empty(),
            name: text(self.name).to_owned(),
            address: text(self.address).to_owned(),
            state: text(self.state).to_owned(),
            offset_ns: number(self.offset, "offset")?,
            delay_ns: number(self.delay, "delay")?,
            frequency_ppb: number(self.frequency, "frequency")?,
        })
    }
}

/// Six centuries in nanoseconds: no clock is so far off.
const MAX: f64 = 2e19;

const NO_RECORD: &str =
    "its columns are not those of a record; is it what --record has written, by this version of meantime?";

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "2025-08-21T16:30:12.123456789Z,7,client,\"a,b\",127.0.0.1:4,holdover,1,-1500,20,110,30,60,-12.5,1,\
                       in,,,,,,,,,\n";

    fn read(rows: &str) -> Result<Vec<Entry>, String> {
        entries(format!("{COLUMNS}\n{rows}").as_bytes())
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let expected = Entry {
            time_ns: 1_755_793_812_123_456_789,
            round: Some(7),
            own: false,
            name: "a,b".into(),
            address: "127.0.0.1:4".into(),
            state: "holdover".into(),
            offset_ns: Some(-1500.0),
            delay_ns: Some(110.0),
            frequency_ppb: Some(-12.5),
        };
        assert_eq!(read(ROW), Ok(vec![expected]));
    }

    #[test]
    fn a_last_line_that_was_cut_anywhere_is_left_out() {
        for end in 0..ROW.len() {
            assert_eq!(read(&format!("{ROW}{}", &ROW[..end])).map(|rows| rows.len()), Ok(1), "cut at {end}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let wrong = |from: &str, to: &str| read(&format!("{ROW}{}", ROW.replace(from, to))).unwrap_err();
        assert_eq!(
            wrong("2025-08-21T", "2025-08-21 at "),
            "line 3: '2025-08-21 at 16:30:12.123456789Z' is no time"
        );
        assert_eq!(wrong(",7,", ",-7,"), "line 3: '-7' is no round");
        assert_eq!(wrong("-1500", "soon"), "line 3: 'soon' is no offset");
        assert_eq!(wrong("110", "inf"), "line 3: 'inf' is no delay");
        assert_eq!(wrong(",1,in", ",in"), "line 3 has 23 columns instead of 24");
    }

    #[test]
    fn another_file_is_no_record() {
        for other in ["", "\n", "a,b\n1,2\n", "\u{0}\u{1}\n", "{}\n"] {
            assert_eq!(entries(other.as_bytes()), Err(NO_RECORD.to_owned()), "{other:?}");
        }
        assert_eq!(entries(&[0xff, 0xfe, b'\n', 0xff]), Err(NO_RECORD.to_owned()));
    }
}
