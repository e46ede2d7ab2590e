//! The memory that a machine shares with its host (QEMU's `ivshmem-plain`).
//!
//! Words of 64 bits. Those of [`Word`] are at the beginning; from [`SAMPLES`] on, samples of [`SAMPLE_WORDS`]
//! words each follow. `scripts/laboratory/truth.py` reads it too.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// The shared memory, mapped.
pub(crate) struct Page {
    words: &'static [AtomicU64],
}

/// What stands where.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(crate) enum Word {
    /// The host asks for a session of ping-pong by counting this up.
    Requested,
    /// The last session that the machine has played to its end.
    Played,
    /// Set by the machine: the number of this ping.
    Ping,
    /// Set by the host: the ping that it has seen last.
    Pong,
    /// Set by the host before `Pong`: its counter at that moment.
    PongCounter,
    /// The result of the session: the machine's counter minus the host's is at least this (signed).
    Least,
    /// And at most this.
    Most,
    /// Set by the host: samples are wanted when the machine's counter is at this, and ...
    Origin,
    /// ... each so many counts after that. 0: none are wanted.
    Period,
    /// How many samples there are.
    Count,
}

impl Page {
    /// Maps a file, all of it.
    ///
    /// # Errors
    /// The system's.
    #[expect(unsafe_code, reason = "memory is mapped")]
    pub(crate) fn open(path: &Path) -> io::Result<Page> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, wherever the system likes, of an open file; it touches no memory of this
        // program.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping is that long, begins at a page, hence is aligned, is never unmapped, and is
        // only ever touched atomically. Any bits are a number.
        let words = unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>(), length / 8) };
        Ok(Page { words })
    }

    /// A word as it is now; what was written before it, by whomever, can be seen.
    pub(crate) fn get(&self, word: Word) -> u64 {
        self.words[word as usize].load(Ordering::Acquire)
    }

    /// Sets a word, after all that was set before.
    pub(crate) fn set(&self, word: Word, value: u64) {
        self.words[word as usize].store(value, Ordering::Release);
    }

    /// Appends a sample. Whether there was room for it.
    pub(crate) fn append(&self, sample: [u64; SAMPLE_WORDS]) -> bool {
        let count = self.get(Word::Count);
        let first = SAMPLES + count as usize * SAMPLE_WORDS;
        let Some(room) = self.words.get(first..first + SAMPLE_WORDS) else { return false };
        room.iter().zip(sample).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
        self.set(Word::Count, count + 1);
        true
    }
}

/// The first word of the first sample.
const SAMPLES: usize = 512;

/// Counter and `CLOCK_REALTIME`, counter and `CLOCK_MONOTONIC_RAW` (ns), and how many counts the longer
/// reading took.
pub(crate) const SAMPLE_WORDS: usize = 5;
