//! Where control sockets are.

use std::path::{Path, PathBuf};

/// What kind of node serves a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server.
    Server,
    /// A client.
    Client,
}

impl Role {
    /// Both, in the order in which a command looks for them: a server knows more.
    pub const BOTH: [Role; 2] = [Role::Server, Role::Client];

    fn file(self) -> &'static str {
        match self {
            Role::Server => "server.sock",
            Role::Client => "client.sock",
        }
    }

    /// Where a node of this kind has its socket unless it is told otherwise: under `/run` for root, else in
    /// the user's runtime directory, or in a directory of the user's own under `/tmp` where there is none.
    pub fn default_path(self) -> PathBuf {
        directory().join(self.file())
    }
}

/// The directory of the default sockets.
fn directory() -> PathBuf {
    let user = nix::unistd::geteuid();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| Path::new(path).is_absolute());
    match runtime {
        _ if user.is_root() => PathBuf::from("/run/meantime"),
        Some(runtime) => PathBuf::from(runtime).join("meantime"),
        None => PathBuf::from(format!("/tmp/meantime-{user}")),
    }
}
