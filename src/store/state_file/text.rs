//! The text in which a node keeps what it knows, and what it says to whoever reads it:
//!
//! ```text
//! meantime memory 1
//! node turbine-7
//! oscillator 6b3dd0b4a6f2b1aa
//! boot 77a2c3f0e0c64b4e
//! time_ns 1755793812123456789
//! oscillator_ns 86400123456789
//! slept_ns 0
//! frequency_ppb -12345.678
//! error_ppb 12.300
//! check 0123456789abcdef
//! ```
//!
//! The last line is a checksum of the lines above. It counts only for the oscillator that it was learned on.
//! The node's clock showed `time_ns` when its oscillator read `oscillator_ns` and its machine had slept for
//! `slept_ns`, of the boot in question; where boots cannot be told apart, that is `-`, and the time is not
//! known afterwards.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use meantime_core::config::PLAUSIBLE_FROM;
use meantime_core::saved_state::{Known, Mark, Recalled};
use meantime_core::time::{Frequency, Raw, Span, Timestamp};

/// Whose knowledge it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// What the node is called.
    pub node: String,
    /// The machine, its clock source and simulated drift, hashed.
    pub oscillator: u64,
    /// The boot of the machine, hashed; `None`: nobody can tell it from another.
    pub boot: Option<u64>,
}

/// When it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The machine's wall clock.
    pub believed: Timestamp,
    /// The moment of the machine's boot.
    pub mark: Mark,
    /// No earlier time is one.
    pub plausible_from: Timestamp,
}

/// The text that says this.
pub fn written(owner: &Owner, known: &Known) -> String {
    let text = format!(
        "{MAGIC}\nnode {}\noscillator {:016x}\nboot {}\ntime_ns {}\noscillator_ns {}\nslept_ns {}\n\
         frequency_ppb {:.3}\nerror_ppb {:.3}\n",
        owner.node,
        owner.oscillator,
        owner.boot.map_or("-".to_owned(), |boot| format!("{boot:016x}")),
        known.time.as_nanos(),
        known.at.oscillator.as_nanos(),
        known.at.slept.as_nanos(),
        known.frequency.ppb(),
        known.error.ppb()
    );
    sealed(&text)
}

/// A text with its checksum.
pub fn sealed(body: &str) -> String {
    format!("{body}check {:016x}\n", hash(body))
}

/// What the text says to this owner.
///
/// # Errors
/// Why it says nothing.
pub fn recalled(text: &str, owner: &Owner, now: Now) -> Result<Recalled, &'static str> {
    let (whose, known) = parsed(text).ok_or("it is damaged, or of another version")?;
    if (&whose.node, whose.oscillator) != (&owner.node, owner.oscillator) {
        return Err("it is that of another oscillator");
    }
    if !known.is_plausible() {
        return Err("it is implausible");
    }
    if owner.boot.is_some() && whose.boot == owner.boot {
        return Ok(known.recalled(now.mark, now.plausible_from));
    }
    match now.believed - known.time {
        // Machines without a clock of their own start in 1970.
        _ if now.believed < PLAUSIBLE_FROM => Ok(known.recalled_after_boot(UNKNOWN_AGE)),
        age if age < -FUTURE => Err("it is from the future"),
        age => Ok(known.recalled_after_boot(age.max(Span::ZERO))),
    }
}

/// What was written; `None`: something else was.
fn parsed(text: &str) -> Option<(Owner, Known)> {
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
    let mut nanos = |name| field(name)?.parse::<i64>().ok();
    let time = Timestamp::from_nanos(nanos("time_ns")?);
    let at = Mark {
        oscillator: Raw::from_nanos(nanos("oscillator_ns")?),
        slept: Span::from_nanos(nanos("slept_ns")?),
    };
    let mut frequency = |name| Some(Frequency::from_ratio(field(name)?.parse::<f64>().ok()? * 1e-9));
    let (frequency, error) = (frequency("frequency_ppb")?, frequency("error_ppb")?);
    Some((Owner { node, oscillator, boot }, Known { time, at, frequency, error }))
}

