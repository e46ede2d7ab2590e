//! Asking a node at its control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::VERSION;
use super::place::Role;
use crate::cli::Failure;

/// Which node to ask.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Whom {
    /// The control socket of the server or client to ask [default: this user's server, else client, on this
    /// machine]
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
}

/// A connection to a node.
#[derive(Debug)]
pub struct Line {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

impl Whom {
    /// Connects to the node.
    ///
    /// # Errors
    /// When there is none, or it does not let this user in.
    pub fn connect(&self) -> Result<Line, Failure> {
        self.connect_within(PATIENCE)
    }

    /// The same, for somebody who does not wait longer than `patience` for any answer.
    ///
    /// # Errors
    /// When there is none, or it does not let this user in.
    pub fn connect_within(&self, patience: Duration) -> Result<Line, Failure> {
        let connect = |path: &Path| Line::connect(path, patience);
        match &self.control {
            Some(path) => connect(path).map_err(|error| cannot_ask(path, &error)),
            None => {
                let found =
                    Role::BOTH.map(Role::default_path).into_iter().find_map(|path| match connect(&path) {
                        Err(error) if is_absence(&error) => None,
                        result => Some(result.map_err(|error| cannot_ask(&path, &error))),
                    });
                found.unwrap_or_else(|| {
                    Err(Failure::Runtime(
                        "no meantime server or client of this user runs here; name its socket with --control PATH"
                            .into(),
                    ))
                })
            }
        }
    }
}

impl Line {
    fn connect(path: &Path, patience: Duration) -> io::Result<Line> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Line { stream: BufReader::new(stream), path: path.to_owned() })
    }

    /// Asks one thing; `fields` go with the request.
    ///
    /// # Errors
    /// When there is no answer, or the answer is that it cannot be.
    pub fn ask(&mut self, request: &str, fields: Value) -> Result<Value, Failure> {
        let mut object = json!({ "request": request });
        if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
            object.extend(fields);
        }
        let mut answer = String::new();
        let asked = writeln!(self.stream.get_mut(), "{object}");
        let heard = asked.and_then(|()| self.stream.read_line(&mut answer));
        let path = &self.path;
        if heard.map_err(|error| cannot_ask(path, &error))? == 0 {
            return Err(Failure::Runtime(format!("the node at {} has hung up", path.display())));
        }
        let answer: Value = serde_json::from_str(&answer)
            .map_err(|_| Failure::Runtime(format!("what answers at {} is no meantime", path.display())))?;
        if let Some(error) = answer["error"].as_str() {
            return Err(Failure::Runtime(error.to_owned()));
        }
        match answer["version"].as_u64() {
            Some(version) if version == u64::from(VERSION) => Ok(answer),
            _ => Err(Failure::Runtime(format!(
                "the node at {} speaks another version of the control interface; run the same meantime",
                path.display()
            ))),
        }
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn cannot_ask(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::Runtime(match error.kind() {
        io::ErrorKind::NotFound => format!("no meantime listens at {path}: there is no such socket"),
        io::ErrorKind::ConnectionRefused => format!("no meantime listens at {path} any more"),
        io::ErrorKind::PermissionDenied => format!("the socket {path} belongs to another user"),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("the node at {path} does not answer (when it wakes up it will do what it was asked)")
        }
        _ => format!("cannot ask the node at {path}: {error}"),
    })
}

/// Nodes answer within milliseconds; one that is stopped never does.
const PATIENCE: Duration = Duration::from_secs(5);
