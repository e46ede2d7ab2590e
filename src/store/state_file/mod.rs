//! What a node knows, kept over restarts in a small file, whose [`text`] says what it is worth: its
//! oscillator's frequency, and the time.
//!
//! It is replaced as a whole, so it is never half of something. It counts only for the oscillator that it was
//! learned on: this machine's, with its present clock source and simulated drift. What an old figure is
//! worth, [`meantime_core::saved_state`] decides. The time counts for the machine's boot only: a cluster
//! whose processes all start anew goes on from its own time then, not from machines' clocks that nobody has
//! set for months. No trouble with the file ever ends a node: it is told once.

pub mod text;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use self::text::{MAGIC, Now, Owner, hash, recalled, written};
use crate::clock::{self, ClockSample, HostRaw, MIN_SLEEP};
use crate::event_loop::ClockSnapshot;
use meantime_core::saved_state::{Known, Mark, Recalled};
use meantime_core::time::{Frequency, Raw, Span, Timestamp};
use meantime_core::wire::Name;

/// Where a node's frequency and time are kept.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    owner: Owner,
    /// How much faster than the machine's oscillator the node's is simulated to run.
    drift: Frequency,
    /// For how long the machine had slept when that was looked at last.
    slept: Span,
    /// What is known by now and not kept yet.
    newest: Option<Known>,
    written: Option<Known>,
    warned: bool,
}

impl Memory {
    /// The memory of the node `name` in this directory; its oscillator is the machine's with this simulated
    /// drift.
    pub fn new(directory: &Path, name: &Name, drift: Frequency) -> Memory {
        let owner = Owner {
            node: name.as_str().to_owned(),
            oscillator: hash(&format!(
                "{}\n{}\n{}",
                first_line("/etc/machine-id").unwrap_or_default(),
                first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource")
                    .unwrap_or_default(),
                drift.as_ppt()
            )),
            boot: boot(),
        };
        let path = directory.join(file_name(name));
        let slept = clock::suspended();
        Memory { path, owner, drift, slept, newest: None, written: None, warned: false }
    }

    /// Makes sure that something can be kept; what stands against it is told now, not when it is too late.
    pub fn prepare(&mut self) {
        let directory = directory_of(&self.path).display();
        let was_there = directory_of(&self.path).exists();
        match probe(&self.path) {
            Ok(()) if was_there => {}
            Ok(()) => log::info!("the state directory {directory} was not there; it is now"),
            Err(error) => {
                self.warned = true;
                log::warn!(
                    "nothing can be kept in {directory}: {error}; what is learned of frequency and time will be lost"
                );
            }
        }
    }

    /// What was learned in an earlier run. `now`: the node's clocks before any of that, so that its
    /// oscillator shows the machine's wall clock. What cannot be used is told.
    pub fn recall(&mut self, now: ClockSample, plausible_from: Timestamp) -> Option<Recalled> {
        let path = self.path.display();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if self.warned || error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                log::warn!("cannot read what is kept in {path}: {error}; it will be learned anew");
                return None;
            }
        };
        let believed = Timestamp::from_nanos(now.now.raw.as_nanos());
        let now = Now { believed, mark: self.mark(now.host), plausible_from };
        match recalled(&text, &self.owner, now) {
            Ok(recalled) => {
                log::info!("the frequency is {:+.3} ppm, by {path}", recalled.frequency.ppm());
                Some(recalled)
            }
            Err(reason) => {
                log::warn!("what is kept in {path} is not used: {reason}; it will be learned anew");
                None
            }
        }
    }

    /// Takes note of how the clock stands.
    pub fn note(&mut self, at: &ClockSnapshot) {
        let before = std::mem::replace(&mut self.slept, clock::suspended());
        // Whether it has slept before that reading or after it, nobody knows.
        if (self.slept - before).abs() < MIN_SLEEP
            && let Some(known) = Known::of(&at.reading, self.mark(at.host))
        {
            self.newest = Some(known);
        }
    }

    /// Keeps what is known, if that was not done lately, or the time has been set since.
    pub fn keep_if_due(&mut self) {
        let is_due = |newest: &Known| self.written.is_none_or(|written| newest.replaces(&written));
        if self.newest.as_ref().is_some_and(is_due) {
            self.keep();
        }
    }

    /// Keeps what is known, if there is something new.
    pub fn keep(&mut self) {
        let Some(newest) = self.newest.take() else { return };
        // Also if it fails: a full disk is not to be tried every second.
        self.written = Some(newest);
        if let Err(error) = replace(&self.path, &written(&self.owner, &newest))
            && !self.warned
        {
            self.warned = true;
            let path = self.path.display();
            log::warn!("cannot keep frequency and time in {path}: {error}; going on without");
        }
    }

    /// The moment at which the host's oscillator reads this, by the node's own.
    fn mark(&self, host: HostRaw) -> Mark {
        let host = Span::from_nanos(host.as_nanos());
        Mark { oscillator: Raw::from_nanos((host + self.drift.over(host)).as_nanos()), slept: self.slept }
    }
}

