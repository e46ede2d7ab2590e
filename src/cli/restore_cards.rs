//! Restores the settings of network cards when a node has ended, however it has ended.
//!
//! Changing these settings needs `CAP_NET_ADMIN`, with which a process can also take the whole network of the
//! machine down; a node that talks to the network has to give it up. So a process of its own keeps it: the
//! same program, with this hidden subcommand. It talks to nothing but its pipes to the node, and waits until
//! the node has closed them.
//!
//! The node starts it before it changes a card, and tells it in a line what the card's settings are and what
//! they are going to be. A later line replaces an earlier one of the same card. The process answers each
//! line: only then does the node change the card. So whenever the node ends, what it has changed is restored.
//! Before the node talks to the network it ends the list with an empty line, and after that nothing that it
//! says counts.
//!
//! A card that another node has marked meanwhile stays as it is, and is restored when no node uses it any
//! more. The process tells the node that it waits for that, so that the node can end. SIGTERM ends the
//! waiting.

use std::env;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{dup2_stderr, dup2_stdout};

use super::Failure;
use crate::process::{RetainedPrivilege, can_configure_cards, drop_privileges};
use crate::udp::{CardError, CardLock, Restoration, SavedSettings};

/// Takes the settings from stdin, waits for its end, and restores them; those of cards that other nodes use
/// when they do not any more.
///
/// # Errors
/// When the settings of a card cannot be restored.
pub(super) fn run() -> Result<(), Failure> {
    // A terminal or a service manager that ends a whole group of processes, by whatever signal, also ends the
    // node; and the end of the node ends this process.
    SigSet::all().thread_block().map_err(failure)?;
    drop_privileges(None, RetainedPrivilege::ConfigureCards).map_err(failure)?;
    let mut cards = NotedCards::default();
    cards.read(io::stdin().lock(), io::stdout());
    let restored = cards.restore();
    if !cards.0.is_empty() {
        if let Err(failure) = &restored {
            say(failure);
        }
        leave_node().map_err(failure)?;
        cards.restore_unused();
    }
    restored
}

/// Lets the node end: tells it that this process waits for other nodes, and gives its stdout and stderr, its
/// directory and its protection from SIGTERM up.
fn leave_node() -> io::Result<()> {
    // A node that was killed does not read it.
    let _ = writeln!(io::stdout(), "{WAITING}");
    let null = File::options().write(true).open("/dev/null")?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    env::set_current_dir("/")?;
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    Ok(ends.thread_unblock()?)
}

/// Tells the node's user something.
fn say(line: impl Display) {
    // A closed stderr does not matter.
    let _ = writeln!(io::stderr(), "meantime: {line}");
}

fn failure(reason: impl Display) -> Failure {
    Failure::Runtime(format!("the settings of the network cards are not restored: {reason}"))
}

/// The cards that are to be restored, and their marks.
#[derive(Debug, Default)]
struct NotedCards(Vec<(SavedSettings, Option<CardLock>)>);

impl NotedCards {
    /// Takes over and answers each line of the node's, up to an empty one; then waits for the node's end.
    /// A line that cannot be understood counts as its end.
    fn read(&mut self, mut node: impl BufRead, mut answers: impl Write) {
        let answer = if can_configure_cards() { NOTED } else { NOT_ALLOWED };
        for line in node.by_ref().lines() {
            let Ok(line) = line else { return };
            if line.is_empty() {
                break;
            }
            let Ok(saved) = line.parse() else { return };
            if answer == NOTED {
                self.note(saved);
            }
            // A node that does not read it has ended.
            let _ = writeln!(answers, "{answer}").and_then(|()| answers.flush());
        }
        let _ = io::copy(&mut node, &mut io::sink());
    }

    fn note(&mut self, saved: SavedSettings) {
        let known = self.0.iter().position(|(known, _)| known.is_of_same_card(&saved));
        let lock = known.and_then(|at| self.0.swap_remove(at).1).or_else(|| CardLock::take(saved.card()));
        if saved.is_change() {
            self.0.push((saved, lock));
        }
    }

