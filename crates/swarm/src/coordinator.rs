//! The duties of one node in an epoch: beacon, attestation, probes, storage commitment, audits,
//! votes.
//!
//! What it is: one pure machine, [`Coordinator`], that is shown snapshots of the chain
//! ([`Input::View`]), speaks with other nodes in [`Duty`] messages and posts
//! transactions ([`Effect::Submit`]). What is due follows from the snapshot, the time and the
//! store, so a restart forgets nothing that matters; whatever the chain does not show yet is posted
//! again.
//!
//! What it does not do: it follows no chain, signs no transaction, and opens no connection. It asks
//! for connections ([`Effect::Connect`]) and gives them back.
//!
//! | module | holds |
//! |---|---|
//! | `scene` | the view, the time, and the times that follow from both |
//! | `desk` | connections that are wanted, transactions that are under way |
//! | `beacon` | dealing, shares, reveal of the beacon of the next epoch |
//! | `attest` | votes on the beacon of this one, and certificates |
//! | `visit` | asking one node something at a secret time, and again |
//! | `probe` | whether others are there |
//! | `commit` | what this node says it keeps, and showing it |
//! | `audit` | whether mates keep what they said; answering their audits |
//! | `promise` | receipts of mates, to ask about |
//! | `vote` | the ballot |
//! | `accuse` | accusations under way |
//! | `refute` | answers to accusations |
//! | `note` | what it tells to people: [`Note`], [`Status`] |
//! | `lie` | what a node that lies does |

use std::sync::Arc;

use session_core::{Context, Epoch, Machine, NodeId, Time};
use session_crypto::{Signer, Verifier};
use session_protocol::attestation::QuorumCertificate;
use session_protocol::chain::Action;
use session_protocol::chain::view::ChainView;
use session_protocol::duty::Duty;
use session_protocol::evidence::Evidence;
use session_protocol::roster::Target;
use session_storage::Store;

use accuse::Accusations;
use attest::Attest;
use audit::{Audits, Shows};
use beacon::Beacon;
use commit::Commit;
use desk::{Desk, Post};
use probe::Probes;
use promise::Promises;
use refute::Refutes;
use scene::{Alarm, Scene};

mod accuse;
mod attest;
mod audit;
mod beacon;
mod commit;
mod desk;
mod lie;
mod note;
mod probe;
mod promise;
mod refute;
mod scene;
mod visit;
mod vote;

pub use commit::scan;
pub use lie::Lie;
pub use note::{Done, Fault, Note, Status, Verdict};
pub use promise::Promise;

/// What a coordinator is made for.
#[derive(Clone)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// Its keys.
    pub keys: Arc<dyn Signer>,
    /// Checks what others signed.
    pub verifier: Arc<dyn Verifier>,
    /// One-time secrets that it registers at a time, one for each epoch.
    pub one_time_secrets: u32,
    /// Told to whoever probes this node.
    pub version: String,
    /// How it lies, in demonstrations and simulations; honest nodes have none.
    pub lie: Option<Lie>,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A block was accepted.
    View(Arc<ChainView>),
    /// Another node spoke of duties.
    FromPeer {
        /// Who, known from the connection.
        node: NodeId,
        /// What it said.
        duty: Box<Duty>,
    },
    /// A node can be reached: every connection is reported, whoever wanted it.
    PeerUp {
        /// Which.
        node: NodeId,
    },
    /// A node can no longer be reached.
    PeerDown {
        /// Which.
        node: NodeId,
    },
    /// A connection that was wanted did not come about.
    Unreachable {
        /// To whom.
        node: NodeId,
    },
    /// The room that the store has left. Until it is told, a node says that it has none.
    FreeBytes(u64),
    /// Whether all that the swarm acknowledged is in the store. Until it is told so, a node commits
    /// to nothing.
    Complete(bool),
    /// A receipt that a mate signed for an item which it took from here.
    Promised {
        /// The receipt.
        promise: Box<Promise>,
    },
    /// Answers [`Effect::FetchCommitment`].
    CommitmentTx {
        /// Who committed.
        node: NodeId,
        /// In which epoch.
        epoch: Epoch,
        /// The signed transaction of the last commitment that counts, as it is in its block.
        bytes: Vec<u8>,
    },
}

