//! Key files: what `meantime keygen` writes and `--key-file` reads.
//!
//! A text, one key a line, the newest last; empty lines and those that begin with `#` say nothing:
//!
//! ```text
//! master 1 64-hexadecimal-digits           the secret that all nodes' keys follow from
//! node 1 64-hexadecimal-digits lab-7       the key of the node lab-7 alone
//! ```
//!
//! A file is either a server's, of `master` lines, or one client's, of `node` lines with its name. It is
//! refused if others than its owner and its group may read it (systemd's credentials are their group's), or
//! its group may write it.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use meantime_core::time::{Monotonic, Now, Span};
use meantime_core::wire::{KeyBytes, KeyId, Master, Name, NodeKey};
use meantime_core::{Client, Keyring, MasterKeys, NodeKeys, Server};

/// What a key file holds.
#[derive(Clone, PartialEq)]
pub enum KeyFile {
    /// The secrets, by number.
    Masters(Vec<(KeyId, KeyBytes)>),
    /// One node's keys, by number.
    Node(Name, Vec<(KeyId, KeyBytes)>),
}

impl KeyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Why it cannot be used, in words.
    pub fn read(path: &Path) -> Result<KeyFile, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let about = file.metadata().map_err(|error| error.to_string())?;
        refuse_open_doors(&about)?;
        let mut text = String::new();
        file.take(MAX).read_to_string(&mut text).map_err(|_| "it is no text".to_owned())?;
        KeyFile::parse(&text)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// What is wrong with it, in words, and where. Never a part of a key.
    pub fn parse(text: &str) -> Result<KeyFile, String> {
        let mut found: Option<KeyFile> = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let read = parse_line(line);
            let (owner, id, bytes) = read.map_err(|reason| format!("line {}: {reason}", index + 1))?;
            let file = found.get_or_insert_with(|| match owner {
                None => KeyFile::Masters(Vec::new()),
                Some(name) => KeyFile::Node(name, Vec::new()),
            });
            if file.owner() != owner {
                return Err(format!("line {}: a file is a server's, or one client's", index + 1));
            }
            let keys = file.keys_mut();
            if keys.iter().any(|(known, _)| *known == id) {
                return Err(format!("line {}: a second key {id}", index + 1));
            }
            if keys.len() == MAX_KEYS {
                return Err(format!("line {}: more than {MAX_KEYS} keys", index + 1));
            }
            keys.push((id, bytes));
        }
        found.ok_or_else(|| "there is no key in it".to_owned())
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = String::from(HEAD);
        for (id, bytes) in self.keys() {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            text += &match self {
                KeyFile::Masters(_) => format!("master {id} {digits}\n"),
                KeyFile::Node(name, _) => format!("node {id} {digits} {name}\n"),
            };
        }
        text
    }

    /// The client whose file it is; `None`: a server's.
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

    /// The same, to be changed.
    pub fn keys_mut(&mut self) -> &mut Vec<(KeyId, KeyBytes)> {
        match self {
            KeyFile::Masters(keys) | KeyFile::Node(_, keys) => keys,
        }
    }

    /// What a server needs.
    ///
    /// # Errors
    /// When it is a client's.
    pub fn master_keys(&self) -> Result<MasterKeys, String> {
        match self {
            KeyFile::Masters(keys) => Ok(ring(keys, Master::new)),
            KeyFile::Node(name, _) => Err(format!(
                "it is that of the client {name}; a server needs the one that was made without --for"
            )),
        }
    }

    /// What the client `name` needs.
    ///
    /// # Errors
    /// When it is another's.
    pub fn node_keys(&self, name: &Name) -> Result<NodeKeys, String> {
        match self {
            KeyFile::Masters(keys) => Ok(ring(keys, |secret| Master::new(secret).node(name))),
            KeyFile::Node(owner, keys) if owner == name => Ok(ring(keys, NodeKey::new)),
            KeyFile::Node(owner, _) => Err(format!("it is that of the client {owner}, not of {name}")),
        }
    }
}

fn ring<K>(keys: &[(KeyId, KeyBytes)], key: impl Fn(&KeyBytes) -> K) -> Keyring<K> {
    Keyring::new(keys.iter().map(|(id, bytes)| (*id, key(bytes))).collect())
}

/// Whose key it is, its number and its bytes.
fn parse_line(line: &str) -> Result<(Option<Name>, KeyId, KeyBytes), String> {
    let mut words = line.splitn(4, ' ');
    let kind = words.next().unwrap_or_default();
    let id = words.next().and_then(|word| word.parse().ok()).filter(|id| *id != 0);
    let id = KeyId(id.ok_or("after the kind of key comes its number, 1 to 65535")?);
    let bytes = words.next().and_then(unhex).ok_or("after its number come 64 hexadecimal digits")?;
    let owner = match (kind, words.next()) {
        ("master", None) => None,
        ("node", Some(text)) => Some(Name::new(text)).filter(|name| name.as_str() == text),
        _ => return Err("a line is 'master NUMBER DIGITS' or 'node NUMBER DIGITS NAME'".to_owned()),
    };
    if kind == "node" && owner.is_none() {
        return Err("that is no name of a node".to_owned());
    }
    Ok((owner, id, bytes))
}

