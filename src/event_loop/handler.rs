//! What the program does with the events of a node.

use std::io;

use meantime_core::Node;
use meantime_core::time::Now;

use crate::clock::SystemClockEvent;
use crate::control::{Query, ResponsePart};
use crate::report::ClockSnapshot;

/// Receives what a node reports, and the requests of programs.
///
/// An error from any of these ends the loop as a signal does: the node says goodbye, and the error
/// is what [`EventLoop::run`](super::EventLoop::run) returns.
pub trait LoopHandler<N: Node> {
    /// An event of the node, and the node right after it.
    ///
    /// # Errors
    /// When it cannot be passed on.
    fn event(&mut self, node: &N, now: Now, at: ClockSnapshot, event: N::Event) -> io::Result<()>;

    /// A tick is due.
    ///
    /// # Errors
    /// When it cannot be passed on.
    fn tick(&mut self, at: ClockSnapshot) -> io::Result<()>;

    /// The loop is alive; called with a period of its own.
    fn keepalive(&mut self, node: &N, now: Now) {
        let _ = (node, now);
    }

    /// An event of the system's clock, which follows the node's.
    ///
    /// # Errors
    /// When it cannot be passed on.
    fn system_clock(&mut self, at: ClockSnapshot, event: SystemClockEvent) -> io::Result<()> {
        let _ = (at, event);
        Ok(())
    }

    /// A program asks something of the node at the control socket, or asks it to do something, or reads the
    /// next piece of an answer.
    fn request(&mut self, node: &mut N, now: Now, at: ClockSnapshot, query: Query<'_>) -> ResponsePart {
        let _ = (node, now, at, query);
        ResponsePart::default()
    }

    /// Work that is neither network nor clock, such as checking whether a file has changed. Called on each
    /// wake-up.
    fn maintain(&mut self, node: &mut N, now: Now) {
        let _ = (node, now);
    }

    /// The loop is about to wait: buffered output must be written now.
    ///
    /// # Errors
    /// When it cannot be written.
    fn flush(&mut self) -> io::Result<()>;
}
