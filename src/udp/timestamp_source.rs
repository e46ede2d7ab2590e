//! What records when a datagram is sent or received.

use std::fmt;

/// The timestamp source. Where a network card stamps one direction only, the kernel stamps the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimestampSource {
    /// The program reads its clock after receiving and before sending.
    User,
    /// The kernel timestamps each datagram when it is received and when it is sent.
    Kernel,
    /// The network card timestamps what is received, the kernel what is sent.
    HardwareReceive,
    /// The network card timestamps what is sent, the kernel what is received.
    HardwareTransmit,
    /// The network card timestamps each datagram when it is received and when it is sent.
    Hardware,
}

impl fmt::Display for TimestampSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimestampSource::User => "user",
            TimestampSource::Kernel => "kernel",
            TimestampSource::HardwareReceive => "hardware_receive",
            TimestampSource::HardwareTransmit => "hardware_transmit",
            TimestampSource::Hardware => "hardware",
        })
    }
}
