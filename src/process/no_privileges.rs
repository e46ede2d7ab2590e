//! Where there are no capabilities nothing is given up, and nobody can be asked to.

use std::io;
use std::path::Path;

/// A user of this machine; none can be had.
#[derive(Clone, Debug)]
pub enum Account {}

/// What a process still needs after its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainedPrivilege {
    /// No right that others do not have.
    None,
    /// To set the machine's clock.
    SetClock,
}

impl Account {
    /// Nobody.
    ///
    /// # Errors
    /// Always.
    pub fn find(_name: &str) -> io::Result<Option<Account>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "that works on Linux only"))
    }

    /// Makes a file this user's own.
    ///
    /// # Errors
    /// There is no such user.
    pub fn own(&self, _path: &Path) -> io::Result<()> {
        match *self {}
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        match *self {}
    }
}

/// Whether this process could become another user.
pub fn can_change_user() -> bool {
    false
}

/// Gives up nothing.
///
/// # Errors
/// Never.
pub fn drop_privileges(_account: Option<&Account>, _need: RetainedPrivilege) -> io::Result<()> {
    Ok(())
}
