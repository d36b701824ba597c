use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use session_core::{AccountId, Span, Time};
use session_messaging::say::SayId;
use session_messaging::thread::ThreadId;

use super::{Action, Asked, Focus, News, Over, PAGE, State, Writing};
use crate::tui::model::{Body, Conversation, Hit, Letter, Reaction};

const ALICE: ThreadId = ThreadId { number: 1 };
const TEAM: ThreadId = ThreadId { number: 2 };
const STRANGER: ThreadId = ThreadId { number: 3 };

fn conversation(id: ThreadId, title: &str) -> Conversation {
    Conversation { id, title: title.to_owned(), ..Conversation::default() }
}

fn letter(place: u64, mine: bool, text: &str) -> Letter {
    Letter {
        place,
        id: id(place),
        mine,
        author: if mine { "me" } else { "alice" }.to_owned(),
        at: Time::from_millis(place),
        body: Body::Text(text.to_owned()),
        quote: None,
        edited: false,
        reactions: Vec::new(),
        status: None,
        vanishes: false,
    }
}

fn id(place: u64) -> SayId {
    SayId([u8::try_from(place).expect("few messages"); 16])
}

fn key(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}

fn press(state: &mut State, code: KeyCode) -> Vec<Action> {
    state.key(key(code))
}

fn type_in(state: &mut State, text: &str) -> Vec<Action> {
    text.chars().flat_map(|letter| press(state, KeyCode::Char(letter))).collect()
}

fn ctrl(state: &mut State, letter: char) -> Vec<Action> {
    state.key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL))
}

/// Three conversations; in the first, two messages.
fn state() -> State {
    let mut state = State::new("me".to_owned());
    let group = Conversation { group: true, ..conversation(TEAM, "team") };
    let request = Conversation { request: true, ..conversation(STRANGER, "07ab") };
    let all = vec![conversation(ALICE, "alice"), group, request];
    let actions = state.tell(News::Conversations(all));
    assert_eq!(actions, [Action::Load { thread: ALICE, limit: PAGE }]);
    let letters = vec![letter(1, false, "hello"), letter(2, true, "hi")];
    assert_eq!(state.tell(News::Letters { thread: ALICE, letters, more: false }), []);
    state
}

#[test]
fn what_is_typed_is_said() {
    let mut state = state();
    assert_eq!(press(&mut state, KeyCode::Enter), [Action::Seen { thread: ALICE, up_to: 2 }]);
    assert_eq!(state.focus, Focus::Input);
    // Letters that are orders elsewhere are letters here.
    assert_eq!(type_in(&mut state, "q?/n"), []);
    let enter = press(&mut state, KeyCode::Enter);
    assert_eq!(enter, [Action::Say { thread: ALICE, text: "q?/n".to_owned(), reply_to: None }]);
    assert!(state.input.is_empty());
    type_in(&mut state, "  ");
    assert_eq!(press(&mut state, KeyCode::Enter), [], "nothing is said with blanks");
    state.key(KeyEvent::new(KeyCode::Enter, KeyModifiers::ALT));
    assert_eq!(state.input.text(), "  \n");
}

#[test]
fn only_what_is_looked_at_is_read() {
    let mut state = state();
    assert_eq!(press(&mut state, KeyCode::Tab), [Action::Seen { thread: ALICE, up_to: 2 }]);
    assert_eq!(press(&mut state, KeyCode::Tab), [], "nothing is new");
    // What arrives while somebody looks is read; own messages are not.
    let mut letters = vec![letter(1, false, "hello"), letter(3, true, "x")];
    assert_eq!(
        state.tell(News::Letters { thread: ALICE, letters: letters.clone(), more: false }),
        []
    );
    letters.push(letter(4, false, "new"));
    let seen = state.tell(News::Letters { thread: ALICE, letters: letters.clone(), more: false });
    assert_eq!(seen, [Action::Seen { thread: ALICE, up_to: 4 }]);
    // In the list, nobody looks.
    press(&mut state, KeyCode::Tab);
    letters.push(letter(5, false, "newer"));
    assert_eq!(state.tell(News::Letters { thread: ALICE, letters, more: false }), []);
}

#[test]
fn strangers_are_not_told_that_they_are_read() {
    let mut state = state();
    press(&mut state, KeyCode::End);
    let letters = vec![letter(1, false, "buy")];
    state.tell(News::Letters { thread: STRANGER, letters, more: false });
    assert_eq!(press(&mut state, KeyCode::Tab), []);
    assert_eq!(press(&mut state, KeyCode::Char('a')), [Action::Accept { thread: STRANGER }]);
    assert_eq!(press(&mut state, KeyCode::Char('b')), []);
    assert!(matches!(state.over, Over::Confirm { .. }));
    assert_eq!(press(&mut state, KeyCode::Char('n')), [], "anything but y is no");
    press(&mut state, KeyCode::Char('b'));
    assert_eq!(press(&mut state, KeyCode::Char('y')), [Action::Block { thread: STRANGER }]);
}