/// What the shell is to do once the transaction is committed.
#[derive(Debug)]
pub enum Effect {
    /// Send a message to a node; if it is not connected, drop it.
    Send {
        /// To whom.
        node: NodeId,
        /// Whether it may wait behind what clients wait for.
        bulk: bool,
        /// The message.
        duty: Duty,
    },
    /// Keep a connection to a node; answered by [`Input::PeerUp`] or [`Input::Unreachable`], unless
    /// it is up already.
    Connect {
        /// To whom.
        node: NodeId,
    },
    /// The connection is no longer needed here.
    Forget {
        /// To whom.
        node: NodeId,
    },
    /// Post a transaction of the node's account. If it does not get into the chain, the coordinator
    /// asks again.
    Submit {
        /// What it does.
        action: Action,
    },
    /// Compare all that the swarm keeps with these mates now.
    Compare {
        /// The mates.
        nodes: Vec<NodeId>,
    },
    /// Post an accusation, which is worth keeping until it is in the chain.
    Accuse {
        /// What shows it.
        evidence: Box<Evidence>,
    },
    /// A beacon has its certificate.
    Certified {
        /// It.
        certificate: Box<QuorumCertificate>,
    },
    /// Look up the signed transaction of a node's storage commitment of an epoch, and answer with
    /// [`Input::CommitmentTx`]; without an answer the coordinator gives up.
    FetchCommitment {
        /// Who committed.
        node: NodeId,
        /// In which epoch.
        epoch: Epoch,
    },
    /// Tell people.
    Note(Note),
}

/// The context of every call.
pub(crate) type Cx<'a> = Context<'a, dyn Store, Effect>;

/// One node's duties.
pub struct Coordinator {
    config: Config,
    view: Option<Arc<ChainView>>,
    free_bytes: u64,
    /// Whether anybody was heard in this epoch: who hears nobody judges nobody.
    heard: bool,
    examined_before: Vec<(Target, Verdict)>,
    drain: Drain,
    desk: Desk,
    beacon: Beacon,
    attest: Attest,
    probes: Probes,
    commit: Commit,
    audits: Audits,
    shows: Shows,
    promises: Promises,
    accusations: Accusations,
    refutes: Refutes,
    vote_wake: Option<Time>,
}

/// How often it is announced that the node is away or back: the chain may refuse.
const DRAIN_TIMES: u8 = 8;

/// What is being announced of being away.
#[derive(Clone, Copy, Debug, Default)]
struct Drain {
    wanted: Option<u8>,
    posted: u8,
    wake: Option<Time>,
}

