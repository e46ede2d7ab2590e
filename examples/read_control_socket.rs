//! Asks a running node for its status over its control socket, and prints the fields of the answer.
//!
//! ```console
//! $ meantime server --control /run/meantime/server.sock
//! $ cargo run --example read_control_socket /run/meantime/server.sock
//! ```
//!
//! A request is one line of JSON, and so is its answer: docs/CONTROL.md.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

fn main() {
    let socket = std::env::args().nth(1).expect("the argument is the path of a control socket");
    let status = status(Path::new(&socket)).expect("the node answers");
    for (field, value) in status.as_object().into_iter().flatten() {
        println!("{field}: {value}");
    }
}

/// The status of the node at this socket.
pub(crate) fn status(socket: &Path) -> std::io::Result<Value> {
    let mut stream = BufReader::new(UnixStream::connect(socket)?);
    writeln!(stream.get_mut(), r#"{{"request":"status"}}"#)?;
    let mut answer = String::new();
    stream.read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
