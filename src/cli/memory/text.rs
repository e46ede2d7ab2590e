//! The text in which a node's frequency and time are kept, and what it is worth to whoever reads it:
//!
//! ```text
//! meantime frequency 2
//! node turbine-7
//! oscillator 6b3dd0b4a6f2b1aa
//! boot 77a2c3f0e0c64b4e
//! written_ns 1755793812123456789
//! host_ns 86400123456789
//! slept_ns 0
//! frequency_ppb -12345.678
//! error_ppb 12.300
//! check 0123456789abcdef
//! ```
//!
//! The last line is a checksum of the lines above. It counts only for the oscillator that it was learned on. The node's time was
//! `written_ns` when the machine's oscillator read `host_ns` and the machine had slept for `slept_ns`: while the same boot lasts, the
//! time can be told from that, whatever has become of the machine's wall clock.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::berkeley::config::PLAUSIBLE_FROM;
use crate::berkeley::drift;
use crate::clock::HostRaw;
use crate::time::{Frequency, Span, Timestamp};

/// Whose frequency it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    /// What the node is called.
    pub node: String,
    /// The machine and its clock source, hashed.
    pub oscillator: u64,
    /// The time since the machine was switched on, hashed.
    pub boot: u64,
    /// How much faster than the machine's it is simulated to run.
    pub drift: Frequency,
}

/// What is known of it, when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// The node's time.
    pub time: Timestamp,
    /// When that was.
    pub at: Mark,
    /// The clock's rate over its oscillator's, minus one.
    pub frequency: Frequency,
    /// One standard deviation of that.
    pub error: Frequency,
}

/// A moment since the machine's boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What the oscillator reads, which stands still while the machine sleeps.
    pub host: HostRaw,
    /// For how long the machine has slept since its boot.
    pub slept: Span,
}

impl Mark {
    /// How long it is since an earlier moment of the same boot.
    pub fn since(self, earlier: Mark) -> Span {
        self.host.since(earlier.host) + (self.slept - earlier.slept)
    }
}

/// What is known from an earlier run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recalled {
    /// The clock's rate over its oscillator's, minus one.
    pub frequency: Frequency,
    /// One standard deviation of what that is off by now.
    pub error: Frequency,
    /// The node's time now; `None`: the machine was switched off in between.
    pub time: Option<Timestamp>,
}

