//! The client: commands in, answers out.
//!
//! | module | holds |
//! |---|---|
//! | `begin` | commands, checked and turned into tasks |
//! | `legs` | choosing a node, asking it, judging its answer, going on |
//! | `live` | subscriptions |
//! | `routed` | packets over hops instead of frames to nodes |
//! | `paths` | guards, hop keys, and what is due for them |
//! | `waits` | requests that an exit answers when something arrives |
//! | `watching` | many inboxes at once |

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use session_core::{Context, InboxAddress, Machine, NodeId, Span, Time};
use session_crypto::{DsaPublicKey, Signer, Verifier};
use session_network::{Class, ConnId, From, Network};
use session_protocol::puzzle::{Puzzle, Solution};
use session_protocol::request::Item;
use session_protocol::{AccessRule, Inbound, Kind, Membership};

use crate::command::{Answer, Command, Error};
use crate::nodes::Nodes;
use crate::onion::{GuardList, Health, HopKeyList, Kept, Mode, PathReport, Routes};
use crate::puzzles::Puzzles;
use crate::receipts::Auditor;
use crate::subscription::Subscription;
use crate::task::{Task, TaskId};
use crate::watch::{Source, Watch};

mod begin;
mod legs;
mod live;
mod paths;
mod routed;
mod waits;
mod watching;

type Cx<'a> = Context<'a, (), Effect>;

/// What a [`Client`] is made from.
#[derive(Clone)]
pub struct Config {
    /// Makes the secrets of handshakes; nodes do not learn whose keys these are.
    pub keys: Arc<dyn Signer>,
    /// The account whose inbox is read. None can still store and look up cards.
    pub account: Option<Arc<dyn Signer>>,
    /// Who is a node.
    pub membership: Arc<dyn Membership>,
    /// Checks receipts.
    pub verifier: Arc<dyn Verifier>,
    /// How requests travel.
    pub mode: Mode,
    /// What was kept of the last time, as [`Effect::Guards`], [`Effect::Health`] and
    /// [`Effect::HopKeys`] gave it.
    pub kept: Kept,
    /// Bounds and times.
    pub limits: Limits,
}

impl Config {
    /// Makes the configuration of an account.
    #[must_use]
    pub fn new(
        account: Arc<dyn Signer>,
        membership: Arc<dyn Membership>,
        verifier: Arc<dyn Verifier>,
    ) -> Self {
        Self {
            keys: Arc::clone(&account),
            account: Some(account),
            membership,
            verifier,
            mode: Mode::default(),
            kept: Kept::default(),
            limits: Limits::default(),
        }
    }
}

/// Bounds and times of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most commands at once, subscriptions included. More are answered with [`Error::Busy`].
    pub commands_max: usize,
    /// Most nodes being asked at once, the second ones not counted that are asked because the
    /// first ones take their time; other commands wait their turn.
    pub requests_max: usize,
    /// How long one node is waited for before a second one is asked the same. Four times the
    /// node's usual round trip where that is longer, and longer for what takes long to transfer.
    /// Over hops only as long as nothing was measured: then three times what nine of ten answers
    /// took, at least 300 ms.
    pub patience: Span,
    /// How long one node has to be reached, and then to answer: longer than a swarm takes to miss
    /// its quorum. Large requests have a second more for every 128 KiB.
    pub try_time: Span,
    /// How long a command may go without progress.
    pub command_time: Span,
    /// How long a reading waits for its other nodes once it has the first page.
    pub second_page_time: Span,
    /// Time between two readings of a subscription.
    pub sweep_interval: Span,
    /// A connection that was not used for this long is closed.
    pub idle_time: Span,
    /// Most readings of watched inboxes at once; each is of up to eight inboxes.
    pub polls_max: usize,
    /// Time between two readings of a watched inbox that no node pushes.
    pub poll_interval: Span,
    /// Time between two readings of a watched inbox that a node pushes: what was dropped on the way
    /// is found then, and what the node withholds, because another one is read from as well.
    pub check_interval: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            commands_max: 1024,
            requests_max: 64,
            patience: Span::from_secs(1),
            try_time: Span::from_secs(6),
            command_time: Span::from_secs(30),
            second_page_time: Span::from_secs(3),
            sweep_interval: Span::from_secs(30),
            idle_time: Span::from_secs(120),
            polls_max: 8,
            poll_interval: Span::from_secs(20),
            check_interval: Span::from_secs(120),
        }
    }
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// Something on the network.
    Network(session_network::Input),
    /// The program wants something.
    Command {
        /// Repeated in every effect that it has.
        id: u64,
        /// What.
        command: Command,
    },
    /// The program wants it no more.
    Cancel {
        /// The command.
        id: u64,
    },
    /// Watch exactly these inboxes from now on. One that was watched before is read on from where it
    /// is, whatever reader is given for it now.
    Watch {
        /// They, under their addresses.
        sources: BTreeMap<InboxAddress, Source>,
    },
    /// Read every watched inbox now; see [`Client::unread_since`].
    ReadWatched,
    /// The answer to [`Effect::Solve`].
    Solved {
        /// Which puzzle.
        puzzle: Puzzle,
        /// Nothing, if it was not found in time.
        solution: Option<Solution>,
    },
    /// Who is a node, and which swarm keeps what, has changed. Commands that wait for an answer are
    /// sent on by whoever was asked, if that is the wrong one now.
    Membership(Arc<dyn Membership>),
}

