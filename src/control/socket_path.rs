//! The default paths of control sockets.

use std::path::{Path, PathBuf};

/// Whether a node is a server or a client.
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

    /// The path of the socket of such a node, unless the operator names another: under `/run` for root, else
    /// in the user's runtime directory; without one, in a directory under `/tmp` with the user's id.
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
