//! A running node notices that its key file has changed, and uses the new keys.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use meantime_core::time::{Monotonic, Now, Span};
use meantime_core::{Client, Relay, Server};

use super::{KeyFile, KeyFileError};

/// A node whose keys can be replaced while it runs.
pub trait Rekey {
    /// Replaces the node's keys by those of the file.
    ///
    /// # Errors
    /// When the file belongs to another node.
    fn rekey(&mut self, now: Now, file: &KeyFile) -> Result<(), KeyFileError>;

    /// The client of a relay, whose keys are in a file of their own; `None`: the node is no relay.
    fn upstream(&mut self) -> Option<&mut Client> {
        None
    }
}

impl Rekey for Server {
    fn rekey(&mut self, _now: Now, file: &KeyFile) -> Result<(), KeyFileError> {
        self.set_keys(file.master_keys()?);
        Ok(())
    }
}

impl Rekey for Client {
    fn rekey(&mut self, now: Now, file: &KeyFile) -> Result<(), KeyFileError> {
        self.set_keys(now, file.node_keys(&self.name())?);
        Ok(())
    }
}

/// The keys by which a relay knows its own clients; those of its client are in a file of their own.
impl Rekey for Relay {
    fn rekey(&mut self, now: Now, file: &KeyFile) -> Result<(), KeyFileError> {
        self.server_mut().rekey(now, file)
    }

    fn upstream(&mut self) -> Option<&mut Client> {
        Some(self.client_mut())
    }
}

/// Checks every few seconds whether a key file has changed. A file that cannot be used is logged once and
/// changes nothing.
#[derive(Debug)]
pub struct KeyFileWatcher {
    path: PathBuf,
    next_check: Option<Monotonic>,
    seen: Option<Version>,
}

/// What differs between two versions of a file: inode, length, time of change in seconds and nanoseconds;
/// `None`: there is no file.
type Version = Option<(u64, u64, i64, i64)>;

impl KeyFileWatcher {
    /// Watches a file that was read a moment ago.
    pub fn new(path: PathBuf) -> KeyFileWatcher {
        KeyFileWatcher { path, next_check: None, seen: None }
    }

    /// Checks the file if a check is due, and gives the node the new keys if it has changed.
    pub fn check(&mut self, node: &mut impl Rekey, now: Now) {
        if self.next_check.is_some_and(|next| now.mono < next) {
            return;
        }
        self.next_check = Some(now.mono + CHECK_PERIOD);
        let metadata = std::fs::metadata(&self.path).ok();
        let version = metadata.map(|data| (data.ino(), data.len(), data.ctime(), data.ctime_nsec()));
        let first = self.seen.is_none();
        if self.seen.replace(version) == Some(version) {
            return;
        }
        let path = self.path.display();
        match KeyFile::read(&self.path).and_then(|file| node.rekey(now, &file).map(|()| file)) {
            Ok(_) if first => {}
            Ok(file) => {
                let ids: Vec<String> = file.keys().iter().map(|(id, _)| id.to_string()).collect();
                log::info!("the key file {path} has changed: keys {} now", ids.join(", "));
            }
            Err(error) if first => log::warn!(
                "this process can no longer read the key file {path}, so that it will not notice a change: {error}"
            ),
            Err(error) => log::warn!("the key file {path} has changed, and the old keys stay: {error}"),
        }
    }
}

/// A check takes microseconds, and no operator waits for it.
const CHECK_PERIOD: Span = Span::from_secs(2);
