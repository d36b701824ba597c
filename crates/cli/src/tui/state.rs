//! What is on the screen, and what keys make of it. Nothing here waits, sends or draws.

use std::collections::BTreeMap;

use session_core::{AccountId, Span};
use session_messaging::say::SayId;
use session_messaging::thread::ThreadId;

use super::line::Line;
use super::model::{Body, Conversation, Hit, Letter, Transfer};

mod keys;

pub(crate) use keys::HELP;

/// Messages of a thread that are loaded at first, and how many more each time.
pub(crate) const PAGE: usize = 100;

/// What the shell does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Load the newest messages of a thread.
    Load {
        thread: ThreadId,
        limit: usize,
    },
    /// Everything up to a place was looked at.
    Seen {
        thread: ThreadId,
        up_to: u64,
    },
    Say {
        thread: ThreadId,
        text: String,
        reply_to: Option<SayId>,
    },
    /// The first message to an account.
    First {
        account: AccountId,
        text: String,
    },
    Edit {
        thread: ThreadId,
        id: SayId,
        text: String,
    },
    Unsend {
        thread: ThreadId,
        id: SayId,
    },
    React {
        thread: ThreadId,
        id: SayId,
        emoji: String,
        on: bool,
    },
    Send {
        thread: ThreadId,
        path: String,
    },
    Save {
        thread: ThreadId,
        place: u64,
        folder: String,
    },
    Timer {
        thread: ThreadId,
        after: Option<Span>,
    },
    Forget {
        thread: ThreadId,
        id: SayId,
    },
    /// Say that something is being written, or no longer.
    Typing {
        thread: ThreadId,
        on: bool,
    },
    Accept {
        thread: ThreadId,
    },
    Block {
        thread: ThreadId,
    },
    Unblock {
        thread: ThreadId,
    },
    Name {
        thread: ThreadId,
        name: String,
    },
    /// Begin a conversation with an account.
    Chat {
        account: String,
    },
    Group {
        name: String,
        members: Vec<String>,
    },
    Invite {
        thread: ThreadId,
        accounts: Vec<String>,
    },
    Leave {
        thread: ThreadId,
    },
    /// Show who is in a conversation, and its safety number.
    Info {
        thread: ThreadId,
    },
    /// Show how far a message has come.
    Receipts {
        thread: ThreadId,
        place: u64,
    },
    Search {
        words: String,
    },
    Quit,
}

/// What the shell tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Conversations(Vec<Conversation>),
    Letters {
        thread: ThreadId,
        letters: Vec<Letter>,
        more: bool,
    },
    Hits(Vec<Hit>),
    /// A page about something.
    Page {
        title: String,
        lines: Vec<String>,
    },
    /// A sentence at the bottom.
    Notice {
        text: String,
        bad: bool,
    },
    Transfers(Vec<Transfer>),
    /// Show a thread: it was just made.
    Open(ThreadId),
    /// Nothing was said to this account yet: what is written next is the first.
    Begin {
        account: AccountId,
        title: String,
    },
    /// How the network is.
    Network(String),
    /// Who types in the conversation that is shown.
    Typing(Vec<String>),
}

/// Where keys go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Focus {
    #[default]
    Threads,
    Messages,
    Input,
}

/// What lies over the conversations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Over {
    #[default]
    Nothing,
    Help,
    /// A question with a line for the answer.
    Ask {
        asked: Asked,
        line: Line,
    },
    /// A question that a key answers.
    Confirm {
        question: String,
        then: Action,
    },
    Search {
        line: Line,
        hits: Vec<Hit>,
        selected: usize,
        asked: bool,
    },
    Page {
        title: String,
        lines: Vec<String>,
        scroll: usize,
    },
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Account,
    GroupName,
    GroupMembers { name: String },
    Invite,
    Name,
    File,
    Folder { place: u64 },
    Emoji { id: SayId },
    Timer,
}

impl Asked {
    /// Returns the question, with what an answer looks like.
    pub(crate) const fn question(&self) -> (&'static str, &'static str) {
        match self {
            Self::Account => ("New chat", "paste an id: 66 characters that begin with 07"),
            Self::GroupName => ("New group", "its name"),
            Self::GroupMembers { .. } => ("Members of the group", "ids, with spaces between"),
            Self::Invite => ("Invite", "ids, with spaces between"),
            Self::Name => ("Name", "how the account is shown here; of a group, for everyone"),
            Self::File => ("Send a file", "its path"),
            Self::Folder { .. } => ("Save the file", "into which folder"),
            Self::Emoji { .. } => ("React", "an emoji; once more takes it back"),
            Self::Timer => ("Messages disappear", "after 30s, 5m, 8h, 7d; off for never"),
        }
    }
}