/// Tries to write beside `path`, in its directory, which is made if it is not there.
fn probe(path: &Path) -> io::Result<()> {
    fs::create_dir_all(directory_of(path))?;
    let temporary = temporary_of(path);
    let written = fs::write(&temporary, MAGIC);
    // A full disk lets files begin.
    let removed = fs::remove_file(&temporary);
    written.and(removed)
}

/// Writes the whole file or nothing.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let directory = directory_of(path);
    fs::create_dir_all(directory)?;
    let temporary = temporary_of(path);
    let result = File::create(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // What is left of it helps nobody; if it cannot be removed either, that is the same trouble.
        let _ = fs::remove_file(&temporary);
        return result;
    }
    // The file's new name is in the directory.
    File::open(directory)?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn temporary_of(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.tmp", std::process::id()))
}

/// Names may contain anything that can be printed.
fn file_name(name: &Name) -> String {
    let harmless = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = name.as_str().chars().map(harmless).collect();
    format!("{}.memory", if name.is_empty() { "client" } else { &name })
}

/// The boot of this machine, and what shifts its clocks for some processes, hashed; `None` where nobody
/// tells.
fn boot() -> Option<u64> {
    let boot = first_line("/proc/sys/kernel/random/boot_id")?;
    let namespace = fs::read_link("/proc/self/ns/time").unwrap_or_default();
    Some(hash(&format!("{boot}\n{}", namespace.display())))
}

fn first_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().next().filter(|line| !line.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::observation;
    use meantime_core::config::PLAUSIBLE_FROM;
    use meantime_core::time::{Monotonic, Raw, Span};

    fn memory(directory: &Path) -> Memory {
        Memory::new(directory, &Name::new("turbine 7/a"), Frequency::ZERO)
    }

    /// The observation of a node that knows its frequency to this error.
    fn sure(error: Frequency, at_s: i64) -> ClockSnapshot {
        let mut at = observation();
        at.host = HostRaw::from_nanos(Span::from_secs(at_s).as_nanos());
        at.reading.time += Span::from_secs(at_s);
        at.reading.frequency_error = Some(error);
        at
    }

    /// The clocks of a machine whose oscillator reads so much, and who believes that it is 2033.
    fn moment(at_s: i64) -> ClockSample {
        let (mono, raw) = (Monotonic::from_nanos(0), Raw::from_nanos(2_000_000_000_000_000_000));
        ClockSample {
            host: HostRaw::from_nanos(Span::from_secs(at_s).as_nanos()),
            now: meantime_core::time::Now { mono, raw },
        }
    }

    #[test]
    fn a_run_finds_what_the_one_before_has_learned() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("deep").join("down");
        let mut first = memory(&directory);
        assert_eq!(first.recall(moment(0), PLAUSIBLE_FROM), None);
        let left = sure(Frequency::from_ppm(0.1), 0);
        first.note(&left);
        first.keep();
        let found = memory(&directory).recall(moment(100), PLAUSIBLE_FROM).unwrap();
        assert!((found.frequency.ppm() - 1.5).abs() < 1e-6 && found.error.ppm() < 0.2, "{found:?}");
        let gone_on = left.reading.time + Span::from_secs(100) + Span::from_micros(150);
        // How long the machine has slept is told by two clocks, which are not read in the same nanosecond.
        let apart = found.time.unwrap() - gone_on;
        assert!(apart.abs() < Span::from_micros(100), "{apart}");
        let files: Vec<_> = fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, ["turbine_7_a.memory"]);
    }

    #[test]
    fn only_what_is_sure_is_kept_and_no_more_than_every_ten_minutes() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = memory(dir.path());
        let mut keep = |error, at_s| {
            let _ = fs::remove_file(&memory.path);
            memory.note(&sure(Frequency::from_ppm(error), at_s));
            memory.keep_if_due();
            memory.path.exists()
        };
        assert!(!keep(2.0, 0));
        assert!(keep(0.5, 5));
        assert!(!keep(0.5, 600) && keep(0.5, 605));
    }

    #[test]
    fn a_time_that_was_set_is_kept_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = memory(dir.path());
        let mut keep = |at_s, ahead| {
            let _ = fs::remove_file(&memory.path);
            let mut at = sure(Frequency::from_ppm(0.1), at_s);
            at.reading.time += Span::from_secs(ahead);
            memory.note(&at);
            memory.keep_if_due();
            memory.path.exists()
        };
        assert!(keep(0, 0) && !keep(5, 0));
        assert!(keep(10, 3_600) && !keep(15, 3_600));
        assert!(keep(20, -60));
    }

    #[test]
    fn a_directory_that_is_not_there_is_made_and_nothing_is_left_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("deep").join("down");
        let mut memory = memory(&directory);
        memory.prepare();
        assert!(!memory.warned);
        assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
    }

    #[test]
    fn where_nothing_can_be_written_that_is_known_at_the_start_and_life_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let in_the_way = dir.path().join("file");
        fs::write(&in_the_way, "").unwrap();
        let mut memory = memory(&in_the_way);
        memory.prepare();
        assert!(memory.warned);
        assert_eq!(memory.recall(moment(0), PLAUSIBLE_FROM), None);
        memory.note(&sure(Frequency::from_ppm(0.1), 0));
        memory.keep();
        assert!(memory.warned);
    }
}
