//! Fetching blocks from several sources at once.
//!
//! Every source has a task that fetches the next block from it. The first one to bring a block
//! moves the chain on; what the others bring for the same height is compared with it, so each tip
//! is checked against all sources without asking again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use session_core::Encode as _;
use session_protocol::chain::SealedBlock;
use session_runtime::files::{self, Existing};
use session_runtime::http::client::Endpoint;
use session_vm::chain::InvalidBlock;
use session_vm::solo::{self, ForkEvidence, Refusal};
use tokio::sync::watch;

use super::publish::Publisher;
use super::source::{Source, Trouble};
use super::{Local, NotTaken};

/// How long a source may hold a request for a block that is not there yet.
const WAIT: Duration = Duration::from_secs(10);
/// How long an answer may take beside that.
const PATIENCE: Duration = Duration::from_secs(15);
/// The first pause after a failure; it doubles with each one more.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a source is left alone that served what cannot be.
const LIAR_REST: Duration = Duration::from_secs(60);
/// Two sealed blocks that contradict each other.
pub(crate) const FORK_EVIDENCE: &str = "fork.evidence";
/// Evidence is for everybody.
pub(crate) const EVIDENCE_MODE: u32 = 0o644;

/// How a source is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// `host:port`.
    pub(crate) name: String,
    /// The height of the last block that it brought or confirmed.
    pub(crate) height: u64,
    /// Why it is of no use now.
    pub(crate) fault: Option<String>,
    /// Whether it served what cannot be, and is left alone for a while.
    pub(crate) lied: bool,
}

/// The node's following of the chain.
pub(crate) struct Following {
    local: Arc<Local>,
    publisher: Publisher,
    sources: Vec<Source>,
    standings: Mutex<Vec<Standing>>,
    evidence: Option<PathBuf>,
    synced: watch::Sender<bool>,
    /// Why nothing is followed any more.
    halted: watch::Sender<Option<String>>,
    /// Why the program must end.
    fault: watch::Sender<Option<String>>,
}

impl Following {
    /// Starts a task for each source. `evidence` is the directory for what proves a fork.
    pub(crate) fn start(
        local: Arc<Local>,
        endpoints: &[Endpoint],
        data_dir: Option<PathBuf>,
    ) -> Arc<Self> {
        let evidence = data_dir.map(|dir| dir.join(FORK_EVIDENCE));
        let seen_before = evidence.as_ref().filter(|path| path.exists()).map(|path| {
            let at = path.display();
            format!("FORK: seen before, the evidence is {at}; move it away to follow again")
        });
        if let Some(why) = &seen_before {
            tracing::error!("not following the chain: {why}");
        }
        let source = |endpoint: &Endpoint| Source::new(endpoint.clone(), PATIENCE);
        let sources: Vec<Source> = endpoints.iter().map(source).collect();
        let standing = |source: &Source| Standing { name: source.name(), ..Standing::default() };
        let standings = Mutex::new(sources.iter().map(standing).collect());
        let following = Arc::new(Self {
            publisher: Publisher::new(&local),
            local,
            sources,
            standings,
            evidence,
            synced: watch::Sender::new(false),
            halted: watch::Sender::new(seen_before),
            fault: watch::Sender::new(None),
        });
        for index in 0..following.sources.len() {
            let walker = Walker::new(Arc::clone(&following), index);
            tokio::spawn(walker.walk());
        }
        following
    }

