//! Systems other than Linux: one datagram in each system call, and no timestamps from the kernel.

mod batch;
mod control_messages;
mod socket_options;
mod transmit_timestamps;

pub use batch::{BATCH, ReceiveBatch};
pub(super) use batch::{SendBatch, WAIT_FOR_ONE};
pub(super) use socket_options::{count_lost, enlarge_buffers};
pub(super) use transmit_timestamps::TransmitTimestamps;
