//! Maps values to places on an axis, and chooses the ticks.
//!
//! While a cluster synchronizes, its offsets go from seconds to nanoseconds. If the largest value is far
//! beyond the median, the axis is logarithmic on both sides of zero, asinh-like: y = sign(v)·log₁₀(1 +
//! |v|/l), linear within ± l.

use chrono::DateTime;

/// An axis of values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    /// Where the values lie, from the lowest place to the highest.
    pub range: (f64, f64),
    /// Places with their names.
    pub ticks: Vec<(f64, String)>,
    /// The unit of the names; `None`: each has its own.
    pub unit: Option<&'static str>,
    mapping: Mapping,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mapping {
    Linear,
    /// Linear up to this value, logarithmic beyond.
    Logarithmic(f64),
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    /// A length of time, in nanoseconds.
    Time,
    /// A frequency, in parts per billion.
    Frequency,
}

impl Quantity {
    /// Its units, with how much of the base unit they are, in ascending order.
    fn units(self) -> &'static [(f64, &'static str)] {
        match self {
            Quantity::Time => &[(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")],
            Quantity::Frequency => &[(1.0, "ppb"), (1e3, "ppm")],
        }
    }

    /// The largest unit of which `value` is at least one, or the smallest.
    fn unit(self, value: f64) -> (f64, &'static str) {
        let units = self.units();
        *units.iter().rev().find(|(size, _)| value.abs() >= size * 0.999_999).unwrap_or(&units[0])
    }

    /// A value with its unit; with its sign if there are others below zero.
    fn named(self, value: f64, signed: bool) -> String {
        let (size, unit) = self.unit(value);
        let sign = match value {
            ..0.0 => "−",
            0.0 => return "0".to_owned(),
            _ if signed => "+",
            _ => "",
        };
        format!("{sign}{} {unit}", (value.abs() / size * 1e3).round() / 1e3)
    }
}

impl Scale {
    /// A scale that shows all of these values, zero among them if `from_zero`. Without values, some scale.
    pub(super) fn of(quantity: Quantity, values: impl IntoIterator<Item = f64>, from_zero: bool) -> Scale {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (values.first().copied().unwrap_or(0.0), values.last().copied().unwrap_or(0.0));
        let mut sizes: Vec<f64> = values.into_iter().map(f64::abs).filter(|size| *size > 0.0).collect();
        sizes.sort_by(f64::total_cmp);
        let usual = sizes.get(sizes.len() / 2).copied().unwrap_or(1.0);
        let largest = sizes.last().copied().unwrap_or(1.0);
        let is_wide = quantity == Quantity::Time && largest > WIDE * usual;
        if is_wide {
            let small = sizes[sizes.len() / 10].max(1.0);
            Scale::logarithmic(quantity, low, high, 10f64.powf(small.log10().floor()), from_zero)
        } else {
            Scale::linear(quantity, low, high, from_zero)
        }
    }

    fn linear(quantity: Quantity, low: f64, high: f64, from_zero: bool) -> Scale {
        let (low, high) = if from_zero { (low.min(0.0), high.max(0.0)) } else { (low, high) };
        let span = if high > low { high - low } else { high.abs().max(1.0) };
        // Room for the points at the edge; none below zero where nothing is.
        let room = span * 0.06;
        let low = if from_zero && low == 0.0 { 0.0 } else { low - room };
        let high = if from_zero && high == 0.0 && low < 0.0 { 0.0 } else { high + room };
        let step = nice((high - low) / 5.0);
        let (size, unit) = quantity.unit(low.abs().max(high.abs()));
        let decimals = (-(step / size).log10().floor()).clamp(0.0, 6.0) as usize;
        let first = (low / step).ceil() as i64;
        let last = (high / step).floor() as i64;
        let name = |value: f64| format!("{:.decimals$}", value / size).replace('-', "−");
        let ticks = (first..=last).map(|n| n as f64 * step).map(|value| (value, name(value))).collect();
        Scale { range: (low, high), ticks, unit: Some(unit), mapping: Mapping::Linear }
    }

    fn logarithmic(quantity: Quantity, low: f64, high: f64, linear: f64, from_zero: bool) -> Scale {
        let (low, high) = if from_zero { (low.min(0.0), high.max(0.0)) } else { (low, high) };
        let mut scale =
            Scale { range: (0.0, 0.0), ticks: Vec::new(), unit: None, mapping: Mapping::Logarithmic(linear) };
        let (bottom, top) = (scale.place(low), scale.place(high));
        let room = (top - bottom) * 0.05;
        scale.range = (if low == 0.0 { 0.0 } else { bottom - room }, top + room);
        // One decade of so many has its name: no more than some ten names.
        let every = ((top - bottom) / 8.0).ceil().max(1.0) as i32;
        let decades = (1..).map(|n| linear * 10f64.powi(n * every)).take_while(|value| *value < 1e20);
        let (shown, signed) = (scale.range, low < 0.0);
        let values = decades.flat_map(|value| [value, -value]).chain([0.0]);
        let mut ticks: Vec<_> =
            values.map(|value| (scale.place(value), quantity.named(value, signed))).collect();
        ticks.retain(|(place, _)| (shown.0..=shown.1).contains(place));
        ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
        scale.ticks = ticks;
        scale
    }

    /// Where a value is on the axis.
    pub(super) fn place(&self, value: f64) -> f64 {
        match self.mapping {
            Mapping::Linear => value,
            Mapping::Logarithmic(linear) => value.signum() * (1.0 + value.abs() / linear).log10(),
        }
    }

    /// An axis of time, from one moment to another, in nanoseconds since 1970. Its places are seconds since
    /// the first.
    pub(super) fn time(begin_ns: i64, end_ns: i64) -> Scale {
        let span = (end_ns.saturating_sub(begin_ns) as f64 / 1e9).max(1e-3);
        let step_ns = TIME_STEPS_NS.iter().copied().find(|step| span / (*step as f64 / 1e9) <= 9.0);
        let step_ns = step_ns.unwrap_or_else(|| DAY_NS * nice(span / 86_400.0 / 8.0).ceil() as i64);
        let format = match step_ns {
            step if step < SECOND_NS => "%H:%M:%S%.3f",
            step if step < 60 * SECOND_NS => "%H:%M:%S",
            // Without the day, the same hour would stand there twice.
            step if step < DAY_NS && span > 86_400.0 => "%m-%d %H:%M",
            step if step < DAY_NS => "%H:%M",
            _ => "%Y-%m-%d",
        };
        let first = begin_ns.div_euclid(step_ns);
        let tick = |n: i64| {
            let at = n.saturating_mul(step_ns);
            (
                at.saturating_sub(begin_ns) as f64 / 1e9,
                DateTime::from_timestamp_nanos(at).format(format).to_string(),
            )
        };
        let room = span * 0.02;
        let range = (-room, span + room);
        let ticks =
            (first..=first + 20).map(tick).filter(|(at, _)| (range.0..=range.1).contains(at)).collect();
        Scale { range, ticks, unit: None, mapping: Mapping::Linear }
    }
}

/// The next larger of 1, 2, 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * power >= step * 0.999_999);
    digit.unwrap_or(10.0) * power
}