/// What the shell and the program are to do or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Send a frame body.
    Send {
        /// Over which connection.
        conn: ConnId,
        /// How.
        class: Class,
        /// The body.
        frame: Vec<u8>,
    },
    /// Open a connection.
    Dial {
        /// Repeated in the answer.
        dial: u64,
        /// `host:port`.
        address: String,
        /// The only key that TLS may accept there.
        key: DsaPublicKey,
    },
    /// Close a connection, after what was sent over it before.
    Close {
        /// Which one.
        conn: ConnId,
        /// Why.
        why: String,
    },
    /// Solve a puzzle ([`Puzzle::solve`]), beside everything else: it takes seconds at most. Answered
    /// by [`Input::Solved`].
    Solve {
        /// Which one.
        puzzle: Puzzle,
    },
    /// The guards are others now: to be kept for the next start.
    Guards(GuardList),
    /// How hops and guards are has changed: to be kept for a start in the next minutes.
    Health(Health),
    /// Hop keys were read: to be kept for the next start.
    HopKeys(HopKeyList),
    /// A command has come to its end.
    Done {
        /// Which one.
        id: u64,
        /// What came of it.
        result: Result<Answer, Error>,
    },
    /// A command has done a part.
    Progress {
        /// Which one.
        id: u64,
        /// Items done.
        done: usize,
        /// Items in all.
        of: usize,
    },
    /// A subscription is live; every item from before and after will be pushed.
    Live {
        /// The command.
        id: u64,
        /// The node that pushes.
        node: NodeId,
    },
    /// A subscription is not live any more; another node will be found.
    Lost {
        /// The command.
        id: u64,
    },
    /// New items of a watched inbox; never twice. [`Client::reader`] has the place behind them.
    Arrived {
        /// The inbox.
        address: InboxAddress,
        /// They, which are what their ids say.
        items: Vec<Item>,
    },
    /// A new item of a subscription; never twice.
    Pushed {
        /// The command.
        id: u64,
        /// The inbox.
        address: InboxAddress,
        /// The node that it came from.
        node: NodeId,
        /// The store that counted its arrival.
        incarnation: u64,
        /// The item, which is what its id says.
        item: Item,
    },
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Commands begun.
    pub commands: u64,
    /// Commands that were answered.
    pub answered: u64,
    /// Commands that came to nothing.
    pub failed: u64,
    /// Requests sent.
    pub requests: u64,
    /// Replies that nobody waited for any more.
    pub late: u64,
    /// Times that a second node was asked because the first one took its time.
    pub hedges: u64,
    /// Times that a node was left for another one.
    pub failovers: u64,
    /// Tries that nothing came of in time.
    pub timeouts: u64,
    /// Requests signed again because of the clock, the keys or a used signature.
    pub resigned: u64,
    /// Waits that nodes asked for.
    pub rate_limited: u64,
    /// Times that another swarm than the expected one was asked.
    pub redirects: u64,
    /// Answers that no honest node gives.
    pub lies: u64,
    /// Items pushed and reported.
    pub pushed: u64,
    /// Items pushed or read again, and not reported again.
    pub duplicates: u64,
}

