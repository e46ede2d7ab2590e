//! Why a network card stamps no datagrams.

use std::io;

/// Why a network card stamps no datagrams.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// The interface does not exist any more, or cannot be asked.
    #[error("it cannot be asked: {0}")]
    Unknown(io::Error),
    /// The driver offers no timestamps of the card.
    #[error("it stamps no datagrams")]
    NotOffered,
    /// The kernel is set to report sent datagrams without their interface.
    #[error("the setting net.core.tstamp_allow_data is 0")]
    NoInterfaces,
    /// The card has no clock that can be read.
    #[error("it has no clock that can be read")]
    NoClock,
    /// The card stamps certain datagrams of other protocols only.
    #[error("it stamps no datagrams of this protocol")]
    OtherProtocols,
    /// The card has to be set up, and this process may not do that.
    #[error("to set it up needs CAP_NET_ADMIN")]
    NotAllowed,
    /// The driver refuses the settings.
    #[error("it cannot be set up: {0}")]
    Refused(io::Error),
}
