//! What lies over the conversations: help, questions, search, pages.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use super::{DIM, HERE, put_cursor, wrap};
use crate::out::one_line;
use crate::tui::line::Line;
use crate::tui::model::Hit;
use crate::tui::state::{HELP, Over, State};

pub(super) fn draw(frame: &mut Frame<'_>, state: &State, area: Rect) {
    match &state.over {
        Over::Nothing => {}
        Over::Help => {
            let rows = HELP.iter().map(|(keys, what)| {
                Row::from(vec![Span::styled(format!(" {keys:<18}"), HERE), Span::raw(*what)])
            });
            window(frame, area, "keys", rows.collect());
        }
        Over::Confirm { question, .. } => {
            let mut rows: Vec<Row<'_>> = wrap::rows(&one_line(question), inner_width(area))
                .into_iter()
                .map(Row::from)
                .collect();
            rows.push(Row::styled("y yes · any other key no", DIM));
            window(frame, area, "really?", rows);
        }
        Over::Ask { asked, line } => {
            let (title, hint) = asked.question();
            let (mut rows, row, column) = typed(line, area);
            rows.push(Row::styled(hint, DIM));
            let inner = window(frame, area, title, rows);
            put_cursor(frame, inner, row, column);
        }
        Over::Search { line, hits, selected, asked } => {
            search(frame, area, line, hits, *selected, *asked);
        }
        Over::Page { title, lines, scroll } => {
            let width = inner_width(area);
            let height = usize::from(area.height).saturating_sub(3);
            let rows = lines.iter().skip(*scroll);
            let rows = rows.flat_map(|line| wrap::rows(&one_line(line), width)).take(height);
            let mut rows: Vec<Row<'_>> = rows.map(Row::from).collect();
            rows.push(Row::styled("↑↓ scroll · Esc back", DIM));
            window(frame, area, &one_line(title), rows);
        }
    }
}

fn search(
    frame: &mut Frame<'_>,
    area: Rect,
    line: &Line,
    hits: &[Hit],
    selected: usize,
    asked: bool,
) {
    let width = inner_width(area);
    let (mut rows, row, column) = typed(line, area);
    let height = usize::from(area.height).saturating_sub(rows.len() + 3).max(1);
    let first = selected.saturating_sub(height / 2).min(hits.len().saturating_sub(height));
    for (index, hit) in hits.iter().enumerate().skip(first).take(height) {
        let mark = if index == selected { "▌" } else { " " };
        let text =
            wrap::cut(&format!("{}: {}", one_line(&hit.title), one_line(&hit.text)), width - 1);
        rows.push(Row::from(vec![Span::styled(mark, HERE), Span::raw(text)]));
    }
    rows.push(Row::styled(
        match (asked, hits.is_empty()) {
            (true, true) => "nothing was found",
            (true, false) => "↑↓ choose · Enter goes there · Esc back",
            (false, _) => "Enter searches · Esc back",
        },
        DIM,
    ));
    let inner = window(frame, area, "search", rows);
    put_cursor(frame, inner, row, column);
}

fn typed(line: &Line, area: Rect) -> (Vec<Row<'static>>, usize, usize) {
    let (rows, row, column) = line.rows(inner_width(area));
    // Enough of a question's answer; its end is where one types.
    let first = (row + 1).saturating_sub(4);
    let rows = rows.into_iter().skip(first).take(4).map(Row::from).collect();
    (rows, row - first, column)
}

fn outer_width(area: Rect) -> u16 {
    area.width.saturating_sub(4).min(84).max(area.width.min(20))
}

fn inner_width(area: Rect) -> usize {
    usize::from(outer_width(area)).saturating_sub(2).max(2)
}

/// Draws a window in the middle; returns what is inside.
fn window(frame: &mut Frame<'_>, area: Rect, title: &str, rows: Vec<Row<'_>>) -> Rect {
    let width = outer_width(area);
    let height = u16::try_from(rows.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let outer = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let block = Block::new().borders(Borders::ALL).border_style(HERE).title(format!(" {title} "));
    let inner = block.inner(outer);
    frame.render_widget(Clear, outer);
    frame.render_widget(Paragraph::new(rows).block(block), outer);
    inner
}
