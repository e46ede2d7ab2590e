//! The state file keeps a node's frequency and time over restarts; [`format`](mod@format) describes its text.
//!
//! The file is replaced as a whole, so that a crash never leaves half of one. It holds only for the
//! oscillator that the frequency was learned on: this machine's, with its present clock source and simulated
//! drift. What an old figure is worth, [`meantime_core::saved_state`] decides. The time holds only for the
//! machine's boot: if all processes of a cluster restart, the cluster continues from its own time instead of
//! from wall clocks that nothing has set for months. No failure of the file ends a node: it is logged once.

pub mod format;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::clock::{self, ClockSample, HostRaw, MIN_SUSPENSION};
use crate::report::ClockSnapshot;
use format::{MAGIC, ReadTime, StateFileOwner, hash, recall, serialize};
use meantime_core::PlausibleTimes;
use meantime_core::saved_state::{Mark, Recalled, SavedState};
use meantime_core::time::{Frequency, Raw, Span, Timestamp};
use meantime_core::wire::Name;

/// A node's state file.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    owner: StateFileOwner,
    /// How much faster than the machine's oscillator the node's is simulated to run.
    drift: Frequency,
    /// How long the machine had slept since its boot when a reading was last noted.
    slept: Span,
    /// The newest figures, not written yet.
    newest: Option<SavedState>,
    /// The figures that were written last.
    written: Option<SavedState>,
    /// Whether a failure was logged.
    warned: bool,
}

impl StateFile {
    /// The state file of the node `name` in this directory; the node's oscillator is the machine's with this
    /// simulated drift.
    pub fn new(directory: &Path, name: &Name, drift: Frequency) -> StateFile {
        let owner = StateFileOwner {
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
        let slept = clock::total_suspension();
        StateFile { path, owner, drift, slept, newest: None, written: None, warned: false }
    }

    /// Makes the directory and tries to write in it. A failure is logged now, not when a figure is lost.
    pub fn prepare(&mut self) {
        let directory = directory_of(&self.path).display();
        let was_there = directory_of(&self.path).exists();
        match probe(&self.path) {
            Ok(()) if was_there => {}
            Ok(()) => log::info!("the state directory {directory} did not exist; it was made"),
            Err(error) => {
                self.warned = true;
                log::warn!(
                    "cannot write in the state directory {directory}: {error}; frequency and time will be lost at a restart"
                );
            }
        }
    }

    /// The figures of an earlier run. `now`: the node's clocks before any correction, so that its oscillator
    /// shows the machine's wall clock. A file that cannot be used is logged.
    pub fn load(&mut self, now: ClockSample, plausible: PlausibleTimes) -> Option<Recalled> {
        let path = self.path.display();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if self.warned || error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                log::warn!(
                    "cannot read the state file {path}: {error}; frequency and time will be learned anew"
                );
                return None;
            }
        };
        let wall_clock = Timestamp::from_nanos(now.now.raw.as_nanos());
        let now = ReadTime { wall_clock, mark: self.mark(now.host), plausible };
        match recall(&text, &self.owner, now) {
            Ok(recalled) => {
                log::info!("the frequency is {:+.3} ppm, from {path}", recalled.frequency.ppm());
                Some(recalled)
            }
            Err(error) => {
                log::warn!(
                    "the state file {path} is not used: {error}; frequency and time will be learned anew"
                );
                None
            }
        }
    }

    /// Notes a reading of the clock.
    pub fn note(&mut self, at: &ClockSnapshot) {
        let before = std::mem::replace(&mut self.slept, clock::total_suspension());
        // If the machine has slept meanwhile, it is unknown whether that was before the reading or after it.
        if (self.slept - before).abs() < MIN_SUSPENSION
            && let Some(known) = SavedState::of(&at.reading, self.mark(at.host))
        {
            self.newest = Some(known);
        }
    }

    /// Writes the newest figures if the last write is long ago, or the time has been set, or a manual time
    /// adjustment announced, since.
    pub fn write_if_due(&mut self) {
        let is_due = |newest: &SavedState| self.written.is_none_or(|written| newest.replaces(&written));
        if self.newest.as_ref().is_some_and(is_due) {
            self.write();
        }
    }

    /// Writes the newest figures, if there are any.
    pub fn write(&mut self) {
        let Some(newest) = self.newest.take() else { return };
        // Also if the write fails, so that a full disk is not tried every second.
        self.written = Some(newest);
        if let Err(error) = replace(&self.path, &serialize(&self.owner, &newest))
            && !self.warned
        {
            self.warned = true;
            let path = self.path.display();
            log::warn!(
                "cannot write the state file {path}: {error}; frequency and time will be lost at a restart"
            );
        }
    }

    /// The moment at which the host's oscillator reads `host`, on the node's own oscillator.
    fn mark(&self, host: HostRaw) -> Mark {
        let host = Span::from_nanos(host.as_nanos());
        Mark { oscillator: Raw::from_nanos((host + self.drift.over(host)).as_nanos()), slept: self.slept }
    }
}

/// Tries to write beside `path`, in its directory, which is made if it does not exist.
fn probe(path: &Path) -> io::Result<()> {
    fs::create_dir_all(directory_of(path))?;
    let temporary = temporary_of(path);
    let written = fs::write(&temporary, MAGIC);
    // On a full disk a file can be made, but not written.
    let removed = fs::remove_file(&temporary);
    written.and(removed)
}

/// Replaces the whole file, or leaves it as it is.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let directory = directory_of(path);
    fs::create_dir_all(directory)?;
    let temporary = temporary_of(path);
    let result = File::create(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // The rest of it is useless; if it cannot be removed either, the reported error is the cause.
        let _ = fs::remove_file(&temporary);
        return result;
    }
    // The new name is on the disk only when the directory is.
    File::open(directory)?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn temporary_of(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.tmp", std::process::id()))
}

