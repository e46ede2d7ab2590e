//! The process itself: its privileges, and the service manager that has started it.
//!
//! It decides in which order privileges are dropped, and never which of them a node needs; it does not know
//! what a node is.
//!
//! * [`Account`] is a user of this machine; [`drop_privileges`] keeps only what is needed.
//! * [`ServiceManager`] is systemd, or another service manager that speaks sd_notify(3).
//!
//! There is no system call filter and no Landlock in here, on purpose. A client resolves its server's name by
//! the modules that the machine's libc is configured to use, and they may make any system call: a filter from
//! inside would have to follow every libc, while systemd maintains such lists, and the units in
//! `contrib/systemd` use them. Landlock applies to directories as they are at the start; but a record must
//! continue after its directory was unmounted and mounted again.

#[cfg(target_os = "linux")]
mod privileges;
#[cfg(not(target_os = "linux"))]
#[path = "no_privileges.rs"]
mod privileges;
mod service_manager;

pub use privileges::{Account, RetainedPrivilege, can_change_user, can_configure_cards, drop_privileges};
pub use service_manager::ServiceManager;
