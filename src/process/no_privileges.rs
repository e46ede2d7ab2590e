//! Systems without capabilities: no privilege is dropped, and no other user can be chosen.

use std::io;
use std::path::Path;

/// A user of this machine; none can be found here.
#[derive(Clone, Debug)]
pub enum Account {}

/// The privilege that a process keeps after its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainedPrivilege {
    /// No privilege.
    None,
    /// To set the machine's clock.
    SetClock,
    /// To change the settings of network cards.
    ConfigureCards,
}

impl Account {
    /// Finds no user.
    ///
    /// # Errors
    /// Always.
    pub fn find(_name: &str) -> io::Result<Option<Account>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "that works on Linux only"))
    }

    /// Makes this user the owner of a file.
    ///
    /// # Errors
    /// There is no such user.
    pub fn own(&self, _path: &Path) -> io::Result<()> {
        match *self {}
    }

    /// The user's number.
    pub fn id(&self) -> u32 {
        match *self {}
    }
}

/// Whether this process can become another user.
pub fn can_change_user() -> bool {
    false
}

/// Whether this process can change the settings of network cards.
pub fn can_configure_cards() -> bool {
    false
}

/// Drops nothing.
///
/// # Errors
/// Never.
pub fn drop_privileges(_account: Option<&Account>, _need: RetainedPrivilege) -> io::Result<()> {
    Ok(())
}
