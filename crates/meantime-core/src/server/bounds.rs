//! The largest difference that the bounds of all clocks allow.

use crate::time::Span;

/// The two largest of some bounds; unknown as soon as one of them is unknown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LargestBounds {
    first: Option<Span>,
    second: Option<Span>,
    has_unknown: bool,
}

impl LargestBounds {
    /// Adds the bound of one clock.
    pub(super) fn add(&mut self, bound: Option<Span>) {
        self.has_unknown |= bound.is_none();
        let lower = bound.min(self.first);
        self.first = bound.max(self.first);
        self.second = self.second.max(lower);
    }

    /// The maximum difference of two of these clocks: the sum of the two largest bounds, if all are known.
    pub(super) fn sum(&self) -> Option<Span> {
        Some(self.first? + self.second?).filter(|_| !self.has_unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bounds: &[Option<Span>]) -> Option<Span> {
        let mut largest = LargestBounds::default();
        bounds.iter().for_each(|bound| largest.add(*bound));
        largest.sum()
    }

    #[test]
    fn two_clocks_differ_by_the_sum_of_the_two_largest_bounds_if_all_have_one() {
        let us = |us| Some(Span::from_micros(us));
        assert_eq!(sum(&[us(0), us(7), us(5), us(9)]), us(16));
        assert_eq!(sum(&[us(0), us(7)]), us(7));
        assert_eq!(sum(&[us(9), us(7), us(7)]), us(16));
        assert_eq!(sum(&[us(0), None, us(9)]), None);
        assert_eq!(sum(&[us(0)]), None);
    }
}
