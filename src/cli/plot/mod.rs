//! `meantime plot`: draws a record.

mod draw;
mod layout;
mod legend;
mod panel;
mod scale;
mod styles;

use std::path::{Path, PathBuf};

use super::Failure;
use super::units;
use crate::store::record::history::RecordHistory;
use crate::store::record::reader::read_file;
use meantime_core::time::Timestamp;

/// Draw a record: offset, delay and frequency of every member over time
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct PlotArgs {
    /// The file of one node's --record, and its older files FILE.1, FILE.2, ... in any order
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The picture to write: a file that ends in .svg or .png
    #[arg(long, short, value_name = "PICTURE")]
    output: PathBuf,
    /// Leave out rounds before this, as in '2026-01-31 16:30:00' (UTC) or 2026-01-31T16:30:00+01:00
    #[arg(long, value_name = "TIME", value_parser = units::moment)]
    from: Option<Timestamp>,
    /// Leave out rounds after this
    #[arg(long, value_name = "TIME", value_parser = units::moment)]
    to: Option<Timestamp>,
}

/// The format of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PictureFormat {
    Svg,
    Png,
}

/// Reads the files and draws them.
///
/// # Errors
/// When a file cannot be read, is not a record, or has nothing to draw; when the picture cannot be written.
pub fn run(args: &PlotArgs) -> Result<(), Failure> {
    let format = format_of(&args.output)?;
    let mut parts = Vec::new();
    for path in &args.files {
        let mut part = read_file(path).map_err(|error| {
            Failure::Runtime(format!("cannot read the record {}: {error}", path.display()))
        })?;
        part.retain(|row| {
            let at = Timestamp::from_nanos(row.time_ns);
            args.from.is_none_or(|from| at >= from) && args.to.is_none_or(|to| at <= to)
        });
        parts.push(part);
    }
    let history = RecordHistory::of(parts).ok_or_else(|| {
        let files: Vec<_> = args.files.iter().map(|path| path.display().to_string()).collect();
        let between = if args.from.or(args.to).is_some() { " between these times" } else { "" };
        let files = files.join(", ");
        Failure::Runtime(format!("nothing to draw in {files}: no round with a cluster time{between}"))
    })?;
    let drawn = match format {
        PictureFormat::Svg => draw::svg(&history, &args.output),
        PictureFormat::Png => draw::png(&history, &args.output),
    };
    drawn.map_err(|why| {
        let path = args.output.display();
        Failure::Runtime(format!("cannot draw {path}: {why}; choose another file with --output"))
    })
}

fn format_of(path: &Path) -> Result<PictureFormat, Failure> {
    match path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).as_deref() {
        Some("svg") => Ok(PictureFormat::Svg),
        Some("png") => Ok(PictureFormat::Png),
        _ => Err(Failure::Usage(format!(
            "{} is neither .svg nor .png; type for example -o record.svg",
            path.display()
        ))),
    }
}

const EXAMPLES: &str = "\
Examples:
  meantime plot record.csv -o record.svg
  meantime plot record.csv record.csv.1 record.csv.2 -o record.png
  meantime plot record.csv -o night.svg --from '2026-01-31 22:00' --to '2026-02-01 06:00'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_selects_the_format() {
        assert_eq!(format_of(Path::new("a.svg")).unwrap(), PictureFormat::Svg);
        assert_eq!(format_of(Path::new("b.c/a.PNG")).unwrap(), PictureFormat::Png);
        for other in ["a", "a.gif", "svg", "a.svg.gz"] {
            assert!(matches!(format_of(Path::new(other)), Err(Failure::Usage(_))), "{other}");
        }
    }
}
