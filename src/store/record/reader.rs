//! Parses a record's file, as far as `meantime plot` needs it.

use std::fs;
use std::io;
use std::path::Path;

use chrono::DateTime;
use csv::StringRecord;

use super::row::COLUMNS;

/// A row that was read from a record.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedRow {
    /// When it was noted, in nanoseconds since 1970.
    pub time_ns: i64,
    /// The round; `None`: between rounds.
    pub round: Option<u32>,
    /// Whether it is of the node that has written the record.
    pub own: bool,
    /// The node's name.
    pub name: String,
    /// Its address; empty for the node that has written the record.
    pub address: String,
    /// The state of its clock, as it stands in the file.
    pub state: String,
    /// Its clock minus cluster time, in nanoseconds.
    pub offset_ns: Option<f64>,
    /// The round-trip delay, in nanoseconds.
    pub delay_ns: Option<f64>,
    /// The clock's rate over its oscillator's, minus one, in parts per billion.
    pub frequency_ppb: Option<f64>,
    /// What the cluster's clocks show minus UTC, in nanoseconds; in a server's own row, if known.
    pub utc_offset_ns: Option<f64>,
    /// The maximum error of that, in nanoseconds.
    pub utc_error_ns: Option<f64>,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordReadError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The first line is not that of a record.
    #[error(
        "its columns are not those of a record; is it what --record has written, by this version of meantime?"
    )]
    NotARecord,
    /// A line has too few or too many columns.
    #[error("line {line} has {columns} columns instead of {expected}")]
    Columns {
        /// The line's number, from 1.
        line: u64,
        /// How many columns it has.
        columns: u64,
        /// How many columns a record has.
        expected: u64,
    },
    /// A line is not UTF-8.
    #[error("line {0} is not text")]
    NotText(u64),
    /// A field cannot be parsed.
    #[error("line {line}: {error}")]
    Field {
        /// The line's number, from 1.
        line: u64,
        /// What is wrong with the field.
        error: FieldError,
    },
    /// The CSV parser reports another error.
    #[error(transparent)]
    Csv(csv::Error),
}

/// A field that cannot be parsed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a valid {field}")]
pub struct FieldError {
    /// The field's text.
    text: String,
    /// What it should be.
    field: &'static str,
}

/// All rows of a file. An incomplete last line is left out: it is being written, or a power failure has cut
/// it off.
///
/// # Errors
/// When the file cannot be read, or is not a record.
pub fn read_file(path: &Path) -> Result<Vec<RecordedRow>, RecordReadError> {
    parse(&fs::read(path)?)
}

/// All rows of a file with these bytes.
///
/// # Errors
/// When they are not a record.
pub fn parse(bytes: &[u8]) -> Result<Vec<RecordedRow>, RecordReadError> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut reader = csv::Reader::from_reader(&bytes[..whole]);
    let names = reader.headers().map_err(|_| RecordReadError::NotARecord)?;
    if !names.iter().eq(COLUMNS.split(',')) {
        return Err(RecordReadError::NotARecord);
    }
    let columns = Columns::new();
    let mut rows = Vec::new();
    for row in reader.into_records() {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        rows.push(columns.parse(&row).map_err(|error| RecordReadError::Field { line, error })?);
    }
    Ok(rows)
}

impl From<csv::Error> for RecordReadError {
    fn from(error: csv::Error) -> RecordReadError {
        let line = error.position().map_or(0, csv::Position::line);
        match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len: expected, len: columns, .. } => {
                RecordReadError::Columns { line, columns: *columns, expected: *expected }
            }
            csv::ErrorKind::Utf8 { .. } => RecordReadError::NotText(line),
            _ => RecordReadError::Csv(error),
        }
    }
}

/// The positions of the values in a row.
struct Columns {
    time: usize,
    round: usize,
    name: usize,
    address: usize,
    state: usize,
    offset: usize,
    delay: usize,
    frequency: usize,
    utc_offset: usize,
    utc_error: usize,
}

impl Columns {
    fn new() -> Columns {
        let index = |name| COLUMNS.split(',').position(|column| column == name).unwrap_or(usize::MAX);
        Columns {
            time: index("time"),
            round: index("round"),
            name: index("name"),
            address: index("address"),
            state: index("state"),
            offset: index("offset_ns"),
            delay: index("delay_ns"),
            frequency: index("frequency_ppb"),
            utc_offset: index("utc_offset_ns"),
            utc_error: index("utc_error_ns"),
        }
    }

