//! Which key does what.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Action, Asked, Focus, Over, State, Writing};
use crate::tui::line::Line;

/// What the help says, and the keys that the code below reads.
pub(crate) const HELP: &[(&str, &str)] = &[
    ("Tab, Shift-Tab", "from the list to the messages to the text, and back"),
    ("↑ ↓, PgUp PgDn", "choose a conversation or a message"),
    ("Enter", "open the conversation; send the text"),
    ("Alt-Enter", "a new line in the text"),
    ("Esc", "back; leave the text"),
    ("n  g", "new chat (paste an id); new group"),
    ("/", "search all messages"),
    ("r  e  x", "reply to a message; edit it; take it back"),
    ("+  d  v", "react to a message; forget it here; read all of it"),
    ("f  s", "send a file; save the file of a message"),
    ("c", "how far an own message has come"),
    ("a  b", "accept a stranger or its group; block or decline it"),
    ("i", "safety number, members, devices"),
    ("m  t", "name an account or group; when messages disappear"),
    ("I  L", "invite to the group; leave it"),
    ("? or F1", "this page"),
    ("q or Ctrl-C", "quit"),
];

/// How far a page goes.
const LEAP: isize = 8;

impl State {
    /// Takes in a key.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Vec<Action> {
        self.notice = None;
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'q') if ctrl => return vec![Action::Quit],
            KeyCode::F(1) => {
                self.over = Over::Help;
                return Vec::new();
            }
            _ => {}
        }
        match std::mem::take(&mut self.over) {
            Over::Nothing => {}
            over => return self.key_over(over, key),
        }
        match key.code {
            KeyCode::Tab => self.turn(true),
            KeyCode::BackTab => self.turn(false),
            _ if self.focus == Focus::Input => self.key_input(key),
            _ => self.key_browse(key),
        }
    }

    /// Takes in text that was pasted.
    pub(crate) fn paste(&mut self, text: &str) -> Vec<Action> {
        match &mut self.over {
            Over::Ask { line, .. } | Over::Search { line, .. } => line.insert(text.trim()),
            Over::Nothing if self.shown.is_some() || self.beginning.is_some() => {
                self.focus = Focus::Input;
                self.input.insert(text);
            }
            _ => {}
        }
        Vec::new()
    }

    fn turn(&mut self, forward: bool) -> Vec<Action> {
        let ring = [Focus::Threads, Focus::Messages, Focus::Input];
        let at = ring.iter().position(|it| *it == self.focus).unwrap_or(0);
        self.focus = ring[(at + if forward { 1 } else { 2 }) % 3];
        self.look()
    }

    fn key_input(&mut self, key: KeyEvent) -> Vec<Action> {
        match key.code {
            KeyCode::Esc if self.writing != Writing::New => {
                self.writing = Writing::New;
                self.input = Line::default();
            }
            KeyCode::Esc => self.focus = Focus::Messages,
            KeyCode::Enter if key.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SHIFT) => {
                self.input.insert("\n");
            }
            KeyCode::Char('j') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                self.input.insert("\n");
            }
            KeyCode::Enter => return self.submit(),
            KeyCode::Up if self.input.is_empty() => {
                self.focus = Focus::Messages;
                return self.go_to_letter(-1);
            }
            KeyCode::PageUp => return self.go_to_letter(-LEAP),
            KeyCode::PageDown => return self.go_to_letter(LEAP),
            _ => edit(&mut self.input, key),
        }
        Vec::new()
    }

    fn key_browse(&mut self, key: KeyEvent) -> Vec<Action> {
        let in_list = self.focus == Focus::Threads;
        let go = |state: &mut Self, step| {
            if in_list { state.go_to_row(step) } else { state.go_to_letter(step) }
        };
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => go(self, -1),
            KeyCode::Down | KeyCode::Char('j') => go(self, 1),
            KeyCode::PageUp => go(self, -LEAP),
            KeyCode::PageDown => go(self, LEAP),
            KeyCode::Home => go(self, isize::MIN + 1),
            KeyCode::End if in_list => go(self, isize::MAX),
            KeyCode::End => {
                if let Some(shown) = &mut self.shown {
                    shown.selected = None;
                }
                Vec::new()
            }
            KeyCode::Esc => {
                if let Some(shown) = &mut self.shown
                    && shown.selected.take().is_none()
                {
                    self.focus = Focus::Threads;
                }
                Vec::new()
            }
            KeyCode::Enter if in_list || self.letter().is_none() => {
                if self.shown.is_some() {
                    self.focus = Focus::Input;
                }
                self.look()
            }
            KeyCode::Enter => self.write('v'),
            KeyCode::Char(letter) => self.order(letter),
            _ => Vec::new(),
        }
    }

    /// What a letter orders.
    fn order(&mut self, letter: char) -> Vec<Action> {
        let ask = |state: &mut Self, asked| state.over = Over::Ask { asked, line: Line::default() };
        match letter {
            'q' => return vec![Action::Quit],
            '?' => self.over = Over::Help,
            '/' => {
                let (line, hits) = (Line::default(), Vec::new());
                self.over = Over::Search { line, hits, selected: 0, asked: false };
            }
            'n' => ask(self, Asked::Account),
            'g' => ask(self, Asked::GroupName),
            _ => return self.order_here(letter),
        }
        Vec::new()
    }

    /// What a letter orders in the conversation that is shown.
    fn order_here(&mut self, letter: char) -> Vec<Action> {
        let Some(here) = self.conversation().cloned() else { return Vec::new() };
        let thread = here.id;
        let ask = |state: &mut Self, asked| state.over = Over::Ask { asked, line: Line::default() };
        match letter {
            'i' => return vec![Action::Info { thread }],
            'f' => ask(self, Asked::File),
            't' => ask(self, Asked::Timer),
            'm' => ask(self, Asked::Name),
            'a' if here.request => return vec![Action::Accept { thread }],
            'b' if here.blocked => return vec![Action::Unblock { thread }],
            'b' if here.group && here.request => {
                let question = format!("Decline {}? It is left, and no longer shown.", here.title);
                self.over = Over::Confirm { question, then: Action::Block { thread } };
            }
            'b' if !here.group => {
                let question = format!("Block {}? Nothing of it is shown any more.", here.title);
                self.over = Over::Confirm { question, then: Action::Block { thread } };
            }
            'I' if here.group => ask(self, Asked::Invite),
            'L' if here.group => {
                let question = format!("Leave {}?", here.title);
                self.over = Over::Confirm { question, then: Action::Leave { thread } };
            }
            'r' | 'e' | 'x' | 'd' | 's' | 'v' | 'c' | '+' => return self.write(letter),
            _ => {}
        }
        Vec::new()
    }

    fn key_over(&mut self, over: Over, key: KeyEvent) -> Vec<Action> {
        match over {
            Over::Nothing | Over::Help => Vec::new(),
            Over::Confirm { then, .. } => match key.code {
                KeyCode::Char('y' | 'Y') | KeyCode::Enter => vec![then],
                _ => Vec::new(),
            },
            Over::Ask { asked, mut line } => match key.code {
                KeyCode::Esc => Vec::new(),
                KeyCode::Enter if line.text().trim().is_empty() => {
                    self.over = Over::Ask { asked, line };
                    Vec::new()
                }
                KeyCode::Enter => self.answered(asked, line.text().trim().to_owned()),
                _ => {
                    edit(&mut line, key);
                    self.over = Over::Ask { asked, line };
                    Vec::new()
                }
            },
            Over::Search { .. } => self.key_search(over, key),
            Over::Page { title, lines, scroll } => {
                let step = match key.code {
                    KeyCode::Up | KeyCode::Char('k') => -1,
                    KeyCode::Down | KeyCode::Char('j') => 1,
                    KeyCode::PageUp => -LEAP,
                    KeyCode::PageDown | KeyCode::Char(' ') => LEAP,
                    _ => return Vec::new(),
                };
                let scroll = scroll.saturating_add_signed(step).min(lines.len().saturating_sub(1));
                self.over = Over::Page { title, lines, scroll };
                Vec::new()
            }
        }
    }

    fn key_search(&mut self, over: Over, key: KeyEvent) -> Vec<Action> {
        let Over::Search { mut line, hits, mut selected, mut asked } = over else {
            return Vec::new();
        };
        let mut actions = Vec::new();
        match key.code {
            KeyCode::Esc => return Vec::new(),
            KeyCode::Enter if asked && !hits.is_empty() => return self.go_to_hit(&hits[selected]),
            KeyCode::Enter => {
                if !line.text().trim().is_empty() {
                    actions.push(Action::Search { words: line.text().trim().to_owned() });
                }
            }
            KeyCode::Up => selected = selected.saturating_sub(1),
            KeyCode::Down => selected = (selected + 1).min(hits.len().saturating_sub(1)),
            _ => {
                edit(&mut line, key);
                // Other words: Enter searches again.
                asked = false;
            }
        }
        self.over = Over::Search { line, hits, selected, asked };
        actions
    }

    /// What follows from an answer.
    fn answered(&mut self, asked: Asked, text: String) -> Vec<Action> {
        let words = || text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let here = self.shown.as_ref().map(|shown| shown.thread);
        let action = match (asked, here) {
            (Asked::Account, _) => Action::Chat { account: text },
            (Asked::GroupName, _) => {
                let asked = Asked::GroupMembers { name: text };
                self.over = Over::Ask { asked, line: Line::default() };
                return Vec::new();
            }
            (Asked::GroupMembers { name }, _) => Action::Group { name, members: words() },
            (_, None) => return Vec::new(),
            (Asked::Invite, Some(thread)) => Action::Invite { thread, accounts: words() },
            (Asked::Name, Some(thread)) => Action::Name { thread, name: text },
            (Asked::File, Some(thread)) => Action::Send { thread, path: text },
            (Asked::Folder { place }, Some(thread)) => Action::Save { thread, place, folder: text },
            (Asked::Emoji { id }, Some(thread)) => {
                let letters = self.shown.iter().flat_map(|shown| &shown.letters);
                let mut own = letters.filter(|it| it.id == id).flat_map(|it| &it.reactions);
                let on = !own.any(|it| it.mine && it.emoji == text);
                Action::React { thread, id, emoji: text, on }
            }
            (Asked::Timer, Some(thread)) => {
                let after = match text.as_str() {
                    "off" => None,
                    text => match crate::span::parse(text) {
                        Ok(span) => Some(span),
                        Err(why) => {
                            self.notice = Some((why, true));
                            return Vec::new();
                        }
                    },
                };
                Action::Timer { thread, after }
            }
        };
        vec![action]
    }
}

fn edit(line: &mut Line, key: KeyEvent) {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    match key.code {
        KeyCode::Left if ctrl || alt => line.word_left(),
        KeyCode::Right if ctrl || alt => line.word_right(),
        KeyCode::Left => line.left(),
        KeyCode::Right => line.right(),
        KeyCode::Home => line.home(),
        KeyCode::End => line.end(),
        KeyCode::Backspace if ctrl || alt => line.delete_word(),
        KeyCode::Backspace => line.backspace(),
        KeyCode::Delete => line.delete(),
        KeyCode::Char('a') if ctrl => line.home(),
        KeyCode::Char('e') if ctrl => line.end(),
        KeyCode::Char('w') if ctrl => line.delete_word(),
        KeyCode::Char('u') if ctrl => line.delete_to_start(),
        KeyCode::Char('k') if ctrl => line.delete_to_end(),
        KeyCode::Char(letter) if !ctrl && !alt => line.insert(letter.encode_utf8(&mut [0; 4])),
        _ => {}
    }
}
