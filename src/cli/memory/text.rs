//! The text in which a node's frequency is kept, and what it is worth to whoever reads it:
//!
//! ```text
//! meantime frequency 1
//! node turbine-7
//! oscillator 6b3dd0b4a6f2b1aa
//! boot 77a2c3f0e0c64b4e
//! written_ns 1755793812123456789
//! frequency_ppb -12345.678
//! error_ppb 12.300
//! check 0123456789abcdef
//! ```
//!
//! The last line is a checksum of the lines above. It counts only for the oscillator that it was learned on.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::berkeley::config::PLAUSIBLE_FROM;
use crate::berkeley::drift;
use crate::time::{Frequency, Span, Timestamp};

/// Whose frequency it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// What the node is called.
    pub node: String,
    /// The machine and its clock source, hashed.
    pub oscillator: u64,
    /// The time since the machine was switched on, hashed.
    pub boot: u64,
}

/// What is known of it, when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// The node's time.
    pub time: Timestamp,
    /// The clock's rate over its oscillator's, minus one.
    pub frequency: Frequency,
    /// One standard deviation of that.
    pub error: Frequency,
}

/// The text that says this.
pub fn written(owner: &Owner, known: &Known) -> String {
    let text = format!(
        "{MAGIC}\nnode {}\noscillator {:016x}\nboot {:016x}\nwritten_ns {}\nfrequency_ppb {:.3}\nerror_ppb {:.3}\n",
        owner.node,
        owner.oscillator,
        owner.boot,
        known.time.as_nanos(),
        known.frequency.ppb(),
        known.error.ppb()
    );
    sealed(&text)
}

/// A text with its checksum.
pub fn sealed(body: &str) -> String {
    format!("{body}check {:016x}\n", hash(body))
}

/// What the text says to this owner, as of `now`: the frequency, and one standard deviation of what it is off by now.
///
/// # Errors
/// Why it says nothing.
pub fn recalled(text: &str, owner: &Owner, now: Timestamp) -> Result<(Frequency, Frequency), &'static str> {
    const DAMAGED: &str = "it is damaged, or of another version";
    let (body, check) = text.rfind("check ").map(|at| text.split_at(at)).ok_or(DAMAGED)?;
    if check != format!("check {:016x}\n", hash(body)) {
        return Err(DAMAGED);
    }
    let mut lines = body.lines();
    if lines.next() != Some(MAGIC) {
        return Err(DAMAGED);
    }
    let mut field = |name: &str| {
        let line = lines.next().and_then(|line| line.strip_prefix(name));
        line.and_then(|value| value.strip_prefix(' ')).ok_or(DAMAGED)
    };
    let node = field("node")?;
    let oscillator = u64::from_str_radix(field("oscillator")?, 16).map_err(|_| DAMAGED)?;
    let boot = u64::from_str_radix(field("boot")?, 16).map_err(|_| DAMAGED)?;
    let time = Timestamp::from_nanos(field("written_ns")?.parse().map_err(|_| DAMAGED)?);
    let mut frequency = |name| -> Result<Frequency, &str> {
        let ppb: f64 = field(name)?.parse().map_err(|_| DAMAGED)?;
        Ok(Frequency::from_ratio(ppb * 1e-9))
    };
    let (known, error) = (frequency("frequency_ppb")?, frequency("error_ppb")?);
    if (node, oscillator) != (owner.node.as_str(), owner.oscillator) {
        return Err("it is that of another oscillator");
    }
    if !drift::is_plausible(known, error) {
        return Err("it is implausible");
    }
    let age = match now - time {
        // Machines without a clock of their own start in 1970.
        _ if now < PLAUSIBLE_FROM => UNKNOWN_AGE,
        age if age < -FUTURE => return Err("it is from the future"),
        age => age.max(Span::ZERO),
    };
    Ok((known, drift::aged(error, age, boot == owner.boot)))
}

/// A checksum against accidents, not against people.
pub fn hash(text: &str) -> u64 {
    let mut hasher = SipHasher24::new_with_key(b"meantime.memory1");
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// The first line.
pub const MAGIC: &str = "meantime frequency 1";
/// A wall clock may be behind the cluster's time by as much as nobody sets a clock wrong on purpose.
const FUTURE: Span = Span::from_secs(86_400);
/// Nobody knows: a month.
const UNKNOWN_AGE: Span = Span::from_secs(30 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Span = Span::from_secs(86_400);

    fn owner() -> Owner {
        Owner { node: "turbine-7".into(), oscillator: 7, boot: 8 }
    }

    fn known() -> Known {
        Known {
            time: Timestamp::from_nanos(1_755_793_812_123_456_789),
            frequency: Frequency::from_ppm(-12.345_678),
            error: Frequency::from_ppm(0.012_3),
        }
    }

    #[test]
    fn what_is_written_is_recalled() {
        let (frequency, error) = recalled(&written(&owner(), &known()), &owner(), known().time).unwrap();
        assert!((frequency.ppb() - known().frequency.ppb()).abs() < 1e-3);
        assert!(error > known().error && error.ppm() < 0.2);
    }

    #[test]
    fn the_format_is_what_the_head_of_this_file_shows() {
        let text = written(&owner(), &known());
        let expected = "meantime frequency 1\nnode turbine-7\noscillator 0000000000000007\nboot 0000000000000008\n\
                        written_ns 1755793812123456789\nfrequency_ppb -12345.678\nerror_ppb 12.300\ncheck ";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(text.len(), expected.len() + 17);
    }

    #[test]
    fn any_damage_is_noticed() {
        let text = written(&owner(), &known());
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            let damaged = String::from_utf8(damaged).unwrap();
            assert!(recalled(&damaged, &owner(), known().time).is_err(), "a bit at {at}");
            assert!(recalled(&text[..at], &owner(), known().time).is_err(), "cut at {at}");
        }
        assert!(recalled(&text.replace("frequency 1", "frequency 2"), &owner(), known().time).is_err());
    }

    #[test]
    fn it_is_not_for_others() {
        let text = written(&owner(), &known());
        for other in [Owner { node: "other".into(), ..owner() }, Owner { oscillator: 9, ..owner() }] {
            assert_eq!(recalled(&text, &other, known().time), Err("it is that of another oscillator"));
        }
        let rebooted = recalled(&text, &Owner { boot: 9, ..owner() }, known().time).unwrap();
        assert!(rebooted.1.ppm() >= 5.0);
    }

    #[test]
    fn what_cannot_be_is_not_used() {
        let future = recalled(&written(&owner(), &known()), &owner(), known().time - DAY - DAY);
        assert_eq!(future, Err("it is from the future"));
        let fast = Known { frequency: Frequency::from_ppm(501.0), ..known() };
        assert_eq!(recalled(&written(&owner(), &fast), &owner(), known().time), Err("it is implausible"));
        let vague = Known { error: Frequency::from_ppm(30.0), ..known() };
        assert_eq!(recalled(&written(&owner(), &vague), &owner(), known().time), Err("it is implausible"));
        let in_1970 = recalled(&written(&owner(), &known()), &owner(), Timestamp::from_nanos(0)).unwrap();
        assert!(in_1970.1.ppm() > 1.0);
    }
}
