//! The picture: three panels over one axis of time, and a legend beside them.
//!
//! Colours are those of Okabe and Ito, which people with any kind of colour blindness can tell apart; members
//! of the same colour have points of another shape. Of many members those farthest off have a name, and the
//! rest is grey. However long the record is, a line has no more points than the picture can show.

use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::Path;

use chrono::DateTime;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::coord::{CoordTranslate, Shift};
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};

use super::scale::{Quantity, Scale};
use crate::store::record::history::{HistoryPoint, MemberHistory, RecordHistory};

/// Why there is no picture.
type Failed = Box<dyn Error>;

/// Draws into an SVG file.
///
/// # Errors
/// When it cannot be written.
pub(super) fn svg(history: &RecordHistory, path: &Path) -> Result<(), Failed> {
    let mut text = String::new();
    draw(history, SVGBackend::with_string(&mut text, SIZE), 1)?;
    Ok(fs::write(path, text)?)
}

/// Draws into a PNG file, with twice the pixels: they have hard edges.
///
/// # Errors
/// When it cannot be written.
pub(super) fn png(history: &RecordHistory, path: &Path) -> Result<(), Failed> {
    draw(history, BitMapBackend::new(path, (2 * SIZE.0, 2 * SIZE.1)), 2)
}

/// Draws everything, `zoom` times as large.
fn draw<B: DrawingBackend>(history: &RecordHistory, backend: B, zoom: i32) -> Result<(), Failed>
where
    B::ErrorType: 'static,
{
    register_font(FONT, FontStyle::Normal, dejavu::sans::regular()).map_err(|_| "the font is damaged")?;
    let root = backend.into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(HEAD_HEIGHT * zoom);
    head.draw_text(&title(history), &text(20, zoom), (MARGIN * zoom, 14 * zoom))?;
    let (panels, legend) = body.split_horizontally((SIZE.0 as i32 - LEGEND_WIDTH) * zoom);
    let dress = Dress::of(&history.members);
    let time = Scale::time(history.begin_ns, history.end_ns);
    let (upper, foot) = panels.split_vertically((SIZE.1 as i32 - HEAD_HEIGHT - FOOT_HEIGHT) * zoom);
    for (area, panel) in upper.split_evenly((PANELS.len(), 1)).iter().zip(&PANELS) {
        panel.draw(area, history, &time, &dress, zoom)?;
    }
    let middle = LABELS_WIDTH + (SIZE.0 as i32 - LEGEND_WIDTH - LABELS_WIDTH) / 2;
    foot.draw_text("time (UTC)", &centred(text(15, zoom)), (middle * zoom, 8 * zoom))?;
    draw_legend(&legend, history, &dress, zoom)?;
    Ok(root.present()?)
}

/// What is drawn of the members in a panel.
struct Panel {
    title: &'static str,
    quantity: Quantity,
    from_zero: bool,
    value: fn(&HistoryPoint) -> Option<f64>,
}

const PANELS: [Panel; 3] = [
    Panel {
        title: "offset from the cluster's time",
        quantity: Quantity::Time,
        from_zero: true,
        value: |point| point.offset_ns,
    },
    Panel {
        title: "round-trip delay",
        quantity: Quantity::Time,
        from_zero: true,
        value: |point| point.delay_ns,
    },
    Panel {
        title: "frequency against the oscillator",
        quantity: Quantity::Frequency,
        from_zero: false,
        value: |point| point.frequency_ppb,
    },
];

impl Panel {
    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        history: &RecordHistory,
        time: &Scale,
        dress: &Dress,
        zoom: i32,
    ) -> Result<(), Failed>
    where
        B::ErrorType: 'static,
    {
        let all = history.members.iter().flat_map(|member| &member.points);
        let scale = Scale::of(self.quantity, all.filter_map(self.value), self.from_zero);
        let unit = scale.unit.map_or("logarithmic".to_owned(), |unit| format!("in {unit}"));
        let title = format!("{}, {unit}", self.title);
        let mut chart = ChartBuilder::on(area)
            .caption(title, text(16, zoom))
            .margin_top(MARGIN / 2 * zoom)
            .margin_left(MARGIN * zoom)
            .margin_right(MARGIN * zoom)
            .x_label_area_size(26 * zoom)
            .y_label_area_size((LABELS_WIDTH - MARGIN) * zoom)
            .build_cartesian_2d(Axis(time), Axis(&scale))?;
        chart
            .configure_mesh()
            .bold_line_style(BLACK.mix(0.12).stroke_width(zoom as u32))
            .light_line_style(TRANSPARENT)
            .axis_style(BLACK.mix(0.5).stroke_width(zoom as u32))
            .set_all_tick_mark_size(5 * zoom)
            .label_style(text(14, zoom))
            .draw()?;
        // What has a name lies above what has none.
        for (member, dress) in dress.pairs(&history.members) {
            let pieces = pieces(member, self.value, history.begin_ns);
            let pieces: Vec<_> = pieces.iter().map(|piece| thinned(piece, time)).collect();
            draw_line(&mut chart, &pieces, &scale, dress, zoom)?;
        }
        Ok(())
    }
}