/// The file's name. A node's name may contain any character that can be printed.
fn file_name(name: &Name) -> String {
    let harmless = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = name.as_str().chars().map(harmless).collect();
    format!("{}.memory", if name.is_empty() { "client" } else { &name })
}

/// The boot of this machine and the time namespace of this process, hashed; `None` where the boot is unknown.
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
    use crate::udp::TimestampSource;
    use meantime_core::ClockReading;
    use meantime_core::time::{Monotonic, Raw, Span};
    use meantime_core::wire::{ClientState, ClusterId, ManualAdjustment};

    fn state_file(directory: &Path) -> StateFile {
        StateFile::new(directory, &Name::new("turbine 7/a"), Frequency::ZERO)
    }

    /// The observation of a node with this frequency error.
    fn observed(error: Frequency, at_s: i64) -> ClockSnapshot {
        ClockSnapshot {
            host: HostRaw::from_nanos(Span::from_secs(at_s).as_nanos()),
            reading: ClockReading {
                cluster: ClusterId(7),
                time: Timestamp::from_nanos(1_755_793_812_123_456_789) + Span::from_secs(at_s),
                manual_adjustment: ManualAdjustment::NONE,
                state: ClientState::Synchronized,
                error: Some(Span::from_nanos(250)),
                bound: Some(Span::from_micros(110)),
                frequency: Frequency::from_ppm(1.5),
                frequency_error: Some(error),
            },
            timestamps: TimestampSource::Kernel,
            system: None,
        }
    }

    /// The clocks of a machine whose oscillator reads so much, and whose wall clock shows the year 2033.
    fn moment(at_s: i64) -> ClockSample {
        let (mono, raw) = (Monotonic::from_nanos(0), Raw::from_nanos(2_000_000_000_000_000_000));
        ClockSample {
            host: HostRaw::from_nanos(Span::from_secs(at_s).as_nanos()),
            now: meantime_core::time::Now { mono, raw },
        }
    }

    #[test]
    fn a_run_starts_with_the_figures_of_the_run_before() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("deep").join("down");
        let mut first = state_file(&directory);
        assert_eq!(first.load(moment(0), PlausibleTimes::default()), None);
        let left = observed(Frequency::from_ppm(0.1), 0);
        first.note(&left);
        first.write();
        let found = state_file(&directory).load(moment(100), PlausibleTimes::default()).unwrap();
        assert!((found.frequency.ppm() - 1.5).abs() < 1e-6 && found.error.ppm() < 0.2, "{found:?}");
        let gone_on = left.reading.time + Span::from_secs(100) + Span::from_micros(150);
        // The time that the machine has slept is the difference of two clocks, read one after the other.
        let apart = found.time.unwrap() - gone_on;
        assert!(apart.abs() < Span::from_micros(100), "{apart}");
        let files: Vec<_> = fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, ["turbine_7_a.memory"]);
    }

    #[test]
    fn only_a_settled_frequency_is_written_at_most_every_ten_minutes() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = state_file(dir.path());
        let mut is_written = |error, at_s| {
            let _ = fs::remove_file(&file.path);
            file.note(&observed(Frequency::from_ppm(error), at_s));
            file.write_if_due();
            file.path.exists()
        };
        assert!(!is_written(2.0, 0));
        assert!(is_written(0.5, 5));
        assert!(!is_written(0.5, 600) && is_written(0.5, 605));
    }

    #[test]
    fn after_a_manual_time_adjustment_the_file_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = state_file(dir.path());
        let mut is_written = |at_s, ahead| {
            let _ = fs::remove_file(&file.path);
            let mut at = observed(Frequency::from_ppm(0.1), at_s);
            at.reading.time += Span::from_secs(ahead);
            file.note(&at);
            file.write_if_due();
            file.path.exists()
        };
        assert!(is_written(0, 0) && !is_written(5, 0));
        assert!(is_written(10, 3_600) && !is_written(15, 3_600));
        assert!(is_written(20, -60));
    }

    #[test]
    fn an_announced_manual_time_adjustment_is_written_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = state_file(dir.path());
        let mut at = observed(Frequency::from_ppm(0.1), 0);
        file.note(&at);
        file.write_if_due();
        let start = at.reading.time + Span::from_secs(3_600);
        let (before, amount) = (Span::ZERO, Span::from_secs(60));
        let adjustment =
            ManualAdjustment { cluster: ClusterId(7), number: 1, before, amount, start, step: true };
        at.reading.manual_adjustment = adjustment;
        file.note(&at);
        file.write_if_due();
        let found = state_file(dir.path()).load(moment(5), PlausibleTimes::default()).unwrap();
        assert_eq!(found.manual_adjustment, adjustment);
    }

    #[test]
    fn a_missing_directory_is_made_and_stays_empty() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("deep").join("down");
        let mut file = state_file(&directory);
        file.prepare();
        assert!(!file.warned);
        assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
    }

    #[test]
    fn an_unwritable_directory_is_noticed_at_the_start_and_does_not_end_the_node() {
        let dir = tempfile::tempdir().unwrap();
        let in_the_way = dir.path().join("file");
        fs::write(&in_the_way, "").unwrap();
        let mut file = state_file(&in_the_way);
        file.prepare();
        assert!(file.warned);
        assert_eq!(file.load(moment(0), PlausibleTimes::default()), None);
        file.note(&observed(Frequency::from_ppm(0.1), 0));
        file.write();
        assert!(file.warned);
    }
}
