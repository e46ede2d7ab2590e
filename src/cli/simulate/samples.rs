//! Every clock over time, as CSV: what a convergence is drawn from.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::sim::{Sample, Scenario};

/// A CSV file: a row for each look at the clocks, a column for each node.
#[derive(Debug)]
pub struct Samples {
    file: BufWriter<File>,
}

impl Samples {
    /// Begins a file, with a line that names the columns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path, scenario: &Scenario) -> io::Result<Samples> {
        let mut file = BufWriter::new(File::create(path)?);
        write!(file, "true_s")?;
        for member in scenario.members() {
            write!(file, ",{member}_ns")?;
        }
        writeln!(file)?;
        Ok(Samples { file })
    }

    /// Adds a row: each node's clock minus the median of the good clocks, empty if it does not run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, sample: &Sample) -> io::Result<()> {
        write!(self.file, "{}", sample.at.as_nanos() as f64 / 1e9)?;
        let median = sample.median();
        for clock in &sample.clocks {
            match (clock, median) {
                (Some(clock), Some(median)) => write!(self.file, ",{}", (clock.off - median).as_nanos())?,
                _ => write!(self.file, ",")?,
            }
        }
        writeln!(self.file)
    }

    /// Writes out what is still held back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