/// A person or bot as one machine.
pub struct Client {
    config: Config,
    network: Network,
    /// What the network said and nobody has heard yet.
    news: VecDeque<session_network::Effect>,
    nodes: Nodes,
    puzzles: Puzzles,
    auditor: Auditor,
    tasks: BTreeMap<TaskId, Task>,
    /// Requests that are out: whose, and which leg.
    requests: BTreeMap<u64, (TaskId, usize)>,
    requests_made: u64,
    subscriptions: BTreeMap<u64, Subscription>,
    watch: Watch,
    /// Where requests travel over hops.
    routes: Option<Routes>,
    stats: Stats,
}

impl Client {
    /// Makes a client that is connected to nobody yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let (keys, membership) = (Arc::clone(&config.keys), Arc::clone(&config.membership));
        let overlay = session_network::Config::new(session_network::Role::Client, keys, membership);
        Self {
            network: Network::new(overlay),
            news: VecDeque::new(),
            nodes: Nodes::default(),
            puzzles: Puzzles::default(),
            auditor: Auditor::new(Arc::clone(&config.membership), Arc::clone(&config.verifier)),
            tasks: BTreeMap::new(),
            requests: BTreeMap::new(),
            requests_made: 0,
            subscriptions: BTreeMap::new(),
            watch: Watch::default(),
            routes: Routes::new(config.mode, &config.kept, &*config.membership),
            stats: Stats::default(),
            config,
        }
    }

    /// Returns the address of the account's inbox.
    #[must_use]
    pub fn inbox(&self) -> Option<InboxAddress> {
        let account = self.config.account.as_ref()?;
        Some(AccessRule::from(account.public().account_id()).address())
    }

    /// Returns the overlay, for its counters and latencies.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Returns the counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Returns how requests travel, where they go over hops. For the owner's eyes: it names paths.
    #[must_use]
    pub fn paths(&self, now: Time) -> Option<PathReport> {
        self.routes.as_ref().map(|routes| routes.report(now))
    }

    /// Returns how often a node was caught at what no honest node does.
    #[must_use]
    pub fn lies(&self, node: &NodeId) -> u32 {
        self.nodes.lies(node)
    }

    /// Returns how many requests wait for their answers.
    #[must_use]
    pub fn requests_out(&self) -> usize {
        self.requests.len()
    }

    /// Returns how many commands are running.
    #[must_use]
    pub fn running(&self) -> usize {
        let commands = self.tasks.keys().filter(|id| matches!(id, TaskId::Command(_)));
        commands.count() + self.subscriptions.len()
    }

    // Runs the overlay: what is for the shell goes there at once, what is for us is queued.
    fn overlay<T>(
        &mut self,
        cx: &mut Cx<'_>,
        run: impl FnOnce(&mut Network, &mut Context<'_, (), session_network::Effect>) -> T,
    ) -> T {
        use session_network::Effect as Overlay;
        let mut effects = Vec::new();
        let value = run(&mut self.network, &mut cx.lend(&mut effects));
        for effect in effects {
            match effect {
                Overlay::Send { conn, class, frame } => {
                    cx.effects.push(Effect::Send { conn, class, frame });
                }
                Overlay::Dial { dial, address, key } => {
                    cx.effects.push(Effect::Dial { dial, address, key });
                }
                Overlay::Close { conn, why } => cx.effects.push(Effect::Close { conn, why }),
                news => self.news.push_back(news),
            }
        }
        value
    }

    // Hears the news and starts what is ready, until neither is left.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        loop {
            while let Some(news) = self.news.pop_front() {
                self.hear(cx, news);
            }
            if !self.start_ready(cx) && self.news.is_empty() {
                return;
            }
        }
    }

    fn hear(&mut self, cx: &mut Cx<'_>, news: session_network::Effect) {
        use session_network::Effect as Overlay;
        match news {
            Overlay::PeerUp { node, .. } if self.routes.is_some() => self.link_up(cx, node),
            Overlay::PeerDown { node } | Overlay::Unreachable { node, .. }
                if self.routes.is_some() =>
            {
                self.link_down(cx, node);
            }
            Overlay::PeerUp { node, .. } => {
                self.nodes.came_up(node, cx.now);
                self.ask_waiting(cx, node);
            }
            Overlay::PeerDown { node } => {
                self.nodes.went_down(node);
                self.gone(cx, node, "the connection was lost");
            }
            Overlay::Unreachable { node, why } => {
                self.nodes.heard(node);
                self.gone(cx, node, &why);
            }
            Overlay::Message { from: From::Node(node), message } => match message {
                Inbound::Reply(reply) => self.replied(cx, node, reply),
                Inbound::Push(push) => self.pushed(cx, node, push),
                Inbound::Onion(onion) => self.came_back(cx, node, onion),
                _ => {}
            },
            // Nobody connects to a client, and penalties are followed by the end of the link.
            _ => {}
        }
    }

    // The overlay would go on dialling; whoever needs the node asks for it again.
    fn gone(&mut self, cx: &mut Cx<'_>, node: NodeId, why: &str) {
        self.lost(cx, node, why);
        self.forget(cx, node);
    }

    fn forget(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        let input = session_network::Input::Forget { node };
        self.overlay(cx, |network, cx| network.handle(cx, input));
    }

    fn send(
        &mut self,
        cx: &mut Cx<'_>,
        node: NodeId,
        class: Class,
        request: &session_protocol::request::Request,
    ) -> bool {
        self.nodes.used(node, cx.now);
        self.overlay(cx, |network, cx| {
            network.send_to(cx, From::Node(node), class, Kind::Request, request)
        })
    }

    fn next_request(&mut self) -> u64 {
        self.requests_made += 1;
        self.requests_made
    }

    fn is_in_use(&self, node: &NodeId) -> bool {
        match &self.routes {
            Some(routes) => routes.is_used(node),
            None => self.is_asked(node),
        }
    }

    // A node that pushes is in use, however quiet it is.
    fn close_idle(&mut self, cx: &mut Cx<'_>) {
        for node in self.nodes.idle_since(cx.now - self.config.limits.idle_time) {
            let in_use = self.subscriptions.values().any(|sub| sub.live() == Some(node))
                || self.watch.listens_to(&node)
                || self.is_in_use(&node);
            if in_use {
                self.nodes.used(node, cx.now);
            } else {
                self.forget(cx, node);
            }
        }
    }
}

