//! Which datagrams of a session have been received already, so that a replayed one is dropped.
//!
//! The sliding window of IPsec (RFC 4303, section 3.4.3). It relies on sequence numbers, so it is used only
//! where a tag authenticates them: without a key, one changed bit could move the window beyond all genuine
//! numbers.

use crate::wire::is_newer;

/// The newest sequence numbers of a session that have been received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReplayWindow {
    newest: u32,
    /// A bit for each of the last 64 numbers, set if it was received; the newest is the lowest.
    seen: u64,
}

impl ReplayWindow {
    /// Records a number; false if it was received before, or is too old to know.
    pub(super) fn admit(&mut self, number: u32) -> bool {
        if is_newer(number, self.newest) {
            let ahead = number.wrapping_sub(self.newest);
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.newest = number;
            return true;
        }
        let bit = 1_u64.checked_shl(self.newest.wrapping_sub(number)).unwrap_or(0);
        let fresh = bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn every_number_is_admitted_once_and_may_be_late() {
        let mut window = ReplayWindow::default();
        let admitted = |window: &mut ReplayWindow, numbers: &[u32]| -> Vec<bool> {
            numbers.iter().map(|number| window.admit(*number)).collect()
        };
        assert_eq!(admitted(&mut window, &[1, 3, 2, 3, 1, 2]), [true, true, true, false, false, false]);
        assert_eq!(admitted(&mut window, &[100, 37, 36, 37, 100]), [true, true, false, false, false]);
        assert_eq!(admitted(&mut window, &[100_000, 99_937, 99_936, 100]), [true, true, false, false]);
    }

    #[test]
    fn numbers_wrap_around() {
        let mut window = ReplayWindow { newest: u32::MAX, seen: 1 };
        assert!(window.admit(1) && window.admit(u32::MAX - 1));
        assert!(!window.admit(u32::MAX) && !window.admit(1));
    }
}
