//! The process that restores the settings of network cards when their node has ended: a real one, whose card
//! is a file.

#![cfg(target_os = "linux")]

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{not_run, preloaded, scratch};
use tempfile::TempDir;

/// What the card is set to stamp: nothing, everything, and what a PTP daemon sets.
const OFF: &str = "0 0";
const ON: &str = "1 1";
const PTP: &str = "1 12";
/// The node's line of that card, which it is about to set.
const CARD: &str = "fake0:77:0:0:1:1";

/// A process that was told to restore the card, which has been set since.
struct Restorer {
    process: Child,
    answers: BufReader<ChildStdout>,
    card: PathBuf,
    _dir: TempDir,
}

impl Restorer {
    /// `None`: it cannot run here.
    fn start() -> Option<Restorer> {
        let (dir, path) = scratch();
        let library = preloaded("card.c", &path);
        let library =
            library.inspect_err(|why| not_run(&format!("the test of restoring cards: {why}"))).ok()?;
        let card = path.join("card");
        fs::write(&card, ON).expect("a file of ours");
        let mut process = Command::new(env!("CARGO_BIN_EXE_meantime"))
            .arg("restore-cards")
            .env("LD_PRELOAD", library)
            .env("MEANTIME_TEST_CARD", &card)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("meantime starts");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Some(Restorer { process, answers, card, _dir: dir })
    }

    /// The answer to a line of the node's.
    fn tell(&mut self, line: &str) -> String {
        writeln!(self.process.stdin.as_mut().expect("a pipe"), "{line}").expect("the process reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("text");
        answer.trim_end().to_owned()
    }

    /// Whether these lines are taken over.
    fn notes(&mut self, lines: &[&str]) -> bool {
        let answers: Vec<_> = lines.iter().map(|line| self.tell(line)).collect();
        if answers[0] == "not allowed" {
            not_run("the test of restoring cards: it needs CAP_NET_ADMIN");
            return false;
        }
        assert!(answers.iter().all(|answer| answer == "noted"), "{answers:?}");
        true
    }

    /// The node ends while another one uses the card: what the process says until it lets the node end.
    fn end_beside_another_node(&mut self) -> String {
        drop(self.process.stdin.take());
        let mut answer = String::new();
        self.answers.read_to_string(&mut answer).expect("text");
        assert_eq!(answer, "waiting\n");
        let mut said = String::new();
        self.process.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        said
    }

    /// What the card is set to.
    fn now(&self) -> String {
        fs::read_to_string(&self.card).expect("a file of ours").trim_end().to_owned()
    }

    /// The node ends. What the card is set to after that, and what the process has said.
    fn end(mut self) -> (String, String) {
        drop(self.process.stdin.take());
        let mut said = String::new();
        self.process.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        self.process.wait().expect("a process of ours");
        (self.now(), said)
    }
}

#[test]
fn signals_that_end_all_processes_of_a_node_do_not_keep_its_card_from_being_restored() {
    let Some(mut restorer) = Restorer::start() else { return };
    if !restorer.notes(&[CARD]) {
        return;
    }
    let process = Pid::from_raw(restorer.process.id().try_into().expect("a number of a process"));
    // SIGABRT is what systemd's watchdog sends.
    for signal in
        [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGABRT, Signal::SIGUSR1, Signal::SIGTERM]
    {
        kill(process, signal).expect("a process of ours");
    }
    assert!(restorer.notes(&[CARD]), "it has survived");
    assert_eq!(restorer.end(), (OFF.to_owned(), String::new()));
}

#[test]
fn a_card_that_is_gone_does_not_keep_another_one_from_being_restored() {
    let Some(mut restorer) = Restorer::start() else { return };
    if restorer.notes(&["gone0:78:0:0:1:1", CARD]) {
        let (card, said) = restorer.end();
        assert_eq!(card, OFF);
        let left = "the settings of the network card gone0 stay as they are: the card is gone\n";
        assert_eq!(said, format!("meantime: {left}"));
    }
}

/// The same card, which has the mark of another interface here: that of a card that is no interface cannot be
/// taken.
const MARKED: &str = "lo:77:0:0:1:1";

/// The mark of another node.
fn mark_of_another_node() -> Flock<File> {
    let directory = File::open("/sys/class/net/lo").expect("a directory");
    Flock::lock(directory, FlockArg::LockShared).expect("a lock")
}

#[test]
fn a_card_that_another_node_uses_is_restored_when_that_one_ends() {
    let Some(mut restorer) = Restorer::start() else { return };
    if !restorer.notes(&[MARKED]) {
        return;
    }
    let other = mark_of_another_node();
    let said = restorer.end_beside_another_node();
    let why = "another node uses the card; they are restored when no node does\n";
    assert_eq!(said, format!("meantime: the settings of the network card lo stay as they are: {why}"));
    assert_eq!(restorer.now(), ON);
    drop(other);
    assert!(restorer.process.wait().expect("a process of ours").success());
    assert_eq!(restorer.now(), OFF);
}

#[test]
fn a_process_that_waits_for_another_node_gives_up_when_it_is_asked_to() {
    let Some(mut restorer) = Restorer::start() else { return };
    if !restorer.notes(&[MARKED]) {
        return;
    }
    let _other = mark_of_another_node();
    restorer.end_beside_another_node();
    let process = Pid::from_raw(restorer.process.id().try_into().expect("a number of a process"));
    kill(process, Signal::SIGTERM).expect("a process of ours");
    restorer.process.wait().expect("a process of ours");
    assert_eq!(restorer.now(), ON);
}

#[test]
fn settings_of_another_program_are_left_as_they_are() {
    let Some(mut restorer) = Restorer::start() else { return };
    if restorer.notes(&[CARD]) {
        fs::write(&restorer.card, PTP).expect("a file of ours");
        let (card, said) = restorer.end();
        assert_eq!(card, PTP);
        assert!(said.contains("fake0 stay as they are: another program has changed them\n"), "{said}");
    }
}

#[test]
fn a_card_that_the_node_has_given_up_is_left_as_it_is() {
    let Some(mut restorer) = Restorer::start() else { return };
    if restorer.notes(&[CARD, "fake0:77:0:0:0:0"]) {
        assert_eq!(restorer.end(), (ON.to_owned(), String::new()));
    }
}

#[test]
fn a_node_that_has_ended_its_list_cannot_change_what_is_restored() {
    let Some(mut restorer) = Restorer::start() else { return };
    if restorer.notes(&[CARD]) {
        let node = restorer.process.stdin.as_mut().expect("a pipe");
        node.write_all(b"\nfake0:77:2:2:1:1\nnonsense\n").expect("the process reads");
        assert_eq!(restorer.end(), (OFF.to_owned(), String::new()));
    }
}
