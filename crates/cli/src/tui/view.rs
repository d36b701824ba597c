//! Draws the state. What others wrote is made harmless on its way through here.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::{Block, Borders, Paragraph};
use session_core::Time;

use super::model::Conversation;
use super::state::{Focus, Over, State, Writing};
use crate::out::one_line;

mod letters;
mod over;
mod wrap;

/// Below this width, list and messages are not shown beside each other.
const BOTH_WIDTH_MIN: u16 = 60;

/// Rows of text that the line at the bottom grows to.
const INPUT_ROWS_MAX: usize = 4;

pub(crate) const DIM: Style = Style::new().add_modifier(Modifier::DIM);
pub(crate) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
pub(crate) const HERE: Style = Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD);
pub(crate) const BAD: Style = Style::new().fg(Color::Red);

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, state: &State, zone: &TimeZone) {
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    draw_top(frame, state, top);
    draw_bottom(frame, state, bottom);
    if middle.width >= BOTH_WIDTH_MIN {
        let list = (middle.width / 3).clamp(22, 36);
        let [left, right] =
            Layout::horizontal([Constraint::Length(list), Constraint::Min(0)]).areas(middle);
        draw_list(frame, state, left);
        draw_conversation(frame, state, zone, right);
    } else if state.focus == Focus::Threads || (state.shown.is_none() && state.beginning.is_none())
    {
        draw_list(frame, state, middle);
    } else {
        draw_conversation(frame, state, zone, middle);
    }
    if state.over != Over::Nothing {
        over::draw(frame, state, middle);
    }
}

/// Returns hours and minutes.
pub(crate) fn clock(time: Time, zone: &TimeZone) -> String {
    zoned(time, zone).map_or_else(String::new, |it| it.strftime("%H:%M").to_string())
}

/// Returns the day.
pub(crate) fn day(time: Time, zone: &TimeZone) -> String {
    zoned(time, zone).map_or_else(String::new, |it| it.strftime("%a %d %b %Y").to_string())
}

fn zoned(time: Time, zone: &TimeZone) -> Option<jiff::Zoned> {
    let millis = i64::try_from(time.as_millis()).ok()?;
    Timestamp::from_millisecond(millis).ok().map(|it| it.to_zoned(zone.clone()))
}

fn draw_top(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let requests = state.conversations.iter().filter(|it| it.request).count();
    let unread: u64 = state.conversations.iter().map(|it| it.unread).sum();
    let mut parts = vec![Span::styled(" session ", BOLD), Span::styled(one_line(&state.me), DIM)];
    if unread > 0 {
        parts.push(Span::styled(format!("  {unread} unread"), HERE));
    }
    if requests > 0 {
        parts.push(Span::styled(format!("  {requests} requests"), HERE));
    }
    if !state.network.is_empty() {
        parts.push(Span::styled(format!("  {}", one_line(&state.network)), DIM));
    }
    frame.render_widget(Paragraph::new(Row::from(parts)), area);
}

fn draw_bottom(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let row = if let Some((text, bad)) = &state.notice {
        Row::styled(format!(" {}", one_line(text)), if *bad { BAD } else { HERE })
    } else if let Some(transfer) = state.transfers.first() {
        let way = if transfer.sending { "sending" } else { "fetching" };
        let percent = transfer.done.saturating_mul(100).checked_div(transfer.of).unwrap_or(0);
        let more = state.transfers.len() - 1;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let filled = usize::try_from(percent / 10).unwrap_or(10).min(10);
        let bar = format!("{}{}", "█".repeat(filled), "░".repeat(10 - filled));
        Row::styled(format!(" {way} {} {bar} {percent}%{more}", one_line(&transfer.name)), HERE)
    } else {
        let hint = match state.focus {
            Focus::Input => "Enter sends · Alt-Enter new line · Esc leaves the text · F1 help",
            Focus::Messages => {
                "↑↓ choose · r reply · e edit · x unsend · + react · s save · ? help"
            }
            Focus::Threads => {
                "↑↓ choose · Enter open · n new chat · g group · / search · ? help · q quit"
            }
        };
        Row::styled(format!(" {hint}"), DIM)
    };
    frame.render_widget(Paragraph::new(row), area);
}

fn pane(title: String, here: bool) -> Block<'static> {
    let style = if here { HERE } else { DIM };
    Block::new().borders(Borders::ALL).border_style(style).title(Span::styled(title, style))
}

fn draw_list(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let block = pane(" chats ".to_owned(), state.focus == Focus::Threads);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if state.conversations.is_empty() {
        let text = "nobody yet: n begins a chat,\ng makes a group";
        frame.render_widget(Paragraph::new(text).style(DIM), inner);
        return;
    }
    let (width, height) = (usize::from(inner.width), usize::from(inner.height).max(1));
    let row = state.row().unwrap_or(0);
    let first =
        row.saturating_sub(height / 2).min(state.conversations.len().saturating_sub(height));
    let seen = state.conversations.iter().enumerate().skip(first).take(height);
    let rows: Vec<Row<'_>> =
        seen.map(|(index, it)| list_row(it, Some(index) == state.row(), width)).collect();
    frame.render_widget(Paragraph::new(rows), inner);
}