fn unhex(digits: &str) -> Option<KeyBytes> {
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

fn refuse_open_doors(about: &Metadata) -> Result<(), String> {
    match about.mode() & 0o777 {
        _ if !about.is_file() => Err("it is no file".to_owned()),
        mode if mode & 0o027 != 0 => Err(format!(
            "others may read or change it (mode {mode:04o}): chmod 600 it, and think about who has read it"
        )),
        _ => Ok(()),
    }
}

/// A node that can be given other keys while it runs.
pub trait Keyed {
    /// From now on the keys of this file count.
    ///
    /// # Errors
    /// Why they cannot be this node's.
    fn rekey(&mut self, now: Now, file: &KeyFile) -> Result<(), String>;
}

impl Keyed for Server {
    fn rekey(&mut self, _now: Now, file: &KeyFile) -> Result<(), String> {
        self.set_keys(file.master_keys()?);
        Ok(())
    }
}

impl Keyed for Client {
    fn rekey(&mut self, now: Now, file: &KeyFile) -> Result<(), String> {
        self.set_keys(now, file.node_keys(&self.name())?);
        Ok(())
    }
}

/// Looks every few seconds whether a key file has changed. One that cannot be used is told once, and changes
/// nothing.
#[derive(Debug)]
pub struct KeyWatch {
    path: PathBuf,
    next: Option<Monotonic>,
    seen: Option<Stamp>,
}

/// What changes with a file: its inode, length, time of change.
type Stamp = Option<(u64, u64, i64, i64)>;

impl KeyWatch {
    /// Whoever looks after this file, which was read a moment ago.
    pub fn new(path: PathBuf) -> KeyWatch {
        KeyWatch { path, next: None, seen: None }
    }

    /// Looks, if it is time; gives the node what has changed.
    pub fn look(&mut self, node: &mut impl Keyed, now: Now) {
        if self.next.is_some_and(|next| now.mono < next) {
            return;
        }
        self.next = Some(now.mono + LOOK_EVERY);
        let about = std::fs::metadata(&self.path).ok();
        let stamp = about.map(|about| (about.ino(), about.len(), about.ctime(), about.ctime_nsec()));
        let first = self.seen.is_none();
        if self.seen.replace(stamp) == Some(stamp) {
            return;
        }
        let path = self.path.display();
        match KeyFile::read(&self.path).and_then(|file| node.rekey(now, &file).map(|()| file)) {
            Ok(_) if first => {}
            Ok(file) => {
                let known: Vec<String> = file.keys().iter().map(|(id, _)| id.to_string()).collect();
                log::info!("the key file {path} has changed: keys {} now", known.join(", "));
            }
            Err(reason) if first => log::warn!(
                "the key file {path} cannot be read by this process any more, so that a change will not be noticed: {reason}"
            ),
            Err(reason) => log::warn!("the key file {path} has changed, and the old keys stay: {reason}"),
        }
    }
}

const HEAD: &str = "\
# Keys of meantime, one a line, the newest last. Whoever can read this can speak for its nodes.
";
/// A file of so many keys has some kilobytes; what is longer is something else.
const MAX: u64 = 64 << 10;
/// More than any rotation needs; each costs a comparison for each datagram.
pub const MAX_KEYS: usize = 64;
/// How often the file is looked at: a matter of microseconds, and nobody waits for it.
const LOOK_EVERY: Span = Span::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(byte: u8) -> String {
        format!("{byte:02x}").repeat(32)
    }

    fn wrong(text: &str) -> String {
        match KeyFile::parse(text) {
            Ok(_) => panic!("{text:?} was taken"),
            Err(reason) => reason,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let keys = vec![(KeyId(3), [7; 32]), (KeyId(1), [0xab; 32])];
        for file in [KeyFile::Masters(keys.clone()), KeyFile::Node(Name::new("a node's name"), keys)] {
            assert!(KeyFile::parse(&file.text()) == Ok(file));
        }
    }

    #[test]
    fn the_format_is_what_the_head_of_this_file_shows() {
        let text = format!(
            "\n# x\nnode 1 {} lab-7\n  node 65535 {} lab-7\n",
            digits(1),
            digits(0xFE).to_uppercase()
        );
        let file = KeyFile::parse(&text).unwrap_or_else(|reason| panic!("{reason}"));
        assert_eq!((file.owner(), file.keys()[1]), (Some(Name::new("lab-7")), (KeyId(65_535), [0xfe; 32])));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_the_key() {
        let one = digits(1);
        for (text, reason) in [
            ("# nothing\n".to_owned(), "there is no key"),
            (format!("master 1 {one}\nmaster 1 {one}"), "line 2: a second key 1"),
            (format!("master 1 {one}\nnode 2 {one} x"), "line 2: a file is"),
            (format!("node 1 {one} x\nnode 2 {one} y"), "line 2: a file is"),
            (format!("\nmaster 0 {one}"), "line 2: after the kind"),
            (format!("master 65536 {one}"), "line 1: after the kind"),
            (format!("master 1 {one}0"), "64 hexadecimal"),
            (format!("master 1 {}", "é".repeat(32)), "64 hexadecimal"),
            (format!("master 1 {one} x"), "a line is"),
            (format!("node 1 {one}"), "a line is"),
            (format!("node 1 {one} {}", "x".repeat(25)), "no name"),
            (format!("key 1 {one}"), "a line is"),
        ] {
            let said = wrong(&text);
            assert!(said.contains(reason) && !said.contains(&one), "{text:?}: {said}");
        }
        let many: String = (1..=65).map(|id| format!("master {id} {one}\n")).collect();
        assert!(wrong(&many).contains("line 65: more than"));
    }

    #[test]
    fn a_clients_key_is_the_one_that_follows_from_the_servers_secret() {
        let (secret, name) = ([9; 32], Name::new("lab-7"));
        let masters = KeyFile::Masters(vec![(KeyId(1), secret)]);
        let own = KeyFile::Node(name, vec![(KeyId(1), Master::new(&secret).derive(&name))]);
        assert!(masters.node_keys(&name) == own.node_keys(&name));
        assert!(own.node_keys(&Name::new("lab-8")).is_err() && own.master_keys().is_err());
    }
}
