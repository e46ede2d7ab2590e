//! How often a node reports what other nodes can make it do as often as they like.

use crate::time::{Monotonic, Span};

/// The limit of one kind of event: some at once, then one in ten seconds. A change that is left out and lasts
/// is reported when the limit allows it; a doubt is not. (GCRA: it stores only the time at which the next one
/// would come if all had come at equal intervals.)
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReportLimit {
    next: Option<Monotonic>,
}

impl ReportLimit {
    /// Whether another event may be reported now; if so, it is counted.
    pub(crate) fn allow(&mut self, now: Monotonic) -> bool {
        let next = self.next.map_or(now, |next| next.max(now));
        let is_allowed = next - now <= PERIOD.times(AT_ONCE - 1);
        if is_allowed {
            self.next = Some(next + PERIOD);
        }
        is_allowed
    }

    /// When another one may be reported; `None`: at any time.
    pub(crate) fn allows_at(&self) -> Option<Monotonic> {
        self.next.map(|next| next - PERIOD.times(AT_ONCE - 1))
    }
}

/// Enough for ten takeovers that follow one another, each with two changes at a member.
const AT_ONCE: i64 = 20;
/// As for the lines of the log.
const PERIOD: Span = Span::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_some_at_once_one_is_allowed_in_ten_seconds() {
        let mut limit = ReportLimit::default();
        assert_eq!(limit.allows_at(), None);
        let start = Monotonic::from_nanos(0);
        assert!((0..AT_ONCE).all(|_| limit.allow(start)));
        assert!((0..10_000).all(|ms| !limit.allow(start + Span::from_millis(ms))));
        let next = limit.allows_at().unwrap();
        assert!(!limit.allow(next - Span::from_nanos(1)));
        assert!(limit.allow(next));
        assert!(!limit.allow(next));
    }
}
