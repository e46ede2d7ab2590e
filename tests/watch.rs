//! `meantime watch` on a terminal: what is on the screen, and what keys, another size, and a server's restart
//! do to it.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Process, wait_until};
use tempfile::TempDir;

/// A program on a terminal of its own.
struct Terminal {
    child: Child,
    keys: File,
    screen: Arc<Mutex<vt100::Parser>>,
}

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).expect("no terminal is that small")
}

fn size(lines: u16, columns: u16) -> Winsize {
    Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Terminal {
    fn start(arguments: &[&str], lines: u16, columns: u16) -> Terminal {
        let OpenptyResult { master, slave } = openpty(&size(lines, columns), None).expect("a terminal");
        let end = || Stdio::from(slave.try_clone().expect("a terminal"));
        let child = Command::new(env!("CARGO_BIN_EXE_meantime"))
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("meantime");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(cells(lines), cells(columns), 0)));
        let keys = File::from(master);
        let (mut output, shown) = (keys.try_clone().expect("a terminal"), Arc::clone(&screen));
        #[expect(
            clippy::disallowed_methods,
            reason = "a terminal that is not read blocks the program that writes to it"
        )]
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                shown.lock().expect("a screen").process(&bytes[..count]);
            }
        });
        Terminal { child, keys, screen }
    }

    fn text(&self) -> String {
        self.screen.lock().expect("a screen").screen().contents()
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("a terminal");
    }

    fn until(&self, what: &str, shown: impl Fn(&str) -> bool) {
        wait_until(support::PATIENCE, &format!("{what} on the screen"), || shown(&self.text()));
    }

    fn resize(&mut self, lines: u16, columns: u16) {
        self.screen.lock().expect("a screen").screen_mut().set_size(cells(lines), cells(columns));
        let size = rustix::termios::Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.keys, size).expect("a size");
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGWINCH);
    }

    fn ends(&mut self) -> i32 {
        let mut status = None;
        wait_until(support::PATIENCE, "the end of watch", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status.and_then(|status| status.code()).expect("an exit code")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server(socket: &Path, listen: &str) -> Process {
    let socket = socket.display().to_string();
    let arguments = ["server", "--listen", listen, "--interval", "500ms", "--output", "json", "--control"];
    Process::start("server", &[&arguments[..], &[socket.as_str()]].concat())
}

fn place(text: &str, what: &str) -> usize {
    text.lines().position(|line| line.trim_start().starts_with(what)).unwrap_or(usize::MAX)
}

#[test]
fn a_cluster_is_watched_through_its_servers_restart() {
    let dir = TempDir::new().expect("a directory");
    let socket = dir.path().join("server.sock");
    // An address of a network that only this test uses: no other server gets its port while it is down.
    let mut first = server(&socket, "127.84.15.1:0");
    let address = first.address();
    let client = |name: &str| {
        let wrong = ["--simulate-offset", "2s", "--simulate-drift", "50ppm"];
        Process::start(name, &[&["client", address.as_str(), "--name", name], &wrong[..]].concat())
    };
    let path = socket.display().to_string();
    let mut terminal = Terminal::start(&["watch", "--control", &path, "--every", "200ms"], 30, 120);
    terminal.until("the server", |text| text.contains("EVENTS"));
    let _clients = (client("alice"), client("bob"));
    terminal.until("a client that comes", |text| text.contains("got connected successfully"));
    terminal.until("the members, agreed, with a history", |text| {
        let sees = ["agreed", "guaranteed", "alice", "bob", "HISTORY", "EVENTS"];
        sees.iter().all(|what| text.contains(what)) && text.contains(['▁', '▂', '▃', '█'])
    });
    assert!(place(&terminal.text(), "alice") < place(&terminal.text(), "bob"), "{}", terminal.text());
    terminal.press("r");
    terminal.until("the other order", |text| place(text, "bob") < place(text, "alice"));
    terminal.press("n");
    terminal.until("the first order", |text| place(text, "alice") < place(text, "bob"));

    terminal.resize(24, 80);
    terminal.until("the members at 80 columns", |text| text.contains("alice") && text.contains("HEARD"));
    terminal.resize(4, 20);
    support::pause(Duration::from_millis(300));
    terminal.resize(30, 120);
    terminal.until("the members again", |text| text.contains("alice") && text.contains("HISTORY"));

    first.end(Signal::SIGTERM);
    terminal.until("that the server is gone", |text| text.contains("No answer") && text.contains("alice"));
    let _second = server(&socket, &address);
    terminal.until("the new server's members", |text| {
        !text.contains("No answer") && place(text, "alice") < place(text, "EVENTS") && text.contains("agreed")
    });
    terminal.press("q");
    assert_eq!(terminal.ends(), 0);
    let parser = terminal.screen.lock().expect("a screen");
    assert!(
        !parser.screen().alternate_screen() && !parser.screen().hide_cursor(),
        "the terminal is restored"
    );
}

#[test]
fn a_client_can_be_watched_and_control_c_ends_it() {
    let dir = TempDir::new().expect("a directory");
    let server = support::server("127.0.0.1:0", &["--interval", "500ms"]);
    let socket = dir.path().join("client.sock").display().to_string();
    let _client = support::client(&server.address(), "alice", &["--control", &socket]);
    wait_until(support::PATIENCE, "the socket", || Path::new(&socket).exists());
    let mut terminal = Terminal::start(&["watch", "--control", &socket, "--every", "200ms"], 24, 80);
    terminal.until("how it stands", |text| text.contains("Last correction") && text.contains("synchronized"));
    terminal.press("\x03");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn without_a_terminal_or_a_node_it_says_so_in_one_line() {
    let output = Command::new(env!("CARGO_BIN_EXE_meantime"))
        .args(["watch", "--control", "/nowhere/there.sock"])
        .stdin(Stdio::null())
        .output()
        .expect("meantime");
    let line = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), line.lines().count()), (Some(2), 1), "{line}");
    assert!(line.contains("needs a terminal"), "{line}");

    let mut terminal = Terminal::start(&["watch", "--control", "/nowhere/there.sock"], 24, 80);
    assert_eq!(terminal.ends(), 1);
    terminal.until("why", |text| text.contains("no meantime listens at /nowhere/there.sock"));
}
