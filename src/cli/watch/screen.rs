//! What the screen shows: the cluster's lines, the members, the events.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::feed::FeedUpdate;
use super::history::OffsetHistory;
use super::sorting::Key;
use crate::cli::status::table::Side;
use crate::cli::status::{Paint, client, server};
use crate::control::client::ControlError;
use crate::control::protocol::{ClientRow, EventEntry, EventLevel, NodeStatus, StatusResponse};

/// Everything that is shown, and how.
#[derive(Debug)]
pub(super) struct Screen {
    paint: Paint,
    /// The newest answer; `None`: there was none.
    response: Option<StatusResponse>,
    history: OffsetHistory,
    events: VecDeque<EventEntry>,
    /// Why there was no answer last time.
    lost: Option<String>,
    key: Key,
    reversed: bool,
    /// Members above the first that is shown.
    above: usize,
}

impl Screen {
    /// A screen on which nothing was seen yet.
    pub(super) fn new(paint: Paint) -> Screen {
        Screen {
            paint,
            response: None,
            history: OffsetHistory::default(),
            events: VecDeque::new(),
            lost: None,
            key: Key::default(),
            reversed: false,
            above: 0,
        }
    }

    /// Takes over what the node has answered.
    pub(super) fn update(&mut self, update: FeedUpdate) {
        self.lost = None;
        self.history.add(&update.response);
        self.response = Some(update.response);
        self.events.extend(update.events);
        let surplus = self.events.len().saturating_sub(EVENTS);
        self.events.drain(..surplus);
    }

    /// The node did not answer: the last answer stays, with a line that says that it is old.
    pub(super) fn lose(&mut self, error: &ControlError) {
        self.lost = Some(error.to_string());
    }

    /// Sorts the members.
    pub(super) fn sort(&mut self, by: Key) {
        (self.key, self.reversed) = (by, false);
    }

    /// Sorts them the other way round.
    pub(super) fn reverse(&mut self) {
        self.reversed = !self.reversed;
    }

    /// Shows members further down, or up if negative.
    pub(super) fn scroll(&mut self, lines: isize) {
        self.above = self.above.saturating_add_signed(lines);
    }

    /// Draws it all.
    pub(super) fn draw(&mut self, frame: &mut Frame) {
        let head = self.head();
        let members = self.members();
        let wanted = if members.is_empty() { 0 } else { members.len() + 2 };
        let heights = heights(usize::from(frame.area().height), head.lines.len(), wanted);
        let [top, middle, bottom, foot] =
            Layout::vertical(heights.map(|lines| Constraint::Length(size(lines)))).areas(frame.area());
        frame.render_widget(Paragraph::new(head), top);
        self.draw_members(frame, middle, &members);
        self.draw_events(frame, bottom);
        frame.render_widget(Paragraph::new(self.foot()).style(self.dim()), foot);
    }

    fn is_server(&self) -> bool {
        self.response.as_ref().is_some_and(|response| response.server().is_some())
    }

