//! The terminal and the session, joined.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write as _, stdout};
use std::sync::Once;
use std::time::Duration;

use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::crossterm::event::{
    self, DisableBracketedPaste, EnableBracketedPaste, Event as Input, KeyEventKind,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::prelude::CrosstermBackend;
use session_core::Time;
use session_messaging::messenger::api::Event;
use session_runtime::http::client::Endpoint;
use session_sdk::{Notice, Session};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::deed;
use super::load;
use super::model::Transfer;
use super::state::{Action, News, State};
use super::typing::Typing;
use super::view;
use crate::exit::{Doing, Failure, Result};
use crate::home::Home;
use crate::out::Out;
use crate::{desk, local_chain, person};

/// Keys and actions that wait; a person types slower than that.
const WAITING_MAX: usize = 1024;

/// How often the thread that reads keys looks whether it is still needed.
const KEY_POLL: Duration = Duration::from_millis(200);

/// How long leaving waits for the network to take what is not sent yet.
const GOODBYE: Duration = Duration::from_secs(2);

/// Shows the conversations until somebody quits.
///
/// With `typing`, it is shown who types, and others are told that this account does.
pub(crate) async fn run(home: &Home, out: Out, typing: bool) -> Result<()> {
    if out.is_json() || !stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "'session chat' alone needs a terminal: for programs there is 'session chat send', \
             'read', 'follow' and 'session bot'",
        ));
    }
    let chain = local_chain::known(home)?;
    let session = desk::open(home).await?;
    let me = desk::view(&session, load::own).await?;
    let done = {
        let screen = Screen::open()?;
        let typing = typing.then(Typing::default);
        Room::new(&session, chain, State::new(me), typing).serve(screen).await
    };
    // What cannot be sent now is sent the next time.
    let _ = tokio::time::timeout(GOODBYE, session.sync_until_idle()).await;
    session.stop().await;
    done
}

/// The terminal while it is ours; given back however this ends.
struct Screen(Terminal<CrosstermBackend<std::io::Stdout>>);

impl Screen {
    fn open() -> Result<Self> {
        let what = || "cannot use the terminal".to_owned();
        restore_on_panic();
        enable_raw_mode().doing(what)?;
        // From here on dropping it restores the terminal.
        let screen = Terminal::new(CrosstermBackend::new(stdout())).map(Self);
        let screen = screen.inspect_err(|_| restore()).doing(what)?;
        execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste).doing(what)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // There is nobody to tell when the terminal is gone.
    let _ = execute!(stdout(), DisableBracketedPaste, LeaveAlternateScreen);
    let _ = disable_raw_mode();
    let _ = execute!(stdout(), ratatui::crossterm::cursor::Show);
}

/// A panic is told on a terminal that shows it, whether it unwinds or aborts.
fn restore_on_panic() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            usual(info);
        }));
    });
}

/// What a task tells.
enum Report {
    News(Vec<News>),
    /// How far a file is; nothing once it is done.
    Transfer(u64, Option<Transfer>),
}

/// Everything that goes on while the terminal is open.
struct Room<'a> {
    session: &'a Session,
    /// With which first contacts are compared.
    chain: Option<Endpoint>,
    state: State,
    zone: TimeZone,
    /// Actions that are done one after another.
    quick: mpsc::Sender<Action>,
    reports: mpsc::Sender<Report>,
    heard: mpsc::Receiver<Report>,
    transfers: BTreeMap<u64, Transfer>,
    next: u64,
    /// Unless nobody asked for it.
    typing: Option<Typing>,
}

impl<'a> Room<'a> {
    fn new(
        session: &'a Session,
        chain: Option<Endpoint>,
        state: State,
        typing: Option<Typing>,
    ) -> Self {
        let (quick, orders) = mpsc::channel(WAITING_MAX);
        let (reports, heard) = mpsc::channel(WAITING_MAX);
        tokio::spawn(work(session.clone(), chain.clone(), orders, reports.clone()));
        let zone = TimeZone::system();
        let transfers = BTreeMap::new();
        Self { session, chain, state, zone, quick, reports, heard, transfers, next: 0, typing }
    }

