//! Real processes for tests: start the binary, read its JSON lines, compare clocks.
//!
//! What a process prints goes to files, so no test has to keep reading. Every wait has an end and says what
//! it waited for. A process that is dropped is killed.

#![allow(dead_code, reason = "each test binary uses a part of this")]

pub(crate) mod ticks;

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// What `meantime` with these arguments prints on stdout and stderr, and whether it succeeds.
pub(crate) fn meantime(arguments: &[&str]) -> (bool, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_meantime")).args(arguments).output().expect("meantime starts");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

/// A running `meantime`.
pub(crate) struct Process {
    child: Child,
    name: String,
    dir: TempDir,
}

impl Process {
    /// Starts `meantime` with these arguments.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Process {
        Process::start_by(name, Command::new(env!("CARGO_BIN_EXE_meantime")), arguments)
    }

    /// Starts it inside a network namespace.
    pub(crate) fn start_in(namespace: &str, name: &str, arguments: &[&str]) -> Process {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_meantime")]);
        Process::start_by(name, command, arguments)
    }

    /// Starts a command with these arguments at its end.
    pub(crate) fn start_by(name: &str, mut command: Command, arguments: &[&str]) -> Process {
        let dir = TempDir::new().expect("a directory for the output");
        let file = |name| File::create(dir.path().join(name)).expect("a file for the output");
        command.args(arguments).stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        let child = command.spawn().expect("meantime starts");
        Process { child, name: name.to_owned(), dir }
    }

    /// Everything it has told so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = self.read("out");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let parse =
            |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {line}", self.name));
        whole.lines().map(parse).collect()
    }

    /// Everything of one kind that it has told so far.
    pub(crate) fn events_of(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["event"] == kind).collect()
    }

    /// What it has said on stdout so far, to people.
    pub(crate) fn said(&self) -> String {
        self.read("out")
    }

    /// Its log.
    pub(crate) fn log(&self) -> String {
        self.read("err")
    }

    /// The process may be in the middle of a character.
    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.dir.path().join(name)).expect("the output can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for an event of this kind that satisfies `wanted`, counted from the `skip`th of that kind.
    pub(crate) fn wait_for(&self, kind: &str, skip: usize, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = now() + PATIENCE;
        loop {
            let of_kind = self.events_of(kind);
            if let Some(found) = of_kind.iter().skip(skip).find(|event| wanted(event)) {
                return found.clone();
            }
            let (name, last) = (&self.name, of_kind.last());
            assert!(
                now() < end,
                "waited {PATIENCE:?} in vain for {name} to tell of '{kind}'; the last of {} is {last:?}\n{}",
                of_kind.len(),
                self.log()
            );
            pause(Duration::from_millis(20));
        }
    }

    /// Waits for the first event of this kind.
    pub(crate) fn wait_for_any(&self, kind: &str) -> Value {
        self.wait_for(kind, 0, |_| true)
    }

    /// The address that a server listens on.
    pub(crate) fn address(&self) -> String {
        let listening = self.wait_for_any("listening");
        listening["address"].as_str().expect("an address").to_owned()
    }

    /// The port that a server listens on.
    pub(crate) fn port(&self) -> u16 {
        let address: std::net::SocketAddr = self.address().parse().expect("an address with a port");
        address.port()
    }

    /// What it is called in the tests' messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the process is there");
    }

    /// Ends it by a signal, and says how it ended and how long that took.
    pub(crate) fn end(&mut self, signal: Signal) -> (ExitStatus, Duration) {
        let started = now();
        self.signal(signal);
        let status = self.wait(PATIENCE);
        (status, now() - started)
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self, patience: Duration) -> ExitStatus {
        let mut status = None;
        let (child, name) = (&mut self.child, &self.name);
        wait_until(patience, &format!("{name} to end"), || {
            status = child.try_wait().expect("a child of ours");
            status.is_some()
        });
        status.expect("the wait ended with it")
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// Its resident memory, in kilobytes.
    pub(crate) fn resident_kb(&self) -> u64 {
        self.status("VmRSS").trim_end_matches(" kB").parse().expect("a number of kilobytes")
    }

    /// What the system says of it under this name, in `/proc/PID/status`.
    pub(crate) fn status(&self, name: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let lines = status.lines().filter_map(|line| line.split_once(':'));
        let mut named = lines.filter(|(found, _)| *found == name);
        named.next().unwrap_or_else(|| panic!("no {name} in {status}")).1.trim().to_owned()
    }

    /// How long it has used a processor, in hundredths of a second.
    pub(crate) fn processor_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let after_name = stat.rsplit(')').next().expect("fields after the name");
        let fields: Vec<i64> = after_name.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        // Without the state, which is no number: user and system time are the 14th and 15th field of all.
        (fields[10] + fields[11]).try_into().expect("not negative")
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("process ids are small"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server on a free port of `listen`, which stands in for the port as `:0`.
pub(crate) fn server(listen: &str, arguments: &[&str]) -> Process {
    let mut all = vec!["server", "--listen", listen, "--output", "json", "--tick", "100ms"];
    all.extend(arguments);
    Process::start("server", &all)
}

/// A client of the server at `server`.
pub(crate) fn client(server: &str, name: &str, arguments: &[&str]) -> Process {
    let mut all = vec!["client", server, "--name", name, "--output", "json", "--tick", "100ms"];
    all.extend(arguments);
    Process::start(name, &all)
}

/// Processes that keep both processors busy until they are dropped.
pub(crate) struct Spinners(Vec<Child>);

impl Spinners {
    /// Starts `count` of them.
    pub(crate) fn start(count: usize) -> Spinners {
        let spin = |_| Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("a shell");
        Spinners((0..count).map(spin).collect())
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until `done`, and fails with what was waited for if that takes longer than `patience`.
pub(crate) fn wait_until(patience: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let end = now() + patience;
    while !done() {
        assert!(now() < end, "waited {patience:?} in vain for {what}");
        pause(Duration::from_millis(20));
    }
}

/// Asks again and again until the answer is as `wanted`, and returns it. Fails with the last answer.
pub(crate) fn ask_until<T: Debug>(what: &str, mut ask: impl FnMut() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let end = now() + PATIENCE;
    loop {
        let answer = ask();
        if wanted(&answer) {
            return answer;
        }
        assert!(now() < end, "waited {PATIENCE:?} in vain for {what}; the last answer: {answer:?}");
        pause(Duration::from_millis(20));
    }
}

/// The status of a node at this control socket; null: it does not answer yet.
pub(crate) fn status(control: &str) -> Value {
    match meantime(&["status", "--json", "--control", control]) {
        (true, text) => serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")),
        (false, _) => Value::Null,
    }
}

/// Lets the processes run.
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}

/// Says that a test did not run: past the capture of the test runner, so that it cannot be missed.
pub(crate) fn not_run(why: &str) {
    let _ = writeln!(std::io::stderr(), "NOT RUN: {why}");
}

/// Builds a library of tests/support in this directory, which replaces calls of the C library where it is
/// loaded with `LD_PRELOAD`.
pub(crate) fn preloaded(source: &str, directory: &Path) -> Result<PathBuf, String> {
    let library = directory.join(source).with_extension("so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(source);
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).arg("-ldl");
    match compiler.output() {
        Err(error) => Err(format!("there is no C compiler: {error}")),
        Ok(output) if output.status.success() => Ok(library),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Where a file of a test may be written.
pub(crate) fn scratch() -> (TempDir, PathBuf) {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().to_owned();
    (dir, path)
}

/// The time, to measure waits with.
#[expect(clippy::disallowed_methods, reason = "a test has to know when to give up")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Longer than anything takes that works, on a machine that has other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
