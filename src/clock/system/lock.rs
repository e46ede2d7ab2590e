//! Only one `meantime` on a machine steers the clock: the one that holds the lock file.
//!
//! The lock is the kernel's (flock(2)) and ends with the process, however that ends. The file contains the
//! process's number while the clock is steered; a number in a file that is not locked means that the last
//! process was killed before it could release the clock.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

/// The lock, until this is dropped.
#[derive(Debug)]
pub struct ClockLock {
    file: Flock<File>,
    predecessor: Predecessor,
}

/// How the last holder of the lock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// There was none, or it has released the clock.
    NoneOrEnded,
    /// It was killed while it steered the clock, and could not call it unsynchronized.
    Killed,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another meantime steers this machine's clock (it holds {0}); only one can")]
    Taken(PathBuf),
    /// The lock file can be written nowhere.
    #[error("cannot write the lock file {0}: {1}; is there another place, in TMPDIR?")]
    Unwritable(PathBuf, io::Error),
}

impl ClockLock {
    /// Takes the lock, at the first of these places that can be opened.
    ///
    /// # Errors
    /// When another process has it, or no place can be written.
    pub fn take(places: &[PathBuf]) -> Result<ClockLock, LockError> {
        let mut last = None;
        for path in places {
            match open(path) {
                Ok(file) => return ClockLock::lock(file, path),
                Err(error) => last = Some((path.clone(), error)),
            }
        }
        let (path, error) = last.unwrap_or_else(|| (PathBuf::new(), io::ErrorKind::NotFound.into()));
        Err(LockError::Unwritable(path, error))
    }

    /// How the last holder ended.
    pub fn predecessor(&self) -> Predecessor {
        self.predecessor
    }

    fn lock(file: File, path: &Path) -> Result<ClockLock, LockError> {
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
            Errno::EWOULDBLOCK => LockError::Taken(path.to_owned()),
            error => LockError::Unwritable(path.to_owned(), error.into()),
        })?;
        let killed = file.metadata().is_ok_and(|file| file.len() > 0);
        let predecessor = if killed { Predecessor::Killed } else { Predecessor::NoneOrEnded };
        let lock = ClockLock { file, predecessor };
        // A file that can only be read is locked as well; the number in it is a convenience.
        let _ = lock.file.set_len(0).and_then(|()| writeln!(&*lock.file, "{}", std::process::id()));
        Ok(lock)
    }
}

impl Drop for ClockLock {
    fn drop(&mut self) {
        // As above. The file stays: removing it could remove the one of another process.
        let _ = self.file.set_len(0);
    }
}

/// Whether a process holds the lock at one of these places. Makes no file.
pub fn is_held(places: &[PathBuf]) -> bool {
    let held = |path: &PathBuf| {
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path).ok();
        let locked = file.map(|file| Flock::lock(file, FlockArg::LockSharedNonblock));
        matches!(locked, Some(Err((_, Errno::EWOULDBLOCK))))
    };
    places.iter().any(held)
}

/// Where the lock file may be: for all users in /run, else where this user may write.
pub fn places() -> Vec<PathBuf> {
    let own = ["XDG_RUNTIME_DIR", "TMPDIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let directories = [PathBuf::from("/run")].into_iter().chain(own).chain([std::env::temp_dir()]);
    directories.map(|directory| directory.join(FILE)).collect()
}

/// Opens the file for writing, or if another user owns it for reading, which is enough to lock it. Symbolic
/// links are not followed: an attacker may have made one.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW.bits();
    let mut options = OpenOptions::new();
    let writable =
        options.read(true).write(true).create(true).truncate(false).mode(0o644).custom_flags(flags);
    writable.open(path).or_else(|_| OpenOptions::new().read(true).custom_flags(flags).open(path))
}

const FILE: &str = "meantime-clock.lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_process_has_the_lock_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let places = [dir.path().join("lock")];
        let first = ClockLock::take(&places).unwrap();
        assert_eq!(first.predecessor(), Predecessor::NoneOrEnded);
        assert!(matches!(ClockLock::take(&places), Err(LockError::Taken(_))));
        assert!(is_held(&places));
        drop(first);
        assert!(!is_held(&places));
        assert_eq!(ClockLock::take(&places).unwrap().predecessor(), Predecessor::NoneOrEnded);
    }

    #[test]
    fn a_killed_predecessor_is_detected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, "77\n").unwrap();
        assert_eq!(ClockLock::take(&[path]).unwrap().predecessor(), Predecessor::Killed);
    }

    #[test]
    fn where_one_place_cannot_be_opened_the_next_one_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing").join("lock");
        assert!(ClockLock::take(&[missing.clone(), dir.path().join("lock")]).is_ok());
        assert!(matches!(ClockLock::take(&[missing]), Err(LockError::Unwritable(..))));
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("lock"));
        std::fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(ClockLock::take(&[link]).is_err());
        assert_eq!(std::fs::read_to_string(target).unwrap(), "precious");
    }
}
