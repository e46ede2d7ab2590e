//! The node's side of the control interface.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::VERSION;
use super::answer::Subject;
use super::journal::Journal;
use super::place::Role;
use crate::cli::Failure;
use crate::cli::output::{Record, Tell};
use crate::net::{Control, Observation};
use crate::process::Account;
use crate::time::Now;

/// Answers what is asked at a node's control socket.
#[derive(Debug, Default)]
pub struct Desk {
    journal: Journal,
}

impl Desk {
    /// Takes note of something that happened.
    pub fn note(&mut self, at: &Observation, what: &(impl Tell + ?Sized)) {
        self.journal.note(at, what);
    }

    /// The answer to a request.
    pub fn answer<N: Subject>(&self, node: &mut N, now: Now, at: &Observation, request: &str) -> String {
        let Ok(request) = serde_json::from_str::<Value>(request) else {
            return refusal("a request is a JSON object on one line, as in {\"request\":\"status\"}");
        };
        if let Some(done) = node.command(now, &request) {
            return match done {
                Ok(mut answer) => {
                    answer["version"] = VERSION.into();
                    answer.to_string()
                }
                Err(why) => refusal(&why),
            };
        }
        match request["request"].as_str() {
            Some("status") => {
                let mut answer = Record::new("status", at);
                answer.put("version", VERSION);
                answer.put("newest_event", self.journal.newest());
                node.status(now, &mut answer);
                answer.to_string()
            }
            Some("events") => {
                let events = self.journal.since(request["since"].as_u64().unwrap_or(0));
                json!({ "version": VERSION, "newest_event": self.journal.newest(), "events": events })
                    .to_string()
            }
            Some(other) => refusal(&format!("nothing is known of a request '{other}'")),
            None => refusal("the request has no field 'request' with a string in it"),
        }
    }
}

fn refusal(why: &str) -> String {
    json!({ "version": VERSION, "error": why }).to_string()
}

/// Opens a node's control socket: at `path`, or at the default place. There, somebody else's is left alone, with a line in the
/// log: several nodes may run on one machine. It belongs to the account that the node goes on as, if that is another.
///
/// # Errors
/// When it cannot be had where it was asked for.
pub fn open(path: Option<&Path>, role: Role, account: Option<&Account>) -> Result<Option<Control>, Failure> {
    match path {
        Some(path) => match bind(path, account) {
            Ok(control) => Ok(Some(control)),
            Err(error) => Err(Failure::Runtime(format!(
                "cannot serve the control socket {}: {error}; choose another with --control",
                path.display()
            ))),
        },
        None => {
            let path = role.default_path();
            match prepare(&path, account).and_then(|()| bind(&path, account)) {
                Ok(control) => Ok(Some(control)),
                Err(error) => {
                    log::debug!(
                        "no control socket at {}: {error}; --control PATH names another",
                        path.display()
                    );
                    Ok(None)
                }
            }
        }
    }
}

fn bind(path: &Path, account: Option<&Account>) -> io::Result<Control> {
    let control = Control::bind(path)?;
    account.map_or(Ok(()), |account| account.own(path))?;
    Ok(control)
}

/// Makes the directory of a default socket, for its owner alone; one that is somebody else's is not trusted. Only root can have
/// made root's: that becomes whose the node is, so that it can be tidied up.
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
            Err(io::Error::new(io::ErrorKind::PermissionDenied, "its directory belongs to somebody else"))
        }
    }
}