    fn parse(&self, row: &StringRecord) -> Result<RecordedRow, FieldError> {
        let text = |index: usize| row.get(index).unwrap_or("");
        let invalid = |text: &str, field| FieldError { text: text.to_owned(), field };
        let number = |index: usize, field| match text(index) {
            "" => Ok(None),
            text => match text.parse::<f64>() {
                Ok(value) if value.abs() <= MAX_NUMBER => Ok(Some(value)),
                _ => Err(invalid(text, field)),
            },
        };
        let round = match text(self.round) {
            "" => None,
            text => Some(text.parse().map_err(|_| invalid(text, "round"))?),
        };
        let time = DateTime::parse_from_rfc3339(text(self.time)).ok();
        let time_ns = time.and_then(|time| time.timestamp_nanos_opt());
        Ok(RecordedRow {
            time_ns: time_ns.ok_or_else(|| invalid(text(self.time), "time"))?,
            round,
            own: text(self.address).is_empty(),
            name: text(self.name).to_owned(),
            address: text(self.address).to_owned(),
            state: text(self.state).to_owned(),
            offset_ns: number(self.offset, "offset")?,
            delay_ns: number(self.delay, "delay")?,
            frequency_ppb: number(self.frequency, "frequency")?,
            utc_offset_ns: number(self.utc_offset, "offset from UTC")?,
            utc_error_ns: number(self.utc_error, "error to UTC")?,
        })
    }
}

/// Six centuries in nanoseconds: no clock is so far off.
const MAX_NUMBER: f64 = 2e19;

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "2025-08-21T16:30:12.123456789Z,7,client,\"a,b\",127.0.0.1:4,holdover,1,-1500,20,110,30,60,-12.5,1,\
                       in,,,,,,,,,,-700,90\n";

    fn read(rows: &str) -> Result<Vec<RecordedRow>, String> {
        parse(format!("{COLUMNS}\n{rows}").as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let expected = RecordedRow {
            time_ns: 1_755_793_812_123_456_789,
            round: Some(7),
            own: false,
            name: "a,b".into(),
            address: "127.0.0.1:4".into(),
            state: "holdover".into(),
            offset_ns: Some(-1500.0),
            delay_ns: Some(110.0),
            frequency_ppb: Some(-12.5),
            utc_offset_ns: Some(-700.0),
            utc_error_ns: Some(90.0),
        };
        assert_eq!(read(ROW), Ok(vec![expected]));
    }

    #[test]
    fn an_incomplete_last_line_is_left_out() {
        for end in 0..ROW.len() {
            assert_eq!(read(&format!("{ROW}{}", &ROW[..end])).map(|rows| rows.len()), Ok(1), "cut at {end}");
        }
    }

    #[test]
    fn an_error_names_the_line_and_the_field() {
        let wrong = |from: &str, to: &str| read(&format!("{ROW}{}", ROW.replace(from, to))).unwrap_err();
        assert_eq!(
            wrong("2025-08-21T", "2025-08-21 at "),
            "line 3: '2025-08-21 at 16:30:12.123456789Z' is not a valid time"
        );
        assert_eq!(wrong(",7,", ",-7,"), "line 3: '-7' is not a valid round");
        assert_eq!(wrong("-1500", "soon"), "line 3: 'soon' is not a valid offset");
        assert_eq!(wrong("110", "inf"), "line 3: 'inf' is not a valid delay");
        assert_eq!(wrong("-700", "late"), "line 3: 'late' is not a valid offset from UTC");
        assert_eq!(wrong(",90", ",none"), "line 3: 'none' is not a valid error to UTC");
        assert_eq!(wrong(",1,in", ",in"), "line 3 has 25 columns instead of 26");
    }

    #[test]
    fn a_record_without_the_columns_of_this_version_is_not_read() {
        let names = COLUMNS.strip_suffix(",utc_offset_ns,utc_error_ns").unwrap();
        let row = ROW.strip_suffix(",-700,90\n").unwrap();
        let earlier = parse(format!("{names}\n{row}\n").as_bytes());
        assert!(matches!(earlier, Err(RecordReadError::NotARecord)), "{earlier:?}");
    }

    #[test]
    fn another_file_is_not_a_record() {
        for other in ["", "\n", "a,b\n1,2\n", "\u{0}\u{1}\n", "{}\n"] {
            assert!(matches!(parse(other.as_bytes()), Err(RecordReadError::NotARecord)), "{other:?}");
        }
        assert!(matches!(parse(&[0xff, 0xfe, b'\n', 0xff]), Err(RecordReadError::NotARecord)));
    }
}
