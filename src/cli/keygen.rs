//! `meantime keygen`: makes keys, adds some for a change, and takes old ones away.

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

/// Make a file with a key for --key-file, readable by nobody else
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct KeygenArgs {
    /// The file to write
    file: PathBuf,
    /// Add a further key to the file: it counts as the newest
    #[arg(long, conflicts_with_all = ["remove", "owner"])]
    add: bool,
    /// Take the key of this number out of the file
    #[arg(long, value_name = "NUMBER", conflicts_with = "owner")]
    remove: Option<u16>,
    /// Write the keys of one client alone, who then cannot play another, nor the server
    #[arg(long = "for", value_name = "NAME", value_parser = key_owner, requires = "from")]
    owner: Option<Name>,
    /// With --for: the server's key file, which they follow from
    #[arg(long, value_name = "FILE", requires = "owner")]
    from: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long, conflicts_with_all = ["add", "remove"])]
    replace: bool,
}

/// Writes the file.
///
/// # Errors
/// When it is there already and not to be changed, or is not there and should be, or cannot be written.
pub(super) fn run(args: &KeygenArgs) -> Result<(), Failure> {
    let path = &args.file;
    let (file, done) = match (&args.owner, &args.from, args.remove) {
        (Some(owner), Some(from), _) => (of_client(owner, from)?, format!("the keys of {owner}")),
        (.., Some(number)) => (without(path, KeyId(number))?, format!("all keys but {number}")),
        _ if args.add => with_another(path)?,
        _ => (KeyFile::Masters(vec![(KeyId(1), random_bytes()?)]), "key 1".to_owned()),
    };
    if args.owner.is_some() && args.replace {
        keep_masters(path)?;
    }
    let there = args.add || args.remove.is_some() || args.replace && path.exists();
    let written = if there { replace(path, &file.text()) } else { create(path, &file.text()) };
    written.map_err(|error| cannot_write(path, &error))?;
    // Nobody may be listening; the file is there all the same.
    let _ = writeln!(io::stdout(), "{} now has {done}", path.display());
    Ok(())
}

/// A client's file is not written over the server's, for instance over the one that it follows from: all
/// clients would have to get new ones.
fn keep_masters(path: &Path) -> Result<(), Failure> {
    match KeyFile::read(path) {
        Ok(KeyFile::Masters(_)) => Err(Failure::Runtime(format!(
            "{} has the server's keys: a client's are not written over them; give another file",
            path.display()
        ))),
        _ => Ok(()),
    }
}

fn of_client(owner: &Name, from: &Path) -> Result<KeyFile, Failure> {
    match read_key_file(from)? {
        KeyFile::Masters(keys) => {
            let derived = keys.iter().map(|(id, secret)| (*id, Master::new(secret).derive(owner)));
            Ok(KeyFile::Node(*owner, derived.collect()))
        }
        KeyFile::Node(other, _) => Err(Failure::Runtime(format!(
            "{} holds the keys of the client {other} alone: nothing follows from them; give the server's file",
            from.display()
        ))),
    }
}

fn with_another(path: &Path) -> Result<(KeyFile, String), Failure> {
    let mut file = read_key_file(path)?;
    if let Some(owner) = file.owner() {
        return Err(Failure::Runtime(format!(
            "{} is the client {owner}'s: add a key to the server's file, then make this one anew with --for, --from and \
             --replace",
            path.display()
        )));
    }
    if file.keys().len() >= MAX_KEYS {
        return Err(Failure::Runtime(format!(
            "{} has {MAX_KEYS} keys, and may have no more: remove an old one first",
            path.display()
        )));
    }
    let newest = file.keys().iter().map(|(id, _)| id.0).max().unwrap_or(0);
    let free = (1..=u16::MAX).map(KeyId).find(|id| file.keys().iter().all(|(known, _)| known != id));
    let next = newest.checked_add(1).map(KeyId).or(free).unwrap_or_default();
    file.keys_mut().push((next, random_bytes()?));
    Ok((file, format!("key {next} as its newest; give it to the server first")))
}

fn without(path: &Path, number: KeyId) -> Result<KeyFile, Failure> {
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
            format!(
                "{path} is there already: --add adds a key to it, --replace writes over it, and its keys are lost"
            )
        }
        _ => format!("cannot write {path}: {error}"),
    })
}

/// Writes a file that is not there yet, for its owner alone.
fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Writes over a file, wholly or not at all. It stays its owner's and its group's.
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
        // What is left of it helps nobody; if it cannot be removed either, that is the same trouble.
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
  A change of keys while everything runs: add a key, and give the file to the
  server; then to the clients (or make theirs anew); then take the old key out:
    meantime keygen --add cluster.key
    meantime keygen --for lab-7 --from cluster.key --replace lab-7.key
    meantime keygen --remove 1 cluster.key";
