//! A panel of the picture: one quantity of all members over time.
//!
//! However long the record is, a line has no more points than the picture can show.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;

use super::layout::{DrawError, LABELS_WIDTH, MARGIN, SIZE, text};
use super::scale::{Quantity, Scale};
use super::styles::{MemberStyle, MemberStyles};
use crate::store::record::history::{HistoryPoint, MemberHistory, RecordHistory};

/// The quantity that a panel shows.
pub(super) struct Panel {
    title: &'static str,
    quantity: Quantity,
    from_zero: bool,
    value: fn(&HistoryPoint) -> Option<f64>,
    /// The maximum error of the value, which is drawn as a band.
    error: fn(&HistoryPoint) -> Option<f64>,
    /// Whether it is left out of the picture if no value is known.
    optional: bool,
}

/// The panels of the picture, from top to bottom.
pub(super) fn panels(history: &RecordHistory) -> Vec<&'static Panel> {
    let all = || history.members.iter().flat_map(|member| &member.points);
    PANELS
        .iter()
        .filter(|panel| !panel.optional || all().any(|point| (panel.value)(point).is_some()))
        .collect()
}

/// All panels that there can be.
static PANELS: [Panel; 4] = [
    Panel {
        title: "offset from the cluster's time",
        quantity: Quantity::Time,
        from_zero: true,
        value: |point| point.offset_ns,
        error: |_| None,
        optional: false,
    },
    Panel {
        title: "round-trip delay",
        quantity: Quantity::Time,
        from_zero: true,
        value: |point| point.delay_ns,
        error: |_| None,
        optional: false,
    },
    Panel {
        title: "frequency against the oscillator",
        quantity: Quantity::Frequency,
        from_zero: false,
        value: |point| point.frequency_ppb,
        error: |_| None,
        optional: false,
    },
    Panel {
        title: "the cluster's time minus UTC, with its maximum error",
        quantity: Quantity::Time,
        from_zero: true,
        value: |point| point.utc_offset_ns,
        error: |point| point.utc_error_ns,
        optional: true,
    },
];

impl Panel {
    /// Draws the panel, `zoom` times as large.
    pub(super) fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        history: &RecordHistory,
        time: &Scale,
        styles: &MemberStyles,
        zoom: i32,
    ) -> Result<(), DrawError>
    where
        B::ErrorType: 'static,
    {
        let all = history.members.iter().flat_map(|member| &member.points);
        let scale = Scale::of(self.quantity, all.flat_map(|point| self.shown(point)), self.from_zero);
        let unit = scale.unit.map_or("logarithmic".to_owned(), |unit| format!("in {unit}"));
        let title = format!("{}, {unit}", self.title);
        let mut chart = ChartBuilder::on(area)
            .caption(title, text(16, zoom))
            .margin_top(MARGIN / 2 * zoom)
            .margin_left(MARGIN * zoom)
            .margin_right(MARGIN * zoom)
            .x_label_area_size(26 * zoom)
            .y_label_area_size((LABELS_WIDTH - MARGIN) * zoom)
            .build_cartesian_2d(PlotAxis(time), PlotAxis(&scale))?;
        chart
            .configure_mesh()
            .bold_line_style(BLACK.mix(0.12).stroke_width(zoom as u32))
            .light_line_style(TRANSPARENT)
            .axis_style(BLACK.mix(0.5).stroke_width(zoom as u32))
            .set_all_tick_mark_size(5 * zoom)
            .label_style(text(14, zoom))
            .draw()?;
        // Members with a name in the legend are drawn above the others.
        for (member, styles) in styles.pairs(&history.members) {
            let pieces = self.pieces(member, history.begin_ns);
            let pieces: Vec<_> = pieces.iter().map(|piece| thinned(piece, time)).collect();
            draw_bands(&mut chart, &pieces, &scale, styles)?;
            draw_line(&mut chart, &pieces, &scale, styles, zoom)?;
        }
        Ok(())
    }

    /// The values that a point has in the panel: its own, and the edges of its band.
    fn shown(&self, point: &HistoryPoint) -> impl Iterator<Item = f64> + use<> {
        let value = (self.value)(point);
        let band = value.zip((self.error)(point)).map(|(value, error)| [value - error, value + error]);
        value.into_iter().chain(band.into_iter().flatten())
    }

    /// The pieces of a member's line: it is broken where a round or a value is missing.
    fn pieces(&self, member: &MemberHistory, begin_ns: i64) -> Vec<Vec<PlotPoint>> {
        let mut pieces: Vec<Vec<PlotPoint>> = Vec::new();
        let mut whole = false;
        for point in &member.points {
            let Some(value) = (self.value)(point) else {
                whole = false;
                continue;
            };
            let at = point.time_ns.saturating_sub(begin_ns) as f64 / 1e9;
            let error = (self.error)(point).unwrap_or(0.0);
            let mark = PlotPoint { at, value, error, holdover: point.holdover };
            match pieces.last_mut() {
                Some(piece) if whole && point.joined => piece.push(mark),
                _ => pieces.push(vec![mark]),
            }
            whole = true;
        }
        pieces
    }
}

