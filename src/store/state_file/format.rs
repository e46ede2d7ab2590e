//! The format of a state file, and which of its figures still hold when it is read:
//!
//! ```text
//! meantime memory 3
//! node turbine-7
//! oscillator 6b3dd0b4a6f2b1aa
//! boot 77a2c3f0e0c64b4e
//! cluster 2c1b3c6dd1a4f095
//! adjustment 3 -7000000000 60000000000 1755790212123456789 step
//! time_ns 1755793812123456789
//! oscillator_ns 86400123456789
//! slept_ns 0
//! frequency_ppb -12345.678
//! error_ppb 12.300
//! check 0123456789abcdef
//! ```
//!
//! The last line is a checksum of the lines above. The file holds only for the oscillator that the frequency
//! was learned on. The node's clock showed `time_ns`, by the time of
//! the cluster `cluster` (zeros: none), when its oscillator read `oscillator_ns` and its machine
//! had slept for `slept_ns`, both since the machine's boot `boot`. Where boots cannot be distinguished,
//! `boot` is `-`, and the time does not hold after a restart.
//!
//! `adjustment` is the newest manual time adjustment of that cluster, which belongs to `time_ns`: its number
//! (1 to 255), the sum of all earlier ones and its own amount in nanoseconds, the base time of its start in
//! nanoseconds, and `step` or `slew`. If there is none, it is `-`.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use meantime_core::PlausibleTimes;
use meantime_core::plausible::PLAUSIBLE_FROM;
use meantime_core::saved_state::{Mark, Recalled, SavedState};
use meantime_core::time::{Frequency, Raw, Span, Timestamp};
use meantime_core::wire::{ClusterId, ManualAdjustment};

/// The node, oscillator and boot that a state file holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFileOwner {
    /// The node's name.
    pub node: String,
    /// The machine, its clock source and simulated drift, hashed.
    pub oscillator: u64,
    /// The boot of the machine, hashed; `None`: it cannot be distinguished from another.
    pub boot: Option<u64>,
}

/// The moment at which a state file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadTime {
    /// The machine's wall clock.
    pub wall_clock: Timestamp,
    /// The node's oscillator, and how long the machine has slept since its boot.
    pub mark: Mark,
    /// Any other time is implausible.
    pub plausible: PlausibleTimes,
}

/// Why a state file is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateFileError {
    /// Its checksum or a line is wrong.
    #[error("it is damaged, or of another version")]
    Damaged,
    /// It belongs to another node, machine or clock source.
    #[error("it is that of another oscillator")]
    OtherOscillator,
    /// No oscillator has such a frequency, or the frequency is too uncertain to be of use.
    #[error("it is implausible")]
    Implausible,
    /// Its time is more than a day ahead of the machine's wall clock.
    #[error("it is from the future")]
    FromTheFuture,
}

/// The text of a state file.
pub fn serialize(owner: &StateFileOwner, known: &SavedState) -> String {
    let text = format!(
        "{MAGIC}\nnode {}\noscillator {:016x}\nboot {}\ncluster {:016x}\nadjustment {}\n\
         time_ns {}\noscillator_ns {}\nslept_ns {}\nfrequency_ppb {:.3}\nerror_ppb {:.3}\n",
        owner.node,
        owner.oscillator,
        owner.boot.map_or("-".to_owned(), |boot| format!("{boot:016x}")),
        known.cluster.0,
        adjustment_text(&known.manual_adjustment),
        known.time.as_nanos(),
        known.at.oscillator.as_nanos(),
        known.at.slept.as_nanos(),
        known.frequency.ppb(),
        known.error.ppb()
    );
    with_checksum(&text)
}

/// A text with its checksum in the last line.
pub fn with_checksum(body: &str) -> String {
    format!("{body}check {:016x}\n", hash(body))
}

