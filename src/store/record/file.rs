//! A file that grows by whole lines, is rotated by its size, and outlives every trouble with the disk.
//!
//! Before each piece is written the path is looked at: a file that was moved, removed or lies in a directory
//! that is gone is opened anew. It is locked, so that no two nodes write to it. What cannot be written is
//! left out, and tried again some time later; of a piece that was written in part the rest is cut off, so
//! that the file always consists of whole lines.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::is_full;
use super::row::COLUMNS;
use crate::clock::HostRaw;
use meantime_core::time::Span;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The most bytes of a file, unless a single piece is longer.
    pub size: u64,
    /// How many older files there may be beside it.
    pub keep: u16,
}

/// The record's file.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    limits: Limits,
    open: Option<File>,
    trouble: Option<Trouble>,
}

/// What is to be told when it is over.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    /// Not before then is it tried again; `None`: at once.
    retry: Option<HostRaw>,
    /// How many pieces are missing.
    missing: u64,
}

impl RecordFile {
    /// Opens the file to append to it. A full disk is told, and no obstacle.
    ///
    /// # Errors
    /// When it cannot be written, or has something else in it.
    pub(super) fn open(path: &Path, limits: Limits) -> io::Result<RecordFile> {
        let mut file = RecordFile { path: path.to_owned(), limits, open: None, trouble: None };
        match open(path) {
            Ok(open) => file.open = Some(open),
            Err(error) if is_full(&error) => file.begin_trouble(&error, None),
            Err(error) => return Err(error),
        }
        Ok(file)
    }

    /// Appends whole lines, `now`.
    pub(super) fn append(&mut self, lines: &[u8], now: HostRaw) {
        if let Some(trouble) = &mut self.trouble
            && trouble.retry.is_some_and(|retry| now.since(retry) < Span::ZERO)
        {
            trouble.missing += 1;
            return;
        }
        let retry = HostRaw::from_nanos(now.as_nanos().saturating_add(RETRY.as_nanos()));
        match (self.try_append(lines), self.trouble) {
            (Ok(()), None) => {}
            (Ok(()), Some(Trouble { missing, .. })) => {
                let path = self.path.display();
                log::info!("the record {path} is written again; rounds that are not in it: {missing}");
                self.trouble = None;
            }
            (Err(_), Some(Trouble { missing, .. })) => {
                self.trouble = Some(Trouble { retry: Some(retry), missing: missing + 1 });
            }
            (Err(error), None) => self.begin_trouble(&error, Some(retry)),
        }
    }

    fn begin_trouble(&mut self, error: &io::Error, retry: Option<HostRaw>) {
        let path = self.path.display();
        log::warn!("cannot write the record {path}: {error}; going on without, and trying again");
        self.trouble = Some(Trouble { retry, missing: u64::from(retry.is_some()) });
    }

    fn try_append(&mut self, lines: &[u8]) -> io::Result<()> {
        let (mut file, mut found) = self.current()?;
        let more = lines.len() as u64;
        if found.is_file() && found.len() > HEAD_LEN && found.len() + more > self.limits.size {
            self.rotate()?;
            file = open(&self.path)?;
            found = file.metadata()?;
        }
        if let Err(error) = file.write_all(lines) {
            // If that fails too, what is left of the lines is cut off when the file is opened again.
            let _ = file.set_len(found.len());
            return Err(error);
        }
        self.open = Some(file);
        Ok(())
    }

    /// The file that is at the path now. It is given away, and has to be given back when all is well.
    fn current(&mut self) -> io::Result<(File, Metadata)> {
        let same = |file: &File, found: &Metadata| {
            let ours = file.metadata()?;
            io::Result::Ok((ours.dev(), ours.ino()) == (found.dev(), found.ino()))
        };
        if let (Some(file), Ok(found)) = (self.open.take(), fs::metadata(&self.path))
            && same(&file, &found)?
        {
            return Ok((file, found));
        }
        let file = open(&self.path)?;
        let found = file.metadata()?;
        Ok((file, found))
    }