/// What the line at the bottom becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Writing {
    #[default]
    New,
    Reply {
        id: SayId,
        to: String,
    },
    Edit {
        id: SayId,
    },
}

/// The messages of one thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) thread: ThreadId,
    pub(crate) letters: Vec<Letter>,
    /// Whether there are older ones.
    pub(crate) more: bool,
    /// How many were asked for.
    pub(crate) limit: usize,
    /// The message under the cursor; without it, the newest is in sight.
    pub(crate) selected: Option<u64>,
    /// Up to where was looked at.
    seen: u64,
}

/// Everything on the screen.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) me: String,
    pub(crate) network: String,
    pub(crate) conversations: Vec<Conversation>,
    pub(crate) shown: Option<Shown>,
    /// To whom the first message is being written; then no thread is shown.
    pub(crate) beginning: Option<(AccountId, String)>,
    pub(crate) focus: Focus,
    pub(crate) over: Over,
    pub(crate) input: Line,
    pub(crate) writing: Writing,
    pub(crate) notice: Option<(String, bool)>,
    pub(crate) transfers: Vec<Transfer>,
    /// Who types in the conversation that is shown.
    pub(crate) typing: Vec<String>,
    drafts: BTreeMap<ThreadId, Line>,
    /// Where the cursor goes once messages are there that a search has found.
    wanted: Option<(ThreadId, u64)>,
}

impl State {
    pub(crate) fn new(me: String) -> Self {
        Self { me, ..Self::default() }
    }

    /// Takes in what the shell tells.
    pub(crate) fn tell(&mut self, news: News) -> Vec<Action> {
        match news {
            News::Conversations(conversations) => self.list(conversations),
            News::Letters { thread, letters, more } => self.letters(thread, letters, more),
            News::Hits(found) => {
                if let Over::Search { hits, selected, asked, .. } = &mut self.over {
                    (*hits, *selected, *asked) = (found, 0, true);
                }
                Vec::new()
            }
            News::Page { title, lines } => {
                self.over = Over::Page { title, lines, scroll: 0 };
                Vec::new()
            }
            News::Notice { text, bad } => {
                self.notice = Some((text, bad));
                Vec::new()
            }
            News::Transfers(transfers) => {
                self.transfers = transfers;
                Vec::new()
            }
            News::Open(thread) => {
                self.focus = Focus::Input;
                self.open(thread)
            }
            News::Begin { account, title } => {
                self.leave();
                self.input = Line::default();
                self.beginning = Some((account, title));
                self.focus = Focus::Input;
                Vec::new()
            }
            News::Network(network) => {
                self.network = network;
                Vec::new()
            }
            News::Typing(names) => {
                self.typing = names;
                Vec::new()
            }
        }
    }

    /// Returns the conversation that is shown.
    pub(crate) fn conversation(&self) -> Option<&Conversation> {
        let thread = self.shown.as_ref()?.thread;
        self.conversations.iter().find(|it| it.id == thread)
    }

    /// Returns the place of the shown conversation in the list.
    pub(crate) fn row(&self) -> Option<usize> {
        let thread = self.shown.as_ref()?.thread;
        self.conversations.iter().position(|it| it.id == thread)
    }

    /// Returns the conversation for which something is being written. Strangers are not told.
    pub(crate) fn writes_in(&self) -> Option<ThreadId> {
        let here = self.conversation()?;
        let told = !here.request && !here.blocked;
        let new = matches!(self.writing, Writing::New | Writing::Reply { .. });
        (told && new && self.focus == Focus::Input && !self.input.is_empty()).then_some(here.id)
    }

    /// Returns the message under the cursor.
    pub(crate) fn letter(&self) -> Option<&Letter> {
        let shown = self.shown.as_ref()?;
        let place = shown.selected?;
        shown.letters.iter().find(|it| it.place == place)
    }