/// Draws the bands of the errors around a member's line.
fn draw_bands<B: DrawingBackend>(
    chart: &mut ChartContext<B, Cartesian2d<PlotAxis, PlotAxis>>,
    pieces: &[Vec<PlotPoint>],
    scale: &Scale,
    style: MemberStyle,
) -> Result<(), DrawError>
where
    B::ErrorType: 'static,
{
    let band = |piece: &Vec<PlotPoint>| {
        let above = piece.iter().map(|mark| (mark.at, scale.place(mark.value + mark.error)));
        let below = piece.iter().rev().map(|mark| (mark.at, scale.place(mark.value - mark.error)));
        Polygon::new(above.chain(below).collect::<Vec<_>>(), style.color.mix(0.15))
    };
    let with_error = pieces.iter().filter(|piece| piece.iter().any(|mark| mark.error > 0.0));
    chart.draw_series(with_error.map(band))?;
    Ok(())
}

/// Draws a member's line.
fn draw_line<B: DrawingBackend>(
    chart: &mut ChartContext<B, Cartesian2d<PlotAxis, PlotAxis>>,
    pieces: &[Vec<PlotPoint>],
    scale: &Scale,
    style: MemberStyle,
    zoom: i32,
) -> Result<(), DrawError>
where
    B::ErrorType: 'static,
{
    let place = |mark: &PlotPoint| (mark.at, scale.place(mark.value));
    let count: usize = pieces.iter().map(Vec::len).sum();
    let line = style.color.stroke_width(if count > DENSE { zoom } else { 2 * zoom } as u32);
    for piece in pieces {
        let places: Vec<_> = piece.iter().map(place).collect();
        // In a bitmap the joints of a thick line stick out, by any length where it turns sharply.
        let stretches = places.windows(if zoom > 1 { 2 } else { places.len().max(2) });
        chart.draw_series(stretches.map(|stretch| PathElement::new(stretch, line)))?;
    }
    let every = (count / MAX_MARKERS).max(1);
    for piece in pieces {
        let has_marker = |n: usize| piece.len() == 1 || (style.named && n.is_multiple_of(every));
        for (_, mark) in piece.iter().enumerate().filter(|(n, _)| has_marker(*n)) {
            style.draw_marker(chart.plotting_area(), place(mark), mark.holdover, zoom)?;
        }
    }
    Ok(())
}

/// A point of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct PlotPoint {
    /// In seconds since the first row of the record.
    at: f64,
    value: f64,
    /// The maximum error of the value; 0: none is drawn.
    error: f64,
    holdover: bool,
}

/// The points that a picture can show: of each column of pixels the first, the last, the lowest and the
/// highest, of its band too.
fn thinned(piece: &[PlotPoint], time: &Scale) -> Vec<PlotPoint> {
    let width = (time.range.1 - time.range.0) / f64::from(SIZE.0);
    let column = |mark: &PlotPoint| (mark.at / width).floor();
    let mut thin = Vec::new();
    for marks in piece.chunk_by(|a, b| column(a) == column(b)) {
        let lowest = |edge: fn(&PlotPoint) -> f64| marks.iter().min_by(|a, b| edge(a).total_cmp(&edge(b)));
        let highest = |edge: fn(&PlotPoint) -> f64| marks.iter().max_by(|a, b| edge(a).total_cmp(&edge(b)));
        let edges = [
            lowest(|mark| mark.value),
            highest(|mark| mark.value),
            lowest(|mark| mark.value - mark.error),
            highest(|mark| mark.value + mark.error),
        ];
        let mut chosen: Vec<PlotPoint> =
            [marks.first(), marks.last()].into_iter().chain(edges).flatten().copied().collect();
        chosen.sort_by(|a, b| a.at.total_cmp(&b.at));
        chosen.dedup();
        thin.extend(chosen);
    }
    thin
}

