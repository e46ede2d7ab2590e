//! In which order the members are shown.

use std::cmp::Ordering;

use serde_json::Value;

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
    /// The bound, the largest first; who has none before all.
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
    pub(super) fn compare(self, one: &Value, other: &Value) -> Ordering {
        let largest_first = |field: &str, size: fn(f64) -> f64| {
            let of = |member: &Value| member[field].as_f64().map_or(f64::INFINITY, size);
            of(other).total_cmp(&of(one))
        };
        let same = |value: f64| value;
        let by_key = match self {
            Key::Name => Ordering::Equal,
            Key::Offset => largest_first("offset_ns", f64::abs),
            Key::Error => largest_first("offset_error_ns", same),
            Key::Bound => largest_first("bound_ns", same),
            Key::Delay => largest_first("delay_ns", same),
            Key::Frequency => largest_first("frequency_ppb", same),
            Key::Heard => largest_first("heard_ago_ns", same),
        };
        let name = |member: &Value| [text(member, "name"), text(member, "address")];
        by_key.then_with(|| name(one).cmp(&name(other)))
    }
}

fn text(member: &Value, field: &str) -> String {
    member[field].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn order(key: Key) -> String {
        let mut members = [
            json!({ "name": "b", "offset_ns": -7, "bound_ns": 10 }),
            json!({ "name": "a", "offset_ns": 3, "bound_ns": null }),
            json!({ "name": "c", "offset_ns": 7, "bound_ns": 20 }),
        ];
        members.sort_by(|one, other| key.compare(one, other));
        members.iter().filter_map(|member| member["name"].as_str()).collect()
    }

    #[test]
    fn what_needs_a_look_comes_first() {
        assert_eq!([Key::Name, Key::Offset, Key::Bound].map(order), ["abc", "bca", "acb"]);
    }
}
