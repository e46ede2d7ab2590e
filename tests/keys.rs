//! Keys as people use them: files, the wrong ones, and a change while everything runs; with the real program.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;
use support::{Process, client, pause, server};
use tempfile::TempDir;

/// A directory for key files.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(TempDir::new().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("the file is there")
    }

    /// The path of a file, as an argument.
    fn argument(&self, name: &str) -> String {
        self.path(name).to_str().expect("a plain path").to_owned()
    }

    /// Runs `meantime keygen` in the directory.
    fn keygen(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meantime"));
        command.current_dir(self.0.path()).arg("keygen").args(arguments).output().expect("it runs")
    }

    fn made(&self, arguments: &[&str]) {
        let output = self.keygen(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", line(&output));
    }

    /// What is said when it does not work.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.keygen(arguments);
        assert!(!output.status.success(), "{arguments:?} worked");
        line(&output)
    }
}

/// The one line on stderr.
fn line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.lines().count() <= 1, "{text}");
    text.into_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file is there").permissions().mode() & 0o777
}

#[test]
fn keygen_writes_for_its_owner_alone_and_over_nothing_without_being_asked() {
    let files = Files::new();
    files.made(&["a.key"]);
    let before = files.text("a.key");
    assert_eq!((mode(&files.path("a.key")), before.matches("\nmaster 1 ").count()), (0o600, 1));
    assert!(files.refused(&["a.key"]).contains("--add"));
    assert_eq!(files.text("a.key"), before);
    files.made(&["--replace", "a.key"]);
    assert_ne!(files.text("a.key"), before, "another secret");
    files.made(&["b.key"]);
    assert_ne!(files.text("a.key"), files.text("b.key"));
    assert!(files.refused(&["nowhere/a.key"]).contains("cannot write nowhere/a.key"));
    assert_eq!(fs::read_dir(files.0.path()).expect("a directory").count(), 2, "something was left behind");
}

#[test]
fn keys_are_added_and_taken_out_and_a_clients_follow_from_the_servers() {
    let files = Files::new();
    files.made(&["a.key"]);
    files.made(&["--add", "a.key"]);
    let both = files.text("a.key");
    assert!(
        both.contains("\nmaster 1 ") && both.contains("\nmaster 2 ") && mode(&files.path("a.key")) == 0o600
    );
    files.made(&["--for", "lab-7", "--from", "a.key", "lab-7.key"]);
    let own = files.text("lab-7.key");
    assert!(
        own.lines().filter(|line| line.ends_with(" lab-7")).count() == 2
            && mode(&files.path("lab-7.key")) == 0o600
    );
    let secret = both.lines().find_map(|line| line.strip_prefix("master 1 ")).expect("a key");
    assert!(!own.contains(secret), "the secret was given away");
    files.made(&["--for", "lab-7", "--from", "a.key", "again.key"]);
    assert_eq!(files.text("again.key"), own);
    files.made(&["--remove", "1", "a.key"]);
    assert!(!files.text("a.key").contains("master 1 ") && files.text("a.key").contains("master 2 "));
    for (arguments, said) in [
        (&["--remove", "1", "a.key"][..], "no key 1"),
        (&["--remove", "2", "a.key"], "the only key"),
        (&["--add", "c.key"], "c.key"),
        (&["--add", "lab-7.key"], "--from"),
        (&["--for", "x", "--from", "lab-7.key", "x.key"], "alone"),
        (&["--for", "x", "x.key"], "--from"),
        (&["--for", "", "--from", "a.key", "x.key"], "not a valid name"),
        (&["--for", "x", "--from", "a.key", "--replace", "a.key"], "the server's keys"),
    ] {
        let found = files.refused(arguments);
        assert!(found.contains(said), "{arguments:?}: {found}");
    }
    assert!(files.text("a.key").contains("\nmaster 2 "), "the server's keys are lost");
}

/// How a node with this key file ends, if it does.
fn failing(arguments: &[&str]) -> String {
    let mut process = Process::start("failing", arguments);
    let status = process.wait(support::PATIENCE);
    let log = process.log();
    // Another test's node may have taken the control socket of this user, which is logged before.
    let lines = log.lines().filter(|line| line.starts_with("meantime: ")).count();
    assert!(!status.success() && lines == 1, "{status}: {log}");
    log
}

#[test]
fn a_key_file_that_cannot_be_right_stops_a_node_with_one_line() {
    let files = Files::new();
    files.made(&["a.key"]);
    files.made(&["--for", "lab-7", "--from", "a.key", "lab-7.key"]);
    let (all, own) = (files.argument("a.key"), files.argument("lab-7.key"));
    let listen = ["server", "--listen", "127.0.0.1:0", "--key-file"];
    let follow = ["client", "127.0.0.1:9", "--key-file"];
    for bits in [0o644, 0o604, 0o660, 0o602] {
        fs::set_permissions(&all, fs::Permissions::from_mode(bits)).expect("our file");
        assert!(failing(&[&listen[..], &[&all]].concat()).contains("chmod 600"), "mode {bits:o}");
        assert!(failing(&[&follow[..], &[&all]].concat()).contains("chmod 600"), "mode {bits:o}");
    }
    assert!(failing(&[&listen[..], &[&own]].concat()).contains("to the client lab-7"));
    assert!(failing(&[&follow[..], &[&own, "--name", "x"]].concat()).contains("not to x"));
    assert!(failing(&[&follow[..], &[&files.argument("none.key")]].concat()).contains("none.key"));
    fs::write(&own, "nonsense").expect("our file");
    assert!(failing(&[&follow[..], &[&own]].concat()).contains("line 1"));
}

