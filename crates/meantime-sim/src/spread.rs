//! How far clocks are apart.

use meantime_core::time::Span;

/// How far clocks are apart, over all pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// The mean of the squared distances of all pairs, in ns².
    pub mean_square: f64,
    /// The largest distance.
    pub max: Span,
}

impl Spread {
    /// Of clocks at one moment; `None` with fewer than two. Over n clocks the sum of (xᵢ − xⱼ)² over all
    /// pairs is n·Σx² − (Σx)², the x taken from the first so that they are small.
    pub fn of(offs: impl IntoIterator<Item = Span>) -> Option<Spread> {
        let mut offs = offs.into_iter();
        let first = offs.next()?;
        let (mut low, mut high) = (first, first);
        let (mut n, mut sum, mut squares) = (1.0, 0.0, 0.0);
        for off in offs {
            let x = (off - first).as_nanos() as f64;
            (n, sum, squares) = (n + 1.0, sum + x, squares + x * x);
            (low, high) = (low.min(off), high.max(off));
        }
        let pairs = n * (n - 1.0) / 2.0;
        let mean_square = ((n * squares - sum * sum) / pairs).max(0.0);
        (n > 1.0).then_some(Spread { mean_square, max: high - low })
    }
}

/// Spreads over many moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spreads {
    count: u64,
    squares: f64,
    max: Span,
}

impl Spreads {
    /// Adds one moment's.
    pub fn add(&mut self, spread: Spread) {
        self.count += 1;
        self.squares += spread.mean_square;
        self.max = self.max.max(spread.max);
    }

    /// Root of the mean square over all pairs and moments; `None` without any.
    pub fn rms(&self) -> Option<Span> {
        let mean = self.squares / self.count as f64;
        (self.count > 0).then(|| Span::from_nanos(mean.sqrt().round() as i64))
    }

    /// The largest distance at any moment; `None` without any.
    pub fn max(&self) -> Option<Span> {
        (self.count > 0).then_some(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(us: i64) -> Span {
        Span::from_micros(us)
    }

    #[test]
    fn the_spread_is_that_of_all_pairs() {
        // Pairs: 3, 4 and 1 µs apart.
        let spread = Spread::of([us(1_000_000), us(1_000_003), us(1_000_004)]).unwrap();
        assert!((spread.mean_square - (9.0 + 16.0 + 1.0) / 3.0 * 1e6).abs() < 1.0);
        assert_eq!(spread.max, us(4));
        assert_eq!(Spread::of([us(7)]), None);
    }
}