impl Coordinator {
    /// Makes the machine of a node; it does nothing before the first view of the chain.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            view: None,
            free_bytes: 0,
            heard: false,
            examined_before: Vec::new(),
            drain: Drain::default(),
            desk: Desk::default(),
            beacon: Beacon::default(),
            attest: Attest::default(),
            probes: Probes::default(),
            commit: Commit::default(),
            audits: Audits::default(),
            shows: Shows::default(),
            promises: Promises::default(),
            accusations: Accusations::default(),
            refutes: Refutes::default(),
            vote_wake: None,
        }
    }

    /// Announces that the node will be away for up to so many epochs, or is back (0); the
    /// announcement is posted until the chain shows it.
    pub fn drain(&mut self, cx: &mut Cx<'_>, epochs: u8) {
        self.drain = Drain { wanted: Some(epochs), ..Drain::default() };
        self.desk.renew(Post::Drain);
        self.drive(cx);
    }

    /// Returns the certificate of an epoch's beacon, if it is one of the last few.
    #[must_use]
    pub fn certificate(&self, epoch: Epoch) -> Option<&QuorumCertificate> {
        self.attest.certificate(epoch)
    }

    /// Returns how the machine is.
    #[must_use]
    pub fn status(&self) -> Status {
        let Some(view) = &self.view else { return Status::default() };
        let scene = Scene::new(&self.config, view, view.time);
        let me = scene.me();
        let mut done = Done {
            committed: self.commit.is_posted(&scene),
            voted: view.voted.contains(&me),
            ..Done::default()
        };
        self.beacon.done(&scene, &mut done);
        Status {
            epoch: Some(scene.epoch()),
            phase: Some(scene.schedule().phase(view.time)),
            height: view.height,
            seated: view.seats.contains_key(&me),
            dealer: view.beacon.dealers.contains(&me),
            done,
            shares: self.beacon.shares(),
            examined: vote::verdicts(&scene, &self.probes, &self.audits, self.heard),
            examined_before: self.examined_before.clone(),
            certified: self.attest.last(),
            deviant: view.commitments.get(&me).map_or(0, |of| of.deviant),
        }
    }

    fn viewed(&mut self, cx: &mut Cx<'_>, view: Arc<ChainView>) {
        let before = self.view.as_ref().map(|view| view.epoch.number);
        let turns = before != Some(view.epoch.number);
        if turns {
            if let Some(last) = &self.view {
                let scene = Scene::new(&self.config, last, cx.now);
                self.examined_before =
                    vote::verdicts(&scene, &self.probes, &self.audits, self.heard);
            }
            self.heard = false;
            self.desk.turn();
            let epoch = view.epoch.number;
            cx.effects.push(Effect::Note(Note::EpochBegan { epoch }));
        }
        self.view = Some(view);
        self.drive(cx);
    }

    /// Does all that is due.
    fn drive(&mut self, cx: &mut Cx<'_>) {
        let Some(view) = self.view.clone() else { return };
        let scene = Scene::new(&self.config, &view, cx.now);
        if !scene.is_current() {
            return self.rest();
        }
        let desk = &mut self.desk;
        self.drain.drive(cx, &scene, desk);
        self.beacon.drive(cx, &scene, desk);
        self.attest.drive(cx, &scene, desk);
        self.probes.drive(cx, &scene, desk);
        self.commit.drive(cx, &scene, desk);
        self.audits.begin(cx, &scene, desk, &mut self.commit);
        self.audits.drive(cx, &scene, desk);
        self.shows.drive(cx, &scene, desk, &mut self.commit);
        let examined = (&self.probes, &self.audits);
        self.vote_wake = vote::drive(cx, &scene, desk, examined, self.heard);
        self.accusations.drive(cx, &scene);
        self.refutes.drive(cx, &scene);
        self.attest.meet_all(cx, &scene, desk, &mut self.probes.visited);
    }

    /// Waits for the chain, whose last block is of an epoch that is over.
    const fn rest(&mut self) {
        self.drain.wake = None;
        self.beacon.wake = None;
        self.attest.wake = None;
        self.probes.wake = None;
        self.commit.wake = None;
        self.audits.wake = None;
        self.shows.wake = None;
        self.vote_wake = None;
        self.accusations.wake = None;
        self.refutes.wake = None;
    }

    fn lost(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        let Some(view) = self.view.clone() else { return };
        let scene = Scene::new(&self.config, &view, cx.now);
        self.probes.lost(cx, &scene, &mut self.desk, node);
        self.audits.lost(cx, &scene, &mut self.desk, node);
        self.drive(cx);
    }

    fn heard(&mut self, cx: &mut Cx<'_>, node: NodeId, duty: Duty) {
        self.heard = true;
        let Some(view) = self.view.clone() else { return };
        let scene = Scene::new(&self.config, &view, cx.now);
        let desk = &mut self.desk;
        match duty {
            Duty::Share { epoch, share } => {
                self.beacon.share_came(cx, &scene, node, epoch, share);
                self.beacon.drive(cx, &scene, desk);
            }
            Duty::WantShare { epoch } => {
                self.beacon.share_wanted(cx, &scene, desk, node, epoch);
            }
            Duty::Probe { epoch, nonce } => {
                probe::alive(cx, &scene, desk, node, (epoch, nonce), self.free_bytes);
                self.attest.meet(cx, &scene, desk, node);
            }
            Duty::Alive { epoch, nonce, time, free_bytes, .. } if epoch == scene.epoch() => {
                let answer = probe::Answer { nonce, time, free_bytes };
                self.probes.answered(cx, &scene, desk, node, answer);
                self.attest.meet_all(cx, &scene, desk, &mut self.probes.visited);
            }
            Duty::Audit { epoch, leaves } => {
                let asked = (epoch, &*leaves);
                self.shows.asked(cx, &scene, (desk, &mut self.commit), node, asked);
            }
            Duty::WantCertificate { epoch } => {
                self.attest.wanted(cx, &scene, desk, node, epoch);
            }
            Duty::Opened { answer } => self.audits.opened(cx, &scene, desk, node, &answer),
            Duty::Voted { vote } => {
                self.attest.voted(cx, &scene, desk, &mut self.accusations, node, *vote);
            }
            Duty::Certified { certificate } => {
                self.attest.certified(cx, &scene, desk, node, *certificate);
            }
            Duty::Holds { epoch, leaf } => {
                let asked = (epoch, leaf);
                self.shows.holds(cx, &scene, (desk, &mut self.commit), node, asked);
            }
            Duty::Absent { epoch, leaf, absence } => {
                self.audits.absent(cx, &scene, desk, node, (epoch, leaf), absence);
            }
            Duty::Alive { .. } | Duty::Taken { .. } => {}
        }
    }
}

