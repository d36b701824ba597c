use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use session_core::Time;
use session_messaging::say::SayId;
use session_messaging::thread::{Status, ThreadId};

use super::{draw, wrap};
use crate::tui::model::{Body, Conversation, Hit, Letter, Reaction, Transfer};
use crate::tui::state::{Action, HELP, News, State};

const THREAD: ThreadId = ThreadId { number: 1 };

fn letter(place: u64, mine: bool, body: Body) -> Letter {
    Letter {
        place,
        id: SayId([u8::try_from(place % 251).expect("a byte"); 16]),
        mine,
        author: if mine { "you" } else { "alice" }.to_owned(),
        at: Time::from_millis(1_000_000_000_000 + place * 60_000),
        body,
        quote: None,
        edited: false,
        reactions: Vec::new(),
        status: mine.then(Status::default),
        vanishes: false,
    }
}

fn text(text: &str) -> Body {
    Body::Text(text.to_owned())
}

fn state(letters: Vec<Letter>) -> State {
    let mut state = State::new("07ab…cdef".to_owned());
    let alice = Conversation {
        id: THREAD,
        title: "alice".into(),
        unread: 3,
        preview: "see you".into(),
        ..Conversation::default()
    };
    let team = Conversation {
        id: ThreadId { number: 2 },
        title: "team".into(),
        group: true,
        ..Conversation::default()
    };
    let stranger = Conversation {
        id: ThreadId { number: 3 },
        title: "07ff".into(),
        request: true,
        ..Conversation::default()
    };
    state.tell(News::Conversations(vec![alice, team, stranger]));
    state.tell(News::Letters { thread: THREAD, letters, more: false });
    state
}

/// Returns the screen as text.
fn screen(state: &State, width: u16, height: u16) -> String {
    let mut terminal =
        Terminal::new(TestBackend::new(width, height)).expect("it needs no terminal");
    terminal.draw(|frame| draw(frame, state, &TimeZone::UTC)).expect("it draws");
    terminal.backend().to_string()
}

fn has(screen: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(screen.contains(wanted), "{wanted:?} is missing:\n{screen}");
    }
}

#[test]
fn everything_is_in_sight_at_the_usual_size() {
    let stored = Status {
        stored: Some(Time::from_millis(1)),
        good: 7,
        needed: 7,
        of: 10,
        audience: 1,
        ..Status::default()
    };
    let mut answer = letter(2, true, text("yes, at eight"));
    answer.quote = Some("will you come?".into());
    answer.status = Some(stored);
    answer.edited = true;
    answer.reactions = vec![Reaction { emoji: "👍".into(), count: 2, mine: false }];
    let file = Body::File { name: "photo.jpg".into(), bytes: 1_234_567, caption: "the sea".into() };
    let letters = vec![
        letter(1, false, text("will you come?")),
        answer,
        letter(3, false, file),
        letter(4, true, Body::Unsent),
        letter(5, false, Body::Note("alice joined".into())),
    ];
    let shown = screen(&state(letters), 80, 24);
    has(
        &shown,
        &[
            "session",
            "07ab…cdef",
            "3 unread",
            "1 requests",
            "# team",
            "? 07ff",
            "see you",
            "Sun 09 Sep 2001",
            "01:47",
            "will you come?",
            "↪ will you come?",
            "yes, at eight",
            "edited",
            "✓ stored 7/10",
            "👍 2",
            "photo.jpg (1.2 MB)",
            "the sea",
            "taken back",
            "alice joined",
            "? help",
        ],
    );
}

#[test]
fn no_more_is_shown_than_is_known() {
    let base = Status { audience: 3, of: 10, needed: 7, ..Status::default() };
    let stored = Status { stored: Some(Time::from_millis(1)), good: 8, ..base };
    for (status, wanted, absent) in [
        (base, "… sending", "✓"),
        (stored, "✓ stored 8/10", "✓✓"),
        (Status { delivered: 2, ..stored }, "✓✓ delivered 2/3", "read"),
        (Status { delivered: 2, read: 1, ..stored }, "✓✓ read 1/3", "stored"),
        (Status { failed: true, ..base }, "✗ not sent", "sending"),
    ] {
        let mut own = letter(1, true, text("x"));
        own.status = Some(status);
        let mut state = state(vec![own]);
        state.conversations.truncate(1);
        let shown = screen(&state, 80, 24);
        let line = shown.lines().find(|line| line.contains("you  0")).expect("the message");
        assert!(line.contains(wanted) && !line.contains(absent), "{line}");
    }
}

#[test]
fn strangers_steer_nothing() {
    let evil = "\u{1b}[2J\u{202e}evil\u{7}";
    let mut bad = letter(1, false, text(evil));
    bad.author = evil.into();
    bad.quote = Some(evil.into());
    bad.reactions = vec![Reaction { emoji: evil.into(), count: 1, mine: false }];
    let file = Body::File { name: evil.into(), bytes: 1, caption: evil.into() };
    let mut state =
        state(vec![bad, letter(2, false, file), letter(3, false, Body::Note(evil.into()))]);
    state.conversations[0].title = evil.into();
    state.conversations[1].preview = evil.into();
    let mut screens = vec![screen(&state, 120, 40)];
    let hit = Hit { thread: THREAD, place: 1, title: evil.into(), text: evil.into() };
    state.key(KeyEvent::from(KeyCode::Char('/')));
    state.tell(News::Hits(vec![hit]));
    screens.push(screen(&state, 120, 40));
    state.tell(News::Page { title: evil.into(), lines: vec![evil.into()] });
    screens.push(screen(&state, 120, 40));
    state.key(KeyEvent::from(KeyCode::Esc));
    state.tell(News::Notice { text: evil.into(), bad: true });
    screens.push(screen(&state, 120, 40));
    for shown in screens {
        assert!(shown.contains("\\u{1b}[2J\\u{202e}evil"), "{shown}");
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{shown:?}");
    }
}

