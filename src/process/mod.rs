//! RING 1. The process itself: what it may do, and who looks after it.
//!
//! It decides in which order rights are given up, and never which of them a node needs; nor does it know what
//! a node is.
//!
//! * [`Account`] is a user of this machine; [`drop_privileges`] keeps what is needed and no more.
//! * [`ServiceManager`] is the service manager that has started the process, if one has.
//!
//! There is no system call filter and no Landlock in here, on purpose. A client looks its server up by
//! whatever the machine's libc is told to use, and that may call anything: a filter from inside would have to
//! be kept up with every libc, while systemd keeps such lists, and the units in `contrib/systemd` use them.
//! Landlock holds for directories as they are at the start; a record goes on when its directory was unmounted
//! and comes back, and must.

#[cfg(target_os = "linux")]
mod privileges;
#[cfg(not(target_os = "linux"))]
#[path = "no_privileges.rs"]
mod privileges;
mod service_manager;

pub use privileges::{Account, RetainedPrivilege, can_change_user, drop_privileges};
pub use service_manager::ServiceManager;
