//! Reads key files for a subcommand.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::store::key_file::{KeyFile, KeyFileError};
use meantime_core::NodeKeys;
use meantime_core::roles::rank::Rank;
use meantime_core::wire::Name;

/// The keys in this file.
///
/// # Errors
/// When the file cannot be used.
pub(super) fn read_key_file(path: &Path) -> Result<KeyFile, Failure> {
    KeyFile::read(path).map_err(|error| unusable(path, &error))
}

/// The failure for a key file that cannot be used.
pub(super) fn unusable(path: &Path, error: &KeyFileError) -> Failure {
    Failure::Runtime(format!("cannot use the key file {}: {error}", path.display()))
}

/// The key files of a client, or of the client that is a part of a server, as they were read: none, one for
/// all its servers, or one for each.
pub(super) struct ClientKeyFiles(Vec<(PathBuf, KeyFile)>);

impl ClientKeyFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub(super) fn read(paths: &[PathBuf]) -> Result<ClientKeyFiles, Failure> {
        let files = paths.iter().map(|path| Ok((path.clone(), read_key_file(path)?)));
        Ok(ClientKeyFiles(files.collect::<Result<_, Failure>>()?))
    }

    /// One file for all servers, if there is one.
    pub(super) fn of_one(file: Option<&(PathBuf, KeyFile)>) -> ClientKeyFiles {
        ClientKeyFiles(file.cloned().into_iter().collect())
    }

    /// Puts a file at the place of the server that the client is a part of: of several files there is one for
    /// each of the others.
    pub(super) fn fill(&mut self, own: Rank, path: &Path, file: &KeyFile) {
        if self.0.len() > 1 {
            self.0.insert(own.place().into(), (path.to_owned(), file.clone()));
        }
    }

    /// Where they are.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.0.iter().map(|(path, _)| path.clone()).collect()
    }

    /// The client that the first of them belongs to which belongs to one; `None`: all are servers' files.
    pub(super) fn owner(&self) -> Option<Name> {
        self.0.iter().find_map(|(_, file)| file.owner())
    }

    /// The keys of the client of this name: of each file a ring.
    ///
    /// # Errors
    /// When a file belongs to another client.
    pub(super) fn keys(&self, name: &Name) -> Result<Vec<NodeKeys>, Failure> {
        let keys =
            |(path, file): &(PathBuf, KeyFile)| file.node_keys(name).map_err(|error| unusable(path, &error));
        self.0.iter().map(keys).collect()
    }
}

/// Checks that an option for key files was given once, for all servers, or once for each of so many.
///
/// # Errors
/// When it was not.
pub(super) fn check_count(option: &str, given: &[PathBuf], servers: u8) -> Result<(), Failure> {
    match given.len() {
        0 | 1 => Ok(()),
        files if files == usize::from(servers) => Ok(()),
        files => Err(Failure::Usage(format!(
            "{option} is given {files} times for {servers} servers: give it once for all of them, or once for each in \
             the order of the list"
        ))),
    }
}