#[test]
fn the_help_names_every_key() {
    let mut state = state(Vec::new());
    state.key(KeyEvent::from(KeyCode::Char('?')));
    let shown = screen(&state, 80, 24);
    for (keys, what) in HELP {
        has(&shown, &[keys, what]);
    }
}

#[test]
fn the_newest_is_at_the_bottom_and_the_chosen_in_sight() {
    let letters: Vec<_> =
        (1..=60).map(|it| letter(it, it % 2 == 0, text(&format!("number {it}")))).collect();
    let mut state = state(letters);
    let shown = screen(&state, 80, 24);
    has(&shown, &["number 60"]);
    assert!(!shown.contains("number 30"));
    state.key(KeyEvent::from(KeyCode::Tab));
    for _ in 0..31 {
        state.key(KeyEvent::from(KeyCode::Up));
    }
    let shown = screen(&state, 80, 24);
    has(&shown, &["number 30"]);
    assert!(!shown.contains("number 60"));
    assert!(shown.lines().any(|line| line.contains("▌") && line.contains("number 30")), "{shown}");
    state.key(KeyEvent::from(KeyCode::Home));
    has(&screen(&state, 80, 24), &["number 1 "]);
}

#[test]
fn long_messages_are_cut_and_can_be_read() {
    let long = (0..500).map(|it| format!("row{it}")).collect::<Vec<_>>().join("\n");
    let mut state = state(vec![letter(1, false, text(&long))]);
    has(&screen(&state, 80, 24), &["440 more lines"]);
    state.key(KeyEvent::from(KeyCode::Tab));
    state.key(KeyEvent::from(KeyCode::Up));
    state.key(KeyEvent::from(KeyCode::Enter));
    has(&screen(&state, 80, 24), &["row0 "]);
    for _ in 0..200 {
        state.key(KeyEvent::from(KeyCode::PageDown));
    }
    has(&screen(&state, 80, 24), &["row499"]);
}

#[test]
fn transfers_show_how_far_they_are() {
    let mut state = state(Vec::new());
    let transfer = |name: &str| Transfer { name: name.into(), sending: true, done: 50, of: 200 };
    state.tell(News::Transfers(vec![transfer("a.bin"), transfer("b.bin")]));
    has(&screen(&state, 80, 24), &["sending a.bin ██░░░░░░░░ 25% and 1 more"]);
}

#[test]
fn every_size_is_drawn() {
    let wide = "日本語のとても長いメッセージ".repeat(20);
    let mut state = state(vec![letter(1, false, text(&wide)), letter(2, true, text("x"))]);
    state.input.insert(&wide);
    let keys = ['?', 'n', '/', 'i', 'm'].map(KeyCode::Char);
    for key in keys {
        for focus in [KeyCode::Tab, KeyCode::BackTab] {
            state.key(KeyEvent::from(focus));
            for (width, height) in [(1, 1), (2, 3), (10, 4), (20, 8), (59, 10), (60, 12), (200, 60)]
            {
                screen(&state, width, height);
            }
        }
        let actions = state.key(KeyEvent::from(key));
        assert!(!actions.contains(&Action::Quit));
        for (width, height) in [(1, 1), (5, 2), (20, 8), (80, 24)] {
            screen(&state, width, height);
        }
        state.key(KeyEvent::from(KeyCode::Esc));
    }
}

#[test]
fn a_narrow_terminal_shows_one_thing_at_a_time() {
    let mut state = state(vec![letter(1, false, text("hello there"))]);
    let shown = screen(&state, 40, 20);
    assert!(shown.contains("# team") && !shown.contains("hello there"), "{shown}");
    state.key(KeyEvent::from(KeyCode::Enter));
    let shown = screen(&state, 40, 20);
    assert!(!shown.contains("# team") && shown.contains("hello there"), "{shown}");
}

#[test]
fn text_is_broken_between_words() {
    assert_eq!(wrap::rows("one two three", 8), ["one two", "three"]);
    assert_eq!(wrap::rows("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
    assert_eq!(wrap::rows("a\n\nb", 4), ["a", "", "b"]);
    assert_eq!(wrap::rows("日本語", 4), ["日本", "語"]);
    assert_eq!(wrap::cut("日本語", 4), "日…");
    assert_eq!(wrap::cut("abc", 3), "abc");
    assert_eq!(wrap::cut("abcd", 0), "");
    for row in wrap::rows(&"word ".repeat(100), 17) {
        assert!(wrap::width(&row) <= 17);
    }
}

#[test]
fn the_first_message_has_its_place() {
    let mut state = state(Vec::new());
    let account = session_core::AccountId::default();
    state.tell(News::Begin { account, title: "07ab…cd".into() });
    state.input.insert("hello");
    for width in [40, 80] {
        has(&screen(&state, width, 24), &["07ab…cd", "the first message", "hello"]);
    }
}
