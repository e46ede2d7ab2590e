//! A running node notices that a key file has changed, and uses the new keys.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use meantime_core::time::{Monotonic, Now, Span};
use meantime_core::{Client, Relay, Replica, Server};

use super::{KeyFile, KeyFileError};

/// A node whose keys can be replaced while it runs.
pub trait Rekey {
    /// Replaces the node's keys by those of the files: of a server one; of a client one for all its servers,
    /// or one for each in the order of its list.
    ///
    /// # Errors
    /// When a file belongs to another node.
    fn rekey(&mut self, now: Now, files: &[KeyFile]) -> Result<(), KeyFileError>;

    /// The client that is a part of a server; `None`: the node is a server alone, or a client.
    fn client_part(&mut self) -> Option<&mut Client> {
        None
    }
}

impl Rekey for Server {
    fn rekey(&mut self, _now: Now, files: &[KeyFile]) -> Result<(), KeyFileError> {
        if let Some(file) = files.first() {
            self.set_keys(file.master_keys()?);
        }
        Ok(())
    }
}

impl Rekey for Client {
    fn rekey(&mut self, now: Now, files: &[KeyFile]) -> Result<(), KeyFileError> {
        let name = self.name();
        let keys = files.iter().map(|file| file.node_keys(&name)).collect::<Result<Vec<_>, _>>()?;
        self.set_keys(now, keys);
        Ok(())
    }
}

/// The keys by which a relay knows its own clients; those of its client are in files of their own.
impl Rekey for Relay {
    fn rekey(&mut self, now: Now, files: &[KeyFile]) -> Result<(), KeyFileError> {
        self.server_mut().rekey(now, files)
    }

    fn client_part(&mut self) -> Option<&mut Client> {
        Some(self.client_mut())
    }
}

/// The keys by which a server of several knows its clients and the other servers. Its own keys at those are
/// derived from the same file, or are in files of their own.
impl Rekey for Replica {
    fn rekey(&mut self, now: Now, files: &[KeyFile]) -> Result<(), KeyFileError> {
        self.server_mut().rekey(now, files)
    }

    fn client_part(&mut self) -> Option<&mut Client> {
        Some(self.client_mut())
    }
}

/// Checks every few seconds whether one of a node's key files has changed. A file that cannot be used is
/// logged once, and changes nothing.
#[derive(Debug)]
pub struct KeyFileWatcher {
    files: Vec<WatchedFile>,
    next_check: Option<Monotonic>,
}

#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    /// `None`: it was not looked at yet.
    seen: Option<Version>,
}

/// What differs between two versions of a file: inode, length, time of change in seconds and nanoseconds;
/// `None`: there is no file.
type Version = Option<(u64, u64, i64, i64)>;

impl KeyFileWatcher {
    /// Watches files that were read a moment ago.
    pub fn new(paths: Vec<PathBuf>) -> KeyFileWatcher {
        let files = paths.into_iter().map(|path| WatchedFile { path, seen: None }).collect();
        KeyFileWatcher { files, next_check: None }
    }

    /// Checks the files if a check is due, and gives the node the new keys if one has changed.
    pub fn check(&mut self, node: &mut impl Rekey, now: Now) {
        if self.files.is_empty() || self.next_check.is_some_and(|next| now.mono < next) {
            return;
        }
        self.next_check = Some(now.mono + CHECK_PERIOD);
        let first = self.files.iter().all(|file| file.seen.is_none());
        let changed: Vec<PathBuf> =
            self.files.iter_mut().filter_map(|file| file.has_changed().then(|| file.path.clone())).collect();
        let Some(changed_path) = changed.first() else { return };
        let path = changed_path.display();
        let read = self.files.iter().map(|file| KeyFile::read(&file.path)).collect::<Result<Vec<_>, _>>();
        match read.and_then(|files| node.rekey(now, &files).map(|()| files)) {
            Ok(_) if first => {}
            Ok(files) => {
                for (file, watched) in files.iter().zip(&self.files) {
                    if changed.contains(&watched.path) {
                        let ids: Vec<String> = file.keys().iter().map(|(id, _)| id.to_string()).collect();
                        let path = watched.path.display();
                        log::info!("the key file {path} has changed: keys {} now", ids.join(", "));
                    }
                }
            }
            Err(error) if first => log::warn!(
                "this process can no longer read the key file {path}, so that it will not notice a change: {error}"
            ),
            Err(error) => log::warn!("the key file {path} has changed, and the old keys stay: {error}"),
        }
    }
}

impl WatchedFile {
    /// Whether it is another version than before.
    fn has_changed(&mut self) -> bool {
        let metadata = std::fs::metadata(&self.path).ok();
        let version = metadata.map(|data| (data.ino(), data.len(), data.ctime(), data.ctime_nsec()));
        self.seen.replace(version) != Some(version)
    }
}

/// A check takes microseconds, and no operator waits for it.
const CHECK_PERIOD: Span = Span::from_secs(2);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use meantime_core::wire::KeyId;

    /// Remembers the numbers of the keys that it was given.
    #[derive(Default)]
    struct Keys(Vec<Vec<KeyId>>);

    impl Rekey for Keys {
        fn rekey(&mut self, _now: Now, files: &[KeyFile]) -> Result<(), KeyFileError> {
            self.0 = files.iter().map(|file| file.keys().iter().map(|(id, _)| *id).collect()).collect();
            Ok(())
        }
    }

    fn write(path: &Path, keys: &[u16]) {
        let keys = keys.iter().map(|id| (KeyId(*id), [7; 32])).collect();
        std::fs::write(path, KeyFile::Masters(keys).text()).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn a_change_of_one_of_several_files_gives_the_node_all_its_keys_anew() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["one", "two"].map(|name| directory.path().join(name));
        paths.iter().for_each(|path| write(path, &[1]));
        let (mut watcher, mut node) = (KeyFileWatcher::new(paths.to_vec()), Keys::default());
        let mut now = Now::default();
        let mut keys_after = |node: &mut Keys| {
            watcher.check(node, now);
            now.mono += CHECK_PERIOD;
            std::mem::take(&mut node.0)
        };
        assert_eq!(keys_after(&mut node), [[KeyId(1)], [KeyId(1)]]);
        assert!(keys_after(&mut node).is_empty(), "nothing has changed");
        write(&paths[1], &[1, 2]);
        assert_eq!(keys_after(&mut node), [vec![KeyId(1)], vec![KeyId(1), KeyId(2)]]);
        std::fs::remove_file(&paths[0]).unwrap();
        write(&paths[1], &[3]);
        assert!(keys_after(&mut node).is_empty(), "the old keys stay while one file is missing");
    }
}