/// The text that says this.
pub fn written(owner: &Owner, known: &Known) -> String {
    let text = format!(
        "{MAGIC}\nnode {}\noscillator {:016x}\nboot {:016x}\nwritten_ns {}\nhost_ns {}\nslept_ns {}\n\
         frequency_ppb {:.3}\nerror_ppb {:.3}\n",
        owner.node,
        owner.oscillator,
        owner.boot,
        known.time.as_nanos(),
        known.at.host.as_nanos(),
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

/// What the text says to this owner at `mark`, when the machine believes that it is `now`.
///
/// # Errors
/// Why it says nothing.
pub fn recalled(text: &str, owner: &Owner, now: Timestamp, mark: Mark) -> Result<Recalled, &'static str> {
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
    let mut nanos = |name| field(name)?.parse::<i64>().map_err(|_| DAMAGED);
    let time = Timestamp::from_nanos(nanos("written_ns")?);
    let at =
        Mark { host: HostRaw::from_nanos(nanos("host_ns")?), slept: Span::from_nanos(nanos("slept_ns")?) };
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
    let same_boot = boot == owner.boot;
    // A machine that was set back to an earlier state has one boot twice.
    let lasted = Some(mark.since(at)).filter(|age| same_boot && (Span::ZERO..LONGEST).contains(age));
    let age = match now - time {
        _ if lasted.is_some() => lasted.unwrap_or_default(),
        // Machines without a clock of their own start in 1970.
        _ if now < PLAUSIBLE_FROM => UNKNOWN_AGE,
        age if age < -FUTURE => return Err("it is from the future"),
        age => age.max(Span::ZERO),
    };
    let time = lasted.map(|ran| drift::gone_on(time, known, ran + owner.drift.over(ran)));
    Ok(Recalled {
        frequency: known,
        error: drift::aged(error, age, same_boot),
        time: time.filter(|time| *time >= PLAUSIBLE_FROM),
    })
}

/// A checksum against accidents, not against people.
pub fn hash(text: &str) -> u64 {
    let mut hasher = SipHasher24::new_with_key(b"meantime.memory1");
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// The first line.
pub const MAGIC: &str = "meantime frequency 2";
/// A wall clock may be behind the cluster's time by as much as nobody sets a clock wrong on purpose.
const FUTURE: Span = Span::from_secs(86_400);
/// No boot lasts longer.
const LONGEST: Span = Span::from_secs(10 * 365 * 86_400);
/// Nobody knows: a month.
const UNKNOWN_AGE: Span = Span::from_secs(30 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Span = Span::from_secs(86_400);

    fn owner() -> Owner {
        Owner { node: "turbine-7".into(), oscillator: 7, boot: 8, drift: Frequency::ZERO }
    }

    fn mark(host_s: i64, slept_s: i64) -> Mark {
        Mark { host: HostRaw::from_nanos(host_s * 1_000_000_000), slept: Span::from_secs(slept_s) }
    }

    fn known() -> Known {
        Known {
            time: Timestamp::from_nanos(1_755_793_812_123_456_789),
            at: mark(1_000, 10),
            frequency: Frequency::from_ppm(-12.345_678),
            error: Frequency::from_ppm(0.012_3),
        }
    }

    /// What it says at once, to a machine that believes this.
    fn said(text: &str, owner: &Owner, now: Timestamp) -> Result<Recalled, &'static str> {
        recalled(text, owner, now, known().at)
    }

    /// What it says after another start of the machine.
    fn rebooted(known: &Known, now: Timestamp) -> Result<Recalled, &'static str> {
        said(&written(&owner(), known), &Owner { boot: 9, ..owner() }, now)
    }

    #[test]
    fn what_is_written_is_recalled() {
        let again = said(&written(&owner(), &known()), &owner(), known().time).unwrap();
        assert!((again.frequency.ppb() - known().frequency.ppb()).abs() < 1e-3);
        assert!(again.error > known().error && again.error.ppm() < 0.2);
        assert_eq!(again.time, Some(known().time));
    }

    #[test]
    fn the_format_is_what_the_head_of_this_file_shows() {
        let text = written(&owner(), &known());
        let expected = "meantime frequency 2\nnode turbine-7\noscillator 0000000000000007\nboot 0000000000000008\n\
                        written_ns 1755793812123456789\nhost_ns 1000000000000\nslept_ns 10000000000\n\
                        frequency_ppb -12345.678\nerror_ppb 12.300\ncheck ";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(text.len(), expected.len() + 17);
    }

    #[test]
    fn while_the_same_boot_lasts_the_time_goes_on_whatever_the_wall_clock_says() {
        let text = written(&owner(), &known());
        let at = |mark, drift| {
            let wrong = Timestamp::from_nanos(0);
            let owner = Owner { drift: Frequency::from_ppm(drift), ..owner() };
            recalled(&text, &owner, wrong, mark).unwrap().time
        };
        // An hour, of which the machine has slept for 200 s; its clock runs 12 ppm slow over its oscillator.
        let hour = known().time + Span::from_secs(3_600) - Span::from_nanos(44_444_441);
        assert_eq!(at(mark(1_000 + 3_400, 10 + 200), 0.0), Some(hour));
        let simulated = at(mark(1_000 + 3_400, 10 + 200), 100.0).unwrap();
        assert!((simulated - hour - Span::from_millis(360)).abs() < Span::from_micros(5), "{simulated:?}");
        assert_eq!(at(mark(999, 10), 0.0), None, "that was before it was written");
    }

    #[test]
    fn after_another_start_of_the_machine_the_time_is_not_known() {
        let again = rebooted(&known(), known().time).unwrap();
        assert_eq!(again.time, None);
        assert!(again.error.ppm() >= 5.0);
    }

    #[test]
    fn a_time_before_this_program_was_made_is_none() {
        let early = Known { time: PLAUSIBLE_FROM - DAY, ..known() };
        assert_eq!(said(&written(&owner(), &early), &owner(), early.time).unwrap().time, None);
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
        assert!(said(&text.replace("frequency 2", "frequency 3"), &owner(), known().time).is_err());
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