    async fn serve(mut self, mut screen: Screen) -> Result<()> {
        let mut events = self.session.events();
        let mut keys = read_keys();
        let what = || "cannot listen for signals".to_owned();
        let mut terminate = signal(SignalKind::terminate()).doing(what)?;
        let mut hang_up = signal(SignalKind::hangup()).doing(what)?;
        self.refresh().await?;
        self.catch_up();
        loop {
            self.draw(&mut screen)?;
            let mut quit = false;
            tokio::select! {
                input = keys.recv() => match input {
                    Some(input) => quit |= self.input(input).await,
                    None => return Ok(()),
                },
                Some(report) = self.heard.recv() => quit |= self.report(report).await,
                notice = events.next() => match notice {
                    Some(notice) => self.notice(notice, &mut screen).await?,
                    None => return Err(Failure::failed("the session has ended")),
                },
                () = still(self.typing.as_ref().and_then(Typing::deadline)) => {
                    self.show_typing().await?;
                }
                _ = terminate.recv() => return Ok(()),
                _ = hang_up.recv() => return Ok(()),
            }
            // Pasted text and bursts of events are drawn once.
            while let Ok(input) = keys.try_recv() {
                quit |= self.input(input).await;
            }
            while let Ok(report) = self.heard.try_recv() {
                quit |= self.report(report).await;
            }
            if quit {
                return Ok(());
            }
        }
    }

    fn draw(&self, screen: &mut Screen) -> Result<()> {
        let drawn = screen.0.draw(|frame| view::draw(frame, &self.state, &self.zone));
        drawn.map(drop).doing(|| "cannot draw on the terminal".to_owned())
    }

    /// Returns whether somebody quits.
    async fn input(&mut self, input: Input) -> bool {
        let mut actions = match input {
            Input::Key(key) if key.kind != KeyEventKind::Release => self.state.key(key),
            Input::Paste(text) => self.state.paste(&text),
            // The next drawing has the new size.
            _ => Vec::new(),
        };
        if let Some(typing) = &mut self.typing {
            if actions.iter().any(|action| matches!(action, Action::Say { .. })) {
                typing.sent();
            }
            let said = typing.writes(person::now(), self.state.writes_in());
            actions.extend(said.into_iter().map(|(thread, on)| Action::Typing { thread, on }));
        }
        self.order(actions).await
    }

    async fn report(&mut self, report: Report) -> bool {
        match report {
            Report::News(all) => {
                let mut quit = false;
                for news in all {
                    let actions = self.state.tell(news);
                    quit |= self.order(actions).await;
                }
                quit
            }
            Report::Transfer(id, transfer) => {
                match transfer {
                    Some(transfer) => self.transfers.insert(id, transfer),
                    None => self.transfers.remove(&id),
                };
                let all = self.transfers.values().cloned().collect();
                let actions = self.state.tell(News::Transfers(all));
                self.order(actions).await
            }
        }
    }

    async fn notice(&mut self, notice: Notice, screen: &mut Screen) -> Result<()> {
        match notice {
            Notice::Event(event) => {
                if matches!(event, Event::Changed { alert: true, .. } | Event::Request { .. }) {
                    // The bell; a terminal that cannot ring is no reason to end.
                    let _ = screen.0.backend_mut().write_all(b"\x07");
                }
                if let (Event::Typing { thread, account, on }, Some(typing)) =
                    (&event, &mut self.typing)
                {
                    if *account != self.session.account() {
                        typing.hear(person::now(), *thread, *account, *on);
                    }
                    return self.show_typing().await;
                }
                if let Event::Warning(warning) = &event {
                    let text = warning.to_string();
                    self.state.tell(News::Notice { text, bad: true });
                }
                self.refresh().await
            }
            Notice::Missed(_) => self.refresh().await,
            Notice::Failed(why) => Err(Failure::failed(why)),
            _ => Ok(()),
        }
    }

