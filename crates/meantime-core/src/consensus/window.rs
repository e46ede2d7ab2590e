//! The agreement window: how far a reading may be from the median and still agree.
//!
//! A fixed window is either so wide that all clocks follow a server's step of 10 ms, or so narrow that good
//! members on slow paths are left out. So it is learned: six times a slow average of the robust deviation of
//! the readings, and more in a small cluster, where a deviation from a few readings is less certain. The
//! average is slow, and each sample counts as four times the average at most, so that a fault cannot widen
//! the window for itself.
//!
//! Only readings that agree are in the deviation, and one that is noisier than the typical reading counts
//! less in it, by the square of its noise. So members on slow paths do not widen the window for those on
//! quick ones; each of them may be off by the noise of its own path instead
//! ([`noise::error`](super::noise::error)).

use super::noise::NOISE_LIMIT;
use crate::time::Span;

/// Learns how closely the members' readings usually agree.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AgreementWindow {
    usual: Option<Span>,
    samples: i64,
}

impl AgreementWindow {
    /// The window now among so many members, given the deviation that the typical reading's noise has.
    pub(super) fn width(&self, noise: Span, members: f64) -> Span {
        match self.usual {
            Some(usual) => {
                usual.scaled(6.0 + 12.0 / members.max(1.0)).max(noise.times(NOISE_LIMIT)).min(MAX_WINDOW)
            }
            None => MAX_WINDOW,
        }
    }

    /// Learns from the robust deviation of one round's readings.
    pub(super) fn learn(&mut self, deviation: Span) {
        let deviation = deviation.clamp(MIN, MAX_WINDOW);
        let usual = self.usual.unwrap_or(deviation);
        self.samples = (self.samples + 1).min(MEMORY);
        self.usual = Some((usual + (deviation.min(usual.times(4)) - usual).over(self.samples)).max(MIN));
    }

    /// Resets the window to its maximum.
    pub(super) fn forget(&mut self) {
        *self = AgreementWindow::default();
    }
}

/// γ: no honest reading on any path that this protocol is made for is farther off.
pub(super) const MAX_WINDOW: Span = Span::from_millis(50);
/// Timestamps agree no better than this; it also lets the average grow again from nothing.
const MIN: Span = Span::from_nanos(500);
/// Rounds over which the average is taken.
const MEMORY: i64 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(us: i64) -> AgreementWindow {
        let mut window = AgreementWindow::default();
        (0..100).for_each(|_| window.learn(Span::from_micros(us)));
        window
    }

    #[test]
    fn the_window_is_six_times_the_usual_deviation_and_more_among_few() {
        assert_eq!(learned(10).width(Span::ZERO, 1_200.0), Span::from_nanos(60_100));
        assert_eq!(learned(10).width(Span::ZERO, 4.0), Span::from_micros(90));
        assert_eq!(learned(10).width(Span::from_micros(50), 4.0), Span::from_micros(200));
        assert_eq!(AgreementWindow::default().width(Span::ZERO, 4.0), MAX_WINDOW);
    }

    #[test]
    fn one_round_far_off_widens_the_window_by_a_sixteenth_at_most() {
        let mut window = learned(10);
        window.learn(Span::from_secs(3_600));
        assert!(window.width(Span::ZERO, 12.0) <= Span::from_micros(75));
    }

    #[test]
    fn a_window_of_perfect_readings_can_grow_again() {
        let mut window = learned(0);
        (0..500).for_each(|_| window.learn(Span::from_micros(10)));
        assert!(window.width(Span::ZERO, 12.0) > Span::from_micros(50));
    }
}