/// A scale, for the plotting library.
struct PlotAxis<'a>(&'a Scale);

impl Ranged for PlotAxis<'_> {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        let (low, high) = self.0.range;
        let pixels = f64::from(limit.1 - limit.0);
        limit.0 + ((place - low) / (high - low) * pixels).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.0.ticks.iter().map(|(place, _)| *place).collect()
    }

    fn range(&self) -> Range<f64> {
        self.0.range.0..self.0.range.1
    }
}

impl ValueFormatter<f64> for PlotAxis<'_> {
    fn format_ext(&self, at: &f64) -> String {
        let tick = self.0.ticks.iter().find(|(place, _)| place == at);
        tick.map(|(_, name)| name.clone()).unwrap_or_default()
    }
}

/// A line with more points than this has markers on some of them only.
const MAX_MARKERS: usize = 40;
/// A line with more points than this is thin.
const DENSE: usize = 400;

#[cfg(test)]
mod tests {
    use super::super::styles::tests::{member, point};
    use super::*;

    #[test]
    fn a_line_is_broken_where_a_value_or_a_round_is_missing() {
        let points = vec![
            point(0, false, Some(0.0)),
            point(1, true, Some(1.0)),
            point(2, true, None),
            point(3, true, Some(3.0)),
            point(5, false, Some(5.0)),
        ];
        let pieces = PANELS[0].pieces(&member("a", points), 0);
        let values: Vec<Vec<f64>> =
            pieces.iter().map(|piece| piece.iter().map(|mark| mark.value).collect()).collect();
        assert_eq!(values, [vec![0.0, 1.0], vec![3.0], vec![5.0]]);
    }

    /// The history of a server whose distance to UTC was known in the second of three rounds.
    fn with_utc() -> RecordHistory {
        let mut points: Vec<_> = (0..3).map(|s| point(s, s > 0, Some(0.0))).collect();
        (points[1].utc_offset_ns, points[1].utc_error_ns) = (Some(-700.0), Some(90.0));
        RecordHistory { begin_ns: 0, end_ns: 2_000_000_000, rounds: 3, members: vec![member("hub", points)] }
    }

    #[test]
    fn the_distance_to_utc_has_a_panel_if_it_was_known_once() {
        let mut history = with_utc();
        assert_eq!(panels(&history).len(), 4);
        history.members[0].points[1].utc_offset_ns = None;
        let titles: Vec<_> = panels(&history).iter().map(|panel| panel.title).collect();
        assert!(titles.len() == 3 && titles.iter().all(|title| !title.contains("UTC")), "{titles:?}");
    }

    #[test]
    fn a_band_is_within_its_panel_and_around_its_line() {
        let history = with_utc();
        let (panel, own) = (&PANELS[3], &history.members[0]);
        let shown: Vec<f64> = own.points.iter().flat_map(|point| panel.shown(point)).collect();
        assert_eq!(shown, [-700.0, -790.0, -610.0]);
        let expected = PlotPoint { at: 1.0, value: -700.0, error: 90.0, holdover: false };
        assert_eq!(panel.pieces(own, 0), [[expected]]);
    }

    #[test]
    fn a_long_line_keeps_the_largest_error_of_its_band() {
        let mark = |n: i32| PlotPoint {
            at: f64::from(n),
            value: f64::from(n % 7),
            error: if n == 54_321 { 1e6 } else { 1.0 },
            holdover: false,
        };
        let piece: Vec<PlotPoint> = (0..100_000).map(mark).collect();
        assert!(thinned(&piece, &Scale::time(0, 100_000_000_000_000)).contains(&mark(54_321)));
    }

    #[test]
    fn a_long_line_keeps_its_extremes_in_few_points() {
        let mark = |n: i32| PlotPoint {
            at: f64::from(n),
            value: if n == 54_321 { 1e6 } else { f64::from(n % 7) },
            error: 0.0,
            holdover: false,
        };
        let piece: Vec<PlotPoint> = (0..100_000).map(mark).collect();
        let thin = thinned(&piece, &Scale::time(0, 100_000_000_000_000));
        assert!(thin.len() <= 4 * SIZE.0 as usize, "{}", thin.len());
        assert!(thin.contains(&mark(54_321)) && thin.contains(&mark(0)) && thin.contains(&mark(99_999)));
        assert!(thin.is_sorted_by(|a, b| a.at < b.at));
    }
}
