//! A node under a service manager, here a socket that records the notifications: ready, keepalive, status,
//! stopping.

mod support;

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::{PATIENCE, Process, ask_until, now, pause, scratch, server, wait_until};
use tempfile::TempDir;

/// A service manager.
struct Manager {
    socket: UnixDatagram,
    path: String,
    received: Vec<String>,
    _dir: TempDir,
}

impl Manager {
    fn new() -> Manager {
        let (dir, path) = scratch();
        let path = path.join("notify").display().to_string();
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        Manager { socket, path, received: Vec::new(), _dir: dir }
    }

    /// Starts a node with this watchdog timeout.
    fn start(&self, watchdog_timeout: Duration, arguments: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meantime"));
        command
            .env("NOTIFY_SOCKET", &self.path)
            .env("WATCHDOG_USEC", watchdog_timeout.as_micros().to_string());
        Process::start_by("watched", command, &[arguments, &["--output", "json"]].concat())
    }

    /// All notifications so far.
    fn received(&mut self) -> &[String] {
        let mut buffer = [0; 4_096];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    self.received.extend(text.lines().map(str::to_owned));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return &self.received,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn count(&mut self, what: &str) -> usize {
        self.received().iter().filter(|line| line.starts_with(what)).count()
    }

    fn wait_for(&mut self, what: &str, times: usize) {
        wait_until(PATIENCE, &format!("'{what}' {times} times"), || self.count(what) >= times);
    }

    fn wait_for_line(&mut self, start: &str, end: &str) {
        let lines = || self.received().to_vec();
        ask_until(&format!("'{start}…{end}'"), lines, |lines| {
            lines.iter().any(|line| line.starts_with(start) && line.ends_with(end))
        });
    }
}

#[test]
fn a_server_reports_that_it_is_ready_its_status_and_that_it_stops() {
    let mut manager = Manager::new();
    let arguments = ["server", "--listen", "127.0.0.1:0", "--interval", "200ms"];
    let mut node = manager.start(Duration::from_millis(600), &arguments);
    manager.wait_for("READY=1", 1);
    assert_eq!(manager.received()[0], "READY=1", "before anything else");
    node.address();
    let client = support::client(&node.address(), "guest", &[]);
    client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    manager.wait_for_line("STATUS=synchronized, agreed, bound ", "2 members, 2 heard");
    assert!(node.end(Signal::SIGTERM).0.success());
    assert_eq!(manager.received().last().map(String::as_str), Some("STOPPING=1"));
    assert_eq!((manager.count("READY=1"), manager.count("STOPPING=1")), (1, 1));
}

#[test]
fn a_client_that_waits_for_its_server_is_ready() {
    let mut manager = Manager::new();
    // An address of a network that only this test uses: no other server gets its port meanwhile.
    let later = server("127.84.14.1:0", &["--interval", "200ms"]);
    let address = later.address();
    drop(later);
    let _node = manager.start(Duration::from_millis(300), &["client", &address]);
    manager.wait_for(&format!("STATUS=unsynchronized, bound unknown, asking {address}"), 1);
    let _again = server(&address, &["--interval", "200ms"]);
    manager.wait_for_line("STATUS=synchronized, bound ", &format!("server {address}"));
}

#[test]
fn keepalives_come_only_while_the_loop_runs() {
    let mut manager = Manager::new();
    let begun = now();
    let node = manager.start(Duration::from_millis(300), &["server", "--listen", "127.0.0.1:0"]);
    manager.wait_for("WATCHDOG=1", 10);
    // A tenth of a second apart; they are late rather than early.
    assert!(now() - begun >= Duration::from_millis(800), "10 keepalives in {:?}", now() - begun);
    node.signal(Signal::SIGSTOP);
    wait_until(PATIENCE, "the process to be stopped", || node.status("State").starts_with('T'));
    let before = manager.count("WATCHDOG=1");
    pause(Duration::from_secs(1));
    assert_eq!(manager.count("WATCHDOG=1"), before, "a stopped process sends no keepalive");
    node.signal(Signal::SIGCONT);
    manager.wait_for("WATCHDOG=1", before + 1);
}

#[test]
fn a_service_manager_that_is_gone_stops_no_node() {
    let manager = Manager::new();
    let node = manager
        .start(Duration::from_millis(150), &["server", "--listen", "127.0.0.1:0", "--interval", "200ms"]);
    let address = node.address();
    drop(manager);
    let client = support::client(&address, "guest", &[]);
    client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    // Another test's node may have taken the control socket of this user.
    let is_trouble = |line: &str| line.contains("WARN") && !line.contains("control socket");
    assert!(!node.log().lines().any(is_trouble), "{}", node.log());
}