/// A checksum against accidents, not against people.
pub fn hash(text: &str) -> u64 {
    let mut hasher = SipHasher24::new_with_key(b"meantime.memory1");
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// The first line.
pub const MAGIC: &str = "meantime memory 1";
/// A wall clock may be behind the cluster's time by as much as nobody sets a clock wrong on purpose.
const FUTURE: Span = Span::from_secs(86_400);
/// Nobody knows: a month.
const UNKNOWN_AGE: Span = Span::from_secs(30 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use meantime_core::saved_state::Lost;

    const DAY: Span = Span::from_secs(86_400);

    fn owner() -> Owner {
        Owner { node: "turbine-7".into(), oscillator: 7, boot: Some(8) }
    }

    fn known() -> Known {
        Known {
            time: Timestamp::from_nanos(1_755_793_812_123_456_789),
            at: Mark { oscillator: Raw::from_nanos(1_000_000_000_000), slept: Span::from_secs(10) },
            frequency: Frequency::from_ppm(-12.345_678),
            error: Frequency::from_ppm(0.012_3),
        }
    }

    /// What it says to the same boot at once, to a machine that believes this.
    fn said(text: &str, owner: &Owner, believed: Timestamp) -> Result<Recalled, &'static str> {
        recalled(text, owner, Now { believed, mark: known().at, plausible_from: PLAUSIBLE_FROM })
    }

    /// What it says after another start of the machine.
    fn rebooted(known: &Known, believed: Timestamp) -> Result<Recalled, &'static str> {
        said(&written(&owner(), known), &Owner { boot: Some(9), ..owner() }, believed)
    }

    #[test]
    fn what_is_written_is_recalled_whatever_the_wall_clock_says() {
        for believed in [known().time, Timestamp::from_nanos(0), known().time - DAY - DAY] {
            let again = said(&written(&owner(), &known()), &owner(), believed).unwrap();
            assert!((again.frequency.ppb() - known().frequency.ppb()).abs() < 1e-3);
            assert!(again.error > known().error && again.error.ppm() < 0.2);
            assert_eq!(again.time, Ok(known().time));
        }
    }

    #[test]
    fn the_format_is_what_the_head_of_this_file_shows() {
        let text = written(&owner(), &known());
        let expected = "meantime memory 1\nnode turbine-7\noscillator 0000000000000007\nboot 0000000000000008\n\
                        time_ns 1755793812123456789\noscillator_ns 1000000000000\nslept_ns 10000000000\n\
                        frequency_ppb -12345.678\nerror_ppb 12.300\ncheck ";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(text.len(), expected.len() + 17);
    }

    #[test]
    fn after_another_start_of_the_machine_the_time_is_not_known() {
        let again = rebooted(&known(), known().time).unwrap();
        assert_eq!(again.time, Err(Lost::Rebooted));
        assert!(again.error.ppm() >= 5.0);
    }

    #[test]
    fn boots_that_cannot_be_told_apart_are_never_the_same() {
        let nowhere = Owner { boot: None, ..owner() };
        let text = written(&nowhere, &known());
        assert!(text.contains("\nboot -\n"));
        assert_eq!(said(&text, &nowhere, known().time).unwrap().time, Err(Lost::Rebooted));
    }

    #[test]
    fn any_damage_is_noticed() {
        let text = written(&owner(), &known());
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            let damaged = String::from_utf8(damaged).unwrap();
            assert!(said(&damaged, &owner(), known().time).is_err(), "a bit at {at}");
            assert!(said(&text[..at], &owner(), known().time).is_err(), "cut at {at}");
        }
        let body = &text[..text.rfind("check ").unwrap()];
        assert!(said(&sealed(body), &owner(), known().time).is_ok());
        assert!(said(&sealed(&body.replace("memory 1", "memory 2")), &owner(), known().time).is_err());
    }

    #[test]
    fn it_is_not_for_others() {
        let text = written(&owner(), &known());
        for other in [Owner { node: "other".into(), ..owner() }, Owner { oscillator: 9, ..owner() }] {
            assert_eq!(said(&text, &other, known().time), Err("it is that of another oscillator"));
        }
    }

    #[test]
    fn what_cannot_be_is_not_used() {
        assert_eq!(rebooted(&known(), known().time - DAY - DAY), Err("it is from the future"));
        let fast = Known { frequency: Frequency::from_ppm(501.0), ..known() };
        assert_eq!(said(&written(&owner(), &fast), &owner(), known().time), Err("it is implausible"));
        let vague = Known { error: Frequency::from_ppm(30.0), ..known() };
        assert_eq!(said(&written(&owner(), &vague), &owner(), known().time), Err("it is implausible"));
        let in_1970 = rebooted(&known(), Timestamp::from_nanos(0)).unwrap();
        assert!(in_1970.error.ppm() > 5.0);
    }
}
