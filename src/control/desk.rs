//! The node's side of the control interface.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::VERSION;
use super::answer::{List, Subject};
use super::journal::Journal;
use super::place::Role;
use crate::cli::Failure;
use crate::cli::output::{Record, Tell};
use crate::control::{Answer, Ask, Control};
use crate::event_loop::ClockSnapshot;
use crate::process::Account;
use meantime_core::time::Now;

/// Answers what is asked at a node's control socket.
#[derive(Debug, Default)]
pub struct Desk {
    journal: Journal,
}

impl Desk {
    /// Takes note of something that happened.
    pub fn note(&mut self, at: &ClockSnapshot, what: &(impl Tell + ?Sized)) {
        self.journal.note(at, what);
    }

    /// The answer to a request, or a piece of one.
    pub fn answer<N: Subject>(&self, node: &mut N, now: Now, at: &ClockSnapshot, ask: Ask<'_>) -> Answer {
        let request = match ask {
            Ask::Rest(from) => return rest(node.list(now, from, PIECE)),
            Ask::Request(line) => serde_json::from_str::<Value>(line),
        };
        let Ok(request) = request else {
            return refusal("a request is a JSON object on one line, as in {\"request\":\"status\"}").into();
        };
        if let Some(done) = node.command(now, &request) {
            return match done {
                Ok(mut answer) => {
                    answer["version"] = VERSION.into();
                    answer.to_string().into()
                }
                Err(why) => refusal(&why).into(),
            };
        }
        match request["request"].as_str() {
            Some("status") => {
                let mut answer = Record::new("status", at);
                answer.put("version", VERSION);
                answer.put("newest_event", self.journal.newest());
                node.status(now, &mut answer);
                with_list(answer.to_string(), node.list(now, 0, PIECE))
            }
            Some("events") => {
                let events = self.journal.since(request["since"].as_u64().unwrap_or(0));
                json!({ "version": VERSION, "newest_event": self.journal.newest(), "events": events })
                    .to_string()
                    .into()
            }
            Some(other) => refusal(&format!("nothing is known of a request '{other}'")).into(),
            None => refusal("the request has no field 'request' with a string in it").into(),
        }
    }
}

/// A JSON object, and the beginning of the list that is its last field, if it has one.
fn with_list(object: String, list: Option<List>) -> Answer {
    let Some(list) = list else { return object.into() };
    let open = object.strip_suffix('}').unwrap_or(&object);
    let (name, items) = (list.name, list.items.join(","));
    let end = if list.rest.is_none() { "]}" } else { "" };
    Answer { text: format!("{open},\"{name}\":[{items}{end}"), rest: list.rest }
}

/// The list's next items, and its end.
fn rest(list: Option<List>) -> Answer {
    let list = list.unwrap_or_default();
    let mut text: String = list.items.iter().flat_map(|item| [",", item]).collect();
    if list.rest.is_none() {
        text.push_str("]}");
    }
    Answer { text, rest: list.rest }
}

fn refusal(why: &str) -> String {
    json!({ "version": VERSION, "error": why }).to_string()
}

/// Opens a node's control socket: at `path`, or at the default place. There, somebody else's is left alone,
/// with a line in the log: several nodes may run on one machine. It belongs to the account that the node goes
/// on as, if that is another.
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

/// Makes the directory of a default socket, for its owner alone; one that is somebody else's is not trusted.
/// Only root can have made root's: that becomes whose the node is, so that it can be tidied up.
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

/// So many members are told of in a millisecond or two.
const PIECE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str], rest: Option<usize>) -> Option<List> {
        Some(List { name: "clients", items: items.iter().map(|item| (*item).to_owned()).collect(), rest })
    }

    #[test]
    fn the_pieces_of_a_list_make_one_object() {
        let begun = with_list("{\"a\":1}".into(), list(&["1", "2"], Some(2)));
        let pieces = [begun, rest(list(&["3"], Some(3))), rest(list(&[], Some(9))), rest(list(&["4"], None))];
        assert_eq!(pieces.clone().map(|piece| piece.rest), [Some(2), Some(3), Some(9), None]);
        let whole: String = pieces.into_iter().map(|piece| piece.text).collect();
        assert_eq!(whole, "{\"a\":1,\"clients\":[1,2,3,4]}");
        assert_eq!(with_list("{\"a\":1}".into(), list(&[], None)).text, "{\"a\":1,\"clients\":[]}");
        assert_eq!(with_list("{\"a\":1}".into(), None).text, "{\"a\":1}");
    }
}
