//! Opens the control socket of a node: at the path that was asked for, or at the default path.

use std::io;
use std::path::{Path, PathBuf};

use super::socket::ControlSocket;
use super::socket_path::Role;
use crate::process::Account;

/// The control socket that was asked for cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve the control socket {}: {source}; choose another with --control", path.display())]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

/// Opens a node's control socket at `path`, or at the default path of this role. It will belong to `account`,
/// as which the node continues, if that is given. Several nodes may run on one machine: if another one uses
/// the default path, that is logged, and there is no socket.
///
/// # Errors
/// When it cannot be opened at `path`.
pub fn open(
    path: Option<&Path>,
    role: Role,
    account: Option<&Account>,
) -> Result<Option<ControlSocket>, OpenError> {
    match path {
        Some(path) => match bind(path, account) {
            Ok(control) => Ok(Some(control)),
            Err(source) => Err(OpenError { path: path.to_owned(), source }),
        },
        None => {
            let path = role.default_path();
            match prepare(&path, account).and_then(|()| bind(&path, account)) {
                Ok(control) => Ok(Some(control)),
                Err(error) => {
                    log::warn!(
                        "no control socket at {}: {error}; --control PATH names another",
                        path.display()
                    );
                    Ok(None)
                }
            }
        }
    }
}

fn bind(path: &Path, account: Option<&Account>) -> io::Result<ControlSocket> {
    let control = ControlSocket::bind(path)?;
    account.map_or(Ok(()), |account| account.own(path))?;
    Ok(control)
}

/// Creates the directory of a default socket, for its owner only; a directory of another user is not trusted.
/// Only root can have created root's directory: it is given to `account`, so that the node can remove its
/// socket at the end.
fn prepare(path: &Path, account: Option<&Account>) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let directory: PathBuf = path.parent().map(Path::to_owned).unwrap_or_default();
    match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(&directory)?;
    let user = nix::unistd::geteuid();
    match found.is_dir() && (user.is_root() || found.uid() == user.as_raw()) {
        true => match account {
            Some(account) => account.own(&directory),
            None if user.is_root() => std::os::unix::fs::chown(&directory, Some(0), Some(0)),
            None => Ok(()),
        },
        false => {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, "its directory belongs to another user"))
        }
    }
}
