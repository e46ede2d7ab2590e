//! Reads a key file for a subcommand.

use std::path::Path;

use super::Failure;
use crate::store::key_file::{KeyFile, KeyFileError};

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
