//! Tables for terminals: columns as wide as they need to be.

/// One cell: what it shows, and how that is dressed, which takes no width.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    dressed: Option<String>,
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, dressed: None }
    }
}

impl Cell {
    /// A cell whose text is written as `dressed`.
    pub(crate) fn dressed(text: String, dressed: String) -> Cell {
        Cell { text, dressed: Some(dressed) }
    }
}

/// To which side a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Words.
    Left,
    /// Figures.
    Right,
}

/// The widths of the columns that have a title.
fn widths(header: &[(&str, Side)], rows: &[Vec<Cell>]) -> Vec<usize> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].text.chars().count());
        cells.chain([header[column].0.chars().count()]).max().unwrap_or(0)
    };
    (0..header.len()).map(width).collect()
}

/// How wide the whole table is.
pub(crate) fn width(header: &[(&str, Side)], rows: &[Vec<Cell>]) -> usize {
    widths(header, rows).iter().map(|width| width + 2).sum::<usize>().saturating_sub(2)
}

/// Lines of a header and rows under it, two spaces between columns, none at the ends of lines. Cells without
/// a title are left out.
pub(crate) fn lines(header: &[(&str, Side)], rows: &[Vec<Cell>]) -> String {
    let widths = widths(header, rows);
    let titles: Vec<Cell> = header.iter().map(|(title, _)| Cell::from((*title).to_owned())).collect();
    let mut page = String::new();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for ((cell, (_, side)), width) in row.iter().zip(header).zip(&widths) {
            let padding = " ".repeat(width - cell.text.chars().count());
            let text = cell.dressed.as_ref().unwrap_or(&cell.text);
            line += &match side {
                Side::Left => format!("{text}{padding}  "),
                Side::Right => format!("{padding}{text}  "),
            };
        }
        page += line.trim_end();
        page.push('\n');
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_figures_right() {
        let row = |name: &str, figure: &str| vec![Cell::from(name.to_owned()), Cell::from(figure.to_owned())];
        let page =
            lines(&[("NAME", Side::Left), ("µs", Side::Right)], &[row("a", "1.0"), row("longer", "-")]);
        assert_eq!(page, "NAME     µs\na       1.0\nlonger    -\n");
    }

    #[test]
    fn colours_take_no_width() {
        let rows = [vec![Cell::dressed("in".into(), "\x1b[32min\x1b[0m".into()), Cell::from("x".to_owned())]];
        assert_eq!(lines(&[("VOTE", Side::Left), ("", Side::Left)], &rows), "VOTE\n\x1b[32min\x1b[0m    x\n");
    }
}