/// Draws what is known of a member.
fn draw_line<B: DrawingBackend>(
    chart: &mut ChartContext<B, Cartesian2d<Axis, Axis>>,
    pieces: &[Vec<Mark>],
    scale: &Scale,
    style: Style,
    zoom: i32,
) -> Result<(), Failed>
where
    B::ErrorType: 'static,
{
    let place = |mark: &Mark| (mark.at, scale.place(mark.value));
    let count: usize = pieces.iter().map(Vec::len).sum();
    let line = style.color.stroke_width(if count > DENSE { zoom } else { 2 * zoom } as u32);
    for piece in pieces {
        let places: Vec<_> = piece.iter().map(place).collect();
        // In a bitmap the joints of a thick line stick out, by any length where it turns sharply.
        let stretches = places.windows(if zoom > 1 { 2 } else { places.len().max(2) });
        chart.draw_series(stretches.map(|stretch| PathElement::new(stretch, line)))?;
    }
    let every = (count / MAX_MARKS).max(1);
    for piece in pieces {
        let is_marked = |n: usize| piece.len() == 1 || (style.named && n.is_multiple_of(every));
        for (_, mark) in piece.iter().enumerate().filter(|(n, _)| is_marked(*n)) {
            style.mark(chart.plotting_area(), place(mark), mark.holdover, zoom)?;
        }
    }
    Ok(())
}

/// A point of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mark {
    /// In seconds since the picture's first moment.
    at: f64,
    value: f64,
    holdover: bool,
}

/// What of a member's line hangs together.
fn pieces(member: &MemberHistory, value: fn(&HistoryPoint) -> Option<f64>, begin_ns: i64) -> Vec<Vec<Mark>> {
    let mut pieces: Vec<Vec<Mark>> = Vec::new();
    let mut whole = false;
    for point in &member.points {
        let Some(value) = value(point) else {
            whole = false;
            continue;
        };
        let at = point.time_ns.saturating_sub(begin_ns) as f64 / 1e9;
        let mark = Mark { at, value, holdover: point.holdover };
        match pieces.last_mut() {
            Some(piece) if whole && point.joined => piece.push(mark),
            _ => pieces.push(vec![mark]),
        }
        whole = true;
    }
    pieces
}

/// The points that a picture can show: of each column of pixels the first, the last, the lowest and the
/// highest.
fn thinned(piece: &[Mark], time: &Scale) -> Vec<Mark> {
    let width = (time.range.1 - time.range.0) / f64::from(SIZE.0);
    let column = |mark: &Mark| (mark.at / width).floor();
    let mut thin = Vec::new();
    for marks in piece.chunk_by(|a, b| column(a) == column(b)) {
        let by_value = |a: &&Mark, b: &&Mark| a.value.total_cmp(&b.value);
        let edges = [marks.iter().min_by(by_value), marks.iter().max_by(by_value)];
        let mut chosen: Vec<Mark> =
            [marks.first(), marks.last()].into_iter().chain(edges).flatten().copied().collect();
        chosen.sort_by(|a, b| a.at.total_cmp(&b.at));
        chosen.dedup();
        thin.extend(chosen);
    }
    thin
}

/// How each member is drawn; `None` for those without a name in the legend.
struct Dress(Vec<Option<Style>>);

/// How a member is drawn.
#[derive(Clone, Copy)]
struct Style {
    color: RGBColor,
    shape: Shape,
    /// Whether it is in the legend.
    named: bool,
}

/// What marks a member's points.
#[derive(Clone, Copy)]
enum Shape {
    Circle,
    Triangle,
    Square,
}