    pub(crate) fn local(&self) -> &Arc<Local> {
        &self.local
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Returns the sources that may be used now, and asks those first that have proven useful.
    pub(crate) fn useful(&self) -> Vec<&Source> {
        let standings = self.standings();
        let mut useful: Vec<(bool, &Source)> = self
            .sources
            .iter()
            .zip(&standings)
            .filter(|(_, standing)| !standing.lied)
            .map(|(source, standing)| (standing.fault.is_some(), source))
            .collect();
        useful.sort_by_key(|(faulty, _)| *faulty);
        useful.into_iter().map(|(_, source)| source).collect()
    }

    /// Returns how every source is.
    pub(crate) fn standings(&self) -> Vec<Standing> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns why nothing is followed any more, if that is so.
    pub(crate) fn halted(&self) -> Option<String> {
        self.halted.borrow().clone()
    }

    /// Returns whether the last block of a source was reached since the start.
    pub(crate) fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Waits until the last block of a source is reached, at most `limit`. Whoever waits longer has
    /// no source, or none that tells the truth.
    pub(crate) async fn sync(&self, limit: Duration) -> bool {
        let mut synced = self.synced.subscribe();
        let reached = tokio::time::timeout(limit, synced.wait_for(|synced| *synced)).await;
        reached.is_ok_and(|synced| synced.is_ok())
    }

    /// Waits until this node itself cannot go on.
    pub(crate) async fn failed(&self) -> String {
        let mut fault = self.fault.subscribe();
        match fault.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    fn set_standing(&self, index: usize, set: impl FnOnce(&mut Standing)) {
        let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        set(&mut standings[index]);
    }

    fn keep_evidence(&self, height: u64, theirs: SealedBlock) {
        let Some(path) = &self.evidence else { return };
        let kept = match solo::sealed_at(&self.local.chain(), height) {
            Ok(Some(ours)) => {
                let bytes = ForkEvidence { ours, theirs }.to_bytes();
                files::write_atomic(path, &bytes, EVIDENCE_MODE, Existing::Keep)
                    .map_err(|error| error.to_string())
            }
            Ok(None) => Err(format!("block {height} has no seal here")),
            Err(error) => Err(error.to_string()),
        };
        match kept {
            Ok(()) => tracing::error!("the evidence of the fork is {}", path.display()),
            Err(error) => tracing::error!("the evidence of the fork is not kept: {error}"),
        }
    }
}

/// What a step did.
enum Step {
    /// The source has the same last block.
    Agreed,
    /// It brought a block, or confirmed one that another brought.
    Took,
    /// There is no next block yet.
    AtTip,
}

/// Why a step was not made.
enum Stumble {
    /// It may be made later.
    Away(String),
    /// The source serves what cannot be.
    Lies(String),
    /// The sequencer contradicts itself.
    Fork { why: String, height: u64, theirs: SealedBlock },
    /// This node failed.
    Ours(String),
}

impl From<Trouble> for Stumble {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Lies(why) => Self::Lies(why),
            other => Self::Away(other.to_string()),
        }
    }
}

fn stumble(why: NotTaken, sealed: SealedBlock) -> Stumble {
    let text = why.to_string();
    match why {
        NotTaken::Other { .. } => Stumble::Lies(text),
        NotTaken::Refused(refusal) if refusal.is_ours() => Stumble::Ours(text),
        NotTaken::Refused(Refusal::Fork { height, .. }) => {
            Stumble::Fork { why: text, height, theirs: sealed }
        }
        NotTaken::Refused(Refusal::Invalid { why, .. })
            if matches!(*why, InvalidBlock::Future { .. } | InvalidBlock::TooManyUndecided) =>
        {
            Stumble::Away(text)
        }
        NotTaken::Refused(_) => Stumble::Lies(text),
    }
}

/// Goes through the chain with one source.
struct Walker {
    following: Arc<Following>,
    index: usize,
    /// Whether the source has said that it is of this chain.
    met: bool,
    /// Whether there may be blocks of the past to fetch: then no request is held for new ones.
    fetching: bool,
    /// Whether the source showed lately that it has the same last block.
    agreed: bool,
}

impl Walker {
    fn new(following: Arc<Following>, index: usize) -> Self {
        Self { following, index, met: false, fetching: true, agreed: false }
    }

    fn source(&self) -> &Source {
        &self.following.sources[self.index]
    }