/// What a state file's text is worth to this owner, now.
///
/// # Errors
/// When the file is damaged, belongs to another owner, or is implausible.
pub fn recall(text: &str, owner: &StateFileOwner, now: ReadTime) -> Result<Recalled, StateFileError> {
    let (writer, known) = parse(text).ok_or(StateFileError::Damaged)?;
    if (&writer.node, writer.oscillator) != (&owner.node, owner.oscillator) {
        return Err(StateFileError::OtherOscillator);
    }
    if !known.is_plausible() {
        return Err(StateFileError::Implausible);
    }
    if owner.boot.is_some() && writer.boot == owner.boot {
        return Ok(known.recalled(now.mark, &now.plausible));
    }
    match now.wall_clock - known.time {
        // Machines without a battery-backed clock start in 1970.
        _ if now.wall_clock < PLAUSIBLE_FROM => Ok(known.recalled_after_boot(UNKNOWN_AGE)),
        age if age < -MAX_LEAD => Err(StateFileError::FromTheFuture),
        age => Ok(known.recalled_after_boot(age.max(Span::ZERO))),
    }
}

/// The owner and the figures in a text; `None`: it is not that of a state file.
fn parse(text: &str) -> Option<(StateFileOwner, SavedState)> {
    let (body, check) = text.split_at(text.rfind("check ")?);
    if check != format!("check {:016x}\n", hash(body)) {
        return None;
    }
    let mut lines = body.lines();
    if lines.next() != Some(MAGIC) {
        return None;
    }
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    let node = field("node")?.to_owned();
    let oscillator = u64::from_str_radix(field("oscillator")?, 16).ok()?;
    let boot = match field("boot")? {
        "-" => None,
        boot => Some(u64::from_str_radix(boot, 16).ok()?),
    };
    let cluster = ClusterId(u64::from_str_radix(field("cluster")?, 16).ok()?);
    let manual_adjustment = parse_adjustment(field("adjustment")?, cluster)?;
    let mut nanos = |name| field(name)?.parse::<i64>().ok();
    let time = Timestamp::from_nanos(nanos("time_ns")?);
    let at = Mark {
        oscillator: Raw::from_nanos(nanos("oscillator_ns")?),
        slept: Span::from_nanos(nanos("slept_ns")?),
    };
    let mut frequency = |name| Some(Frequency::from_ratio(field(name)?.parse::<f64>().ok()? * 1e-9));
    let (frequency, error) = (frequency("frequency_ppb")?, frequency("error_ppb")?);
    let owner = StateFileOwner { node, oscillator, boot };
    Some((owner, SavedState { cluster, time, manual_adjustment, at, frequency, error }))
}

/// A manual time adjustment as it is written, without its cluster.
fn adjustment_text(adjustment: &ManualAdjustment) -> String {
    let ManualAdjustment { number, before, amount, start, step, .. } = adjustment;
    let pace = if *step { "step" } else { "slew" };
    match number {
        0 => "-".to_owned(),
        _ => format!("{number} {} {} {} {pace}", before.as_nanos(), amount.as_nanos(), start.as_nanos()),
    }
}

/// The adjustment of this cluster in a text; `None`: the text is not as [`adjustment_text`] writes it.
fn parse_adjustment(text: &str, cluster: ClusterId) -> Option<ManualAdjustment> {
    if text == "-" {
        return Some(ManualAdjustment::NONE);
    }
    let mut parts = text.split(' ');
    let number = parts.next()?.parse().ok()?;
    let mut nanos = || parts.next()?.parse::<i64>().ok();
    let (before, amount) = (Span::from_nanos(nanos()?), Span::from_nanos(nanos()?));
    let start = Timestamp::from_nanos(nanos()?);
    let step = parts.next()? == "step";
    let adjustment = ManualAdjustment { cluster, number, before, amount, start, step };
    // The comparison refuses also number 0, other words than "step" and "slew", and what follows these.
    (cluster != ClusterId(0) && adjustment_text(&adjustment) == text).then_some(adjustment)
}

