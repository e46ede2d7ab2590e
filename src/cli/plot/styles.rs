//! Colours and markers of the members.
//!
//! The colours are those of Okabe and Ito, which can be distinguished with any kind of colour blindness.
//! Members of the same colour have different markers. Of many members those with the largest offsets have a
//! name in the legend; the others are grey.

use plotters::coord::CoordTranslate;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;

use crate::store::record::history::MemberHistory;

/// How each member is drawn; `None`: it has no name in the legend.
pub(super) struct MemberStyles(pub(super) Vec<Option<MemberStyle>>);

/// How a member is drawn.
#[derive(Clone, Copy)]
pub(super) struct MemberStyle {
    pub color: RGBColor,
    shape: MarkerShape,
    /// Whether it is in the legend.
    pub named: bool,
}

/// The marker of a member's points.
#[derive(Clone, Copy)]
enum MarkerShape {
    Circle,
    Triangle,
    Square,
}

impl MemberStyles {
    /// The styles of these members.
    pub(super) fn of(members: &[MemberHistory]) -> MemberStyles {
        let max_named = COLOURS.len() * SHAPES.len();
        let mut named: Vec<usize> = (0..members.len()).collect();
        // The node itself, and of the others those with the largest median offset.
        let median_offset = |member: &MemberHistory| {
            let mut sizes: Vec<f64> =
                member.points.iter().filter_map(|point| point.offset_ns.map(f64::abs)).collect();
            sizes.sort_by(f64::total_cmp);
            sizes.get(sizes.len() / 2).copied().unwrap_or(0.0)
        };
        if members.len() > max_named + 1 {
            named.sort_by(|a, b| {
                let own = members[*b].own.cmp(&members[*a].own);
                own.then_with(|| median_offset(&members[*b]).total_cmp(&median_offset(&members[*a])))
            });
            named.truncate(max_named + 1);
            named.sort_unstable();
        }
        let mut styles = vec![None; members.len()];
        let mut others = 0;
        for index in named {
            styles[index] = Some(if members[index].own {
                MemberStyle { color: BLACK, shape: MarkerShape::Circle, named: true }
            } else {
                others += 1;
                let nth = others - 1;
                MemberStyle {
                    color: COLOURS[nth % COLOURS.len()],
                    shape: SHAPES[nth / COLOURS.len() % SHAPES.len()],
                    named: true,
                }
            });
        }
        MemberStyles(styles)
    }

    /// The members with their styles, in the order in which they are drawn.
    pub(super) fn pairs<'a>(&self, members: &'a [MemberHistory]) -> Vec<(&'a MemberHistory, MemberStyle)> {
        let with =
            |named: bool| members.iter().zip(&self.0).filter(move |(_, style)| style.is_some() == named);
        with(false).chain(with(true)).map(|(member, style)| (member, style.unwrap_or(NAMELESS))).collect()
    }
}

impl MemberStyle {
    /// Draws a marker; those of a clock in holdover are hollow.
    pub(super) fn draw_marker<B: DrawingBackend, C: CoordTranslate>(
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
            MarkerShape::Circle => {
                let circle = |style| Circle::new((0, 0), 3 * zoom, style);
                return area.draw(&(EmptyElement::at(at) + circle(inside) + circle(edge)));
            }
            MarkerShape::Triangle => vec![(-4, 3), (4, 3), (0, -4), (-4, 3)],
            MarkerShape::Square => vec![(-3, -3), (3, -3), (3, 3), (-3, 3), (-3, -3)],
        };
        let corners: Vec<_> = corners.into_iter().map(|(x, y)| (x * zoom, y * zoom)).collect();
        let (inside, edge) = (Polygon::new(corners.clone(), inside), PathElement::new(corners, edge));
        area.draw(&(EmptyElement::at(at) + inside + edge))
    }
}

/// The colours of Okabe and Ito, without black, which is the node's own, and yellow, which is hard to see on
/// white.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
];
const SHAPES: [MarkerShape; 3] = [MarkerShape::Circle, MarkerShape::Triangle, MarkerShape::Square];
/// The style of members without a name in the legend.
pub(super) const NAMELESS: MemberStyle =
    MemberStyle { color: RGBColor(190, 190, 190), shape: MarkerShape::Circle, named: false };

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::record::history::HistoryPoint;

    /// A point of a history, `s` seconds after its beginning.
    pub(in crate::cli::plot) fn point(s: i64, joined: bool, offset_ns: Option<f64>) -> HistoryPoint {
        HistoryPoint {
            time_ns: s * 1_000_000_000,
            joined,
            holdover: false,
            offset_ns,
            delay_ns: None,
            frequency_ppb: None,
            utc_offset_ns: None,
            utc_error_ns: None,
        }
    }

    /// The history of a member; the server is called "hub".
    pub(in crate::cli::plot) fn member(name: &str, points: Vec<HistoryPoint>) -> MemberHistory {
        MemberHistory { name: name.into(), own: name == "hub", points }
    }

    #[test]
    fn of_many_members_those_with_the_largest_offsets_have_names() {
        let one = |n: i32| member(&format!("c-{n}"), vec![point(0, false, Some(f64::from(n)))]);
        let members: Vec<_> = [member("hub", Vec::new())].into_iter().chain((1..100).map(one)).collect();
        let styles = MemberStyles::of(&members);
        let named: Vec<_> = members
            .iter()
            .zip(&styles.0)
            .filter(|(_, style)| style.is_some())
            .map(|(m, _)| &m.name)
            .collect();
        assert_eq!((named.len(), named[0].as_str(), named[1].as_str()), (19, "hub", "c-82"));
        assert_eq!(styles.pairs(&members).len(), 100);
    }
}
