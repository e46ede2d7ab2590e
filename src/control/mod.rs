//! The control interface: what a node answers at its control socket, and how commands ask there.
//!
//! A request is a JSON object on one line, and so is its answer; docs/CONTROL.md describes both. [`Desk`] is
//! the node's side, [`ask`] the other.

mod answer;
pub mod ask;
mod command;
pub mod desk;
mod journal;
pub mod place;
mod socket;

pub use answer::Subject;
pub use desk::Desk;
pub use socket::{Answer, Ask, Control};

/// The version of the interface: it grows when an answer loses a field or a field its meaning.
pub const VERSION: u32 = 1;