#[test]
fn drafts_wait_where_they_were_begun() {
    let mut state = state();
    press(&mut state, KeyCode::Enter);
    type_in(&mut state, "half");
    press(&mut state, KeyCode::Tab);
    let down = press(&mut state, KeyCode::Down);
    assert_eq!(down, [Action::Load { thread: TEAM, limit: PAGE }]);
    assert!(state.input.is_empty());
    press(&mut state, KeyCode::Up);
    assert_eq!(state.input.text(), "half");
}

#[test]
fn replies_edits_and_what_is_taken_back() {
    let mut state = state();
    press(&mut state, KeyCode::Tab);
    assert_eq!(press(&mut state, KeyCode::Char('r')), []);
    assert!(state.notice.is_some(), "no message is chosen");
    press(&mut state, KeyCode::Up);
    press(&mut state, KeyCode::Up);
    for own_only in ['e', 'x', 'c'] {
        assert_eq!(press(&mut state, KeyCode::Char(own_only)), []);
        assert_eq!((&state.over, state.focus), (&Over::Nothing, Focus::Messages), "{own_only}");
    }
    press(&mut state, KeyCode::Char('r'));
    type_in(&mut state, "yes");
    let said = press(&mut state, KeyCode::Enter);
    assert_eq!(said, [Action::Say { thread: ALICE, text: "yes".into(), reply_to: Some(id(1)) }]);
    assert_eq!(state.writing, Writing::New);

    // The own message: its text comes back, and can be left as it was.
    press(&mut state, KeyCode::Up);
    press(&mut state, KeyCode::Char('e'));
    assert_eq!(state.input.text(), "hi");
    press(&mut state, KeyCode::Esc);
    assert!(state.input.is_empty());
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char('e'));
    type_in(&mut state, "!");
    let edited = press(&mut state, KeyCode::Enter);
    assert_eq!(edited, [Action::Edit { thread: ALICE, id: id(2), text: "hi!".into() }]);

    press(&mut state, KeyCode::Up);
    press(&mut state, KeyCode::Char('x'));
    assert_eq!(press(&mut state, KeyCode::Enter), [Action::Unsend { thread: ALICE, id: id(2) }]);
    press(&mut state, KeyCode::Char('d'));
    assert_eq!(
        press(&mut state, KeyCode::Char('y')),
        [Action::Forget { thread: ALICE, id: id(2) }]
    );
    assert_eq!(
        press(&mut state, KeyCode::Char('c')),
        [Action::Receipts { thread: ALICE, place: 2 }]
    );
}

#[test]
fn a_reaction_once_more_is_its_end() {
    let mut state = state();
    let mut own = letter(2, true, "hi");
    own.reactions = vec![Reaction { emoji: "👍".into(), count: 2, mine: true }];
    state.tell(News::Letters { thread: ALICE, letters: vec![own], more: false });
    for (emoji, on) in [("👍", false), ("🎉", true)] {
        press(&mut state, KeyCode::Tab);
        state.focus = Focus::Messages;
        press(&mut state, KeyCode::Up);
        press(&mut state, KeyCode::Char('+'));
        state.paste(emoji);
        let action = Action::React { thread: ALICE, id: id(2), emoji: emoji.into(), on };
        assert_eq!(press(&mut state, KeyCode::Enter), [action]);
    }
}

#[test]
fn questions_are_answered_or_left() {
    let mut state = state();
    press(&mut state, KeyCode::Char('n'));
    assert_eq!(press(&mut state, KeyCode::Enter), [], "an id is needed");
    state.paste(" 07ab \n");
    assert_eq!(press(&mut state, KeyCode::Enter), [Action::Chat { account: "07ab".into() }]);

    press(&mut state, KeyCode::Char('g'));
    type_in(&mut state, "friends of q");
    press(&mut state, KeyCode::Enter);
    type_in(&mut state, "07a 07b");
    let members = vec!["07a".to_owned(), "07b".to_owned()];
    let action = Action::Group { name: "friends of q".into(), members };
    assert_eq!(press(&mut state, KeyCode::Enter), [action]);

    for (text, after) in [("off", None), ("5m", Some(Span::from_secs(300)))] {
        press(&mut state, KeyCode::Char('t'));
        type_in(&mut state, text);
        assert_eq!(press(&mut state, KeyCode::Enter), [Action::Timer { thread: ALICE, after }]);
    }
    press(&mut state, KeyCode::Char('t'));
    type_in(&mut state, "soon");
    assert_eq!(press(&mut state, KeyCode::Enter), []);
    assert!(state.notice.as_ref().is_some_and(|(text, bad)| *bad && text.contains("soon")));

    press(&mut state, KeyCode::Char('f'));
    assert!(matches!(state.over, Over::Ask { asked: Asked::File, .. }));
    press(&mut state, KeyCode::Esc);
    assert_eq!(state.over, Over::Nothing);
    // Orders of groups do nothing elsewhere.
    assert_eq!(type_in(&mut state, "IL"), []);
    assert_eq!(state.over, Over::Nothing);
}

