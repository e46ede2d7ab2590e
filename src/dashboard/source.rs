//! Where the dashboard gets the state of a node from.

use crate::control::client::ControlError;
use crate::control::protocol::{EventEntry, StatusResponse};

/// A source of the state of a node.
pub trait Source: Send + 'static {
    /// Asks the node; waits for the answer.
    ///
    /// # Errors
    /// Why there is none.
    fn poll(&mut self) -> Result<Update, ControlError>;
}

/// What a node has answered.
#[derive(Clone, Debug)]
pub struct Update {
    /// The node and its clients.
    pub response: StatusResponse,
    /// The events since the last poll, oldest first. Known ones may come again.
    pub events: Vec<EventEntry>,
}
