//! Failures of the system: sending fails, disks are full or read-only, the process is stopped. Each time the
//! node goes on, logs it in a line or two, and agrees again afterwards.

#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use support::ticks::assert_agreement;
use support::{PATIENCE, Process, client, not_run, pause, preloaded, scratch, server, wait_until};

const FAST: [&str; 2] = ["--interval", "200ms"];

/// Waits until this client is synchronized again, and both agree.
fn assert_agreement_again(server: &Process, client: &Process) {
    let ticks = client.events_of("tick").len();
    client.wait_for("tick", ticks, |tick| tick["state"] == "synchronized");
    let corrections = client.events_of("corrected").len();
    client.wait_for("corrected", corrections + 10, |_| true);
    pause(Duration::from_secs(2));
    assert_agreement(&[server, client], 1, 5_000_000, "afterwards");
    for node in [server, client] {
        assert!(node.log().lines().count() < 40, "{} floods its log: {}", node.name(), node.log());
    }
}

#[test]
fn when_nothing_can_be_sent_for_a_while_both_nodes_recover() {
    let (_dir, path) = scratch();
    let library = match preloaded("faults.c", &path) {
        Ok(library) => library,
        Err(why) => return not_run(&format!("the test of sending that fails: {why}")),
    };
    let start = |name: &str, fault: &Path, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meantime"));
        command.env("LD_PRELOAD", &library).env("MEANTIME_TEST_FAULT", fault);
        Process::start_by(name, command, &[arguments, &["--output", "json", "--tick", "100ms"]].concat())
    };
    let faults = ["server.fault", "client.fault"].map(|name| path.join(name));
    let listen = [&["server", "--listen", "127.0.0.1:0"], &FAST[..]].concat();
    let server = start("server", &faults[0], &listen);
    let mut client = start("faulty", &faults[1], &["client", &server.address()]);
    client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    let mut failed = 0;
    for errno in [Errno::ENOBUFS, Errno::EAGAIN, Errno::EPERM, Errno::ENETUNREACH] {
        for fault in &faults {
            fs::write(fault, (errno as i32).to_string()).expect("a file of ours");
            client.wait_for("holdover", failed, |_| true);
            failed += 1;
            fs::remove_file(fault).expect("a file of ours");
            client.wait_for("recovered", failed - 1, |_| true);
        }
    }
    assert_agreement_again(&server, &client);
    client.end(Signal::SIGTERM);
    let log = client.log();
    assert!(log.contains("sending a datagram failed "), "the failures were not counted: {log}");
}

/// A small file system in a directory, until this is dropped.
struct Disk(PathBuf);

impl Disk {
    fn new(path: PathBuf) -> Result<Disk, String> {
        fs::create_dir(&path).map_err(|error| error.to_string())?;
        Disk::over(path, MsFlags::empty())
    }

    /// A file system that hides the directory's content.
    fn over(path: PathBuf, flags: MsFlags) -> Result<Disk, String> {
        mount(Some("tmpfs"), &path, Some("tmpfs"), flags, Some("size=64k"))
            .map_err(|error| format!("no file system can be mounted: {error}"))?;
        Ok(Disk(path))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_stops_neither_log_nor_state_file_nor_record() {
    let (_dir, path) = scratch();
    let disk = match Disk::new(path.join("disk")) {
        Ok(disk) => disk,
        Err(why) => return not_run(&format!("the test of a full disk: {why}")),
    };
    let at = |name: &str| disk.0.join(name).display().to_string();
    let (log, record, state) = (at("log"), at("record.csv"), at("state"));
    let files = ["--log-file", &log, "--record", &record, "--state-dir", &state];
    let server = server("127.0.0.1:0", &[&FAST[..], &files[..]].concat());
    let client = client(&server.address(), "guest", &[]);
    client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    // All the space there is: the last write is incomplete.
    let filler = disk.0.join("filler");
    let full = fs::write(&filler, vec![0; 1 << 20]).expect_err("it is small");
    assert_eq!(full.raw_os_error(), Some(Errno::ENOSPC as i32));
    wait_until(PATIENCE, "the record to fail", || server.log().contains("cannot write the record"));
    assert_agreement_again(&server, &client);
    fs::remove_file(&filler).expect("a file of ours");
    wait_until(2 * PATIENCE, "the record to be written again", || server.log().contains("is written again"));
    assert_eq!(server.log().matches("the record").count(), 2, "{}", server.log());
}

#[test]
fn a_disk_that_becomes_read_only_stops_no_node() {
    let (_dir, path) = scratch();
    let at = |name: &str| path.join(name).display().to_string();
    let (record, state) = (at("record.csv"), at("state"));
    let mut server =
        server("127.0.0.1:0", &[&FAST[..], &["--record", &record, "--state-dir", &state]].concat());
    let client = client(&server.address(), "guest", &[]);
    client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    let disk = match Disk::over(path.clone(), MsFlags::MS_RDONLY) {
        Ok(disk) => disk,
        Err(why) => return not_run(&format!("the test of a read-only disk: {why}")),
    };
    wait_until(PATIENCE, "the record to fail", || server.log().contains("Read-only file system"));
    assert_agreement_again(&server, &client);
    assert_eq!(server.log().matches("the record").count(), 1, "{}", server.log());

    let mut late = support::server("127.0.0.1:0", &["--state-dir", &state]);
    late.address();
    assert_eq!(late.log().matches("cannot write in the state directory").count(), 1, "{}", late.log());
    assert!(late.is_alive());

    drop(disk);
    wait_until(2 * PATIENCE, "the record to be written again", || server.log().contains("is written again"));
    assert!(server.end(Signal::SIGTERM).0.success());
}

#[test]
fn a_log_that_cannot_be_written_stops_no_node() {
    let (_dir, path) = scratch();
    let log = path.join("log");
    symlink("/dev/full", &log).expect("a link");
    let server = server("127.0.0.1:0", &[&FAST[..], &["--log-file", &log.display().to_string()]].concat());
    let client = client(&server.address(), "guest", &[]);
    client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    assert_agreement_again(&server, &client);
}

#[test]
fn after_a_server_was_stopped_for_longer_than_a_membership_all_clients_register_again() {
    let server = server("127.0.0.1:0", &FAST);
    let client = client(&server.address(), "guest", &[]);
    client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    server.signal(Signal::SIGSTOP);
    client.wait_for("holdover", 0, |_| true);
    pause(Duration::from_secs(1));
    server.signal(Signal::SIGCONT);
    client.wait_for("recovered", 0, |_| true);
    assert_agreement_again(&server, &client);
}
