//! The sizes and the text style of the picture, shared by its parts.

use std::error::Error;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Why a picture cannot be drawn.
pub(super) type DrawError = Box<dyn Error>;

/// The style of text of this size.
pub(super) fn text(size: i32, zoom: i32) -> TextStyle<'static> {
    (FONT, size * zoom).into_font().color(&BLACK.mix(0.85))
}

/// The same, with its anchor in the middle.
pub(super) fn centred(style: TextStyle<'_>) -> TextStyle<'_> {
    style.pos(Pos::new(HPos::Center, VPos::Top))
}

/// The font family; for SVG a browser uses its own sans-serif font.
pub(super) const FONT: &str = "sans-serif";
/// The size of the picture in pixels.
pub(super) const SIZE: (u32, u32) = (1280, 960);
/// The title above the panels, in pixels.
pub(super) const HEAD_HEIGHT: i32 = 48;
/// The name of the time axis, in pixels.
pub(super) const FOOT_HEIGHT: i32 = 34;
/// The legend beside the panels, in pixels.
pub(super) const LEGEND_WIDTH: i32 = 260;
/// The labels of the vertical axes, in pixels.
pub(super) const LABELS_WIDTH: i32 = 90;
/// The space around a panel, in pixels.
pub(super) const MARGIN: i32 = 16;
