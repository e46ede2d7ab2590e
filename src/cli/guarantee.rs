//! What the guarantee of the last round is worth by now: the one figure that `check` and `status` state.

use crate::control::protocol::{ClientRow, ClockCoverage, ServerStatus};
use meantime_core::estimation::bound::DRIFT_ALLOWANCE;
use meantime_core::time::Span;

/// By how much any two covered clocks differ at most at the moment of the answer; `None`: fewer than two are
/// covered, or no round is over.
///
/// The sum of the two largest bounds, as the last round has found it, has grown since: both clocks' bounds
/// grow until they are corrected again. They were stated before the round was over, by less than another
/// round.
pub(super) fn by_now(server: &ServerStatus, clients: &[ClientRow]) -> Option<Span> {
    let round = server.last_round.as_ref()?;
    let (stated, ago) = (round.summary.largest_bound_ns?, Span::from_nanos(round.ago_ns?));
    let since = ago + Span::from_nanos(server.interval_ns);
    let grown = growth(clients).saturating_mul(since.as_nanos() / 1_000) / 1_000_000;
    Some(Span::from_nanos(stated.saturating_add(grown)))
}

/// How fast the bounds of two clocks grow together at most, in parts per billion: what crystals are allowed
/// by default, and six standard deviations of the least certain frequency.
fn growth(clients: &[ClientRow]) -> i64 {
    let covered = clients.iter().filter(|client| client.coverage == ClockCoverage::Covered);
    let errors = covered.map(|client| client.frequency_error_ppb.unwrap_or(UNKNOWN_PPB));
    let worst = errors.fold(0.0, f64::max);
    (2.0 * (DRIFT_ALLOWANCE.ppb() + 6.0 * worst)).ceil() as i64
}

/// The frequency error of a client that reports none: a sixth of 400 ppm.
const UNKNOWN_PPB: f64 = 400_000.0 / 6.0;
