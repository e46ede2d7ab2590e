//! Every clock over time, as CSV.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use meantime_sim::{Sample, Scenario};

/// A CSV file with a row per comparison of the clocks: for each node a column of its clock, and then for each
/// a column of the error that it states.
#[derive(Debug)]
pub(super) struct Samples {
    file: BufWriter<File>,
}

impl Samples {
    /// Begins a file, with a line that names the columns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn create(path: &Path, scenario: &Scenario) -> io::Result<Samples> {
        let mut file = BufWriter::new(File::create(path)?);
        write!(file, "true_s")?;
        for member in scenario.members() {
            write!(file, ",{member}_ns")?;
        }
        for member in scenario.members() {
            write!(file, ",{member}_error_ns")?;
        }
        writeln!(file)?;
        Ok(Samples { file })
    }

    /// Adds a row: each node's clock minus the median of the good clocks, empty if it does not run; then
    /// one standard deviation of each clock's error as its node states it, empty if it states none.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&mut self, sample: &Sample) -> io::Result<()> {
        write!(self.file, "{}", sample.at.as_nanos() as f64 / 1e9)?;
        let median = sample.median();
        for clock in &sample.clocks {
            match (clock, median) {
                (Some(clock), Some(median)) => write!(self.file, ",{}", (clock.off - median).as_nanos())?,
                _ => write!(self.file, ",")?,
            }
        }
        for clock in &sample.clocks {
            match clock.and_then(|clock| clock.error) {
                Some(error) => write!(self.file, ",{}", error.as_nanos())?,
                None => write!(self.file, ",")?,
            }
        }
        writeln!(self.file)
    }

    /// Writes the buffered rows.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meantime_core::time::Span;
    use meantime_core::wire::{ClientState, ClusterId};
    use meantime_sim::sample::ClockSample;

    #[test]
    fn a_row_has_every_clock_and_then_every_stated_error() {
        let standing = |off, error: Option<i64>| ClockSample {
            off: Span::from_nanos(off),
            raw_off: Span::ZERO,
            state: ClientState::Synchronized,
            error: error.map(Span::from_nanos),
            bound: None,
            cluster: ClusterId(1),
            active: false,
            lies: false,
        };
        let mut sample = Sample::default();
        sample.at = Span::from_millis(1_500);
        sample.clocks = vec![Some(standing(100, Some(0))), Some(standing(400, Some(250))), None];
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("samples.csv");
        let mut samples = Samples::create(&path, &Scenario { clients: 2, ..Scenario::default() }).unwrap();
        samples.write(&sample).unwrap();
        samples.flush().unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        let names =
            "true_s,server_ns,client-1_ns,client-2_ns,server_error_ns,client-1_error_ns,client-2_error_ns";
        assert_eq!(written, format!("{names}\n1.5,-150,150,,0,250,\n"));
    }
}