    /// The node's own lines, and above all of them that it is silent, if it is.
    fn head(&self) -> Text<'static> {
        let page = self.response.as_ref().map_or(String::new(), |response| match &response.status.node {
            NodeStatus::Server(server) => server::head(server, &response.clients, Paint::Plain),
            NodeStatus::Client(client) => client::page(&response.status, client, Paint::Plain),
        });
        let mut text = Text::raw(page);
        if let Some(lost) = &self.lost {
            let line = format!("No answer: {lost}. What follows is old; trying again.");
            text.lines.insert(0, Line::styled(line, self.colour(Color::Red).add_modifier(Modifier::BOLD)));
        }
        text
    }

    fn members(&self) -> Vec<ClientRow> {
        let clients = self.response.as_ref().map(|response| response.clients.clone());
        let mut members = clients.unwrap_or_default();
        members.sort_by(|one, other| self.key.compare(one, other));
        if self.reversed {
            members.reverse();
        }
        members
    }

    fn draw_members(&mut self, frame: &mut Frame, area: Rect, members: &[ClientRow]) {
        if area.height == 0 || members.is_empty() {
            return;
        }
        // A blank line, and the titles.
        let lines = usize::from(area.height).saturating_sub(2);
        self.above = self.above.min(members.len().saturating_sub(lines));
        let shown = &members[self.above..members.len().min(self.above + lines)];
        let columns = server::columns();
        let cells: Vec<Vec<(String, String)>> = shown.iter().map(server::cells).collect();
        let widths: Vec<usize> = columns
            .iter()
            .enumerate()
            .map(|(column, (title, _))| {
                let cells = cells.iter().map(|row| row[column].0.chars().count());
                cells.chain([title.len()]).max().unwrap_or(0)
            })
            .collect();
        let mut kept: Vec<usize> = (0..columns.len()).collect();
        let spare = |kept: &[usize]| {
            let used: usize = kept.iter().map(|column| widths[*column] + GAP).sum();
            usize::from(area.width).checked_sub(used)
        };
        for (title, history) in SPARED {
            if spare(&kept).is_none_or(|spare| spare < history) {
                kept.retain(|column| columns[*column].0 != title);
            }
        }
        let history = spare(&kept).unwrap_or(0);
        let title = |(title, side): &(&str, Side)| {
            let style = if *title == self.key.title() { Modifier::REVERSED } else { Modifier::BOLD };
            Cell::from(aligned(Span::styled((*title).to_owned(), style), *side))
        };
        let titles = kept.iter().map(|column| title(&columns[*column]));
        let titles = titles.chain([Cell::from("HISTORY").style(Modifier::BOLD)]);
        let rows = shown.iter().zip(&cells).map(|(member, cells)| {
            let dressed = kept.iter().map(|column| {
                let ((text, word), (_, side)) = (&cells[*column], columns[*column]);
                Cell::from(aligned(Span::styled(text.clone(), self.state(word)), side))
            });
            Row::new(dressed.chain([Cell::from(self.history.bars(member, history))]))
        });
        let constraints = kept.iter().map(|column| Constraint::Length(size(widths[*column])));
        let constraints = constraints.chain([Constraint::Fill(1)]);
        let table =
            Table::new(rows, constraints).header(Row::new(titles).top_margin(1)).column_spacing(size(GAP));
        frame.render_widget(table, area);
    }

    fn draw_events(&self, frame: &mut Frame, area: Rect) {
        let lines = usize::from(area.height).saturating_sub(2);
        let shown = self.events.iter().skip(self.events.len().saturating_sub(lines));
        let mut text = vec![Line::raw(""), Line::styled("EVENTS", Modifier::BOLD)];
        text.extend(shown.map(|event| {
            let warns = event.level == EventLevel::Warning;
            let style = if warns { self.colour(Color::Yellow) } else { Style::new() };
            let time = event.time.get(11..19).unwrap_or("-").to_owned();
            let what = event.text.clone();
            Line::from(vec![Span::styled(time, self.dim()), Span::raw("  "), Span::styled(what, style)])
        }));
        frame.render_widget(Paragraph::new(text), area);
    }

    fn foot(&self) -> String {
        let time = self.response.as_ref().and_then(|response| response.status.header.time.get(..19));
        let time = time.unwrap_or("-").replace('T', " ");
        match self.is_server() {
            true => format!("{time}   sort: n o e b d f h, r reverse   arrows: scroll   q: quit"),
            false => format!("{time}   q: quit"),
        }
    }

    /// The style of a word about a state.
    fn state(&self, word: &str) -> Style {
        match Paint::code(word) {
            _ if word.is_empty() => Style::new(),
            "32" => self.colour(Color::Green),
            "33" => self.colour(Color::Yellow),
            "2" => self.dim(),
            _ => self.colour(Color::Red),
        }
    }

    fn colour(&self, colour: Color) -> Style {
        match self.paint {
            Paint::Ansi => Style::new().fg(colour),
            Paint::Plain => Style::new(),
        }
    }

    fn dim(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
}

fn aligned(span: Span<'static>, side: Side) -> Line<'static> {
    match side {
        Side::Left => Line::from(span).left_aligned(),
        Side::Right => Line::from(span).right_aligned(),
    }
}

/// How many of `total` lines the head, the members, the events and the foot get. On a low screen the events
/// go first, then the end of the head.
fn heights(total: usize, head: usize, members: usize) -> [usize; 4] {
    let foot = total.min(1);
    let least_members = members.min(MIN_MEMBERS);
    let head = head.min((total - foot).saturating_sub(least_members).max(1)).min(total - foot);
    let rest = total - foot - head;
    let events = MIN_EVENTS.min(rest.saturating_sub(least_members));
    let members = members.min(rest - events);
    [head, members, rest - members, foot]
}

/// A number of columns or lines; no screen has more than fit.
fn size(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// Events that are remembered: more than fit on a screen.
const EVENTS: usize = 256;
/// A blank line, a title, and three events: if there is room for anything.
const MIN_EVENTS: usize = 5;
/// A blank line, the titles, and three members.
const MIN_MEMBERS: usize = 5;
/// Between two columns.
const GAP: usize = 2;
/// What is left out on narrow screens, in this order, as long as there is no room for so many rounds of
/// history.
const SPARED: [(&str, usize); 8] = [
    ("ADDRESS", 16),
    ("GROUP", 16),
    ("ROUNDS", 8),
    ("ERROR", 8),
    ("HEARD", 0),
    ("DELAY", 0),
    ("PPM", 0),
    ("BOUND", 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_low_screen_the_members_stay_longest() {
        assert_eq!(heights(24, 4, 5), [4, 5, 14, 1]);
        assert_eq!(heights(24, 4, 1_000), [4, 14, 5, 1]);
        assert_eq!(heights(10, 4, 5), [4, 5, 0, 1]);
        assert_eq!(heights(8, 4, 1_000), [2, 5, 0, 1]);
        assert_eq!(heights(4, 4, 5), [1, 2, 0, 1]);
        assert_eq!(heights(12, 10, 0), [10, 0, 1, 1]);
        for total in 0..3 {
            assert_eq!(heights(total, 4, 5).iter().sum::<usize>(), total);
        }
    }
}
