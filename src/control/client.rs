//! A client of the control socket: it sends requests to a node and reads the responses.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::protocol::{
    ClientsChangeResponse, Envelope, EventsResponse, Request, ScheduledAdjustment, SetTime, StatusResponse,
    TakeoverResponse, VERSION,
};
use super::socket_path::Role;

/// A connection to a node.
#[derive(Debug)]
pub struct ControlClient {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

/// Why a node has not answered, or not as it should.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No node uses a default path.
    #[error("no meantime server or client of this user runs here; name its socket with --control PATH")]
    NoNode,
    /// There is no socket at the path.
    #[error("no meantime listens at {}: there is no such socket", .0.display())]
    NoSocket(PathBuf),
    /// There is a socket, but no process listens.
    #[error("no meantime listens at {} any more", .0.display())]
    NotListening(PathBuf),
    /// There is something else at the path.
    #[error("{} is no socket; --control names the socket of a node", .0.display())]
    OtherFile(PathBuf),
    /// The file system does not permit this user to connect.
    #[error("the socket {} belongs to another user", .0.display())]
    NotPermitted(PathBuf),
    /// The node has not answered in time. It may carry the request out later.
    #[error("the node at {} does not answer (it will carry out the request when it continues)", .0.display())]
    Timeout(PathBuf),
    /// Another failure of the connection.
    #[error("cannot ask the node at {}: {source}", path.display())]
    Connection {
        /// The path of the socket.
        path: PathBuf,
        /// What the system reports.
        source: io::Error,
    },
    /// The node has closed the connection.
    #[error("the node at {} has closed the connection", .0.display())]
    Closed(PathBuf),
    /// What answers does not speak this protocol.
    #[error("what answers at {} is not meantime", .0.display())]
    NotMeantime(PathBuf),
    /// The node speaks another version of the protocol.
    #[error("the node at {} speaks another version of the control interface; run the same meantime", .0.display())]
    OtherVersion(PathBuf),
    /// The response lacks a field, or a field has another type.
    #[error("cannot read the answer of the node at {}: {source}", path.display())]
    Unreadable {
        /// The path of the socket.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The node has refused the request, for this reason.
    #[error("{0}")]
    Refused(String),
}

impl ControlClient {
    /// Connects to the node at `path`; without one, to this user's server on this machine, else to its
    /// client. Each response is awaited for at most `timeout`.
    ///
    /// # Errors
    /// When there is no node, or this user may not connect to it.
    pub fn connect(path: Option<&Path>, timeout: Duration) -> Result<ControlClient, ControlError> {
        let connect = |path: &Path| ControlClient::connect_to(path, timeout);
        match path {
            Some(path) => connect(path),
            None => {
                let mut found = Role::BOTH.map(Role::default_path).into_iter().map(|path| connect(&path));
                let node = found.find(|result| !result.as_ref().is_err_and(ControlError::is_absence));
                node.unwrap_or(Err(ControlError::NoNode))
            }
        }
    }

    fn connect_to(path: &Path, timeout: Duration) -> Result<ControlClient, ControlError> {
        let connect = || {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            Ok(ControlClient { stream: BufReader::new(stream), path: path.to_owned() })
        };
        connect().map_err(|error| ControlError::of(path, error))
    }

    /// The state of the node.
    ///
    /// # Errors
    /// When there is no readable answer.
    pub fn status(&mut self) -> Result<StatusResponse, ControlError> {
        self.request(&Request::Status)
    }

    /// The state of the node as the JSON object that it has sent, with fields that this program may not know.
    ///
    /// # Errors
    /// When there is no answer of this version of the protocol.
    pub fn status_json(&mut self) -> Result<String, ControlError> {
        self.exchange(&Request::Status)
    }

    /// The events of the log after number `since`.
    ///
    /// # Errors
    /// When there is no readable answer.
    pub fn events(&mut self, since: u64) -> Result<EventsResponse, ControlError> {
        self.request(&Request::Events { since })
    }

