//! What records when a datagram is sent or received.

use std::fmt;

/// The timestamp source. A network card's own timestamps would be a third one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimestampSource {
    /// The program reads its clock after receiving and before sending.
    User,
    /// The kernel timestamps each datagram when it is received and when it is sent.
    Kernel,
}

impl fmt::Display for TimestampSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimestampSource::User => "user",
            TimestampSource::Kernel => "kernel",
        })
    }
}