    fn rotate(&self) -> io::Result<()> {
        let keep = self.limits.keep;
        if keep == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..keep).rev() {
            match fs::rename(self.older(number), self.older(number + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.older(1))
    }

    fn older(&self, number: u16) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }
}

/// Opens a record, or begins one. What was left of a line when the power failed is cut off.
fn open(path: &Path) -> io::Result<File> {
    match fs::metadata(path) {
        // Others could block whoever writes to them.
        Ok(found) if !found.is_file() && !found.file_type().is_char_device() => {
            return Err(refused("that is no file"));
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let found = file.metadata()?;
    if found.is_file() && flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        // Of a file system that knows no locks nothing is asked.
        return Err(refused("another node writes to it"));
    }
    let is_new = !found.is_file() || found.len() == 0;
    if is_new || !check(&mut file, found.len())? {
        begin(&mut file)?;
    }
    Ok(file)
}

/// Writes the names of the columns; all of them or none.
fn begin(file: &mut File) -> io::Result<()> {
    let written = file.write_all(format!("{COLUMNS}\n").as_bytes());
    if written.is_err() {
        // Not even that: it is seen when the file is opened again.
        let _ = file.set_len(0);
    }
    written
}

/// Makes sure that a file of this length has the same columns and ends with a whole line; false: it is empty
/// now.
fn check(file: &mut File, len: u64) -> io::Result<bool> {
    let mut head = Vec::new();
    Read::by_ref(file).take(HEAD_LEN).read_to_end(&mut head)?;
    let expected = format!("{COLUMNS}\n");
    if len < HEAD_LEN && expected.as_bytes().starts_with(&head) {
        file.set_len(0)?;
        return Ok(false);
    }
    if head != expected.as_bytes() {
        return Err(refused("it has other columns than a record of this version, or is something else"));
    }
    let tail_len = len.min(MAX_LINE);
    file.seek(SeekFrom::Start(len - tail_len))?;
    let mut tail = Vec::new();
    Read::by_ref(file).take(tail_len).read_to_end(&mut tail)?;
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else {
        return Err(refused("its end is no row of a record"));
    };
    let rest = (tail.len() - end - 1) as u64;
    if rest > 0 {
        file.set_len(len - rest)?;
    }
    Ok(true)
}

fn refused(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

/// The first line's length.
const HEAD_LEN: u64 = COLUMNS.len() as u64 + 1;

/// Several times that of a row with the longest of all values.
const MAX_LINE: u64 = 4096;

/// A disk that is full by turns leaves no more than two lines in the log in this time.
const RETRY: Span = Span::from_secs(10);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    const SMALL: Limits = Limits { size: 1_000, keep: 2 };

    fn at(s: i64) -> HostRaw {
        HostRaw::from_nanos(Span::from_secs(s).as_nanos())
    }

    fn scratch() -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.csv");
        (dir, path)
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    /// A line of a hundred bytes.
    fn line(letter: &str) -> String {
        format!("{}\n", letter.repeat(99))
    }

    #[test]
    fn two_nodes_do_not_write_to_one_file() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("record.csv");
        let limits = Limits { size: 1 << 20, keep: 1 };
        let first = RecordFile::open(&path, limits).unwrap();
        let second = RecordFile::open(&path, limits).unwrap_err();
        assert!(second.to_string().contains("another node writes to it"), "{second}");
        drop(first);
        assert!(RecordFile::open(&path, limits).is_ok());
    }

    #[test]
    fn a_file_is_appended_to_and_has_its_columns_named_once() {
        let (_dir, path) = scratch();
        for text in ["one\n", "two\n"] {
            RecordFile::open(&path, SMALL).unwrap().append(text.as_bytes(), at(0));
        }
        assert_eq!(read(&path), format!("{COLUMNS}\none\ntwo\n"));
    }

    #[test]
    fn the_files_are_bounded_in_size_and_number_and_the_newest_lines_are_kept() {
        let (dir, path) = scratch();
        let mut file = RecordFile::open(&path, SMALL).unwrap();
        for letter in ('a'..='z').map(String::from) {
            file.append(line(&letter).as_bytes(), at(0));
        }
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["record.csv", "record.csv.1", "record.csv.2"]);
        let mut kept = String::new();
        for name in ["record.csv.2", "record.csv.1", "record.csv"] {
            let text = read(&dir.path().join(name));
            assert!(text.len() <= 1_000 && text.starts_with(COLUMNS), "{name}: {text}");
            kept.extend(text.lines().skip(1).map(|line| &line[..1]));
        }
        assert!("abcdefghijklmnopqrstuvwxyz".ends_with(&kept) && kept.len() > 12, "{kept}");
    }

    #[test]
    fn who_keeps_no_older_files_has_none() {
        let (dir, path) = scratch();
        let mut file = RecordFile::open(&path, Limits { keep: 0, ..SMALL }).unwrap();
        for _ in 0..20 {
            file.append(line("x").as_bytes(), at(0));
        }
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        assert!(read(&path).len() <= 1_000);
    }

    #[test]
    fn a_piece_that_is_longer_than_the_limit_has_a_file_of_its_own() {
        let (dir, path) = scratch();
        let mut file = RecordFile::open(&path, SMALL).unwrap();
        for letter in ["a", "b", "c"] {
            file.append(line(letter).repeat(20).as_bytes(), at(0));
        }
        assert!(read(&path).contains('c') && read(&dir.path().join("record.csv.1")).contains("bbb"));
    }

    #[test]
    fn what_the_power_failure_left_of_a_line_is_cut_off() {
        let (_dir, path) = scratch();
        for (before, after) in [
            (format!("{COLUMNS}\none\ntw"), format!("{COLUMNS}\none\nnew\n")),
            (COLUMNS[..50].to_owned(), format!("{COLUMNS}\nnew\n")),
            (COLUMNS.to_owned(), format!("{COLUMNS}\nnew\n")),
        ] {
            fs::write(&path, before).unwrap();
            RecordFile::open(&path, SMALL).unwrap().append(b"new\n", at(0));
            assert_eq!(read(&path), after);
        }
    }

    #[test]
    fn what_is_no_record_is_left_alone() {
        let (dir, path) = scratch();
        for other in ["time,round\n1,2\n", "x", &format!("{COLUMNS},more\n")] {
            fs::write(&path, other).unwrap();
            let error = RecordFile::open(&path, SMALL).unwrap_err();
            assert!(error.to_string().contains("other columns"), "{error}");
            assert_eq!(read(&path), other);
        }
        assert!(RecordFile::open(dir.path(), SMALL).is_err());
        assert!(RecordFile::open(&dir.path().join("gone").join("record.csv"), SMALL).is_err());
    }

    #[test]
    fn a_file_that_vanished_is_begun_anew_once_its_directory_is_there() {
        let (dir, path) = scratch();
        let deep = dir.path().join("deep");
        fs::create_dir(&deep).unwrap();
        let path = deep.join(path.file_name().unwrap());
        let mut file = RecordFile::open(&path, SMALL).unwrap();
        fs::remove_dir_all(&deep).unwrap();
        for second in 0..5 {
            file.append(b"lost\n", at(second));
        }
        assert_eq!(file.trouble.unwrap().missing, 5);
        fs::create_dir(&deep).unwrap();
        file.append(b"soon\n", at(9));
        assert_eq!(file.trouble.unwrap().missing, 6);
        file.append(b"found\n", at(10));
        assert!(file.trouble.is_none());
        assert_eq!(read(&path), format!("{COLUMNS}\nfound\n"));
    }

    #[test]
    fn a_full_disk_is_no_obstacle_and_its_end_is_noticed() {
        let (dir, path) = scratch();
        symlink("/dev/full", &path).unwrap();
        let mut file = RecordFile::open(&path, SMALL).unwrap();
        assert_eq!(file.trouble.unwrap().missing, 0);
        file.append(b"lost\n", at(0));
        assert_eq!(file.trouble.unwrap().missing, 1);
        fs::remove_file(&path).unwrap();
        symlink(dir.path().join("real"), &path).unwrap();
        file.append(b"found\n", at(20));
        assert_eq!(read(&path), format!("{COLUMNS}\nfound\n"));
    }
}
