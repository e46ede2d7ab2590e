//! A file that grows by whole lines, is rotated by its size, and survives every failure of the disk.
//!
//! Before each piece is written the path is checked: a file that was moved or removed, or whose directory was
//! removed, is opened anew. The file is locked, so that two nodes cannot write to it. A piece that cannot be
//! written is left out, and a later piece is tried some time afterwards. Of a piece that was written in part
//! the rest is cut off, so that the file always consists of whole lines.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::row::COLUMNS;
use crate::clock::HostRaw;
use meantime_core::time::Span;

/// How large a record may become.
#[derive(Clone, Copy, Debug)]
pub struct RecordLimits {
    /// Maximum size of a file, in bytes, unless a single piece is longer.
    pub size: u64,
    /// Maximum number of older files beside it.
    pub older_files: u16,
}

/// Why a record cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordFileError {
    /// The file cannot be opened, read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The path leads to a directory, a pipe or the like.
    #[error("that is not a file")]
    NotAFile,
    /// Another process has locked the file.
    #[error("another node writes to it")]
    Locked,
    /// The first line is not that of a record of this version.
    #[error("it has other columns than a record of this version, or is something else")]
    OtherColumns,
    /// The last line does not end.
    #[error("its end is not a row of a record")]
    NoRow,
}

impl RecordFileError {
    /// Whether there is no space on the disk, which may change.
    fn is_full(&self) -> bool {
        let RecordFileError::Io(error) = self else { return false };
        matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
    }
}

/// The record's file.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    limits: RecordLimits,
    open: Option<File>,
    outage: Option<Outage>,
}

/// A time in which nothing can be written.
#[derive(Clone, Copy, Debug)]
struct Outage {
    /// When writing is tried again; `None`: at once.
    retry: Option<HostRaw>,
    /// How many pieces are missing so far.
    missing: u64,
}

impl RecordFile {
    /// Opens the file to append to it. A full disk is logged, and is no error.
    ///
    /// # Errors
    /// When it cannot be written, or has something else in it.
    pub(super) fn open(path: &Path, limits: RecordLimits) -> Result<RecordFile, RecordFileError> {
        let mut file = RecordFile { path: path.to_owned(), limits, open: None, outage: None };
        match open(path) {
            Ok(open) => file.open = Some(open),
            Err(error) if error.is_full() => file.begin_outage(&error, None),
            Err(error) => return Err(error),
        }
        Ok(file)
    }

    /// Appends whole lines, `now`.
    pub(super) fn append(&mut self, lines: &[u8], now: HostRaw) {
        if let Some(outage) = &mut self.outage
            && outage.retry.is_some_and(|retry| now.since(retry) < Span::ZERO)
        {
            outage.missing += 1;
            return;
        }
        let retry = HostRaw::from_nanos(now.as_nanos().saturating_add(RETRY.as_nanos()));
        match (self.try_append(lines), self.outage) {
            (Ok(()), None) => {}
            (Ok(()), Some(Outage { missing, .. })) => {
                let path = self.path.display();
                log::info!("the record {path} is written again; rounds that are not in it: {missing}");
                self.outage = None;
            }
            (Err(_), Some(Outage { missing, .. })) => {
                self.outage = Some(Outage { retry: Some(retry), missing: missing + 1 });
            }
            (Err(error), None) => self.begin_outage(&error, Some(retry)),
        }
    }

    fn begin_outage(&mut self, error: &RecordFileError, retry: Option<HostRaw>) {
        let path = self.path.display();
        log::warn!("cannot write the record {path}: {error}; going on without, and trying again");
        self.outage = Some(Outage { retry, missing: u64::from(retry.is_some()) });
    }

    fn try_append(&mut self, lines: &[u8]) -> Result<(), RecordFileError> {
        let (mut file, mut found) = self.take_current()?;
        let more = lines.len() as u64;
        if found.is_file() && found.len() > HEADER_LEN && found.len() + more > self.limits.size {
            self.rotate()?;
            file = open(&self.path)?;
            found = file.metadata()?;
        }
        if let Err(error) = file.write_all(lines) {
            // If that fails too, what is left of the lines is cut off when the file is opened again.
            let _ = file.set_len(found.len());
            return Err(error.into());
        }
        self.open = Some(file);
        Ok(())
    }

