//! Linux: batches of datagrams in one system call, and the kernel's timestamps.

mod ancillary;
mod batch;
mod control_messages;
mod socket_options;
mod transmit_timestamps;

pub use batch::{BATCH, ReceiveBatch};
pub(super) use batch::{SendBatch, WAIT_FOR_ONE};
#[cfg(test)]
pub(crate) use control_messages::stamped_by_a_card;
pub(super) use socket_options::{count_lost, enlarge_buffers};
pub(super) use transmit_timestamps::TransmitTimestamps;

#[cfg(test)]
mod tests;
