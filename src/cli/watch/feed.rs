//! Polls the node, which may be away in between.

use std::time::Duration;

use crate::cli::target::ControlTarget;
use crate::control::client::{ControlClient, ControlError};
use crate::control::protocol::{EventEntry, StatusResponse};

/// A source of the state of a node.
#[derive(Debug)]
pub(super) struct Feed {
    target: ControlTarget,
    connection: Option<ControlClient>,
    /// The number of the newest event that was received.
    newest_event: u64,
    /// How long to wait for a response.
    timeout: Duration,
}

/// What one poll has received.
#[derive(Debug)]
pub(super) struct FeedUpdate {
    /// The state of the node.
    pub response: StatusResponse,
    /// The events since the last update, oldest first.
    pub events: Vec<EventEntry>,
}

impl Feed {
    /// A feed that is not connected yet.
    pub(super) fn of(target: ControlTarget) -> Feed {
        Feed { target, connection: None, newest_event: 0, timeout: FIRST_TIMEOUT }
    }

    /// Polls the node; connects if there is no connection.
    ///
    /// # Errors
    /// When the node does not answer. The next poll tries again.
    pub(super) fn poll(&mut self) -> Result<FeedUpdate, ControlError> {
        let result = self.try_poll();
        self.timeout = TIMEOUT;
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    fn try_poll(&mut self) -> Result<FeedUpdate, ControlError> {
        let node = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.target.connect_within(self.timeout)?),
        };
        let response = node.status()?;
        let newest = response.status.newest_event;
        if newest < self.newest_event {
            // The node was restarted: its numbers begin again.
            self.newest_event = 0;
        }
        let mut events = Vec::new();
        if newest > self.newest_event {
            let log = node.events(self.newest_event)?;
            events = log.events;
            self.newest_event = log.newest_event;
        }
        Ok(FeedUpdate { response, events })
    }
}

/// A node that is resolving its server's name may take as long as that does.
const FIRST_TIMEOUT: Duration = Duration::from_secs(5);
/// Nodes answer within milliseconds. While this program waits, it does not react to keys.
const TIMEOUT: Duration = Duration::from_millis(500);
