//! Limits the rate of log lines that datagrams can provoke: of each kind of event ten lines at once, then one
//! per ten seconds. The lines left out are counted, and the next line has their number. Stdout always has all
//! events.

use std::collections::HashMap;

use crate::clock::HostRaw;
use meantime_core::time::Span;

/// Decides which lines go to the log.
#[derive(Debug, Default)]
pub(super) struct Limiter(HashMap<&'static str, Budget>);

/// How many lines of one kind may be logged.
#[derive(Clone, Copy, Debug)]
struct Budget {
    /// Lines that may still be logged at once.
    left: u32,
    /// When that number was last increased.
    since: HostRaw,
    omitted: u64,
}

impl Limiter {
    /// Whether another line of this kind may be logged; if so, how many were left out since the last.
    pub(super) fn admit(&mut self, kind: &'static str, now: HostRaw) -> Option<u64> {
        let kind = self.0.entry(kind).or_insert(Budget { left: AT_ONCE, since: now, omitted: 0 });
        let earned = now.since(kind.since).as_nanos() / PERIOD.as_nanos();
        if earned > 0 {
            kind.left = AT_ONCE.min(kind.left.saturating_add(earned.try_into().unwrap_or(AT_ONCE)));
            kind.since = now;
        }
        match kind.left.checked_sub(1) {
            Some(left) => {
                kind.left = left;
                Some(std::mem::take(&mut kind.omitted))
            }
            None => {
                kind.omitted += 1;
                None
            }
        }
    }
}

/// Enough lines to show what happens.
const AT_ONCE: u32 = 10;
/// After this time another line of the same kind may be logged.
const PERIOD: Span = Span::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> HostRaw {
        HostRaw::from_nanos(Span::from_millis(ms).as_nanos())
    }

    #[test]
    fn a_flood_of_one_kind_leaves_few_lines_and_no_other_kind_out() {
        let mut limiter = Limiter::default();
        let logged = (0..60_000).filter(|ms| limiter.admit("holdover", at(*ms)).is_some()).count();
        assert_eq!(logged, 10 + 5);
        assert_eq!(limiter.admit("recovered", at(60_000)), Some(0));
    }

    #[test]
    fn the_next_line_has_the_number_of_those_left_out() {
        let mut limiter = Limiter::default();
        assert!((0..10).all(|_| limiter.admit("refused", at(0)) == Some(0)));
        assert!((0..7).all(|_| limiter.admit("refused", at(1)).is_none()));
        assert_eq!(limiter.admit("refused", at(10_001)), Some(7));
    }
}
