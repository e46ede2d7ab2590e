//! The privileges of a running node: only those that it needs, whichever user has started it.

#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

use meantime::process::{RetainedPrivilege, drop_privileges};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use support::{Process, client, not_run, scratch, server, wait_until};

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

fn assert_no_privileges(node: &Process) {
    for set in SETS {
        // A user without CAP_SETPCAP cannot reduce the bounding set; with no_new_privs it gives nothing.
        if set != "CapBnd" || geteuid().is_root() {
            assert_eq!(node.status(set).trim_start_matches('0'), "", "{} of the {}", set, node.name());
        }
    }
    assert_eq!(node.status("NoNewPrivs"), "1");
}

#[test]
fn server_and_client_drop_all_privileges() {
    let server = server("127.0.0.1:0", &["--interval", "200ms"]);
    let client = client(&server.address(), "humble", &[]);
    client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    assert_no_privileges(&server);
    assert_no_privileges(&client);
}

/// The user that a test changes to.
fn test_user() -> Result<User, String> {
    if !geteuid().is_root() {
        return Err("only root can become another user".into());
    }
    let found = User::from_name("nobody").map_err(|error| error.to_string())?;
    found.ok_or_else(|| "there is no user nobody".into())
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a directory of ours");
}

#[test]
fn a_node_changes_to_the_given_user_which_owns_its_files() {
    let nobody = match test_user() {
        Ok(nobody) => nobody,
        Err(why) => return not_run(&format!("the test of --user: {why}")),
    };
    let (_dir, path) = scratch();
    open_to_all(&path);
    let (state, own) = (path.join("state"), path.join("own"));
    fs::create_dir(&own).expect("a directory");
    chown(&own, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).expect("root");
    let [state_text, record, control, log] =
        [state.clone(), own.join("record.csv"), own.join("control"), path.join("log")]
            .map(|path| path.display().to_string());
    let files = ["--state-dir", &state_text, "--record", &record, "--control", &control, "--log-file", &log];
    let mut node =
        server("127.0.0.1:0", &[&["--interval", "200ms", "--user", "nobody"], &files[..]].concat());
    let client = client(&node.address(), "guest", &[]);
    client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");

    let (uid, gid) = (nobody.uid.to_string(), nobody.gid.to_string());
    assert!(node.status("Uid").split_whitespace().all(|id| id == uid), "{}", node.status("Uid"));
    assert!(node.status("Gid").split_whitespace().all(|id| id == gid), "{}", node.status("Gid"));
    assert!(node.status("Groups").split_whitespace().all(|id| id == gid), "{}", node.status("Groups"));
    assert_no_privileges(&node);

    for file in [&state_text, &record, &control] {
        assert_eq!(fs::metadata(file).expect(file).uid(), nobody.uid.as_raw(), "{file}");
    }
    assert!(!node.log().contains("WARN"), "{}", node.log());
    let asked = meantime(&["status", "--control", &control]);
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    wait_until(support::PATIENCE, "the record to be written", || {
        fs::read_to_string(&record).is_ok_and(|text| text.lines().count() > 1)
    });
    assert!(node.end(Signal::SIGTERM).0.success());
    assert!(fs::read_to_string(&log).expect("the log").contains("datagrams received"), "written to the end");
    assert!(!Path::new(&control).exists(), "the socket is tidied up");
}

#[test]
fn a_directory_that_the_user_cannot_write_is_reported_at_the_start() {
    if let Err(why) = test_user() {
        return not_run(&format!("the test of --user and its files: {why}"));
    }
    let (_dir, path) = scratch();
    open_to_all(&path);
    let record = path.join("record.csv").display().to_string();
    let refused = meantime(&["server", "--listen", "127.0.0.1:0", "--user", "nobody", "--record", &record]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(&record) && said.contains("--record"), "{said}");

    let state = path.join("state");
    fs::create_dir(&state).expect("a directory");
    let node = server("127.0.0.1:0", &["--user", "nobody", "--state-dir", &state.display().to_string()]);
    node.address();
    assert_eq!(node.log().matches("cannot write in the state directory").count(), 1, "{}", node.log());
}

#[test]
fn a_process_that_cannot_change_the_user_reports_that() {
    let name = match test_user() {
        Ok(_) => "nobody",
        Err(why) => return not_run(&format!("the test of --user without the right to it: {why}")),
    };
    let binary = env!("CARGO_BIN_EXE_meantime");
    let arguments = ["--listen", "127.0.0.1:0", "--user", "root"];
    let mut command = Command::new("setpriv");
    command.args(["--reuid", name, "--regid", "nogroup", "--clear-groups", binary, "server"]).args(arguments);
    match command.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("only root can become the user root"), "{said}");
        }
        Err(error) => not_run(&format!("the test of --user without the right to it: setpriv: {error}")),
    }
}

#[test]
fn a_node_that_steers_the_clock_keeps_that_capability_and_no_other() {
    if !geteuid().is_root() {
        return not_run("the test of the one right that is kept: only root has it");
    }
    const CAP_SYS_TIME: u64 = 1 << 25;
    assert_only_kept(RetainedPrivilege::SetClock, CAP_SYS_TIME);
}

#[test]
fn the_process_that_restores_cards_keeps_that_capability_and_no_other() {
    if !geteuid().is_root() {
        return not_run("the test of the one right that is kept for network cards: only root has it");
    }
    const CAP_NET_ADMIN: u64 = 1 << 12;
    assert_only_kept(RetainedPrivilege::ConfigureCards, CAP_NET_ADMIN);
}

/// Drops privileges and checks which capabilities are left: these bits, if this machine has granted them.
fn assert_only_kept(privilege: RetainedPrivilege, bits: u64) {
    let all = capability_sets()[1];
    // Capabilities belong to a thread, and this test is one.
    drop_privileges(None, privilege).expect("root may give up what it has");
    let kept = all & bits;
    assert_eq!(capability_sets(), [0, kept, kept, 0, 0]);
    let status = fs::read_to_string("/proc/thread-self/status").expect("a thread");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
}

/// The capabilities of this thread, in the order of [`SETS`].
fn capability_sets() -> [u64; 5] {
    let status = fs::read_to_string("/proc/thread-self/status").expect("a thread");
    let held = |set: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{set}:"))).expect(set);
        u64::from_str_radix(line.trim(), 16).expect("a set of bits")
    };
    SETS.map(held)
}

fn meantime(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meantime")).args(arguments).output().expect("meantime starts")
}