    /// Restores all but those that other nodes use, which are left, and then says what was not restored.
    fn restore(&mut self) -> Result<(), Failure> {
        let results: Vec<_> =
            self.0.drain(..).map(|(saved, lock)| (saved.restore(lock.as_ref()), saved, lock)).collect();
        let mut failures = Vec::new();
        for (result, saved, lock) in results {
            let card = saved.card().to_owned();
            let why = match result {
                Ok(Restoration::Done | Restoration::AsBefore) => continue,
                Ok(Restoration::ChangedSince) => "another program has changed them",
                Ok(Restoration::InUse) => {
                    self.0.push((saved, lock));
                    "another node uses the card; they are restored when no node does"
                }
                Ok(Restoration::Gone) => "the card is gone",
                Err(error) => {
                    failures.push(format!("{card}: {error}"));
                    continue;
                }
            };
            say(format_args!("the settings of the network card {card} stay as they are: {why}"));
        }
        match failures.is_empty() {
            true => Ok(()),
            false => Err(failure(failures.join("; "))),
        }
    }

    /// Restores each of those that are left when no other node uses it any more.
    fn restore_unused(&mut self) {
        while !self.0.is_empty() {
            thread::sleep(UNUSED_INTERVAL);
            // The user of a node that has ended is told nothing more.
            self.0.retain(|(saved, lock)| matches!(saved.restore(lock.as_ref()), Ok(Restoration::InUse)));
        }
    }
}

/// The process that restores the settings when this is dropped.
#[derive(Debug)]
pub(in crate::cli) struct CardRestorer {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl CardRestorer {
    /// Starts the process.
    ///
    /// # Errors
    /// When the system cannot start it.
    fn start() -> io::Result<CardRestorer> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("restore-cards")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let answers = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(CardRestorer { process, answers: BufReader::new(answers) })
    }

    /// Tells the process what to restore; the first time, it is started.
    ///
    /// # Errors
    /// When nothing would be restored: the process cannot be started, has ended, or may not change cards.
    pub(in crate::cli) fn note(
        restorer: &mut Option<CardRestorer>,
        saved: &SavedSettings,
    ) -> Result<(), CardError> {
        let running = match restorer.take() {
            Some(running) => running,
            None => CardRestorer::start().map_err(CardError::NotRestorable)?,
        };
        let answer = restorer.insert(running).tell(saved).map_err(CardError::NotRestorable)?;
        match answer.trim_end() {
            NOTED => Ok(()),
            NOT_ALLOWED => Err(CardError::NotAllowed),
            _ => Err(CardError::NotRestorable(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Ends the list: nothing that this process says from now on changes what is restored.
    pub(in crate::cli) fn seal(&mut self) {
        // If it has ended, the cards stay as they are.
        if let Some(stdin) = &mut self.process.stdin {
            let _ = stdin.write_all(b"\n");
        }
    }

    /// The answer to a line; an empty one if the process has ended.
    fn tell(&mut self, saved: &SavedSettings) -> io::Result<String> {
        let stdin = self.process.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(format!("{saved}\n").as_bytes())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for CardRestorer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let mut answer = String::new();
        let is_waiting = self.answers.read_line(&mut answer).is_ok_and(|_| answer.trim_end() == WAITING);
        // It has told on stderr what it could not do.
        if !is_waiting {
            let _ = self.process.wait();
        }
    }
}

/// The settings are restored when the node ends.
const NOTED: &str = "noted";
/// The process lacks `CAP_NET_ADMIN`.
const NOT_ALLOWED: &str = "not allowed";
/// The process has restored what it could, and waits until no other node uses the other cards.
const WAITING: &str = "waiting";
/// From one look to the next whether other nodes use a card: they run for hours, so a second is soon enough.
const UNUSED_INTERVAL: Duration = Duration::from_secs(1);
