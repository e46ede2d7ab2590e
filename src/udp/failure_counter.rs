//! What the network would not carry: counted, and told once in a while.

use std::io;

use meantime_core::time::{Monotonic, Span};

/// Counts the failures of one kind of call and keeps them from flooding the log.
#[derive(Debug)]
pub struct FailureCounter {
    doing: &'static str,
    count: u64,
    quiet_until: Option<Monotonic>,
}

impl FailureCounter {
    /// No failures yet of what is described by `doing`.
    pub fn new(doing: &'static str) -> FailureCounter {
        FailureCounter { doing, count: 0, quiet_until: None }
    }

    /// Counts a failure; true if it was told.
    pub fn note(&mut self, now: Monotonic, error: &io::Error) -> bool {
        self.count += 1;
        let tell = self.quiet_until.is_none_or(|until| now >= until);
        if tell {
            log::debug!("{} failed: {error} ({} in all)", self.doing, self.count);
            self.quiet_until = Some(now + QUIET);
        }
        tell
    }

    /// What failed.
    pub fn doing(&self) -> &'static str {
        self.doing
    }

    /// How many failures there were.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// From one line in the log to the next.
const QUIET: Span = Span::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_failures_is_told_once_in_ten_seconds() {
        let mut troubles = FailureCounter::new("sending");
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let told = (0..30_000)
            .filter(|ms| troubles.note(Monotonic::default() + Span::from_millis(*ms), &refused))
            .count();
        assert_eq!((told, troubles.count()), (3, 30_000));
    }
}