    /// Takes out the file that is at the path now. The caller puts it back when it has been written.
    fn take_current(&mut self) -> Result<(File, Metadata), RecordFileError> {
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
        let older_files = self.limits.older_files;
        if older_files == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..older_files).rev() {
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

/// Opens a record, or begins one. A line that a power failure has left incomplete is cut off.
fn open(path: &Path) -> Result<File, RecordFileError> {
    match fs::metadata(path) {
        // A write to a pipe or a socket can block.
        Ok(found) if !found.is_file() && !found.file_type().is_char_device() => {
            return Err(RecordFileError::NotAFile);
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let found = file.metadata()?;
    if found.is_file() && flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        // Any other error: the file system has no locks.
        return Err(RecordFileError::Locked);
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
        // If that fails too, the rest is found when the file is opened again.
        let _ = file.set_len(0);
    }
    written
}

/// Checks that a file of this length has the columns of a record, and cuts off an incomplete last line;
/// false: the file is empty now.
fn check(file: &mut File, len: u64) -> Result<bool, RecordFileError> {
    let mut header = Vec::new();
    Read::by_ref(file).take(HEADER_LEN).read_to_end(&mut header)?;
    let expected = format!("{COLUMNS}\n");
    if len < HEADER_LEN && expected.as_bytes().starts_with(&header) {
        file.set_len(0)?;
        return Ok(false);
    }
    if header != expected.as_bytes() {
        return Err(RecordFileError::OtherColumns);
    }
    let tail_len = len.min(MAX_LINE);
    file.seek(SeekFrom::Start(len - tail_len))?;
    let mut tail = Vec::new();
    Read::by_ref(file).take(tail_len).read_to_end(&mut tail)?;
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else {
        return Err(RecordFileError::NoRow);
    };
    let rest = (tail.len() - end - 1) as u64;
    if rest > 0 {
        file.set_len(len - rest)?;
    }
    Ok(true)
}

/// The first line's length, in bytes.
const HEADER_LEN: u64 = COLUMNS.len() as u64 + 1;

/// In bytes; several times the length of the longest row.
const MAX_LINE: u64 = 4096;

/// A disk that is sometimes full causes at most two lines of log in this time.
const RETRY: Span = Span::from_secs(10);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    const SMALL: RecordLimits = RecordLimits { size: 1_000, older_files: 2 };

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
    fn two_nodes_cannot_write_to_one_file() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("record.csv");
        let limits = RecordLimits { size: 1 << 20, older_files: 1 };
        let first = RecordFile::open(&path, limits).unwrap();
        let second = RecordFile::open(&path, limits).unwrap_err();
        assert!(second.to_string().contains("another node writes to it"), "{second}");
        drop(first);
        assert!(RecordFile::open(&path, limits).is_ok());
    }

    #[test]
    fn a_file_names_its_columns_once_however_often_it_is_opened() {
        let (_dir, path) = scratch();
        for text in ["one\n", "two\n"] {
            RecordFile::open(&path, SMALL).unwrap().append(text.as_bytes(), at(0));
        }
        assert_eq!(read(&path), format!("{COLUMNS}\none\ntwo\n"));
    }

    #[test]
    fn the_files_are_bounded_in_size_and_number_and_have_the_newest_lines() {
        let (dir, path) = scratch();
        let mut file = RecordFile::open(&path, SMALL).unwrap();
        for letter in ('a'..='z').map(String::from) {
            file.append(line(&letter).as_bytes(), at(0));
        }
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["record.csv", "record.csv.1", "record.csv.2"]);
        let mut found = String::new();
        for name in ["record.csv.2", "record.csv.1", "record.csv"] {
            let text = read(&dir.path().join(name));
            assert!(text.len() <= 1_000 && text.starts_with(COLUMNS), "{name}: {text}");
            found.extend(text.lines().skip(1).map(|line| &line[..1]));
        }
        assert!("abcdefghijklmnopqrstuvwxyz".ends_with(&found) && found.len() > 12, "{found}");
    }

    #[test]
    fn without_older_files_there_is_one_file() {
        let (dir, path) = scratch();
        let mut file = RecordFile::open(&path, RecordLimits { older_files: 0, ..SMALL }).unwrap();
        for _ in 0..20 {
            file.append(line("x").as_bytes(), at(0));
        }
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        assert!(read(&path).len() <= 1_000);
    }

    #[test]
    fn a_piece_that_is_longer_than_the_limit_gets_a_file_of_its_own() {
        let (dir, path) = scratch();
        let mut file = RecordFile::open(&path, SMALL).unwrap();
        for letter in ["a", "b", "c"] {
            file.append(line(letter).repeat(20).as_bytes(), at(0));
        }
        assert!(read(&path).contains('c') && read(&dir.path().join("record.csv.1")).contains("bbb"));
    }

    #[test]
    fn an_incomplete_last_line_is_cut_off() {
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
    fn a_file_that_is_not_a_record_is_not_changed() {
        let (dir, path) = scratch();
        let (earlier, _) = COLUMNS.split_once(",utc_offset_ns").unwrap();
        let others = [format!("{earlier}\n1,2\n"), format!("{earlier}\n"), format!("{COLUMNS},more\n")];
        for other in ["time,round\n1,2\n", "x"].into_iter().chain(others.iter().map(String::as_str)) {
            fs::write(&path, other).unwrap();
            let error = RecordFile::open(&path, SMALL).unwrap_err();
            assert!(error.to_string().contains("other columns"), "{error}");
            assert_eq!(read(&path), other);
        }
        assert!(RecordFile::open(dir.path(), SMALL).is_err());
        assert!(RecordFile::open(&dir.path().join("gone").join("record.csv"), SMALL).is_err());
    }

    #[test]
    fn a_file_that_was_removed_is_begun_anew_once_its_directory_exists() {
        let (dir, path) = scratch();
        let deep = dir.path().join("deep");
        fs::create_dir(&deep).unwrap();
        let path = deep.join(path.file_name().unwrap());
        let mut file = RecordFile::open(&path, SMALL).unwrap();
        fs::remove_dir_all(&deep).unwrap();
        for second in 0..5 {
            file.append(b"lost\n", at(second));
        }
        assert_eq!(file.outage.unwrap().missing, 5);
        fs::create_dir(&deep).unwrap();
        file.append(b"soon\n", at(9));
        assert_eq!(file.outage.unwrap().missing, 6);
        file.append(b"found\n", at(10));
        assert!(file.outage.is_none());
        assert_eq!(read(&path), format!("{COLUMNS}\nfound\n"));
    }

    #[test]
    fn a_full_disk_does_not_end_the_node_and_writing_is_resumed() {
        let (dir, path) = scratch();
        symlink("/dev/full", &path).unwrap();
        let mut file = RecordFile::open(&path, SMALL).unwrap();
        assert_eq!(file.outage.unwrap().missing, 0);
        file.append(b"lost\n", at(0));
        assert_eq!(file.outage.unwrap().missing, 1);
        fs::remove_file(&path).unwrap();
        symlink(dir.path().join("real"), &path).unwrap();
        file.append(b"found\n", at(20));
        assert_eq!(read(&path), format!("{COLUMNS}\nfound\n"));
    }
}