    fn list(&mut self, conversations: Vec<Conversation>) -> Vec<Action> {
        self.conversations = conversations;
        match (&self.shown, self.conversations.first()) {
            (None, Some(first)) if self.beginning.is_none() => {
                let first = first.id;
                self.open(first)
            }
            _ => Vec::new(),
        }
    }

    fn letters(&mut self, thread: ThreadId, letters: Vec<Letter>, more: bool) -> Vec<Action> {
        let Some(shown) = self.shown.as_mut().filter(|shown| shown.thread == thread) else {
            return Vec::new();
        };
        (shown.letters, shown.more) = (letters, more);
        if let Some((_, place)) = self.wanted.take_if(|(wanted, _)| *wanted == thread) {
            shown.selected = Some(place);
        }
        // What was under the cursor may have disappeared.
        if let Some(place) = shown.selected
            && shown.letters.iter().all(|it| it.place != place)
        {
            shown.selected =
                shown.letters.iter().rev().find(|it| it.place < place).map(|it| it.place);
        }
        self.look()
    }

    /// Shows a thread.
    fn open(&mut self, thread: ThreadId) -> Vec<Action> {
        if self.shown.as_ref().is_some_and(|shown| shown.thread == thread) {
            return self.look();
        }
        self.leave();
        self.input = self.drafts.remove(&thread).unwrap_or_default();
        self.shown = Some(Shown { thread, limit: PAGE, ..Shown::default() });
        vec![Action::Load { thread, limit: PAGE }]
    }

    /// Puts away what is shown, and keeps what was begun to be written there.
    fn leave(&mut self) {
        self.beginning = None;
        self.typing.clear();
        if let Some(left) = self.shown.take() {
            // What edits or answers a message makes no sense in another thread.
            if self.writing == Writing::New && !self.input.is_empty() {
                self.drafts.insert(left.thread, std::mem::take(&mut self.input));
            }
        }
        self.writing = Writing::New;
    }

    /// Counts as read what is looked at: the list alone is not looking.
    fn look(&mut self) -> Vec<Action> {
        if self.focus == Focus::Threads {
            return Vec::new();
        }
        // A stranger learns nothing before somebody has decided.
        if self.conversation().is_some_and(|it| it.request || it.blocked) {
            return Vec::new();
        }
        let Some(shown) = &mut self.shown else { return Vec::new() };
        let newest = shown.letters.iter().map(|it| it.place).max().unwrap_or(0);
        let unread = shown.letters.iter().any(|it| !it.mine && it.place > shown.seen);
        if !unread {
            return Vec::new();
        }
        shown.seen = newest;
        vec![Action::Seen { thread: shown.thread, up_to: newest }]
    }

    /// Goes up or down in the list of conversations.
    fn go_to_row(&mut self, step: isize) -> Vec<Action> {
        let Some(last) = self.conversations.len().checked_sub(1) else { return Vec::new() };
        let row = self.row().map_or(0, |row| row.saturating_add_signed(step).min(last));
        self.open(self.conversations[row].id)
    }

    /// Goes up or down in the messages; at the top, asks for older ones.
    fn go_to_letter(&mut self, step: isize) -> Vec<Action> {
        let Some(shown) = &mut self.shown else { return Vec::new() };
        let Some(last) = shown.letters.len().checked_sub(1) else { return Vec::new() };
        let at =
            shown.selected.and_then(|place| shown.letters.iter().position(|it| it.place == place));
        let next = match at {
            None if step < 0 => last.saturating_add_signed(step + 1),
            None => return Vec::new(),
            // Below the newest message the cursor is gone, and what arrives is in sight.
            Some(at) if at == last && step > 0 => {
                shown.selected = None;
                return Vec::new();
            }
            Some(at) => at.saturating_add_signed(step).min(last),
        };
        shown.selected = Some(shown.letters[next].place);
        if next == 0 && step < 0 && shown.more {
            shown.limit += PAGE;
            return vec![Action::Load { thread: shown.thread, limit: shown.limit }];
        }
        Vec::new()
    }

