//! Failures of the network: counted, and logged once in a while.

use std::io;

use meantime_core::time::{Monotonic, Span};

/// Counts the failures of one kind of call and limits their lines in the log.
#[derive(Debug)]
pub(super) struct FailureCounter {
    call: &'static str,
    count: u64,
    quiet_until: Option<Monotonic>,
}

/// Whether a failure was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Logged {
    /// It was.
    Yes,
    /// Another one was logged shortly before.
    No,
}

impl FailureCounter {
    /// No failures yet of the calls that `call` describes.
    pub(super) fn new(call: &'static str) -> FailureCounter {
        FailureCounter { call, count: 0, quiet_until: None }
    }

    /// Counts a failure, and logs it at `debug` unless another one was logged within the last ten seconds.
    pub(super) fn count_failure(&mut self, now: Monotonic, error: &io::Error) -> Logged {
        self.count += 1;
        if self.quiet_until.is_some_and(|until| now < until) {
            return Logged::No;
        }
        log::debug!("{} failed: {error} ({} in all)", self.call, self.count);
        self.quiet_until = Some(now + LOG_PERIOD);
        Logged::Yes
    }

    /// Logs how many failures there were, if any.
    pub(super) fn log_total(&self) {
        if self.count > 0 {
            log::info!("{} failed {} times", self.call, self.count);
        }
    }
}

/// From one line in the log to the next.
const LOG_PERIOD: Span = Span::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_failures_are_logged_once_in_ten_seconds() {
        let mut failures = FailureCounter::new("sending");
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let logged = (0..30_000)
            .map(|ms| failures.count_failure(Monotonic::default() + Span::from_millis(ms), &refused))
            .filter(|logged| *logged == Logged::Yes)
            .count();
        assert_eq!((logged, failures.count), (3, 30_000));
    }
}
