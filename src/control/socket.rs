//! The control socket: a Unix socket at which programs ask for a node's status and give it commands.
//!
//! Each line is a request, and each gets one line in response. Only the owner of the socket's file may
//! connect. The node has other work, so everything here is bounded: the number of connections, the requests
//! of a connection before it has read the response (one), the length of a request, and what is written in a
//! turn of the loop. A connection that does not read its response, or sends no request for long, is closed.
//! A long response comes in pieces: the next one is made when the one before it is written.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::stat::{Mode, fchmod};
use slab::Slab;

use meantime_core::time::{Monotonic, Span};

/// What the socket asks of the code that responds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query<'a> {
    /// A line that a program has sent.
    Request(&'a str),
    /// The next piece of the answer before, which has named it so.
    Next(usize),
}

/// An answer, or a piece of one. What ends a line is none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponsePart {
    /// What is written.
    pub text: String,
    /// What the next piece is called; `None`: this is the last.
    pub next: Option<usize>,
}

impl From<String> for ResponsePart {
    fn from(text: String) -> ResponsePart {
        ResponsePart { text, next: None }
    }
}

/// A control socket, and who is connected to it.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The inode of this socket's file: another program may have put a file in its place.
    inode: u64,
    connections: Slab<Connection>,
    /// The key of the connection that was served last: the one after it is next.
    answered: usize,
    /// Whether a program may be waiting for a connection.
    acceptable: bool,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    readable: bool,
    writable: bool,
    /// What was read and not answered yet.
    request: Vec<u8>,
    /// What is to be written, and how much of it was.
    answer: Vec<u8>,
    written: usize,
    /// What is to be asked for when that is written.
    next: Option<usize>,
    /// When something was last read or written.
    active: Monotonic,
}

/// What has become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionState {
    Open,
    Over,
}

impl ControlSocket {
    /// A socket at this path, for its owner alone. One that a killed process has left there is replaced.
    ///
    /// # Errors
    /// When there is a living one, or something else, or the directory cannot be written.
    pub fn bind(path: &Path) -> io::Result<ControlSocket> {
        remove_stale(path)?;
        let listener = listen(path)?;
        let inode = std::fs::symlink_metadata(path)?.ino();
        let path = path.to_owned();
        Ok(ControlSocket { listener, path, inode, connections: Slab::new(), answered: 0, acceptable: true })
    }

