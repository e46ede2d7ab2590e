//! Asking the node, again and again, also when it was away in between.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::Failure;
use crate::control::ask::{Line, Whom};

/// What is known of a node.
#[derive(Debug)]
pub(super) struct Feed {
    whom: Whom,
    line: Option<Line>,
    /// The number of the newest event that was heard of.
    newest: u64,
    /// How long to wait for an answer.
    patience: Duration,
}

/// What was heard at one time.
#[derive(Debug)]
pub(super) struct Look {
    /// How the node stands.
    pub status: Value,
    /// What has happened since the last look, oldest first.
    pub events: Vec<Value>,
}

impl Feed {
    /// A feed that is not connected yet.
    pub(super) fn of(whom: Whom) -> Feed {
        Feed { whom, line: None, newest: 0, patience: FIRST_PATIENCE }
    }

    /// Asks how the node stands; connects if need be.
    ///
    /// # Errors
    /// When there is no node now. The next look tries again.
    pub(super) fn look(&mut self) -> Result<Look, Failure> {
        let result = self.ask();
        self.patience = PATIENCE;
        if result.is_err() {
            self.line = None;
        }
        result
    }

    fn ask(&mut self) -> Result<Look, Failure> {
        let line = match &mut self.line {
            Some(line) => line,
            None => self.line.insert(self.whom.connect_within(self.patience)?),
        };
        let status = line.ask("status", Value::Null)?;
        let newest = status["newest_event"].as_u64().unwrap_or(0);
        if newest < self.newest {
            // Another process counts from the beginning.
            self.newest = 0;
        }
        let mut events = Vec::new();
        if newest > self.newest {
            let answer = line.ask("events", json!({ "since": self.newest }))?;
            events = answer["events"].as_array().cloned().unwrap_or_default();
            self.newest = answer["newest_event"].as_u64().unwrap_or(newest);
        }
        Ok(Look { status, events })
    }
}

/// A node that is looking its server's name up may take as long as that does.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
/// Nodes answer within milliseconds. Whoever waits longer than this thinks that the keys are dead.
const PATIENCE: Duration = Duration::from_millis(500);
