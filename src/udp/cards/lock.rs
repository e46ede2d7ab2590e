//! Marks a network card as in use, so that no node restores its settings while another one relies on them.
//!
//! The mark is a lock (flock(2)) on the card's directory in sysfs: shared by all nodes that use the card, and
//! exclusive for the process that restores its settings, while it does. So it needs no right and leaves no
//! file, it ends with its process, and it belongs to the network namespace of the card, as the card's name
//! does.

use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// The mark of a card that is in use, until this is dropped.
#[derive(Debug)]
pub struct CardLock {
    directory: Flock<File>,
}

impl CardLock {
    /// Marks the card `name`. Waits while another process restores its settings. `None`: the card cannot be
    /// marked, as where sysfs is not mounted.
    pub fn take(name: &str) -> Option<CardLock> {
        CardLock::of(&Path::new("/sys/class/net").join(name))
    }

    /// Marks the card of this directory.
    pub(super) fn of(directory: &Path) -> Option<CardLock> {
        let mut directory = File::open(directory).ok()?;
        for _ in 0..MAX_ATTEMPTS {
            match Flock::lock(directory, FlockArg::LockSharedNonblock) {
                Ok(directory) => return Some(CardLock { directory }),
                Err((file, Errno::EWOULDBLOCK)) => directory = file,
                Err(_) => return None,
            }
            thread::sleep(ATTEMPT_INTERVAL);
        }
        None
    }

    /// Whether no other process has marked the card. If so, none can until this is dropped.
    pub(super) fn exclude_others(&self) -> bool {
        self.directory.relock(FlockArg::LockExclusiveNonblock).is_ok()
    }
}

/// Restoring takes as long as the card's driver needs for it, some milliseconds. A process that keeps the
/// lock for more than a second does something else.
const MAX_ATTEMPTS: u32 = 50;
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_restored_by_the_last_process_that_uses_it() {
        let card = tempfile::tempdir().unwrap();
        let [first, second] = [(); 2].map(|()| CardLock::of(card.path()).unwrap());
        assert!(!first.exclude_others());
        drop(first);
        assert!(second.exclude_others());
        assert!(second.exclude_others(), "it has excluded the others already");
    }

    #[test]
    fn of_two_processes_that_end_together_one_restores() {
        let card = tempfile::tempdir().unwrap();
        let [first, second] = [(); 2].map(|()| CardLock::of(card.path()).unwrap());
        // Neither is dropped before the other one has tried.
        assert_eq!([&first, &second].map(CardLock::exclude_others), [false, true]);
    }

    #[test]
    fn a_card_that_is_being_restored_cannot_be_marked_until_that_is_done() {
        let card = tempfile::tempdir().unwrap();
        let restorer = CardLock::of(card.path()).unwrap();
        assert!(restorer.exclude_others());
        assert!(CardLock::of(card.path()).is_none());
        drop(restorer);
        assert!(CardLock::of(card.path()).is_some());
    }

    #[test]
    fn interfaces_have_directories_that_can_be_locked() {
        if !Path::new("/sys/class/net/lo").exists() {
            return crate::udp::not_run("there is no sysfs here");
        }
        assert!(CardLock::take("lo").is_some());
        assert!(CardLock::take("no-such-card").is_none());
    }
}
