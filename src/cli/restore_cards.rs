//! Restores the settings of network cards when a node has ended, however it has ended.
//!
//! Changing these settings needs `CAP_NET_ADMIN`, with which a process can also take the whole network of the
//! machine down; a node that talks to the network has to give it up. So a process of its own keeps it: the
//! same program, with this hidden subcommand. It talks to nothing but a pipe, and waits until the node has
//! closed that.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::Failure;
use crate::process::{RetainedPrivilege, drop_privileges};
use crate::udp::SavedSettings;

/// Restore settings of network cards once stdin is closed
#[derive(Debug, clap::Args)]
pub(super) struct RestoreCardsArgs {
    /// The settings
    #[arg(required = true)]
    settings: Vec<SavedSettings>,
}

/// Waits for the end of stdin, and restores.
///
/// # Errors
/// When the settings of a card cannot be restored.
pub(super) fn run(args: &RestoreCardsArgs) -> Result<(), Failure> {
    // Those who end a whole group of processes end the node, and that ends this one.
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))).map_err(failure)?;
    }
    drop_privileges(None, RetainedPrivilege::ConfigureCards).map_err(failure)?;
    io::stdin().read_to_end(&mut Vec::new()).map_err(failure)?;
    args.settings.iter().try_for_each(|saved| saved.restore().map_err(failure))
}

fn failure(error: io::Error) -> Failure {
    Failure::Runtime(format!("the settings of the network cards are not restored: {error}"))
}

/// The process that restores the settings when this is dropped.
#[derive(Debug)]
pub(in crate::cli) struct CardRestorer {
    process: Child,
}

impl CardRestorer {
    /// Starts the process; `None` if there is nothing to restore, or, as the log then says, no process can be
    /// started.
    pub(in crate::cli) fn start(saved: &[SavedSettings]) -> Option<CardRestorer> {
        if saved.is_empty() {
            return None;
        }
        let started = std::env::current_exe().and_then(|program| {
            Command::new(program)
                .arg("restore-cards")
                .args(saved.iter().map(ToString::to_string))
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .process_group(0)
                .spawn()
        });
        let failed = |error: &io::Error| {
            log::warn!("the settings of the network cards will not be restored: {error}");
        };
        started.inspect_err(failed).ok().map(|process| CardRestorer { process })
    }
}

impl Drop for CardRestorer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // It has told on stderr what it could not do.
        let _ = self.process.wait();
    }
}
