//! The examples run, and do what they say.

mod support;

#[path = "../examples/core_by_hand.rs"]
mod core_by_hand;
#[allow(dead_code, reason = "the test calls the part below main")]
#[path = "../examples/read_control_socket.rs"]
mod read_control_socket;
#[path = "../examples/two_nodes_in_memory.rs"]
mod two_nodes_in_memory;

use support::Process;
use tempfile::TempDir;

#[test]
fn a_server_and_a_client_driven_by_hand_synchronize() {
    core_by_hand::main();
}

#[test]
fn two_nodes_in_memory_synchronize_and_go_into_holdover() {
    two_nodes_in_memory::main();
}

#[test]
fn the_status_of_a_server_is_read_from_its_control_socket() {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("server.sock");
    let control = socket.display().to_string();
    let arguments = ["server", "--listen", "127.0.0.1:0", "--output", "json", "--control", &control];
    let server = Process::start("server", &arguments);
    let _ = server.wait_for("listening", 0, |_| true);
    let status = read_control_socket::status(&socket).unwrap();
    assert_eq!(status["role"], "server", "{status}");
}