impl Machine for Client {
    type Store = ();
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Network(input) => self.overlay(cx, |network, cx| network.handle(cx, input)),
            Input::Command { id, command } => self.begin(cx, id, command),
            Input::Cancel { id } => self.cancel(cx, id),
            Input::Watch { sources } => self.watch(cx, sources),
            Input::ReadWatched => self.watch.read_all(cx.now),
            Input::Solved { puzzle, solution } => self.puzzle_solved(&puzzle, solution, cx.now),
            Input::Membership(members) => {
                self.config.membership = Arc::clone(&members);
                self.auditor.set_membership(Arc::clone(&members));
                if let Some(routes) = &mut self.routes {
                    routes.set_membership(&*members);
                }
                let input = session_network::Input::Membership(members);
                self.overlay(cx, |network, cx| network.handle(cx, input));
            }
        }
        self.watch_due(cx);
        self.settle(cx);
        self.keep(cx);
        self.look_ahead(cx.now);
    }

    fn deadline(&self) -> Option<Time> {
        let tasks = self.tasks.values().map(Task::deadline);
        let subscriptions = self.subscriptions.values().map(Subscription::deadline);
        // One past the last idle moment: `idle_since` asks for strictly earlier ones.
        let patience = self.config.limits.idle_time + Span::from_millis(1);
        let idle = self.nodes.idlest().map(|last_used| last_used + patience);
        let routes = self.routes.as_ref().and_then(Routes::deadline);
        let others =
            [self.nodes.next_owed(), self.watch.deadline(), self.network.deadline(), routes];
        tasks.chain(subscriptions).chain(idle).chain(others.into_iter().flatten()).min()
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        if self.network.deadline().is_some_and(|due| due <= cx.now) {
            self.overlay(cx, |network, cx| network.tick(cx));
        }
        self.settle(cx);
        self.tasks_due(cx);
        self.subscriptions_due(cx);
        self.watch_due(cx);
        self.routes_due(cx);
        self.resend_due(cx);
        self.close_idle(cx);
        self.settle(cx);
        // Last, because a node that is lost may leave another one alone for too long already.
        self.hedge(cx);
        self.settle(cx);
        self.keep(cx);
        self.look_ahead(cx.now);
    }
}
