//! One `meantime` a machine steers the clock: whoever holds the lock file.
//!
//! The lock is the kernel's (flock(2)) and goes with the process, whatever it dies of. What stands in the
//! file, the process's number, is there while the clock is being steered; found in a file that nobody has
//! locked it means that the last one had no chance to leave the clock as it should.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

/// The lock, for as long as this lives.
#[derive(Debug)]
pub struct ClockLock {
    file: Flock<File>,
    left_behind: bool,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another one has it.
    #[error("another meantime steers this machine's clock (it holds {0}); only one can")]
    Taken(PathBuf),
    /// There is no place for a lock file.
    #[error("cannot write the lock file {0}: {1}; is there another place, in TMPDIR?")]
    Unwritable(PathBuf, io::Error),
}

impl ClockLock {
    /// Takes the lock, at the first of these places that can be had.
    ///
    /// # Errors
    /// When somebody else has it, or there is no place.
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

    /// Whether the last holder died while it steered the clock.
    pub fn left_behind(&self) -> bool {
        self.left_behind
    }

    fn lock(file: File, path: &Path) -> Result<ClockLock, LockError> {
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
            Errno::EWOULDBLOCK => LockError::Taken(path.to_owned()),
            error => LockError::Unwritable(path.to_owned(), error.into()),
        })?;
        let left_behind = file.metadata().is_ok_and(|file| file.len() > 0);
        let lock = ClockLock { file, left_behind };
        // A file that can only be read is locked as well; what stands in it is a convenience.
        let _ = lock.file.set_len(0).and_then(|()| writeln!(&*lock.file, "{}", std::process::id()));
        Ok(lock)
    }
}

impl Drop for ClockLock {
    fn drop(&mut self) {
        // As above. The file stays: whoever removes it could remove another's.
        let _ = self.file.set_len(0);
    }
}

/// Where the lock file lives: for all users in /run, else where this user may write.
pub fn places() -> Vec<PathBuf> {
    let own = ["XDG_RUNTIME_DIR", "TMPDIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let directories = [PathBuf::from("/run")].into_iter().chain(own).chain([std::env::temp_dir()]);
    directories.map(|directory| directory.join(FILE)).collect()
}

/// Opens it for writing, or if somebody else's for reading, which is enough to lock it. Never through a link
/// that somebody may have put there.
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
    fn only_one_can_have_it_and_it_is_free_again_after_that() {
        let dir = tempfile::tempdir().unwrap();
        let places = [dir.path().join("lock")];
        let first = ClockLock::take(&places).unwrap();
        assert!(!first.left_behind());
        assert!(matches!(ClockLock::take(&places), Err(LockError::Taken(_))));
        drop(first);
        assert!(!ClockLock::take(&places).unwrap().left_behind());
    }

    #[test]
    fn one_that_died_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, "77\n").unwrap();
        assert!(ClockLock::take(&[path]).unwrap().left_behind());
    }

    #[test]
    fn where_one_place_cannot_be_had_the_next_one_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing").join("lock");
        assert!(ClockLock::take(&[missing.clone(), dir.path().join("lock")]).is_ok());
        assert!(matches!(ClockLock::take(&[missing]), Err(LockError::Unwritable(..))));
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("lock"));
        std::fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(ClockLock::take(&[link]).is_err());
        assert_eq!(std::fs::read_to_string(target).unwrap(), "precious");
    }
}
