//! In which order the members are shown.

use std::cmp::Ordering;

use crate::control::protocol::ClientRow;

/// What they are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Key {
    /// Name, then address.
    #[default]
    Name,
    /// The size of the offset, the largest first.
    Offset,
    /// The estimated error, the largest first.
    Error,
    /// The bound, the largest first; members without one before all others.
    Bound,
    /// The delay, the longest first.
    Delay,
    /// The frequency, the largest first.
    Frequency,
    /// When it was last heard, the longest ago first.
    Heard,
}

impl Key {
    /// The key that this letter asks for.
    pub(super) fn of(letter: char) -> Option<Key> {
        Some(match letter {
            'n' => Key::Name,
            'o' => Key::Offset,
            'e' => Key::Error,
            'b' => Key::Bound,
            'd' => Key::Delay,
            'f' => Key::Frequency,
            'h' => Key::Heard,
            _ => return None,
        })
    }

    /// The title of the column that it sorts by.
    pub(super) fn title(self) -> &'static str {
        match self {
            Key::Name => "NAME",
            Key::Offset => "OFFSET",
            Key::Error => "ERROR",
            Key::Bound => "BOUND",
            Key::Delay => "DELAY",
            Key::Frequency => "PPM",
            Key::Heard => "HEARD",
        }
    }

    /// Which of two members comes first.
    pub(super) fn compare(self, one: &ClientRow, other: &ClientRow) -> Ordering {
        let largest_first = |of: fn(&ClientRow) -> Option<f64>| {
            let of = |member: &ClientRow| of(member).unwrap_or(f64::INFINITY);
            of(other).total_cmp(&of(one))
        };
        let by_key = match self {
            Key::Name => Ordering::Equal,
            Key::Offset => largest_first(|member| member.offset_ns.map(|offset| (offset as f64).abs())),
            Key::Error => largest_first(|member| member.offset_error_ns.map(|error| error as f64)),
            Key::Bound => largest_first(|member| member.bound_ns.map(|bound| bound as f64)),
            Key::Delay => largest_first(|member| member.delay_ns.map(|delay| delay as f64)),
            Key::Frequency => largest_first(|member| member.frequency_ppb),
            Key::Heard => largest_first(|member| Some(member.heard_ago_ns as f64)),
        };
        by_key.then_with(|| one.name.cmp(&other.name)).then_with(|| one.address.cmp(&other.address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::examples;

    fn order(key: Key) -> String {
        let member = |name: &str, offset, bound| ClientRow {
            offset_ns: Some(offset),
            bound_ns: bound,
            ..examples::row(name, 1)
        };
        let mut members = [member("b", -7, Some(10)), member("a", 3, None), member("c", 7, Some(20))];
        members.sort_by(|one, other| key.compare(one, other));
        members.iter().map(|member| member.name.as_str()).collect()
    }

    #[test]
    fn what_needs_a_look_comes_first() {
        assert_eq!([Key::Name, Key::Offset, Key::Bound].map(order), ["abc", "bca", "acb"]);
    }
}