impl Dress {
    fn of(members: &[MemberHistory]) -> Dress {
        let most = COLOURS.len() * SHAPES.len();
        let mut named: Vec<usize> = (0..members.len()).collect();
        // The node itself, and of the others those that are farthest off, as a rule.
        let usual = |member: &MemberHistory| {
            let mut sizes: Vec<f64> =
                member.points.iter().filter_map(|point| point.offset_ns.map(f64::abs)).collect();
            sizes.sort_by(f64::total_cmp);
            sizes.get(sizes.len() / 2).copied().unwrap_or(0.0)
        };
        if members.len() > most + 1 {
            named.sort_by(|a, b| {
                let own = members[*b].own.cmp(&members[*a].own);
                own.then_with(|| usual(&members[*b]).total_cmp(&usual(&members[*a])))
            });
            named.truncate(most + 1);
            named.sort_unstable();
        }
        let mut styles = vec![None; members.len()];
        let mut others = 0;
        for index in named {
            styles[index] = Some(if members[index].own {
                Style { color: BLACK, shape: Shape::Circle, named: true }
            } else {
                others += 1;
                let nth = others - 1;
                Style {
                    color: COLOURS[nth % COLOURS.len()],
                    shape: SHAPES[nth / COLOURS.len() % SHAPES.len()],
                    named: true,
                }
            });
        }
        Dress(styles)
    }

    /// The members with their styles, in the order in which they are drawn.
    fn pairs<'a>(&self, members: &'a [MemberHistory]) -> Vec<(&'a MemberHistory, Style)> {
        let with =
            |named: bool| members.iter().zip(&self.0).filter(move |(_, style)| style.is_some() == named);
        with(false).chain(with(true)).map(|(member, style)| (member, style.unwrap_or(NAMELESS))).collect()
    }
}

impl Style {
    /// Draws a point; what was measured while the clock ran on its own is hollow.
    fn mark<B: DrawingBackend, C: CoordTranslate>(
        &self,
        area: &DrawingArea<B, C>,
        at: C::From,
        hollow: bool,
        zoom: i32,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>>
    where
        C::From: Clone,
    {
        let inside = if hollow { WHITE.filled() } else { self.color.filled() };
        let edge = self.color.stroke_width(zoom as u32);
        let corners = match self.shape {
            Shape::Circle => {
                let circle = |style| Circle::new((0, 0), 3 * zoom, style);
                return area.draw(&(EmptyElement::at(at) + circle(inside) + circle(edge)));
            }
            Shape::Triangle => vec![(-4, 3), (4, 3), (0, -4), (-4, 3)],
            Shape::Square => vec![(-3, -3), (3, -3), (3, 3), (-3, 3), (-3, -3)],
        };
        let corners: Vec<_> = corners.into_iter().map(|(x, y)| (x * zoom, y * zoom)).collect();
        let (inside, edge) = (Polygon::new(corners.clone(), inside), PathElement::new(corners, edge));
        area.draw(&(EmptyElement::at(at) + inside + edge))
    }
}

fn draw_legend<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    history: &RecordHistory,
    dress: &Dress,
    zoom: i32,
) -> Result<(), Failed>
where
    B::ErrorType: 'static,
{
    let mut y = 40 * zoom;
    let mut entry = |style: Option<Style>, hollow: bool, name: &str| -> Result<(), Failed> {
        if let Some(style) = style {
            area.draw(&PathElement::new(
                [(0, y), (28 * zoom, y)],
                style.color.stroke_width(2 * zoom as u32),
            ))?;
            style.mark(area, (14 * zoom, y), hollow, zoom)?;
        }
        area.draw_text(name, &text(15, zoom).pos(Pos::new(HPos::Left, VPos::Center)), (36 * zoom, y))?;
        y += LINE_HEIGHT * zoom;
        Ok(())
    };
    for (member, style) in history.members.iter().zip(&dress.0).filter(|(_, style)| style.is_some()) {
        entry(*style, false, &shortened(&member.name))?;
    }
    let nameless = dress.0.iter().filter(|style| style.is_none()).count();
    if nameless > 0 {
        entry(Some(NAMELESS), false, &format!("{nameless} others, less far off"))?;
    }
    if history.members.iter().any(|member| member.points.iter().any(|point| point.holdover)) {
        entry(None, false, "")?;
        entry(Some(NAMELESS), true, "hollow: in holdover")?;
    }
    Ok(())
}

/// A name that fits into the legend: of a longer one the middle is left out, for addresses differ at their
/// ends.
fn shortened(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    match chars.len() {
        0..=MAX_NAME => name.to_owned(),
        len => {
            let part = |chars: &[char]| chars.iter().collect::<String>();
            let half = MAX_NAME / 2;
            format!("{}…{}", part(&chars[..half]), part(&chars[len - half + 1..]))
        }
    }
}

fn title(history: &RecordHistory) -> String {
    let moment = |ns, format| DateTime::from_timestamp_nanos(ns).format(format).to_string();
    let (begin, end) = (history.begin_ns, history.end_ns);
    let same_day = moment(begin, "%F") == moment(end, "%F");
    let until = moment(end, if same_day { "%T" } else { "%F %T" });
    let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    format!(
        "{} to {until} UTC: {}, {}",
        moment(begin, "%F %T"),
        plural(history.members.len(), "clock"),
        plural(history.rounds, "round"),
    )
}

