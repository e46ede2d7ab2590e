//! From root to a user that may set the clock, and nothing else. The only test of its process, which changes
//! to that user as a whole.

#![cfg(target_os = "linux")]

mod support;

use meantime::process::{Account, RetainedPrivilege, drop_privileges};
use nix::unistd::{Uid, geteuid, setuid};
use support::not_run;

#[test]
fn the_capability_to_set_the_clock_survives_the_change_of_user_which_is_final() {
    if !geteuid().is_root() {
        return not_run("the test of another user who may set the clock: only root can make one");
    }
    let Ok(Some(nobody)) = Account::find("nobody") else {
        return not_run("the test of another user who may set the clock: there is no user nobody");
    };
    drop_privileges(Some(&nobody), RetainedPrivilege::SetClock).expect("root may");
    assert_eq!(geteuid().as_raw(), nobody.id());
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("a thread");
    for set in ["CapPrm:\t0000000002000000", "CapEff:\t0000000002000000", "CapBnd:\t0000000000000000"] {
        assert!(status.contains(set), "{set} in {status}");
    }
    assert!(setuid(Uid::from_raw(0)).is_err(), "it became root again");
}
