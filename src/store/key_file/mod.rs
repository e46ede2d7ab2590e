//! Key files: `meantime keygen` writes them, `--key-file` reads them.
//!
//! A text file with one key a line, the newest last. Empty lines and lines that begin with `#` are ignored:
//!
//! ```text
//! master 1 64-hexadecimal-digits           the secret that all nodes' keys follow from
//! node 1 64-hexadecimal-digits lab-7       the key of the node lab-7 alone
//! ```
//!
//! A file belongs either to a server (`master` lines) or to one client (`node` lines with its name). A file
//! is refused if users other than its owner and its group can read it, or if its group can write it. The
//! group may read it because the credentials that systemd hands to a service are readable by their group.

mod watch;

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub use watch::{KeyFileWatcher, Rekey};

use meantime_core::wire::{KeyBytes, KeyId, Master, Name, NodeKey};
use meantime_core::{Keyring, MasterKeys, NodeKeys};

/// The keys of a key file.
#[derive(Clone, PartialEq)]
pub enum KeyFile {
    /// The master keys of a server's file, by number.
    Masters(Vec<(KeyId, KeyBytes)>),
    /// The keys of one client's file, by number.
    Node(Name, Vec<(KeyId, KeyBytes)>),
}

/// Why a key file cannot be used. The text never contains a part of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The path leads to a directory, a device or the like.
    #[error("it is not a regular file")]
    NotAFile,
    /// The file is not UTF-8.
    #[error("it is not text")]
    NotText,
    /// The file's mode lets other users read it, or its group write it.
    #[error("other users can read or change it (mode {0:04o}): chmod 600 it, and consider who has read it")]
    Exposed(u32),
    /// A line is wrong.
    #[error("line {line}: {error}")]
    Line {
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        error: KeyLineError,
    },
    /// No line has a key.
    #[error("there is no key in it")]
    Empty,
    /// A server was given a client's file.
    #[error("it belongs to the client {0}; a server needs the file that was made without --for")]
    ClientFile(Name),
    /// A client was given another client's file.
    #[error("it belongs to the client {owner}, not to {name}")]
    OtherClient {
        /// The client whose file it is.
        owner: Name,
        /// The client that it was given to.
        name: Name,
    },
}

/// What is wrong with a line of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyLineError {
    /// The second word is not a key's number.
    #[error("the second word must be the key's number, 1 to 65535")]
    Number,
    /// The third word is not a key.
    #[error("the third word must be 64 hexadecimal digits")]
    Digits,
    /// The line has another form.
    #[error("a line is 'master NUMBER DIGITS' or 'node NUMBER DIGITS NAME'")]
    Form,
    /// The last word of a `node` line is too long, or contains control characters.
    #[error("the last word is not a valid name of a node")]
    Name,
    /// The line belongs to another node than the lines above.
    #[error("one file cannot hold the keys of a server and a client, or of two clients")]
    MixedOwners,
    /// The number was used above.
    #[error("a second key {0}")]
    Duplicate(KeyId),
    /// The file has too many lines.
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
}

impl KeyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, other users can read it, or its text is not that of a key file.
    pub fn read(path: &Path) -> Result<KeyFile, KeyFileError> {
        let file = File::open(path)?;
        check_access(&file.metadata()?)?;
        let mut text = String::new();
        file.take(MAX_LEN).read_to_string(&mut text).map_err(|_| KeyFileError::NotText)?;
        KeyFile::parse(&text)
    }

    /// Parses a file's text.
    ///
    /// # Errors
    /// When a line is wrong, or there is no key.
    pub fn parse(text: &str) -> Result<KeyFile, KeyFileError> {
        let mut found: Option<KeyFile> = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            add_line(&mut found, line).map_err(|error| KeyFileError::Line { line: index + 1, error })?;
        }
        found.ok_or(KeyFileError::Empty)
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = String::from(HEADER);
        for (id, bytes) in self.keys() {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            text += &match self {
                KeyFile::Masters(_) => format!("master {id} {digits}\n"),
                KeyFile::Node(name, _) => format!("node {id} {digits} {name}\n"),
            };
        }
        text
    }

    /// The client that the file belongs to; `None`: a server.
    pub fn owner(&self) -> Option<Name> {
        match self {
            KeyFile::Masters(_) => None,
            KeyFile::Node(name, _) => Some(*name),
        }
    }

    /// The keys, by number, the newest last.
    pub fn keys(&self) -> &[(KeyId, KeyBytes)] {
        match self {
            KeyFile::Masters(keys) | KeyFile::Node(_, keys) => keys,
        }
    }

    /// The keys, by number, the newest last, for a change.
    pub fn keys_mut(&mut self) -> &mut Vec<(KeyId, KeyBytes)> {
        match self {
            KeyFile::Masters(keys) | KeyFile::Node(_, keys) => keys,
        }
    }

    /// The keys for a server.
    ///
    /// # Errors
    /// When the file belongs to a client.
    pub fn master_keys(&self) -> Result<MasterKeys, KeyFileError> {
        match self {
            KeyFile::Masters(keys) => Ok(keyring(keys, Master::new)),
            KeyFile::Node(name, _) => Err(KeyFileError::ClientFile(*name)),
        }
    }

    /// The keys for the client `name`. From a server's file they are derived.
    ///
    /// # Errors
    /// When the file belongs to another client.
    pub fn node_keys(&self, name: &Name) -> Result<NodeKeys, KeyFileError> {
        match self {
            KeyFile::Masters(keys) => Ok(keyring(keys, |secret| Master::new(secret).node(name))),
            KeyFile::Node(owner, keys) if owner == name => Ok(keyring(keys, NodeKey::new)),
            KeyFile::Node(owner, _) => Err(KeyFileError::OtherClient { owner: *owner, name: *name }),
        }
    }
}

