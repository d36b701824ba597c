//! `session chat` through a real terminal: a pseudo-terminal, and what a terminal shows of it.

use std::io::{Read, Write};
use std::num::NonZero;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Command, Pty};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Network, PATIENCE, Person};
use crate::talking::{friends, person};

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

fn size(count: u16) -> NonZero<u16> {
    NonZero::new(count).expect("a terminal has a size")
}

/// A terminal in which `session chat` runs.
pub(crate) struct Screen {
    pty: Arc<Pty>,
    child: Child,
    shown: Arc<Mutex<vt100::Parser>>,
}

impl Screen {
    pub(crate) fn open(person: &Person) -> Self {
        Self::open_with(person, &["chat"])
    }

    fn open_with(person: &Person, args: &[&str]) -> Self {
        let (pty, pts) = pty_process::blocking::open().expect("a pseudo-terminal");
        pty.resize(Size::new(ROWS, COLUMNS)).expect("it has a size");
        let usual = person.command(args);
        let mut command = Command::new(usual.get_program());
        command = command.args(usual.get_args()).env("TERM", "xterm-256color").env("TZ", "UTC");
        let child = command.spawn(pts).expect("session starts");
        let (pty, shown) =
            (Arc::new(pty), Arc::new(Mutex::new(vt100::Parser::new(size(ROWS), size(COLUMNS), 0))));
        let (output, parser) = (Arc::clone(&pty), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            // It ends with an error once the program is gone.
            while let Ok(count @ 1..) = (&*output).read(&mut bytes) {
                parser.lock().expect("nobody panics with it").process(&bytes[..count]);
            }
        });
        Self { pty, child, shown }
    }

    fn text(&self) -> String {
        self.shown.lock().expect("nobody panics with it").screen().contents()
    }

    /// Waits until something is on the screen.
    pub(crate) fn wait(&self, wanted: &str) {
        self.wait_for(PATIENCE, wanted);
    }

    fn wait_for(&self, patience: Duration, wanted: &str) {
        let started = Instant::now();
        loop {
            let text = self.text();
            if text.contains(wanted) {
                return;
            }
            assert!(started.elapsed() < patience, "{wanted:?} is not shown:\n{text}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    pub(crate) fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).expect("it reads keys");
    }

    /// Pastes, as a terminal does it.
    pub(crate) fn paste(&self, text: &str) {
        self.press(&format!("\x1b[200~{text}\x1b[201~"));
    }

    fn resize(&self, rows: u16, columns: u16) {
        self.shown
            .lock()
            .expect("nobody panics with it")
            .screen_mut()
            .set_size(size(rows), size(columns));
        self.pty.resize(Size::new(rows, columns)).expect("it has a size");
    }

    /// Tells whether the terminal is as it was before: its first screen, and keys echoed.
    fn is_restored(&self) -> bool {
        let alternate =
            self.shown.lock().expect("nobody panics with it").screen().alternate_screen();
        let modes = rustix::termios::tcgetattr(&*self.pty).expect("it is a terminal").local_modes;
        !alternate
            && modes
                .contains(rustix::termios::LocalModes::ECHO | rustix::termios::LocalModes::ICANON)
    }

    fn wait_end(&mut self) -> std::process::ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "it does not end:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_people_chat_in_their_terminals() {
    let network = Network::start(10);
    let (alice, _) = person(&network, "alice");
    let (bob, bob_id) = person(&network, "bob");
    let (mut left, right) = (Screen::open(&alice), Screen::open(&bob));

    left.wait("nobody yet");
    // The help is there, and goes with any key.
    left.press("?");
    left.wait("search all messages");
    left.press("\x1b");
    left.wait("nobody yet");

    // A new chat by pasting the id; the first message is a request at bob's.
    left.press("n");
    left.wait("New chat");
    left.paste(&bob_id);
    left.press("\r");
    left.wait("the first message");
    left.press("hello from the left\r");
    left.wait("✓ stored");
    right.wait("hello from the left");
    right.wait("a stranger: a accepts, b blocks");
    right.press("a");
    right.wait("accepted");

    // And back, as a reply.
    right.press("\t");
    right.press("\x1b[A");
    right.press("r");
    right.wait("reply to: hello from the left");
    right.press("hello from the right\r");
    left.wait("hello from the right");
    left.wait("↪ you: hello from the left");
    left.press("and the last word\r");
    right.wait("and the last word");
    // Receipts wait for company: they would tell when somebody looked.
    left.wait_for(2 * PATIENCE, "✓✓ delivered");

    // Smaller and larger, without a word lost.
    left.resize(12, 50);
    left.wait("and the last word");
    left.resize(40, 120);
    left.wait("↪ you: hello from the left");

    // Quitting gives the terminal back.
    assert!(!left.is_restored());
    left.press("\x03");
    assert!(left.wait_end().success());
    assert!(left.is_restored(), "{}", left.text());

    // Everything is still there the next time.
    let again = Screen::open(&alice);
    again.wait("hello from the right");
}

#[test]
fn who_types_is_shown_where_both_want_it() {
    let network = Network::start(4);
    let ((alice, _), (bob, _)) = friends(&network);
    let (left, right) = (Screen::open_with(&alice, &["chat", "--typing"]), Screen::open(&bob));
    left.wait("first words");
    right.wait("first words");
    // Bob did not ask for it: he neither tells nor is told.
    right.press("\t\tno word of this");
    left.press("\t\tI am just wri");
    right.wait("no word of this");
    std::thread::sleep(Duration::from_secs(3));
    assert!(!left.text().contains("types") && !right.text().contains("types"));
    drop(right);
    let right = Screen::open_with(&bob, &["chat", "--typing"]);
    right.wait("first words");
    // Some keys each few seconds, as somebody does who thinks.
    let started = Instant::now();
    while !right.text().contains(" types …") {
        left.press("x");
        assert!(started.elapsed() < PATIENCE, "{}", right.text());
        std::thread::sleep(Duration::from_millis(500));
    }
    left.press("\r");
    right.wait("I am just wri");
    let started = Instant::now();
    while right.text().contains(" types …") {
        assert!(started.elapsed() < PATIENCE, "{}", right.text());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_strangers_group_is_decided_about_in_the_terminal() {
    let network = Network::start(4);
    let (carol, _) = person(&network, "carol");
    let (bob, bob_id) = person(&network, "bob");
    let made = carol.json(&["group", "create", "hikers", &bob_id]);
    let group = format!("group:{}", made[0]["group"].as_str().expect("an id"));
    carol.json(&["chat", "send", &group, "please join"]);
    let screen = Screen::open(&bob);
    screen.wait("please join");
    screen.wait("a accepts, b declines");
    screen.press("a");
    screen.wait("accepted");
    assert!(!screen.text().contains("b declines"), "{}", screen.text());
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let network = Network::start(4);
    let (alice, _) = person(&network, "alice");
    let mut screen = Screen::open(&alice);
    screen.wait("nobody yet");
    assert!(!screen.is_restored());
    let pid = i32::try_from(screen.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, Signal::TERM).expect("it runs");
    assert!(screen.wait_end().success());
    assert!(screen.is_restored(), "{}", screen.text());
}