/// A largest value of so many times the median would make all other lines flat.
const WIDE: f64 = 50.0;

const SECOND_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * SECOND_NS;

/// What is between two names on the axis of time: what clocks count in.
const TIME_STEPS_NS: [i64; 22] = {
    const S: i64 = SECOND_NS;
    [
        S / 100,
        S / 10,
        S / 5,
        S / 2,
        S,
        2 * S,
        5 * S,
        10 * S,
        15 * S,
        30 * S,
        60 * S,
        120 * S,
        300 * S,
        600 * S,
        900 * S,
        1_800 * S,
        3_600 * S,
        2 * 3_600 * S,
        3 * 3_600 * S,
        6 * 3_600 * S,
        12 * 3_600 * S,
        DAY_NS,
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    fn names(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn the_unit_follows_the_size_of_the_values() {
        for (largest, unit) in [(800.0, "ns"), (4_000.0, "µs"), (3e6, "ms"), (7e9, "s"), (4e12, "s")] {
            assert_eq!(Scale::of(Quantity::Time, [0.0, largest], true).unit, Some(unit));
        }
        for (largest, unit) in [(-900.0, "ppb"), (20_000.0, "ppm")] {
            assert_eq!(Scale::of(Quantity::Frequency, [0.0, largest], true).unit, Some(unit));
        }
    }

    #[test]
    fn names_are_round_and_few_and_within_the_range() {
        for (low, high) in [(-3.0, 4.0), (0.0, 1e9), (-1_234.5, -1_200.0), (5.0, 5.0), (0.0, 0.0)] {
            for from_zero in [false, true] {
                let scale = Scale::of(Quantity::Time, [low, high], from_zero);
                assert!((2..=8).contains(&scale.ticks.len()), "{low} to {high}: {scale:?}");
                let within = |value: f64| (scale.range.0..=scale.range.1).contains(&value);
                assert!(within(low) && within(high) && scale.ticks.iter().all(|(at, _)| within(*at)));
            }
        }
        let scale = Scale::of(Quantity::Time, [-2_100.0, 1_800.0], true);
        assert_eq!(names(&scale), ["−2", "−1", "0", "1", "2"]);
    }

    #[test]
    fn seconds_and_nanoseconds_fit_on_one_axis() {
        let settled = (0..100).map(|n| f64::from(n) * 8.0 - 400.0);
        let scale = Scale::of(Quantity::Time, settled.chain([-8e9, 4e9]), true);
        assert!(scale.unit.is_none() && scale.ticks.len() <= 11, "{scale:?}");
        assert!(names(&scale).contains(&"0"));
        let places: Vec<f64> = [-8e9, -400.0, 0.0, 400.0, 4e9].map(|value| scale.place(value)).to_vec();
        assert!(places.is_sorted() && places[0] >= scale.range.0 && places[4] <= scale.range.1);
        let full = scale.range.1 - scale.range.0;
        assert!(places[3] - places[1] > 0.1 * full, "what is settled is still to be seen: {places:?}");
    }

    #[test]
    fn a_value_on_a_logarithmic_axis_has_its_own_unit() {
        let named = |value| Quantity::Time.named(value, true);
        assert_eq!([0.0, 10.0, -1e3, 1e8, -1e10].map(named), ["0", "+10 ns", "−1 µs", "+100 ms", "−10 s"]);
        assert_eq!(Quantity::Time.named(1e5, false), "100 µs");
    }

    #[test]
    fn moments_have_the_names_that_clocks_give_them() {
        let begin = 1_755_793_812_123_456_789;
        let seconds = |s: i64| Scale::time(begin, begin + s * 1_000_000_000);
        assert_eq!(names(&seconds(20)), ["16:30:15", "16:30:20", "16:30:25", "16:30:30"]);
        assert_eq!(names(&seconds(3_600))[..2], ["16:30", "16:40"]);
        assert_eq!(names(&seconds(3 * 86_400))[..2], ["08-22 00:00", "08-22 12:00"]);
        assert_eq!(names(&seconds(8 * 86_400))[0], "2025-08-22");
        for s in [0, 1, 7, 61, 1_000, 40_000, 1_000_000, 400_000_000] {
            assert!(seconds(s).ticks.len() <= 11, "{s} s: {:?}", seconds(s));
        }
    }
}