fn keyring<K>(keys: &[(KeyId, KeyBytes)], key: impl Fn(&KeyBytes) -> K) -> Keyring<K> {
    Keyring::new(keys.iter().map(|(id, bytes)| (*id, key(bytes))).collect())
}

/// Adds the key of a line to the file; the first key decides whose file it is.
fn add_line(found: &mut Option<KeyFile>, line: &str) -> Result<(), KeyLineError> {
    let (owner, id, bytes) = parse_line(line)?;
    let file = found.get_or_insert_with(|| match owner {
        None => KeyFile::Masters(Vec::new()),
        Some(name) => KeyFile::Node(name, Vec::new()),
    });
    if file.owner() != owner {
        return Err(KeyLineError::MixedOwners);
    }
    let keys = file.keys_mut();
    if keys.iter().any(|(known, _)| *known == id) {
        return Err(KeyLineError::Duplicate(id));
    }
    if keys.len() == MAX_KEYS {
        return Err(KeyLineError::TooMany);
    }
    keys.push((id, bytes));
    Ok(())
}

/// The owner of a line's key (`None`: a server), the key's number and its bytes.
fn parse_line(line: &str) -> Result<(Option<Name>, KeyId, KeyBytes), KeyLineError> {
    let mut words = line.splitn(4, ' ');
    let kind = words.next().unwrap_or_default();
    let id = words.next().and_then(|word| word.parse().ok()).filter(|id| *id != 0);
    let id = KeyId(id.ok_or(KeyLineError::Number)?);
    let bytes = words.next().and_then(bytes_of_hex).ok_or(KeyLineError::Digits)?;
    match (kind, words.next()) {
        ("master", None) => Ok((None, id, bytes)),
        ("node", Some(text)) => match Name::new(text) {
            name if name.as_str() == text => Ok((Some(name), id, bytes)),
            _ => Err(KeyLineError::Name),
        },
        _ => Err(KeyLineError::Form),
    }
}

fn bytes_of_hex(digits: &str) -> Option<KeyBytes> {
    let digits = digits.as_bytes();
    let mut bytes = KeyBytes::default();
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(bytes)
}

fn check_access(metadata: &Metadata) -> Result<(), KeyFileError> {
    match metadata.mode() & 0o777 {
        _ if !metadata.is_file() => Err(KeyFileError::NotAFile),
        mode if mode & 0o027 != 0 => Err(KeyFileError::Exposed(mode)),
        _ => Ok(()),
    }
}

const HEADER: &str = "\
# Keys of meantime, one a line, the newest last. A process that can read this file can impersonate its nodes.
";
/// In bytes. A file of [`MAX_KEYS`] keys has some kilobytes; a longer file is not a key file.
const MAX_LEN: u64 = 64 << 10;
/// More than any rotation of keys needs; each key costs a comparison per datagram.
pub const MAX_KEYS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(byte: u8) -> String {
        format!("{byte:02x}").repeat(32)
    }

    fn error(text: &str) -> String {
        match KeyFile::parse(text) {
            Ok(_) => panic!("{text:?} was accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_written_file_is_parsed_to_the_same_keys() {
        let keys = vec![(KeyId(3), [7; 32]), (KeyId(1), [0xab; 32])];
        for file in [KeyFile::Masters(keys.clone()), KeyFile::Node(Name::new("a node's name"), keys)] {
            assert!(KeyFile::parse(&file.text()).is_ok_and(|parsed| parsed == file));
        }
    }

    #[test]
    fn the_format_is_the_one_in_the_modules_documentation() {
        let text = format!(
            "\n# x\nnode 1 {} lab-7\n  node 65535 {} lab-7\n",
            digits(1),
            digits(0xFE).to_uppercase()
        );
        let file = KeyFile::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((file.owner(), file.keys()[1]), (Some(Name::new("lab-7")), (KeyId(65_535), [0xfe; 32])));
    }

    #[test]
    fn an_error_names_the_line_and_contains_no_key() {
        let one = digits(1);
        for (text, reason) in [
            ("# nothing\n".to_owned(), "there is no key"),
            (format!("master 1 {one}\nmaster 1 {one}"), "line 2: a second key 1"),
            (format!("master 1 {one}\nnode 2 {one} x"), "line 2: one file cannot"),
            (format!("node 1 {one} x\nnode 2 {one} y"), "line 2: one file cannot"),
            (format!("\nmaster 0 {one}"), "line 2: the second word"),
            (format!("master 65536 {one}"), "line 1: the second word"),
            (format!("master 1 {one}0"), "64 hexadecimal"),
            (format!("master 1 {}", "é".repeat(32)), "64 hexadecimal"),
            (format!("master 1 {one} x"), "a line is"),
            (format!("node 1 {one}"), "a line is"),
            (format!("node 1 {one} {}", "x".repeat(25)), "not a valid name"),
            (format!("key 1 {one}"), "a line is"),
        ] {
            let error = error(&text);
            assert!(error.contains(reason) && !error.contains(&one), "{text:?}: {error}");
        }
        let many: String = (1..=65).map(|id| format!("master {id} {one}\n")).collect();
        assert!(error(&many).contains("line 65: more than"));
    }

    #[test]
    fn a_clients_key_is_derived_from_the_servers_master_key() {
        let (secret, name) = ([9; 32], Name::new("lab-7"));
        let masters = KeyFile::Masters(vec![(KeyId(1), secret)]);
        let own = KeyFile::Node(name, vec![(KeyId(1), Master::new(&secret).derive(&name))]);
        assert!(masters.node_keys(&name).ok() == own.node_keys(&name).ok());
        assert!(own.node_keys(&Name::new("lab-8")).is_err() && own.master_keys().is_err());
    }
}