/// A scale as the plotting library takes it.
struct Axis<'a>(&'a Scale);

impl Ranged for Axis<'_> {
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

impl ValueFormatter<f64> for Axis<'_> {
    fn format_ext(&self, at: &f64) -> String {
        let tick = self.0.ticks.iter().find(|(place, _)| place == at);
        tick.map(|(_, name)| name.clone()).unwrap_or_default()
    }
}

fn text(size: i32, zoom: i32) -> TextStyle<'static> {
    (FONT, size * zoom).into_font().color(&BLACK.mix(0.85))
}

fn centred(style: TextStyle<'_>) -> TextStyle<'_> {
    style.pos(Pos::new(HPos::Center, VPos::Top))
}

/// What the pictures' text is set in; a browser takes its own for SVG.
const FONT: &str = "sans-serif";
/// The picture.
const SIZE: (u32, u32) = (1280, 960);
const HEAD_HEIGHT: i32 = 48;
const FOOT_HEIGHT: i32 = 34;
const LEGEND_WIDTH: i32 = 260;
const LABELS_WIDTH: i32 = 90;
const MARGIN: i32 = 16;
const LINE_HEIGHT: i32 = 26;
/// In characters, of a usual width.
const MAX_NAME: usize = 26;
/// A line with more points than this has marks on some of them only.
const MAX_MARKS: usize = 40;
/// And one with more than this is thin.
const DENSE: usize = 400;

/// Okabe and Ito's, without black, which is the node's own, and yellow, which is hard to see on white.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
];
const SHAPES: [Shape; 3] = [Shape::Circle, Shape::Triangle, Shape::Square];
/// For those that are too many for a name.
const NAMELESS: Style = Style { color: RGBColor(190, 190, 190), shape: Shape::Circle, named: false };

#[cfg(test)]
mod tests {
    use super::*;

    fn point(s: i64, joined: bool, offset_ns: Option<f64>) -> HistoryPoint {
        HistoryPoint {
            time_ns: s * 1_000_000_000,
            joined,
            holdover: false,
            offset_ns,
            delay_ns: None,
            frequency_ppb: None,
        }
    }

    fn member(name: &str, points: Vec<HistoryPoint>) -> MemberHistory {
        MemberHistory { name: name.into(), own: name == "hub", points }
    }

    #[test]
    fn a_line_is_broken_where_nothing_is_known_or_somebody_was_away() {
        let points = vec![
            point(0, false, Some(0.0)),
            point(1, true, Some(1.0)),
            point(2, true, None),
            point(3, true, Some(3.0)),
            point(5, false, Some(5.0)),
        ];
        let pieces = pieces(&member("a", points), |point| point.offset_ns, 0);
        let values: Vec<Vec<f64>> =
            pieces.iter().map(|piece| piece.iter().map(|mark| mark.value).collect()).collect();
        assert_eq!(values, [vec![0.0, 1.0], vec![3.0], vec![5.0]]);
    }

    #[test]
    fn a_name_that_is_too_long_keeps_its_ends() {
        assert_eq!(shortened("a name of twenty-six bytes"), "a name of twenty-six bytes");
        assert_eq!(shortened("pump ([2001:db8::1234:5678]:40000)"), "pump ([2001:d…5678]:40000)");
    }

    #[test]
    fn a_long_line_keeps_its_extremes_in_few_points() {
        let mark = |n: i32| Mark {
            at: f64::from(n),
            value: if n == 54_321 { 1e6 } else { f64::from(n % 7) },
            holdover: false,
        };
        let piece: Vec<Mark> = (0..100_000).map(mark).collect();
        let thin = thinned(&piece, &Scale::time(0, 100_000_000_000_000));
        assert!(thin.len() <= 4 * SIZE.0 as usize, "{}", thin.len());
        assert!(thin.contains(&mark(54_321)) && thin.contains(&mark(0)) && thin.contains(&mark(99_999)));
        assert!(thin.is_sorted_by(|a, b| a.at < b.at));
    }

    #[test]
    fn of_many_members_those_farthest_off_have_names() {
        let one = |n: i32| member(&format!("c-{n}"), vec![point(0, false, Some(f64::from(n)))]);
        let members: Vec<_> = [member("hub", Vec::new())].into_iter().chain((1..100).map(one)).collect();
        let dress = Dress::of(&members);
        let named: Vec<_> =
            members.iter().zip(&dress.0).filter(|(_, style)| style.is_some()).map(|(m, _)| &m.name).collect();
        assert_eq!((named.len(), named[0].as_str(), named[1].as_str()), (19, "hub", "c-82"));
        assert_eq!(dress.pairs(&members).len(), 100);
    }
}
