//! Why a network card stamps no datagrams.

use std::io;

/// Whether the settings of a network card may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardSetup {
    /// What the card stamps is switched on.
    Change,
    /// Only what is switched on already is used: other programs share the card.
    Keep,
}

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
    /// Its timestamps are off, and its settings are to stay as they are.
    #[error("its timestamps are off; --timestamps hardware switches them on")]
    SwitchedOff,
    /// The card has to be set up, and this process may not do that.
    #[error("to set it up needs CAP_NET_ADMIN")]
    NotAllowed,
    /// The process that would restore the card's settings cannot be started, or has ended.
    #[error("the process that would restore its settings does not run: {0}")]
    NotRestorable(io::Error),
    /// Another program uses the card in a way that excludes these settings.
    #[error("another program uses it in another way")]
    InUse,
    /// The driver does not have the settings that it offers.
    #[error("its driver does not have the settings that it offers")]
    NoSuchSettings,
    /// The driver cannot change what the card stamps.
    #[error("its driver cannot change what it stamps")]
    Unchangeable,
    /// The driver refuses the settings, for another reason.
    #[error("it cannot be set up: {0}")]
    Refused(io::Error),
}