fn list_row(it: &Conversation, chosen: bool, width: usize) -> Row<'static> {
    let kind = match it {
        it if it.blocked => "⊘",
        it if it.request => "?",
        it if it.group => "#",
        it if it.verified => "✓",
        _ => " ",
    };
    let count = if it.unread > 0 { format!(" {} ", it.unread) } else { String::new() };
    let room = width.saturating_sub(count.len() + 3);
    let title = wrap::cut(&one_line(&it.title), room);
    let left = room.saturating_sub(wrap::width(&title) + 1);
    let preview = if left > 3 { wrap::cut(&one_line(&it.preview), left) } else { String::new() };
    let blank = room.saturating_sub(wrap::width(&title) + 1 + wrap::width(&preview));
    let style = if it.unread > 0 { BOLD } else { Style::new() };
    let mark = if chosen { "▌" } else { " " };
    let row = Row::from(vec![
        Span::styled(mark, HERE),
        Span::styled(format!("{kind} "), HERE),
        Span::styled(title, style),
        Span::styled(format!(" {preview}"), DIM),
        Span::raw(" ".repeat(blank)),
        Span::styled(count, HERE.add_modifier(Modifier::REVERSED)),
    ]);
    if chosen { row.style(Style::new().add_modifier(Modifier::UNDERLINED)) } else { row }
}

fn draw_conversation(frame: &mut Frame<'_>, state: &State, zone: &TimeZone, area: Rect) {
    let title = match (state.conversation(), &state.beginning) {
        (Some(here), _) => here.title.as_str(),
        (None, Some((_, title))) => title,
        (None, None) => {
            let block = pane(" messages ".to_owned(), false);
            let text = "? shows the keys";
            frame.render_widget(Paragraph::new(text).style(DIM).block(block), area);
            return;
        }
    };
    let width = usize::from(area.width.saturating_sub(2));
    let (rows, row, column) = state.input.rows(width);
    let above = writing(state);
    let lines = rows.len().min(INPUT_ROWS_MAX);
    let height = u16::try_from(lines).unwrap_or(1) + 2;
    let [top, bottom] =
        Layout::vertical([Constraint::Min(0), Constraint::Length(height)]).areas(area);

    let title = match state.typing.as_slice() {
        [] => one_line(title),
        names => format!("{} — {} …", one_line(title), one_line(&typing(names))),
    };
    let title = format!(" {} ", wrap::cut(&title, width.saturating_sub(4)));
    let block = pane(title, state.focus == Focus::Messages);
    let inner = block.inner(top);
    frame.render_widget(block, top);
    letters::draw(frame, state, zone, inner);

    let block = pane(
        format!(" {} ", wrap::cut(&above, width.saturating_sub(4))),
        state.focus == Focus::Input,
    );
    let inner = block.inner(bottom);
    frame.render_widget(block, bottom);
    let first = (row + 1).saturating_sub(lines);
    let shown = rows.into_iter().skip(first).take(lines).map(Row::from).collect::<Vec<_>>();
    frame.render_widget(Paragraph::new(shown), inner);
    if state.focus == Focus::Input && state.over == Over::Nothing {
        put_cursor(frame, inner, row - first, column);
    }
}

/// Says who types.
fn typing(names: &[String]) -> String {
    match names {
        [one] => format!("{one} types"),
        [one, two] => format!("{one} and {two} type"),
        _ => format!("{} type", names.len()),
    }
}

fn put_cursor(frame: &mut Frame<'_>, area: Rect, row: usize, column: usize) {
    let x = area.x.saturating_add(u16::try_from(column).unwrap_or(u16::MAX));
    let y = area.y.saturating_add(u16::try_from(row).unwrap_or(u16::MAX));
    if x < area.right() && y < area.bottom() {
        frame.set_cursor_position((x, y));
    }
}

fn writing(state: &State) -> String {
    let Some(here) = state.conversation() else {
        return "the first message: a request, until it is accepted".to_owned();
    };
    match &state.writing {
        Writing::Reply { to, .. } => format!("reply to: {} (Esc: no reply)", one_line(to)),
        Writing::Edit { .. } => "edit (Esc: leave it)".to_owned(),
        Writing::New if here.blocked && here.group => "declined".to_owned(),
        Writing::New if here.blocked => "blocked: b takes it back".to_owned(),
        Writing::New if here.request && here.group => {
            "a stranger's group: a accepts, b declines".to_owned()
        }
        Writing::New if here.request => "a stranger: a accepts, b blocks".to_owned(),
        Writing::New => "message".to_owned(),
    }
}

#[cfg(test)]
mod tests;