    /// Follows until something final happens.
    async fn walk(mut self) {
        let mut pause = PAUSE;
        let name = self.source().name();
        let mut halted = self.following.halted.subscribe();
        loop {
            let step = tokio::select! {
                biased;
                // The sender lives as long as `self`.
                _ = halted.wait_for(Option::is_some) => return,
                step = self.step() => step,
            };
            match step {
                // That it agreed on the past says nothing of what comes next.
                Ok(Step::Agreed) => {}
                Ok(Step::Took | Step::AtTip) => {
                    pause = PAUSE;
                    self.good(&name);
                }
                Err(Stumble::Away(why)) => {
                    self.bad(&name, why);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(Stumble::Lies(why)) => {
                    let rest = LIAR_REST.as_secs();
                    tracing::error!("the source {name} is not used for {rest} s: {why}");
                    self.following.set_standing(self.index, |standing| {
                        (standing.fault, standing.lied) = (Some(why), true);
                    });
                    tokio::time::sleep(LIAR_REST).await;
                    self.following.set_standing(self.index, |standing| standing.lied = false);
                }
                Err(Stumble::Fork { why, height, theirs }) => {
                    tracing::error!("not following the chain any more, as {name} shows: {why}");
                    self.following.keep_evidence(height, theirs);
                    self.bad(&name, why.clone());
                    self.following.halted.send_replace(Some(why));
                    return;
                }
                Err(Stumble::Ours(why)) => {
                    self.following.fault.send_replace(Some(why));
                    return;
                }
            }
        }
    }

    fn good(&self, name: &str) {
        let height = self.following.local.chain().last_accepted().height;
        self.following.set_standing(self.index, |standing| {
            if standing.fault.take().is_some() {
                tracing::info!("following {name} again");
            }
            standing.height = height;
        });
    }

    fn bad(&self, name: &str, why: String) {
        self.following.set_standing(self.index, |standing| {
            if standing.fault.as_ref() != Some(&why) {
                tracing::warn!("cannot follow {name}: {why}; trying again");
            }
            standing.fault = Some(why);
        });
    }

    /// Asks for a block, and takes it.
    async fn step(&mut self) -> Result<Step, Stumble> {
        if !self.met {
            self.source().meet(self.following.local.id()).await?;
            self.met = true;
        }
        let height = self.following.local.chain().last_accepted().height;
        let stepped = if self.agreed || height == 0 {
            self.next(height + 1).await
        } else {
            self.agree(height).await
        };
        if stepped.is_err() {
            (self.fetching, self.agreed, self.met) = (true, false, false);
        }
        stepped
    }

    /// Looks at what the source says of the last block here: a fork shows before its next one.
    async fn agree(&mut self, height: u64) -> Result<Step, Stumble> {
        let Some(sealed) = self.source().fetch(height, Duration::ZERO).await? else {
            return Err(Stumble::Away("it is behind what this node has".to_owned()));
        };
        self.take(height, sealed).await?;
        self.agreed = true;
        Ok(Step::Agreed)
    }

    async fn next(&mut self, height: u64) -> Result<Step, Stumble> {
        let wait = if self.fetching { Duration::ZERO } else { WAIT };
        let following = Arc::clone(&self.following);
        if let Some(sealed) = self.source().fetch(height, wait).await? {
            if self.take(height, sealed).await? {
                following.publisher.publish(&following.local, self.fetching).await;
            }
            return Ok(Step::Took);
        }
        if std::mem::take(&mut self.fetching) {
            following.publisher.publish(&following.local, false).await;
            following.synced.send_replace(true);
        }
        self.agreed = false;
        Ok(Step::AtTip)
    }

    /// Returns whether the block was new.
    async fn take(&self, height: u64, sealed: SealedBlock) -> Result<bool, Stumble> {
        let local = Arc::clone(&self.following.local);
        let taken = tokio::task::spawn_blocking(move || {
            local.take(height, &sealed).map_err(|why| stumble(why, sealed))
        });
        taken.await.map_err(|panicked| Stumble::Ours(panicked.to_string()))?
    }
}
