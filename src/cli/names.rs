//! Names of nodes, as an operator types them.

use meantime_core::wire::Name;

/// Why a name cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameError {
    /// The name is too long for a datagram, or has control characters.
    #[error("at most {len} bytes without control characters, as in '{0}'", len = Name::LEN)]
    TooLong(Name),
    /// A client's name is empty.
    #[error("a client needs a name; leave out the option for the host's name")]
    Empty,
    /// A server's name is empty.
    #[error("a server needs a name; leave out the option for 'server'")]
    EmptyServer,
    /// The label of a group is empty.
    #[error("a group needs a label; leave out the option for none")]
    EmptyLabel,
    /// The name of a client's key is empty, or begins or ends with a space.
    #[error("that is not a valid name of a client")]
    NotAClient,
}

/// Parses a node's name, which has to fit into a datagram.
pub(super) fn node_name(text: &str) -> Result<Name, NameError> {
    let name = Name::new(text);
    if name.as_str() == text { Ok(name) } else { Err(NameError::TooLong(name)) }
}

/// Parses a server's name, which is not empty.
pub(super) fn server_name(text: &str) -> Result<Name, NameError> {
    match node_name(text)? {
        name if name.as_str().trim().is_empty() => Err(NameError::EmptyServer),
        name => Ok(name),
    }
}

/// Parses a client's name, which is not empty.
pub(super) fn client_name(text: &str) -> Result<Name, NameError> {
    match node_name(text)? {
        name if name.as_str().trim().is_empty() => Err(NameError::Empty),
        name => Ok(name),
    }
}

/// Parses the label of a group, which is not empty.
pub(super) fn label(text: &str) -> Result<Name, NameError> {
    match node_name(text)? {
        name if name.as_str().trim().is_empty() => Err(NameError::EmptyLabel),
        name => Ok(name),
    }
}

/// Parses the name of the client that a key is for.
pub(super) fn key_owner(text: &str) -> Result<Name, NameError> {
    match node_name(text)? {
        name if name.as_str().is_empty() || text.trim() != text => Err(NameError::NotAClient),
        name => Ok(name),
    }
}
