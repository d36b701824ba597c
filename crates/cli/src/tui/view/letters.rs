//! The messages of the conversation that is shown.

use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::Paragraph;

use super::{BAD, BOLD, DIM, HERE, clock, day, wrap};
use crate::out::{self, one_line};
use crate::tui::model::{Body, Letter, progress};
use crate::tui::state::{Focus, State};

/// Rows of one message; the rest is read with a key of its own.
const ROWS_MAX: usize = 60;

/// Draws the newest messages, or those around the cursor.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, zone: &TimeZone, area: Rect) {
    let Some(shown) = &state.shown else { return };
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    if shown.letters.is_empty() {
        frame.render_widget(Paragraph::new("nothing was said yet").style(DIM), area);
        return;
    }
    let mut rows: Vec<Row<'static>> = Vec::new();
    let mut chosen = None;
    let mut last_day = String::new();
    if shown.more {
        rows.push(Row::styled("↑ older messages", DIM).centered());
    }
    for letter in &shown.letters {
        let this_day = day(letter.at, zone);
        if this_day != last_day {
            rows.push(Row::styled(format!("── {this_day} ──"), DIM).centered());
            last_day = this_day;
        }
        let here = shown.selected == Some(letter.place);
        let first = rows.len();
        lay_out(letter, zone, width, here && state.focus == Focus::Messages, &mut rows);
        if here {
            chosen = Some((first, rows.len()));
        }
    }
    let newest = rows.len().saturating_sub(height);
    // The whole of the chosen message if it fits, its beginning if not; no further up than that.
    let top = match chosen {
        None => newest,
        Some((first, end)) => {
            let above = end.saturating_sub(height).min(first);
            let middle = first.saturating_sub(height.saturating_sub(end - first) / 2);
            middle.max(above).min(first).min(newest)
        }
    };
    let seen: Vec<_> = rows.into_iter().skip(top).take(height).collect();
    // Few messages stand at the bottom, above the text that is typed.
    let skip = u16::try_from(height - seen.len().min(height)).unwrap_or(0);
    let area = Rect { y: area.y + skip, height: area.height - skip, ..area };
    frame.render_widget(Paragraph::new(seen), area);
}

fn lay_out(
    letter: &Letter,
    zone: &TimeZone,
    width: usize,
    here: bool,
    rows: &mut Vec<Row<'static>>,
) {
    let bar = if here { Span::styled("▌ ", HERE) } else { Span::raw("  ") };
    let room = width.saturating_sub(2);
    let mut push = |spans: Vec<Span<'static>>| {
        let mut row = vec![bar.clone()];
        row.extend(spans);
        rows.push(Row::from(row));
    };
    if let Body::Note(text) = &letter.body {
        let text = format!("{} {}", clock(letter.at, zone), one_line(text));
        for row in wrap::rows(&text, room) {
            push(vec![Span::styled(row, DIM)]);
        }
        return;
    }
    push(head(letter, zone, room));
    if let Some(quote) = &letter.quote {
        push(vec![Span::styled(wrap::cut(&format!("↪ {}", one_line(quote)), room), DIM)]);
    }
    match &letter.body {
        Body::Text(text) => {
            let lines = wrap::rows(&out::harmless(text).replace('\t', "  "), room);
            let left = lines.len().saturating_sub(ROWS_MAX);
            for line in lines.into_iter().take(ROWS_MAX) {
                push(vec![Span::raw(line)]);
            }
            if left > 0 {
                push(vec![Span::styled(format!("… {left} more lines: v reads all of it"), DIM)]);
            }
        }
        Body::File { name, bytes, caption } => {
            let text = format!("▣ {} ({})", one_line(name), size(*bytes));
            push(vec![Span::styled(wrap::cut(&text, room), Style::new().fg(Color::Yellow))]);
            for line in wrap::rows(&out::harmless(caption).replace('\t', "  "), room) {
                if !caption.is_empty() {
                    push(vec![Span::raw(line)]);
                }
            }
        }
        Body::Unsent | Body::Note(_) => {
            push(vec![Span::styled("taken back", DIM.add_modifier(Modifier::ITALIC))]);
        }
    }
    if !letter.reactions.is_empty() {
        let shown = letter.reactions.iter().map(|it| {
            let count = if it.count > 1 { format!(" {}", it.count) } else { String::new() };
            let own = if it.mine { "·" } else { "" };
            format!("{}{count}{own}", one_line(&it.emoji))
        });
        let text = shown.collect::<Vec<_>>().join("  ");
        push(vec![Span::styled(wrap::cut(&text, room), HERE)]);
    }
}

/// Who, when, and how far it has come.
fn head(letter: &Letter, zone: &TimeZone, room: usize) -> Vec<Span<'static>> {
    let mut tail = format!("  {}", clock(letter.at, zone));
    if letter.edited {
        tail.push_str(" edited");
    }
    if letter.vanishes {
        tail.push_str(" ⏱");
    }
    let status = letter.status.as_ref().map(|status| format!("  {}", progress(status)));
    let failed = letter.status.as_ref().is_some_and(|status| status.failed);
    let used = wrap::width(&tail) + status.as_deref().map_or(0, wrap::width);
    let author = wrap::cut(&one_line(&letter.author), room.saturating_sub(used).max(4));
    let color = if letter.mine { Color::Green } else { Color::Blue };
    let mut spans = vec![Span::styled(author, BOLD.fg(color)), Span::styled(tail, DIM)];
    spans.extend(status.map(|status| Span::styled(status, if failed { BAD } else { DIM })));
    spans
}

/// Says how large a file is.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{}.{} kB", bytes / 1_000, bytes / 100 % 10),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}
