//! The option of the commands that ask a node at its control socket: which node.

use std::path::PathBuf;
use std::time::Duration;

use crate::control::client::{ControlClient, ControlError};

/// The node that a command asks.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct ControlTarget {
    /// The control socket of the server or client to ask [default: this user's server, else client, on this
    /// machine]
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
}

impl ControlTarget {
    /// Connects to the node.
    ///
    /// # Errors
    /// When there is none, or this user may not connect to it.
    pub(super) fn connect(&self) -> Result<ControlClient, ControlError> {
        self.connect_within(TIMEOUT)
    }

    /// The same, with another limit for how long each response is awaited.
    ///
    /// # Errors
    /// When there is none, or this user may not connect to it.
    pub(super) fn connect_within(&self, timeout: Duration) -> Result<ControlClient, ControlError> {
        ControlClient::connect(self.control.as_deref(), timeout)
    }
}

/// Nodes answer within milliseconds; one that is stopped never does.
const TIMEOUT: Duration = Duration::from_secs(5);