    /// Goes to what a search has found.
    fn go_to_hit(&mut self, hit: &Hit) -> Vec<Action> {
        self.focus = Focus::Messages;
        let mut actions = self.open(hit.thread);
        let Some(shown) = &mut self.shown else { return actions };
        if shown.letters.iter().any(|it| it.place == hit.place) {
            shown.selected = Some(hit.place);
            return actions;
        }
        // Far back: everything up to there, as far as places go.
        let newest = shown.letters.last().map_or(hit.place, |it| it.place);
        let distance = usize::try_from(newest.saturating_sub(hit.place)).unwrap_or(usize::MAX);
        shown.limit = shown.limit.max(distance.saturating_add(PAGE));
        self.wanted = Some((hit.thread, hit.place));
        actions.retain(|action| !matches!(action, Action::Load { .. }));
        actions.push(Action::Load { thread: hit.thread, limit: shown.limit });
        actions
    }

    /// Sends what is written.
    fn submit(&mut self) -> Vec<Action> {
        if self.input.text().trim().is_empty() {
            return Vec::new();
        }
        if let Some((account, _)) = &self.beginning {
            return vec![Action::First { account: *account, text: self.input.take() }];
        }
        let Some(thread) = self.shown.as_ref().map(|shown| shown.thread) else { return Vec::new() };
        if self.conversation().is_some_and(|it| it.blocked) {
            self.notice = Some(("this account is blocked: b takes it back".to_owned(), true));
            return Vec::new();
        }
        let text = self.input.take();
        if let Some(shown) = &mut self.shown {
            shown.selected = None;
        }
        vec![match std::mem::take(&mut self.writing) {
            Writing::New => Action::Say { thread, text, reply_to: None },
            Writing::Reply { id, .. } => Action::Say { thread, text, reply_to: Some(id) },
            Writing::Edit { id } => Action::Edit { thread, id, text },
        }]
    }

    /// Begins to answer, edit or take back the message under the cursor.
    fn write(&mut self, wanted: char) -> Vec<Action> {
        let Some(letter) = self.letter().cloned() else {
            self.notice = Some(("choose a message first, with ↑".to_owned(), true));
            return Vec::new();
        };
        let thread = self.shown.as_ref().map(|shown| shown.thread).unwrap_or_default();
        match (wanted, &letter.body) {
            ('r', Body::Text(_) | Body::File { .. }) => {
                self.writing = Writing::Reply { id: letter.id, to: letter.summary() };
                self.focus = Focus::Input;
            }
            ('e', Body::Text(text)) if letter.mine => {
                self.writing = Writing::Edit { id: letter.id };
                self.input = Line::new(text.clone());
                self.focus = Focus::Input;
            }
            ('x', Body::Text(_) | Body::File { .. }) if letter.mine => {
                let question =
                    "Take this message back? Whoever has read it has read it.".to_owned();
                self.over =
                    Over::Confirm { question, then: Action::Unsend { thread, id: letter.id } };
            }
            // What nobody said has no name by which it could be forgotten.
            ('d', Body::Text(_) | Body::File { .. } | Body::Unsent) => {
                let question = "Forget this message on your devices?".to_owned();
                self.over =
                    Over::Confirm { question, then: Action::Forget { thread, id: letter.id } };
            }
            ('+', Body::Text(_) | Body::File { .. }) => {
                self.over =
                    Over::Ask { asked: Asked::Emoji { id: letter.id }, line: Line::default() };
            }
            ('s', Body::File { .. }) => {
                let asked = Asked::Folder { place: letter.place };
                self.over = Over::Ask { asked, line: Line::new(".") };
            }
            ('v', _) => {
                let lines = letter_lines(&letter);
                self.over = Over::Page { title: letter.author, lines, scroll: 0 };
            }
            ('c', _) if letter.mine => {
                return vec![Action::Receipts { thread, place: letter.place }];
            }
            ('s', _) => self.notice = Some(("this message is no file".to_owned(), true)),
            ('e' | 'x' | 'c', _) => {
                self.notice = Some(("that is possible with own messages only".to_owned(), true));
            }
            _ => self.notice = Some(("that is possible with messages only".to_owned(), true)),
        }
        Vec::new()
    }
}

fn letter_lines(letter: &Letter) -> Vec<String> {
    match &letter.body {
        Body::Text(text) | Body::Note(text) => text.lines().map(str::to_owned).collect(),
        Body::File { name, bytes, caption } => {
            vec![format!("{name} ({bytes} bytes)"), caption.clone()]
        }
        Body::Unsent => vec!["[unsent]".to_owned()],
    }
}

#[cfg(test)]
mod tests;
