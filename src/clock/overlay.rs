//! The overlay: a node's clocks over the machine's, without setting anything.

use super::{Clock, HostRaw, Moment, Oscillator, host};
use crate::time::{Frequency, Now, Span};

/// The machine's clocks, read only; the oscillator possibly made worse for a demonstration.
#[derive(Clone, Copy, Debug)]
pub struct Overlay {
    oscillator: Oscillator,
}

impl Overlay {
    /// An overlay that starts at the time that the machine believes in, made worse by `offset` and `drift`.
    pub fn start(offset: Span, drift: Frequency) -> Overlay {
        let (anchor, believed) = host::together();
        Overlay { oscillator: Oscillator::machine(anchor, believed).simulated(offset, drift) }
    }

    /// What the clocks show when the host's oscillator reads `host`, which is just now.
    pub(super) fn at(&self, host: HostRaw) -> Moment {
        Moment { host, now: Now { mono: host::monotonic(), raw: self.oscillator.at(host) } }
    }
}

impl Clock for Overlay {
    fn read(&self) -> Moment {
        // The oscillator last: what is stamped with it follows this call.
        let mono = host::monotonic();
        let host = host::raw();
        Moment { host, now: Now { mono, raw: self.oscillator.at(host) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_of_a_node_move_forward() {
        let clock = Overlay::start(Span::ZERO, Frequency::ZERO);
        let (one, two) = (clock.read(), clock.read());
        assert!(one.host <= two.host && one.now.mono <= two.now.mono && one.now.raw <= two.now.raw);
    }

    #[test]
    fn the_nodes_oscillator_and_the_hosts_are_of_the_same_moment() {
        let clock = Overlay::start(Span::from_secs(7), Frequency::ZERO);
        let (one, two) = (clock.read(), clock.read());
        assert_eq!(two.now.raw - one.now.raw, two.host.since(one.host));
    }

    #[test]
    fn a_simulated_start_is_ahead_of_the_machines_own_by_the_offset() {
        let (_, believed) = host::together();
        let ahead = Overlay::start(Span::from_secs(3_600), Frequency::ZERO).now().raw.as_nanos()
            - believed.as_nanos();
        let ahead = Span::from_nanos(ahead) - Span::from_secs(3_600);
        assert!(ahead.abs() < Span::from_secs(5), "off by {ahead}");
    }
}
