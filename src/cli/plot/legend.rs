//! The legend: the members with their colours and markers.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::layout::{DrawError, text};
use super::styles::{MemberStyle, MemberStyles, NAMELESS};
use crate::store::record::history::RecordHistory;

/// Draws the legend, `zoom` times as large.
pub(super) fn draw_legend<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    history: &RecordHistory,
    styles: &MemberStyles,
    zoom: i32,
) -> Result<(), DrawError>
where
    B::ErrorType: 'static,
{
    let mut y = 40 * zoom;
    let mut line = |style: Option<MemberStyle>, hollow: bool, name: &str| -> Result<(), DrawError> {
        if let Some(style) = style {
            area.draw(&PathElement::new(
                [(0, y), (28 * zoom, y)],
                style.color.stroke_width(2 * zoom as u32),
            ))?;
            style.draw_marker(area, (14 * zoom, y), hollow, zoom)?;
        }
        area.draw_text(name, &text(15, zoom).pos(Pos::new(HPos::Left, VPos::Center)), (36 * zoom, y))?;
        y += LINE_HEIGHT * zoom;
        Ok(())
    };
    for (member, style) in history.members.iter().zip(&styles.0).filter(|(_, style)| style.is_some()) {
        line(*style, false, &shortened(&member.name))?;
    }
    let nameless = styles.0.iter().filter(|style| style.is_none()).count();
    if nameless > 0 {
        line(Some(NAMELESS), false, &format!("{nameless} others, less far off"))?;
    }
    if history.members.iter().any(|member| member.points.iter().any(|point| point.holdover)) {
        line(None, false, "")?;
        line(Some(NAMELESS), true, "hollow: in holdover")?;
    }
    Ok(())
}

/// A name that fits into the legend. Of a longer name the middle is left out, because addresses differ at
/// their ends.
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

/// In pixels.
const LINE_HEIGHT: i32 = 26;
/// In characters of a usual width.
const MAX_NAME: usize = 26;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_too_long_keeps_its_ends() {
        assert_eq!(shortened("a name of twenty-six bytes"), "a name of twenty-six bytes");
        assert_eq!(shortened("pump ([2001:db8::1234:5678]:40000)"), "pump ([2001:d…5678]:40000)");
    }
}