#[test]
fn the_first_message_makes_the_conversation() {
    let mut state = state();
    press(&mut state, KeyCode::Enter);
    type_in(&mut state, "draft");
    let account = AccountId::default();
    state.tell(News::Begin { account, title: "07ab".into() });
    assert!(state.input.is_empty() && state.conversation().is_none());
    // A list that arrives meanwhile does not take the place of what is begun.
    assert_eq!(state.tell(News::Conversations(state.conversations.clone())), []);
    type_in(&mut state, "hello");
    let first = Action::First { account, text: "hello".into() };
    assert_eq!(press(&mut state, KeyCode::Enter), [first]);
    let open = state.tell(News::Open(TEAM));
    assert_eq!((open.len(), state.beginning.is_none()), (1, true));
    state.tell(News::Open(ALICE));
    assert_eq!(state.input.text(), "draft");
}

#[test]
fn a_search_leads_to_the_message() {
    let mut state = state();
    press(&mut state, KeyCode::Char('/'));
    type_in(&mut state, "jack");
    let words = Action::Search { words: "jack".into() };
    assert_eq!(press(&mut state, KeyCode::Enter), [words]);
    assert_eq!(press(&mut state, KeyCode::Enter).len(), 1, "nothing is there yet: it asks again");
    let hit = |thread, place| Hit { thread, place, title: "t".into(), text: "jack".into() };
    state.tell(News::Hits(vec![hit(ALICE, 1), hit(TEAM, 40)]));
    press(&mut state, KeyCode::Down);
    press(&mut state, KeyCode::Down);
    let actions = press(&mut state, KeyCode::Enter);
    let limit = match actions[..] {
        [Action::Load { thread: TEAM, limit }] => limit,
        _ => panic!("{actions:?}"),
    };
    assert!(limit >= PAGE);
    let letters = vec![letter(40, false, "jack"), letter(41, false, "more")];
    state.tell(News::Letters { thread: TEAM, letters, more: true });
    assert_eq!(state.letter().map(|it| it.place), Some(40));
}

#[test]
fn the_cursor_stays_when_messages_go() {
    let mut state = state();
    press(&mut state, KeyCode::Tab);
    press(&mut state, KeyCode::Up);
    let letters = vec![letter(1, false, "hello"), letter(3, true, "later")];
    state.tell(News::Letters { thread: ALICE, letters, more: true });
    assert_eq!(state.letter().map(|it| it.place), Some(1));
    let up = press(&mut state, KeyCode::Up);
    assert_eq!(up, [Action::Load { thread: ALICE, limit: 2 * PAGE }], "older ones are asked for");
    press(&mut state, KeyCode::Down);
    press(&mut state, KeyCode::Down);
    assert_eq!(state.letter(), None, "below the newest is the end");
    // News of another thread changes nothing here.
    state.tell(News::Letters { thread: TEAM, letters: Vec::new(), more: false });
    assert_eq!(state.shown.as_ref().map(|shown| shown.letters.len()), Some(2));
}

#[test]
fn help_and_the_end_are_everywhere() {
    let mut state = state();
    press(&mut state, KeyCode::Char('?'));
    assert_eq!(state.over, Over::Help);
    press(&mut state, KeyCode::Char('q'));
    assert_eq!(state.over, Over::Nothing, "a key closes the help and does nothing else");
    press(&mut state, KeyCode::Enter);
    type_in(&mut state, "text");
    press(&mut state, KeyCode::F(1));
    assert_eq!(state.over, Over::Help);
    press(&mut state, KeyCode::Esc);
    assert_eq!(ctrl(&mut state, 'c'), [Action::Quit]);
    assert_eq!(state.input.text(), "text");
    press(&mut state, KeyCode::Esc);
    assert_eq!(press(&mut state, KeyCode::Char('q')), [Action::Quit]);
}

#[test]
fn no_key_in_no_state_panics() {
    use session_core::{Entropy as _, SeededEntropy};
    let codes = "abcdefgijklmnoprstuvwxyz/?+IL \u{301}日".chars().map(KeyCode::Char).chain([
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Backspace,
        KeyCode::Delete,
        KeyCode::F(1),
    ]);
    let codes: Vec<_> = codes.collect();
    let mut rng = SeededEntropy::new(7);
    let mut opened = 0;
    for round in 0..200 {
        let mut state = if round % 2 == 0 { state() } else { State::new("me".to_owned()) };
        for _ in 0..200 {
            let mut bytes = [0; 3];
            rng.fill(&mut bytes);
            let code = codes[usize::from(bytes[0]) % codes.len()];
            let modifiers = match bytes[1] % 8 {
                0 => KeyModifiers::CONTROL,
                1 => KeyModifiers::ALT,
                _ => KeyModifiers::NONE,
            };
            for action in state.key(KeyEvent::new(code, modifiers)) {
                if let Action::Load { thread, .. } = action {
                    opened += 1;
                    let letters =
                        (0..u64::from(bytes[2] % 4)).map(|it| letter(it, it % 2 == 0, "x"));
                    let letters = letters.collect();
                    state.tell(News::Letters { thread, letters, more: bytes[2] > 128 });
                }
            }
        }
    }
    assert!(opened > 100, "{opened}");
}