/// A checksum against accidental damage, not against attackers.
pub fn hash(text: &str) -> u64 {
    let mut hasher = SipHasher24::new_with_key(b"meantime.memory3");
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// The first line.
pub const MAGIC: &str = "meantime memory 3";
/// How far the time in the file may be ahead of the wall clock. An operator does not set a clock wrong by
/// more than a day on purpose.
const MAX_LEAD: Span = Span::from_secs(86_400);
/// The age that is assumed when the wall clock is unusable: a month.
const UNKNOWN_AGE: Span = Span::from_secs(30 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use meantime_core::saved_state::NoTimeReason;

    const DAY: Span = Span::from_secs(86_400);

    fn owner() -> StateFileOwner {
        StateFileOwner { node: "turbine-7".into(), oscillator: 7, boot: Some(8) }
    }

    const CLUSTER: ClusterId = ClusterId(0x2c1b_3c6d_d1a4_f095);

    fn adjustment(step: bool) -> ManualAdjustment {
        ManualAdjustment {
            cluster: CLUSTER,
            number: 3,
            before: Span::from_secs(-7),
            amount: Span::from_secs(60),
            start: Timestamp::from_nanos(1_755_790_212_123_456_789),
            step,
        }
    }

    fn known() -> SavedState {
        SavedState {
            cluster: CLUSTER,
            time: Timestamp::from_nanos(1_755_793_812_123_456_789),
            manual_adjustment: adjustment(true),
            at: Mark { oscillator: Raw::from_nanos(1_000_000_000_000), slept: Span::from_secs(10) },
            frequency: Frequency::from_ppm(-12.345_678),
            error: Frequency::from_ppm(0.012_3),
        }
    }

    /// What the text is worth at once, in the same boot, on a machine with this wall clock.
    fn recalled(
        text: &str,
        owner: &StateFileOwner,
        wall_clock: Timestamp,
    ) -> Result<Recalled, StateFileError> {
        recall(text, owner, ReadTime { wall_clock, mark: known().at, plausible: PlausibleTimes::default() })
    }

    /// What these figures are worth after a reboot.
    fn rebooted(known: &SavedState, wall_clock: Timestamp) -> Result<Recalled, StateFileError> {
        recalled(&serialize(&owner(), known), &StateFileOwner { boot: Some(9), ..owner() }, wall_clock)
    }

    #[test]
    fn within_a_boot_the_wall_clock_does_not_matter() {
        for wall_clock in [known().time, Timestamp::from_nanos(0), known().time - DAY - DAY] {
            let again = recalled(&serialize(&owner(), &known()), &owner(), wall_clock).unwrap();
            assert!((again.frequency.ppb() - known().frequency.ppb()).abs() < 1e-3);
            assert!(again.error > known().error && again.error.ppm() < 0.2);
            assert_eq!(again.time, Ok(known().time));
        }
    }

    #[test]
    fn the_format_is_the_one_in_the_modules_documentation() {
        let text = serialize(&owner(), &known());
        let expected = "meantime memory 3\nnode turbine-7\noscillator 0000000000000007\nboot 0000000000000008\n\
                        cluster 2c1b3c6dd1a4f095\n\
                        adjustment 3 -7000000000 60000000000 1755790212123456789 step\n\
                        time_ns 1755793812123456789\noscillator_ns 1000000000000\nslept_ns 10000000000\n\
                        frequency_ppb -12345.678\nerror_ppb 12.300\ncheck ";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(text.len(), expected.len() + 17);
    }

    #[test]
    fn manual_time_adjustments_are_read_as_they_were_written() {
        let largest = ManualAdjustment {
            number: 255,
            before: Span::MAX,
            amount: Span::from_nanos(i64::MIN),
            start: Timestamp::from_nanos(i64::MIN),
            ..adjustment(false)
        };
        for adjustment in [ManualAdjustment::NONE, adjustment(true), adjustment(false), largest] {
            let known = SavedState { manual_adjustment: adjustment, ..known() };
            let again = recalled(&serialize(&owner(), &known), &owner(), known.time).unwrap();
            assert_eq!(again.manual_adjustment, adjustment);
        }
    }

    #[test]
    fn a_file_with_a_damaged_manual_time_adjustment_is_not_used() {
        let text = serialize(&owner(), &known());
        let body = &text[..text.rfind("check ").unwrap()];
        let with = |adjustment: &str| {
            let line = "adjustment 3 -7000000000 60000000000 1755790212123456789 step\n";
            assert!(body.contains(line));
            let text = with_checksum(&body.replace(line, &format!("adjustment {adjustment}\n")));
            recalled(&text, &owner(), known().time).map(|known| known.manual_adjustment.number)
        };
        assert_eq!((with("-"), with("255 0 -1 2 slew")), (Ok(0), Ok(255)));
        let damaged = "|0 0 1 2 step|256 0 1 2 step|-1 0 1 2 step|+3 0 1 2 step|03 0 1 2 step|3 0 1 2|3 0 1 2 \
                       |3 0 1 step|3 0 1 2 STEP|3 0 1 2 jump|3 0 1 2 step |3 0 1 2 step slew|3  0 1 2 step\
                       |3 0 1.5 2 step|3 0 1 9223372036854775808 step|3 - 1 2 step|- -| -";
        for damaged in damaged.split('|') {
            assert_eq!(with(damaged), Err(StateFileError::Damaged), "{damaged:?}");
        }
        let missing = with_checksum(&body.replace("adjustment 3", "adjusted 3"));
        assert_eq!(recalled(&missing, &owner(), known().time), Err(StateFileError::Damaged));
        let of_no_cluster = SavedState { cluster: ClusterId(0), ..known() };
        let text = serialize(&owner(), &of_no_cluster);
        assert_eq!(recalled(&text, &owner(), known().time), Err(StateFileError::Damaged));
    }

    #[test]
    fn after_a_reboot_the_time_is_unknown() {
        let again = rebooted(&known(), known().time).unwrap();
        assert_eq!(again.time, Err(NoTimeReason::Rebooted));
        assert!(again.error.ppm() >= 5.0);
    }

    #[test]
    fn boots_that_cannot_be_distinguished_are_never_the_same() {
        let nowhere = StateFileOwner { boot: None, ..owner() };
        let text = serialize(&nowhere, &known());
        assert!(text.contains("\nboot -\n"));
        assert_eq!(recalled(&text, &nowhere, known().time).unwrap().time, Err(NoTimeReason::Rebooted));
    }

    #[test]
    fn any_damage_is_detected() {
        let text = serialize(&owner(), &known());
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            let damaged = String::from_utf8(damaged).unwrap();
            assert!(recalled(&damaged, &owner(), known().time).is_err(), "a bit at {at}");
            assert!(recalled(&text[..at], &owner(), known().time).is_err(), "cut at {at}");
        }
        let body = &text[..text.rfind("check ").unwrap()];
        assert!(recalled(&with_checksum(body), &owner(), known().time).is_ok());
        assert!(
            recalled(&with_checksum(&body.replace("memory 3", "memory 2")), &owner(), known().time).is_err()
        );
    }

    #[test]
    fn another_nodes_or_oscillators_file_is_not_used() {
        let text = serialize(&owner(), &known());
        for other in
            [StateFileOwner { node: "other".into(), ..owner() }, StateFileOwner { oscillator: 9, ..owner() }]
        {
            assert_eq!(recalled(&text, &other, known().time), Err(StateFileError::OtherOscillator));
        }
    }

    #[test]
    fn implausible_figures_are_not_used() {
        assert_eq!(rebooted(&known(), known().time - DAY - DAY), Err(StateFileError::FromTheFuture));
        let fast = SavedState { frequency: Frequency::from_ppm(501.0), ..known() };
        assert_eq!(
            recalled(&serialize(&owner(), &fast), &owner(), known().time),
            Err(StateFileError::Implausible)
        );
        let vague = SavedState { error: Frequency::from_ppm(30.0), ..known() };
        assert_eq!(
            recalled(&serialize(&owner(), &vague), &owner(), known().time),
            Err(StateFileError::Implausible)
        );
        let in_1970 = rebooted(&known(), Timestamp::from_nanos(0)).unwrap();
        assert!(in_1970.error.ppm() > 5.0);
    }
}