#[test]
fn a_client_with_a_key_of_its_own_is_kept_and_is_called_by_its_keys_name() {
    let files = Files::new();
    files.made(&["a.key"]);
    files.made(&["--for", "lab-7", "--from", "a.key", "lab-7.key"]);
    let server = server("127.0.0.1:0", &["--interval", "500ms", "--key-file", &files.argument("a.key")]);
    let own = files.argument("lab-7.key");
    let arguments = ["client", &server.address(), "--output", "json", "--key-file", &own];
    let client = Process::start("lab-7", &arguments);
    client.wait_for_any("corrected");
    assert_eq!(server.wait_for_any("connected")["client"], "lab-7");
}

#[test]
fn with_a_wrong_key_on_one_side_there_is_a_line_on_both_and_no_flood_of_them() {
    let files = Files::new();
    files.made(&["a.key"]);
    files.made(&["b.key"]);
    let (one, other) = (files.argument("a.key"), files.argument("b.key"));
    for (asked, given, said) in [
        (&["--key-file", &one][..], &["--key-file", &other][..], "its key 1 is not the one"),
        (&["--key-file", &one], &[], "it uses no key"),
        (&[], &["--key-file", &other], "it uses key 1, which this server does not have"),
    ] {
        let mut server = server("127.0.0.1:0", &[&["--interval", "500ms"][..], asked].concat());
        let mut client = client(&server.address(), "guest", given);
        assert_eq!(
            server.wait_for_any("unauthentic")["address"].as_str().map(|it| it.starts_with("127.0.0.1:")),
            Some(true)
        );
        client.wait_for("registering", 4, |_| true);
        pause(Duration::from_millis(500));
        assert!(server.events_of("connected").is_empty() && client.events_of("registered").is_empty());
        server.end(Signal::SIGTERM);
        client.end(Signal::SIGTERM);
        let (told, advice) = (server.log(), client.log());
        assert_eq!(told.matches(said).count(), 1, "{told}");
        assert_eq!(told.matches("guest (127.0.0.1:").count(), 1, "{told}");
        assert_eq!(advice.matches("no answer from").count(), 1, "{advice}");
        assert!(advice.contains("key"), "{advice}");
    }
}

#[test]
fn keys_are_changed_while_everything_runs() {
    let files = Files::new();
    files.made(&["a.key"]);
    fs::copy(files.path("a.key"), files.path("client.key")).expect("a copy");
    let (socket, keys) = (files.argument("socket"), files.argument("a.key"));
    let server = server("127.0.0.1:0", &["--interval", "500ms", "--key-file", &keys, "--control", &socket]);
    let client = client(&server.address(), "guest", &["--key-file", &files.argument("client.key")]);
    client.wait_for_any("corrected");
    assert_eq!(key_in_use(&socket), 1);
    files.made(&["--add", "a.key"]);
    wait_for_line(&server, "keys 1, 2 now");
    fs::copy(files.path("a.key"), files.path("client.key")).expect("a copy");
    wait_for_line(&client, "keys 1, 2 now");
    support::wait_until(support::PATIENCE, "the client uses the new key", || key_in_use(&socket) == 2);
    files.made(&["--remove", "1", "a.key"]);
    wait_for_line(&server, "keys 2 now");
    let corrected = client.events_of("corrected").len();
    client.wait_for("corrected", corrected + 8, |_| true);
    assert!(client.events_of("holdover").is_empty(), "{}", client.log());
    assert_eq!(client.events_of("registered").len(), 1);
    // A file that an operator has spoilt changes nothing, and the server logs that.
    fs::write(files.path("a.key"), "spoilt").expect("our file");
    wait_for_line(&server, "the old keys stay");
    let corrected = client.events_of("corrected").len();
    client.wait_for("corrected", corrected + 2, |_| true);
}

/// The key that the server's only client uses, as the server tells.
fn key_in_use(socket: &str) -> u64 {
    let output =
        Command::new(env!("CARGO_BIN_EXE_meantime")).args(["status", "--json", "--control", socket]).output();
    let status: serde_json::Value =
        serde_json::from_slice(&output.expect("our program").stdout).expect("a status");
    status["clients"][0]["key"].as_u64().expect("a number")
}

fn wait_for_line(process: &Process, said: &str) {
    let what = format!("{} to say '{said}'", process.name());
    support::wait_until(support::PATIENCE, &what, || process.log().contains(said));
}