    /// Shows who types, if that is wanted.
    async fn show_typing(&mut self) -> Result<()> {
        let (Some(typing), Some(shown)) = (&mut self.typing, &self.state.shown) else {
            return Ok(());
        };
        let (now, thread) = (person::now(), shown.thread);
        typing.forget(now);
        let who = typing.in_thread(now, thread);
        let names = match who.is_empty() {
            true => Vec::new(),
            false => {
                let names = desk::view(self.session, desk::Names::load).await?;
                who.iter().map(|account| names.of(account)).collect()
            }
        };
        self.state.tell(News::Typing(names));
        Ok(())
    }

    /// Reads again what is shown.
    async fn refresh(&mut self) -> Result<()> {
        let shown = self.state.shown.as_ref().map(|shown| (shown.thread, shown.limit));
        let (list, letters) = desk::view(self.session, move |vault| {
            let letters = shown.map(|(thread, limit)| load::letters(vault, thread, limit));
            (load::conversations(vault), letters)
        })
        .await?;
        for news in std::iter::once(list).chain(letters) {
            let actions = self.state.tell(news);
            self.order(actions).await;
        }
        self.show_typing().await
    }

    /// Fetches what came while nobody was here.
    fn catch_up(&mut self) {
        self.state.tell(News::Network("fetching …".to_owned()));
        let (session, reports) = (self.session.clone(), self.reports.clone());
        tokio::spawn(async move {
            // Whatever comes of it: from here on, events tell.
            let _ = session.sync_until_idle().await;
            let _ = reports.send(Report::News(vec![News::Network(String::new())])).await;
        });
    }

    async fn order(&mut self, actions: Vec<Action>) -> bool {
        for action in actions {
            if action == Action::Quit {
                return true;
            }
            if !deed::is_slow(&action) {
                // The other end lives as long as this.
                let _ = self.quick.send(action).await;
                continue;
            }
            self.next += 1;
            let (id, session, reports) = (self.next, self.session.clone(), self.reports.clone());
            let chain = self.chain.clone();
            tokio::spawn(async move {
                let news = {
                    // A full queue leaves steps out, which the next step makes up for.
                    let mut tell =
                        |transfer| drop(reports.try_send(Report::Transfer(id, Some(transfer))));
                    deed::perform(&session, chain.as_ref(), action, &mut tell).await
                };
                let _ = reports.send(Report::Transfer(id, None)).await;
                let _ = reports.send(Report::News(news)).await;
            });
        }
        false
    }
}

/// Waits until a time; for ever without one.
async fn still(until: Option<Time>) {
    match until {
        Some(until) => tokio::time::sleep(desk::duration(until.since(person::now()))).await,
        None => std::future::pending().await,
    }
}

async fn work(
    session: Session,
    chain: Option<Endpoint>,
    mut orders: mpsc::Receiver<Action>,
    reports: mpsc::Sender<Report>,
) {
    while let Some(action) = orders.recv().await {
        let news = deed::perform(&session, chain.as_ref(), action, &mut |_| {}).await;
        if !news.is_empty() && reports.send(Report::News(news)).await.is_err() {
            return;
        }
    }
}

/// Reads keys on a thread of their own: the terminal has no other way.
fn read_keys() -> mpsc::Receiver<Input> {
    let (keys, read) = mpsc::channel(WAITING_MAX);
    std::thread::spawn(move || {
        while !keys.is_closed() {
            let input = match event::poll(KEY_POLL) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            // A terminal that is gone gives errors: its end is the end of the channel.
            let Ok(input) = input else { return };
            if keys.blocking_send(input).is_err() {
                return;
            }
        }
    });
    read
}
