//! What the process may do: as little as it needs.
//!
//! The order matters. Groups are set while that is still allowed, then the user; the kernel would take all
//! capabilities together with the user root, so they are kept over that step, and then cut down to the one
//! that is needed. The bounding set and `no_new_privs` close the way back: nothing that this process might be
//! made to execute gets more.

use std::ffi::CString;
use std::io;
use std::os::unix::fs::chown;
use std::path::Path;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setresgid, setresuid};

/// A user of this machine.
#[derive(Clone, Debug)]
pub struct Account {
    name: String,
    user: Uid,
    group: Gid,
}

/// What a process still needs after its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainedPrivilege {
    /// No right that others do not have.
    None,
    /// To set the machine's clock: `CAP_SYS_TIME`.
    SetClock,
}

impl Account {
    /// The user of this name; `None`: there is none.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn find(name: &str) -> io::Result<Option<Account>> {
        let user = User::from_name(name)?;
        Ok(user.map(|user| Account { name: user.name, user: user.uid, group: user.gid }))
    }

    /// Makes a file or directory, not what a link points to, this user's own.
    ///
    /// # Errors
    /// When that is not allowed, or nothing is there.
    pub fn own(&self, path: &Path) -> io::Result<()> {
        if std::fs::symlink_metadata(path)?.is_symlink() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a link"));
        }
        chown(path, Some(self.user.as_raw()), Some(self.group.as_raw()))
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.user.as_raw()
    }
}

/// Whether this process could become another user.
pub fn can_change_user() -> bool {
    has(Capability::CAP_SETUID) && has(Capability::CAP_SETGID)
}

/// Becomes this user, with its groups, and gives up every right but `need`, for good. A right that is not
/// there is not missed here. Without an account the user stays, but gets no rights by being root.
///
/// # Errors
/// When the system refuses: then some rights may be given up and others not, and the process should end.
pub fn drop_privileges(account: Option<&Account>, need: RetainedPrivilege) -> io::Result<()> {
    let kept = match need {
        RetainedPrivilege::SetClock if has(Capability::CAP_SYS_TIME) => {
            CapsHashSet::from([Capability::CAP_SYS_TIME])
        }
        _ => CapsHashSet::new(),
    };
    if has(Capability::CAP_SETPCAP) {
        caps::clear(None, CapSet::Bounding).map_err(io::Error::other)?;
    }
    if let Some(account) = account.filter(|account| account.user != geteuid()) {
        prctl::set_keepcaps(true)?;
        become_user(account)?;
        prctl::set_keepcaps(false)?;
    }
    // None of these sets may have in it what the next one lacks.
    caps::clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    for set in [CapSet::Effective, CapSet::Permitted] {
        // What becoming the user has taken out of the effective set comes back only while it is permitted.
        caps::set(None, set, &kept).map_err(io::Error::other)?;
    }
    caps::clear(None, CapSet::Inheritable).map_err(io::Error::other)?;
    prctl::set_no_new_privs()?;
    Ok(())
}

fn become_user(account: &Account) -> io::Result<()> {
    let name = CString::new(account.name.as_str())?;
    initgroups(&name, account.group)?;
    setresgid(account.group, account.group, account.group)?;
    setresuid(account.user, account.user, account.user)?;
    Ok(())
}

/// Whether the process has this right now. If the kernel does not say, it has not.
fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Permitted, capability).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Giving up is for good, and these tests are threads of one process: tests/rights.rs looks at real ones.

    #[test]
    fn users_are_found_by_their_names() {
        assert_eq!(Account::find("root").unwrap().map(|root| root.id()), Some(0));
        assert!(Account::find("nobody-of-this-name").unwrap().is_none());
    }

    #[test]
    fn what_a_link_points_to_keeps_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let me = Account { name: "me".into(), user: geteuid(), group: nix::unistd::getegid() };
        assert!(me.own(&link).is_err());
        assert!(me.own(&target).is_ok());
        assert!(me.own(&dir.path().join("missing")).is_err());
    }
}
