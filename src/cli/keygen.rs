//! `meantime keygen`: makes a key file, adds keys to it and removes keys from it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::Failure;
use super::key_file::read_key_file;
use super::names::key_owner;
use super::random::random_bytes;
use crate::store::key_file::{KeyFile, MAX_KEYS};
use meantime_core::wire::{KeyId, Master, Name};

/// Make a key file for --key-file, readable by its owner only
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct KeygenArgs {
    /// The key file to write
    file: PathBuf,
    /// Add a key to the file as its newest
    #[arg(long, conflicts_with_all = ["remove", "owner"])]
    add: bool,
    /// Remove the key with this number from the file
    #[arg(long, value_name = "NUMBER", conflicts_with = "owner")]
    remove: Option<u16>,
    /// Write a file with the keys of this client only, which cannot impersonate another node
    #[arg(long = "for", value_name = "NAME", value_parser = key_owner, requires = "from")]
    owner: Option<Name>,
    /// With --for: the server's key file, from which the client's keys are derived
    #[arg(long, value_name = "FILE", requires = "owner")]
    from: Option<PathBuf>,
    /// Overwrite an existing file
    #[arg(long, conflicts_with_all = ["add", "remove"])]
    replace: bool,
}

/// Writes the file.
///
/// # Errors
/// When the file exists and must not be changed, does not exist and must be changed, or cannot be written.
pub(super) fn run(args: &KeygenArgs) -> Result<(), Failure> {
    let path = &args.file;
    let (file, done) = match (&args.owner, &args.from, args.remove) {
        (Some(owner), Some(from), _) => (client_file(owner, from)?, format!("the keys of {owner}")),
        (.., Some(number)) => (without_key(path, KeyId(number))?, format!("all keys but {number}")),
        _ if args.add => with_new_key(path)?,
        _ => (KeyFile::Masters(vec![(KeyId(1), random_bytes()?)]), "key 1".to_owned()),
    };
    if args.owner.is_some() && args.replace {
        refuse_master_keys(path)?;
    }
    let there = args.add || args.remove.is_some() || args.replace && path.exists();
    let written = if there { replace(path, &file.text()) } else { create(path, &file.text()) };
    written.map_err(|error| cannot_write(path, &error))?;
    // A closed stdout does not matter: the file is written.
    let _ = writeln!(io::stdout(), "{} now has {done}", path.display());
    Ok(())
}

/// A client's file must not overwrite a server's, such as the file that it is derived from: all clients would
/// need new keys.
fn refuse_master_keys(path: &Path) -> Result<(), Failure> {
    match KeyFile::read(path) {
        Ok(KeyFile::Masters(_)) => Err(Failure::Runtime(format!(
            "{} has the server's keys, which a client's must not overwrite; name another file",
            path.display()
        ))),
        _ => Ok(()),
    }
}

fn client_file(owner: &Name, from: &Path) -> Result<KeyFile, Failure> {
    match read_key_file(from)? {
        KeyFile::Masters(keys) => {
            let derived = keys.iter().map(|(id, secret)| (*id, Master::new(secret).derive(owner)));
            Ok(KeyFile::Node(*owner, derived.collect()))
        }
        KeyFile::Node(other, _) => Err(Failure::Runtime(format!(
            "{} has the keys of the client {other} alone, from which no others can be derived; name the server's file",
            from.display()
        ))),
    }
}

fn with_new_key(path: &Path) -> Result<(KeyFile, String), Failure> {
    let mut file = read_key_file(path)?;
    if let Some(owner) = file.owner() {
        return Err(Failure::Runtime(format!(
            "{} belongs to the client {owner}: add a key to the server's file, then make this file anew with --for, --from \
             and --replace",
            path.display()
        )));
    }
    if file.keys().len() >= MAX_KEYS {
        return Err(Failure::Runtime(format!(
            "{} has {MAX_KEYS} keys, the maximum: remove an old key first",
            path.display()
        )));
    }
    let newest = file.keys().iter().map(|(id, _)| id.0).max().unwrap_or(0);
    let free = (1..=u16::MAX).map(KeyId).find(|id| file.keys().iter().all(|(known, _)| known != id));
    let next = newest.checked_add(1).map(KeyId).or(free).unwrap_or_default();
    file.keys_mut().push((next, random_bytes()?));
    Ok((file, format!("key {next} as its newest; give it to the server first")))
}

fn without_key(path: &Path, number: KeyId) -> Result<KeyFile, Failure> {
    let mut file = read_key_file(path)?;
    let before = file.keys().len();
    file.keys_mut().retain(|(id, _)| *id != number);
    match file.keys().len() {
        0 => Err(Failure::Runtime(format!("{number} is the only key in {}", path.display()))),
        left if left == before => {
            Err(Failure::Runtime(format!("there is no key {number} in {}", path.display())))
        }
        _ => Ok(file),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::Runtime(match error.kind() {
        ErrorKind::AlreadyExists => {
            format!("{path} exists: --add adds a key to it, --replace overwrites it, and its keys are lost")
        }
        _ => format!("cannot write {path}: {error}"),
    })
}

/// Writes a new file, readable by its owner only.
fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Overwrites a file as a whole, or leaves it as it is. Owner and group stay.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let before = fs::metadata(path)?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = |temporary: &Path| {
        create(temporary, text)?;
        let file = File::open(temporary)?;
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
            fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(before.mode() & 0o640))?;
        fs::rename(temporary, path)
    };
    let written = write(&temporary);
    if written.is_err() {
        // The rest of it is useless; if it cannot be removed either, the reported error is the cause.
        let _ = fs::remove_file(&temporary);
    }
    written
}

const EXAMPLES: &str = "\
Examples:
  One key for a server and for clients that it trusts:
    meantime keygen cluster.key
  A file for one client, whose machine may be stolen:
    meantime keygen --for lab-7 --from cluster.key lab-7.key
  A change of keys while all nodes run: add a key, and give the file to the
  server, then to the clients (or make theirs anew); then remove the old key:
    meantime keygen --add cluster.key
    meantime keygen --for lab-7 --from cluster.key --replace lab-7.key
    meantime keygen --remove 1 cluster.key";
