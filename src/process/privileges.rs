//! The least privilege: the process keeps only what it needs.
//!
//! The order matters. Groups are set while that is still allowed, then the user; the kernel would remove all
//! capabilities together with the user root, so they are kept over that step, and then reduced to the one
//! that is needed. The bounding set and `no_new_privs` make this final: a program that an attacker makes this
//! process execute gets no more.

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

/// The privilege that a process keeps after its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainedPrivilege {
    /// No privilege.
    None,
    /// To set the machine's clock: `CAP_SYS_TIME`.
    SetClock,
    /// To change the settings of network cards: `CAP_NET_ADMIN`.
    ConfigureCards,
}

impl Account {
    /// The user of this name; `None`: there is none.
    ///
    /// # Errors
    /// When the system cannot look it up.
    pub fn find(name: &str) -> io::Result<Option<Account>> {
        let user = User::from_name(name)?;
        Ok(user.map(|user| Account { name: user.name, user: user.uid, group: user.gid }))
    }

    /// Makes this user the owner of a file or directory, but not of the target of a link.
    ///
    /// # Errors
    /// When that is not allowed, or nothing is there.
    pub fn own(&self, path: &Path) -> io::Result<()> {
        if std::fs::symlink_metadata(path)?.is_symlink() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a link"));
        }
        chown(path, Some(self.user.as_raw()), Some(self.group.as_raw()))
    }

    /// The user's number.
    pub fn id(&self) -> u32 {
        self.user.as_raw()
    }
}

/// Whether this process can become another user.
pub fn can_change_user() -> bool {
    has(Capability::CAP_SETUID) && has(Capability::CAP_SETGID)
}

/// Whether this process can change the settings of network cards.
pub fn can_configure_cards() -> bool {
    has(Capability::CAP_NET_ADMIN)
}

/// Becomes this user, with its groups, and drops every privilege but `retained`, for good. It is no error if
/// that one is missing. Without an account the user stays the same, but has no privileges by being root.
///
/// # Errors
/// When the system refuses: then some privileges may be dropped and others not, and the process should end.
pub fn drop_privileges(account: Option<&Account>, retained: RetainedPrivilege) -> io::Result<()> {
    let needed = match retained {
        RetainedPrivilege::None => None,
        RetainedPrivilege::SetClock => Some(Capability::CAP_SYS_TIME),
        RetainedPrivilege::ConfigureCards => Some(Capability::CAP_NET_ADMIN),
    };
    let kept: CapsHashSet = needed.into_iter().filter(|capability| has(*capability)).collect();
    if has(Capability::CAP_SETPCAP) {
        caps::clear(None, CapSet::Bounding).map_err(io::Error::other)?;
    }
    if let Some(account) = account.filter(|account| account.user != geteuid()) {
        prctl::set_keepcaps(true)?;
        become_user(account)?;
        prctl::set_keepcaps(false)?;
    }
    // No set may contain what the next one lacks.
    caps::clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    for set in [CapSet::Effective, CapSet::Permitted] {
        // A capability that was removed from the effective set can be restored only while it is permitted.
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

/// Whether the process has this capability. If the kernel does not report it, it has not.
fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Permitted, capability).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Dropping is final, and these tests are threads of one process: tests/rights.rs tests real ones.

    #[test]
    fn users_are_found_by_their_names() {
        assert_eq!(Account::find("root").unwrap().map(|root| root.id()), Some(0));
        assert!(Account::find("no-user-of-this-name").unwrap().is_none());
    }

    #[test]
    fn the_target_of_a_link_keeps_its_owner() {
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
