//! Which datagrams of a session have come already: an old one that comes again says nothing.
//!
//! The sliding window of IPsec (RFC 4303, section 3.4.3). It rests on the sequence numbers, which only a tag
//! makes trustworthy: without a key, one changed bit could move the window to where no genuine number ever
//! comes.

use crate::wire::is_newer;

/// The newest numbers that have come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    newest: u32,
    /// A bit for each of the last numbers that has come; the newest is the lowest.
    seen: u64,
}

impl Window {
    /// Takes a number in; false if it has come already, or is too old to know.
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
    fn every_number_comes_once_and_may_be_late() {
        let mut window = Window::default();
        let comes = |window: &mut Window, numbers: &[u32]| -> Vec<bool> {
            numbers.iter().map(|number| window.admit(*number)).collect()
        };
        assert_eq!(comes(&mut window, &[1, 3, 2, 3, 1, 2]), [true, true, true, false, false, false]);
        assert_eq!(comes(&mut window, &[100, 37, 36, 37, 100]), [true, true, false, false, false]);
        assert_eq!(comes(&mut window, &[100_000, 99_937, 99_936, 100]), [true, true, false, false]);
    }

    #[test]
    fn numbers_wrap_around() {
        let mut window = Window { newest: u32::MAX, seen: 1 };
        assert!(window.admit(1) && window.admit(u32::MAX - 1));
        assert!(!window.admit(u32::MAX) && !window.admit(1));
    }
}
