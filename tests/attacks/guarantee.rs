//! What good clocks state of themselves, and whether it is true.

use meantime_core::ClockReading;
use meantime_core::time::Span;
use meantime_core::wire::ClusterId;
use meantime_sim::START;

/// Watches the good clocks, the server's among them.
#[derive(Debug, Default)]
pub(crate) struct Guarantee {
    /// Each clock at the last look.
    before: Vec<Option<Stated>>,
    /// Whether bad groups may take the good clocks over, as long as that is told.
    pub may_be_broken: bool,
    /// When a node said last that bounds are broken.
    told: Option<Span>,
}

/// A clock that has cluster time and states a bound.
#[derive(Clone, Copy, Debug)]
struct Stated {
    /// What it is ahead of true time.
    ahead: Span,
    bound: Span,
    cluster: ClusterId,
}

impl Guarantee {
    /// Looks at the clocks, the server's first, at most a second after the last time. `is_told`: a node has
    /// said in between that bounds are broken; that counts for two rounds, if they may be.
    ///
    /// # Errors
    /// What is not as the clocks state, and is not told.
    pub(crate) fn look(&mut self, at: Span, clocks: Vec<ClockReading>, is_told: bool) -> Result<(), String> {
        let stated = |reading: ClockReading| {
            let (ahead, cluster) = (reading.time - (START + at), reading.cluster);
            let bound = reading.bound.filter(|_| reading.state.has_cluster_time())?;
            Some(Stated { ahead, bound, cluster })
        };
        let now: Vec<Option<Stated>> = clocks.into_iter().map(stated).collect();
        let before = std::mem::replace(&mut self.before, now);
        self.told = if is_told { Some(at) } else { self.told };
        if self.may_be_broken && self.told.is_some_and(|told| at - told <= TWO_ROUNDS) {
            return Ok(());
        }
        self.all_agree()?;
        before.iter().zip(&self.before).enumerate().try_for_each(|(number, pair)| match pair {
            (Some(before), Some(now)) => goes_on(number, before, now),
            _ => Ok(()),
        })
    }

    /// Any two clocks of a cluster differ by the sum of their bounds at most.
    fn all_agree(&self) -> Result<(), String> {
        let stated: Vec<(usize, Stated)> =
            self.before.iter().enumerate().filter_map(|(number, clock)| Some((number, (*clock)?))).collect();
        for (number, one) in &stated {
            for (other_number, other) in &stated {
                let apart = one.ahead - other.ahead;
                if one.cluster == other.cluster && apart > one.bound + other.bound {
                    return Err(format!(
                        "clocks {number} and {other_number} are {apart} apart and state {} and {}",
                        one.bound, other.bound
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Within a second a clock goes no farther than from one end of what it states to the other.
fn goes_on(number: usize, before: &Stated, now: &Stated) -> Result<(), String> {
    let moved = (now.ahead - before.ahead).abs();
    if moved <= before.bound + now.bound + RATE {
        return Ok(());
    }
    Err(format!("clock {number} went {moved} while it stated {} and {}", before.bound, now.bound))
}

/// So long a node that has said that bounds are broken needs not say it again.
const TWO_ROUNDS: Span = Span::from_secs(10);
/// In a second cluster time gains or loses so much at most: 25 ppm by the rate anchor, 50 ppm by references.
const RATE: Span = Span::from_micros(75);
