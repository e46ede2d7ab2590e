//! The picture: panels over one axis of time, and a legend beside them.

use std::fs;
use std::path::Path;

use chrono::DateTime;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::layout::{
    DrawError, FONT, FOOT_HEIGHT, HEAD_HEIGHT, LABELS_WIDTH, LEGEND_WIDTH, MARGIN, SIZE, centred, text,
};
use super::legend::draw_legend;
use super::panel::panels;
use super::scale::Scale;
use super::styles::MemberStyles;
use crate::store::record::history::RecordHistory;

/// Draws into an SVG file.
///
/// # Errors
/// When it cannot be written.
pub(super) fn svg(history: &RecordHistory, path: &Path) -> Result<(), DrawError> {
    let mut text = String::new();
    draw(history, SVGBackend::with_string(&mut text, SIZE), 1)?;
    Ok(fs::write(path, text)?)
}

/// Draws into a PNG file with twice the pixels, because a bitmap has hard edges.
///
/// # Errors
/// When it cannot be written.
pub(super) fn png(history: &RecordHistory, path: &Path) -> Result<(), DrawError> {
    draw(history, BitMapBackend::new(path, (2 * SIZE.0, 2 * SIZE.1)), 2)
}

/// Draws everything, `zoom` times as large.
fn draw<B: DrawingBackend>(history: &RecordHistory, backend: B, zoom: i32) -> Result<(), DrawError>
where
    B::ErrorType: 'static,
{
    register_font(FONT, FontStyle::Normal, dejavu::sans::regular()).map_err(|_| "the font is damaged")?;
    let root = backend.into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(HEAD_HEIGHT * zoom);
    head.draw_text(&title(history), &text(20, zoom), (MARGIN * zoom, 14 * zoom))?;
    let (left, legend) = body.split_horizontally((SIZE.0 as i32 - LEGEND_WIDTH) * zoom);
    let styles = MemberStyles::of(&history.members);
    let time = Scale::time(history.begin_ns, history.end_ns);
    let (upper, foot) = left.split_vertically((SIZE.1 as i32 - HEAD_HEIGHT - FOOT_HEIGHT) * zoom);
    let shown = panels(history);
    for (area, panel) in upper.split_evenly((shown.len(), 1)).iter().zip(shown) {
        panel.draw(area, history, &time, &styles, zoom)?;
    }
    let middle = LABELS_WIDTH + (SIZE.0 as i32 - LEGEND_WIDTH - LABELS_WIDTH) / 2;
    foot.draw_text("time (UTC)", &centred(text(15, zoom)), (middle * zoom, 8 * zoom))?;
    draw_legend(&legend, history, &styles, zoom)?;
    Ok(root.present()?)
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