    /// Registers the socket with the poll.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn register(&mut self, registry: &Registry) -> io::Result<()> {
        registry.register(&mut self.listener, LISTENER, Interest::READABLE)
    }

    /// Notes the readiness in an event of mio, which may belong to another source.
    pub fn note(&mut self, event: &mio::event::Event) {
        if event.token() == LISTENER {
            self.acceptable = true;
        } else if let Some(key) = event.token().0.checked_sub(FIRST_CONNECTION)
            && let Some(connection) = self.connections.get_mut(key)
        {
            connection.readable |= event.is_readable() || event.is_read_closed();
            connection.writable |= event.is_writable();
        }
    }

    /// Whether there is something to do at once.
    pub fn is_busy(&self) -> bool {
        self.acceptable || self.connections.iter().any(|(_, connection)| connection.is_busy())
    }

    /// When the next connection is to be dropped unless it stirs before.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.connections.iter().map(|(_, connection)| connection.deadline()).min()
    }

    /// Does a turn's worth of work: lets in, reads, writes, drops; and has one request answered at most, or
    /// one piece.
    pub fn serve(
        &mut self,
        registry: &Registry,
        now: Monotonic,
        answer: impl FnOnce(Query<'_>) -> ResponsePart,
    ) {
        self.accept(registry, now);
        let mut answer = Some(answer);
        let mut keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        let next = keys.partition_point(|key| *key <= self.answered);
        keys.rotate_left(next);
        for key in keys {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let waiting = answer.is_some();
            let state = connection.turn(now, &mut answer).unwrap_or(ConnectionState::Over);
            if waiting && answer.is_none() {
                self.answered = key;
            }
            if state == ConnectionState::Over || now >= connection.deadline() {
                let mut connection = self.connections.remove(key);
                // It is closed in any case.
                let _ = registry.deregister(&mut connection.stream);
            }
        }
    }

    fn accept(&mut self, registry: &Registry, now: Monotonic) {
        for _ in 0..MAX_CONNECTIONS {
            if !self.acceptable {
                return;
            }
            match self.listener.accept() {
                Ok((stream, _)) if self.connections.len() >= MAX_CONNECTIONS => drop(stream),
                Ok((mut stream, _)) => {
                    let entry = self.connections.vacant_entry();
                    let token = Token(FIRST_CONNECTION + entry.key());
                    if registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE).is_ok()
                    {
                        entry.insert(Connection::new(stream, now));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.acceptable = false,
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Connection {
    fn new(stream: UnixStream, now: Monotonic) -> Connection {
        let (request, answer) = (Vec::new(), Vec::new());
        Connection {
            stream,
            readable: true,
            writable: true,
            request,
            answer,
            written: 0,
            next: None,
            active: now,
        }
    }

    fn has_to_write(&self) -> bool {
        self.written < self.answer.len()
    }

    fn has_a_request(&self) -> bool {
        self.request.contains(&b'\n')
    }

    fn is_busy(&self) -> bool {
        match self.has_to_write() {
            true => self.writable,
            false => self.next.is_some() || self.has_a_request() || self.readable,
        }
    }

    fn deadline(&self) -> Monotonic {
        self.active + if self.has_to_write() { STALLED_FOR } else { IDLE_FOR }
    }

    fn turn(
        &mut self,
        now: Monotonic,
        answer: &mut Option<impl FnOnce(Query<'_>) -> ResponsePart>,
    ) -> io::Result<ConnectionState> {
        if let Some(next) = self.next.filter(|_| !self.has_to_write()) {
            if let Some(answer) = answer.take() {
                self.take(answer(Query::Next(next)));
            }
        } else if !self.has_to_write() {
            if !self.has_a_request() && self.read(now)? == ConnectionState::Over {
                return Ok(ConnectionState::Over);
            }
            if let Some(end) = self.request.iter().position(|byte| *byte == b'\n')
                && let Some(answer) = answer.take()
            {
                let line: Vec<u8> = self.request.drain(..=end).collect();
                self.take(answer(Query::Request(String::from_utf8_lossy(&line).trim())));
            }
        }
        self.write(now)?;
        Ok(ConnectionState::Open)
    }

    fn take(&mut self, answer: ResponsePart) {
        (self.answer, self.written, self.next) = (answer.text.into_bytes(), 0, answer.next);
        if self.next.is_none() {
            self.answer.push(b'\n');
        }
    }

    fn read(&mut self, now: Monotonic) -> io::Result<ConnectionState> {
        let mut buffer = [0; MAX_REQUEST];
        while self.readable && !self.has_a_request() {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(ConnectionState::Over),
                Ok(count) => {
                    self.request.extend_from_slice(&buffer[..count]);
                    self.active = now;
                    if self.request.len() > MAX_REQUEST {
                        return Ok(ConnectionState::Over);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ConnectionState::Open)
    }

    fn write(&mut self, now: Monotonic) -> io::Result<()> {
        let end = self.answer.len().min(self.written + WRITTEN_A_TURN);
        while self.writable && self.written < end {
            match self.stream.write(&self.answer[self.written..end]) {
                Ok(count) => {
                    self.written += count;
                    self.active = now;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if !self.has_to_write() {
            (self.answer, self.written) = (Vec::new(), 0);
        }
        Ok(())
    }
}

/// A socket at `path` that is its owner's alone from the first moment: Linux makes its file with the mode
/// that the socket has. Other systems make it with the mode that all files get, and it is changed a moment
/// later.
#[expect(clippy::disallowed_types, reason = "a socket whose mode is set before it is bound")]
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(WAITING)?;
    socket.set_nonblocking(true)?;
    Ok(UnixListener::from_std(OwnedFd::from(socket).into()))
}

/// Removes a socket on which no process listens.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another meantime listens there")),
    }
}

/// The listener's token; connections have those from [`FIRST_CONNECTION`] on.
const LISTENER: Token = Token(100);
const FIRST_CONNECTION: usize = 101;
/// More than people and programs that look after one node need.
const MAX_CONNECTIONS: usize = 16;
/// Who waits to be let in, or turned away, as all systems count it.
const WAITING: i32 = 128;
/// Longer than any request.
const MAX_REQUEST: usize = 4096;
/// So much is written in well under a millisecond.
const WRITTEN_A_TURN: usize = 1 << 18;
/// Who has not read on for so long is dropped.
const STALLED_FOR: Span = Span::from_secs(5);
/// Who has asked nothing for so long is dropped.
const IDLE_FOR: Span = Span::from_secs(120);

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream as Client;
    use std::time::Duration;

    use mio::{Events, Poll};

    use super::*;

    struct Bench {
        control: ControlSocket,
        poll: Poll,
        path: PathBuf,
        _directory: tempfile::TempDir,
    }

    fn at(seconds: i64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    impl Bench {
        fn new() -> Bench {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("control");
            let mut control = ControlSocket::bind(&path).unwrap();
            let poll = Poll::new().unwrap();
            control.register(poll.registry()).unwrap();
            Bench { control, poll, path, _directory: directory }
        }

        fn connect(&self) -> Client {
            Client::connect(&self.path).unwrap()
        }

        /// Turns until there is nothing to do; answers with the request, `times` over.
        fn turn(&mut self, now: Monotonic, times: usize) {
            for _ in 0..200 {
                let mut events = Events::with_capacity(16);
                self.poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
                events.iter().for_each(|event| self.control.note(event));
                self.control.serve(self.poll.registry(), now, |ask| match ask {
                    Query::Request("pieces") => ResponsePart { text: "a".into(), next: Some(1) },
                    Query::Request(request) => request.repeat(times).into(),
                    Query::Next(piece) => {
                        ResponsePart { text: "b".into(), next: (piece < 5).then_some(piece + 1) }
                    }
                });
                if !self.control.is_busy() && events.is_empty() {
                    return;
                }
            }
        }
    }

    fn line(client: &Client) -> String {
        let mut line = String::new();
        BufReader::new(client).read_line(&mut line).unwrap();
        line
    }

    #[test]
    fn each_line_gets_a_line() {
        let mut bench = Bench::new();
        let mut client = bench.connect();
        client.write_all(b"status\nsta").unwrap();
        bench.turn(at(0), 2);
        assert_eq!(line(&client), "statusstatus\n");
        client.write_all(b"tus\n").unwrap();
        bench.turn(at(0), 1);
        assert_eq!(line(&client), "status\n");
    }

    #[test]
    fn an_answer_in_pieces_is_one_line_and_others_are_answered_in_between() {
        let mut bench = Bench::new();
        let (mut long, mut short) = (bench.connect(), bench.connect());
        long.write_all(b"pieces\npieces\n").unwrap();
        short.write_all(b"x\n").unwrap();
        bench.turn(at(0), 1);
        let mut lines = BufReader::new(&long).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "abbbbb");
        assert_eq!(lines.next().unwrap().unwrap(), "abbbbb");
        assert_eq!(line(&short), "x\n");
        // A connection that does not read a long response is closed, between two pieces as well.
        long.write_all(b"pieces\n").unwrap();
        bench.turn(at(1), 1);
        bench.turn(at(122), 1);
        assert_eq!(bench.control.connections.len(), 0);
    }

    #[test]
    fn a_connection_that_does_not_read_is_closed_and_delays_no_other() {
        let mut bench = Bench::new();
        let mut silent = bench.connect();
        silent.write_all(b"x\n").unwrap();
        bench.turn(at(0), 50_000_000);
        let mut other = bench.connect();
        other.write_all(b"y\n").unwrap();
        bench.turn(at(1), 1);
        assert_eq!(line(&other), "y\n");
        assert_eq!(bench.control.connections.len(), 2);
        bench.turn(at(6), 1);
        assert_eq!(bench.control.connections.len(), 1);
        bench.turn(at(122), 1);
        assert_eq!(bench.control.connections.len(), 0, "who asks nothing for long is dropped as well");
    }

    #[test]
    fn neither_connections_nor_requests_grow_without_end() {
        let mut bench = Bench::new();
        let mut clients: Vec<Client> = (0..MAX_CONNECTIONS + 5).map(|_| bench.connect()).collect();
        bench.turn(at(0), 1);
        assert_eq!(bench.control.connections.len(), MAX_CONNECTIONS);
        clients[0].write_all(&[b'a'; 2 * MAX_REQUEST]).unwrap();
        bench.turn(at(0), 1);
        assert_eq!(bench.control.connections.len(), MAX_CONNECTIONS - 1);
    }

    #[test]
    fn the_socket_is_its_owners_alone_and_goes_with_its_process() {
        let bench = Bench::new();
        let mode = std::fs::metadata(&bench.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let taken = ControlSocket::bind(&bench.path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let path = bench.path.clone();
        drop(bench.control);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_process_has_left_is_replaced_but_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves it behind, as a killed process does");
        drop(ControlSocket::bind(&path).unwrap());
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(ControlSocket::bind(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