impl Drain {
    fn drive(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk) {
        let mut alarm = Alarm::new(scene.now);
        if let (Some(epochs), Some(seat)) = (self.wanted, scene.view.seats.get(&scene.me())) {
            // Who is away already may want to be so for longer: that is said once at least.
            let is_shown = self.posted > 0 && seat.draining == (epochs > 0);
            if is_shown || self.posted >= DRAIN_TIMES {
                self.wanted = None;
            } else {
                let posted = &mut self.posted;
                desk.offer(cx, scene, &mut alarm, Post::Drain, || {
                    *posted += 1;
                    Action::Drain { epochs }
                });
            }
        }
        self.wake = alarm.next();
    }
}

impl Machine for Coordinator {
    type Store = dyn Store;
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::View(view) => self.viewed(cx, view),
            Input::FromPeer { node, duty } => self.heard(cx, node, *duty),
            Input::PeerUp { node } => {
                self.desk.peer_up(node);
                if let Some(view) = self.view.clone() {
                    let scene = Scene::new(&self.config, &view, cx.now);
                    self.attest.peer_up(cx, &scene, &self.desk, node);
                }
                self.drive(cx);
            }
            Input::PeerDown { node } => {
                self.desk.peer_down(&node);
                self.lost(cx, node);
            }
            Input::Unreachable { node } => self.lost(cx, node),
            Input::FreeBytes(bytes) => self.free_bytes = bytes,
            Input::Complete(is_complete) => {
                self.commit.is_complete = is_complete;
                self.drive(cx);
            }
            Input::Promised { promise } => {
                let Some(view) = self.view.clone() else { return };
                let scene = Scene::new(&self.config, &view, cx.now);
                self.promises.came(cx, &scene, &promise);
            }
            Input::CommitmentTx { node, epoch, bytes } => {
                let Some(view) = self.view.clone() else { return };
                let scene = Scene::new(&self.config, &view, cx.now);
                let (audits, accusations) = (&mut self.audits, &mut self.accusations);
                audits.looked_up(cx, &scene, accusations, (node, epoch), bytes);
            }
        }
    }

    fn deadline(&self) -> Option<Time> {
        let wakes = [
            self.drain.wake,
            self.beacon.wake,
            self.attest.wake,
            self.probes.wake,
            self.commit.wake,
            self.audits.wake,
            self.shows.wake,
            self.vote_wake,
            self.accusations.wake,
            self.refutes.wake,
        ];
        wakes.into_iter().flatten().min()
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        self.drive(cx);
    }
}

#[cfg(test)]
mod tests;