    /// Takes the votes of clients away.
    ///
    /// # Errors
    /// When the node refuses, or there is no readable answer.
    pub fn remove(&mut self, member: &str) -> Result<ClientsChangeResponse, ControlError> {
        self.request(&Request::Remove { member: member.to_owned() })
    }

    /// Gives clients their votes back.
    ///
    /// # Errors
    /// When the node refuses, or there is no readable answer.
    pub fn pin(&mut self, member: &str) -> Result<ClientsChangeResponse, ControlError> {
        self.request(&Request::Pin { member: member.to_owned() })
    }

    /// Ends the sessions of clients, and admits them no more.
    ///
    /// # Errors
    /// When the node refuses, or there is no readable answer.
    pub fn ban(&mut self, member: &str) -> Result<ClientsChangeResponse, ControlError> {
        self.request(&Request::Ban { member: member.to_owned() })
    }

    /// Lifts a ban.
    ///
    /// # Errors
    /// When the node refuses, or there is no readable answer.
    pub fn unban(&mut self, member: &str) -> Result<ClientsChangeResponse, ControlError> {
        self.request(&Request::Unban { member: member.to_owned() })
    }

    /// Sets the time of the whole cluster.
    ///
    /// # Errors
    /// When the node refuses, or there is no readable answer.
    pub fn set_time(&mut self, request: SetTime) -> Result<ScheduledAdjustment, ControlError> {
        self.request(&Request::SetTime(request))
    }

    /// Lets the active server hand over to the server with this place in the list, name or address, or else
    /// to the best standby server.
    ///
    /// # Errors
    /// When the node refuses, or there is no readable answer.
    pub fn take_over(&mut self, server: Option<&str>) -> Result<TakeoverResponse, ControlError> {
        self.request(&Request::Takeover { server: server.map(str::to_owned) })
    }

    fn request<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ControlError> {
        let line = self.exchange(request)?;
        self.parse(&line)
    }

    fn parse<T: DeserializeOwned>(&self, line: &str) -> Result<T, ControlError> {
        let unreadable = |source| ControlError::Unreadable { path: self.path.clone(), source };
        serde_json::from_str(line).map_err(unreadable)
    }

    /// The line that answers a request, if it is no error.
    fn exchange(&mut self, request: &Request) -> Result<String, ControlError> {
        let request = serde_json::to_string(request)
            .map_err(|source| ControlError::Unreadable { path: self.path.clone(), source })?;
        let mut line = String::new();
        let sent = writeln!(self.stream.get_mut(), "{request}");
        let received = sent.and_then(|()| self.stream.read_line(&mut line));
        if received.map_err(|error| ControlError::of(&self.path, error))? == 0 {
            return Err(ControlError::Closed(self.path.clone()));
        }
        let envelope: Envelope =
            serde_json::from_str(&line).map_err(|_| ControlError::NotMeantime(self.path.clone()))?;
        match envelope {
            Envelope { error: Some(error), .. } => Err(ControlError::Refused(error)),
            Envelope { version: Some(VERSION), .. } => Ok(line),
            _ => Err(ControlError::OtherVersion(self.path.clone())),
        }
    }
}

impl ControlError {
    fn of(path: &Path, error: io::Error) -> ControlError {
        use std::os::unix::fs::FileTypeExt;
        let is_other = std::fs::metadata(path).is_ok_and(|found| !found.file_type().is_socket());
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::ConnectionRefused if is_other => ControlError::OtherFile(path),
            io::ErrorKind::NotFound => ControlError::NoSocket(path),
            io::ErrorKind::ConnectionRefused => ControlError::NotListening(path),
            io::ErrorKind::PermissionDenied => ControlError::NotPermitted(path),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ControlError::Timeout(path),
            _ => ControlError::Connection { path, source: error },
        }
    }

    /// Whether there is no node at the path.
    fn is_absence(&self) -> bool {
        matches!(self, ControlError::NoSocket(_) | ControlError::NotListening(_))
    }
}
