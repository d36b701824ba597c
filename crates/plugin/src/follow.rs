//! The follower: fetches sealed blocks, executes them, refuses forks; hands transactions on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use session_core::{Decode as _, Encode as _};
use session_protocol::chain::SealedBlock;
use session_runtime::files::{self, Existing};
use session_runtime::http::client::{Client, Endpoint, Options};
use session_vm::solo::{self, ForkEvidence, Taken};
use tokio::sync::watch;

use crate::engine::Engine;
use crate::http::App;

mod forward;

pub(crate) use forward::Forward;

/// How long the sequencer may hold a request for a block that is not there yet.
const WAIT: Duration = Duration::from_secs(10);
/// How long to wait after a failure before trying again.
const PAUSE: Duration = Duration::from_millis(500);
/// The evidence is for everybody.
const EVIDENCE_MODE: u32 = 0o644;
/// Longest answer: a block and its seal.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Follows until a fork, which health tells, or until this node fails, which `fault` is told.
pub(crate) async fn run(
    app: App,
    upstream: Endpoint,
    forward: Arc<Forward>,
    evidence: Option<PathBuf>,
    fault: watch::Sender<Option<String>>,
) {
    let engine = Arc::clone(app.engine());
    if let Some(path) = evidence.as_ref().filter(|path| path.exists()) {
        let why = format!(
            "FORK: seen before, the evidence is {}; remove it to follow again",
            path.display()
        );
        tracing::error!("not following: {why}");
        app.set_upstream_fault(Some(why));
        return std::future::pending().await;
    }
    engine.set_fetching(true);
    let client = client(upstream, WAIT + Duration::from_secs(5));
    tracing::info!("following {}", client.endpoint().authority());
    let mut follower =
        Follower { engine, client, evidence, met: false, fetching: true, agreed: false };
    let mut failing = false;
    loop {
        match follower.step().await {
            // That it agreed on the past says nothing of what comes next.
            Ok(Step::Agreed) => {}
            Ok(step @ (Step::Took | Step::AtTip)) => {
                app.set_upstream_fault(None);
                if std::mem::take(&mut failing) {
                    tracing::info!("following again");
                }
                if matches!(step, Step::AtTip) {
                    // What still waits here may have been forgotten there.
                    forward.again(&follower.engine);
                }
            }
            Err(Stumble::Passing(why)) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!("cannot follow: {why}; trying again");
                }
                app.set_upstream_fault(Some(why));
                tokio::time::sleep(PAUSE).await;
            }
            Err(Stumble::Final(why)) => {
                tracing::error!("stopped following: {why}");
                // Readers are still served what was verified; health says what happened.
                app.set_upstream_fault(Some(why));
                // Ending would end the program.
                return std::future::pending().await;
            }
            Err(Stumble::Ours(why)) => {
                // The program ends with it; nobody listening means that it ends already.
                let _ = fault.send(Some(why));
                return;
            }
        }
    }
}

/// What a step did.
enum Step {
    /// The sequencer has the same last block.
    Agreed,
    /// The next block was taken.
    Took,
    /// There is no next block yet.
    AtTip,
}

/// Why a step was not made.
enum Stumble {
    /// It may be made later.
    Passing(String),
    /// The sequencer contradicts itself or the rules.
    Final(String),
    /// This node failed.
    Ours(String),
}

impl From<solo::Refusal> for Stumble {
    fn from(refusal: solo::Refusal) -> Self {
        let why = refusal.to_string();
        match (refusal.is_ours(), refusal.is_final()) {
            (true, _) => Self::Ours(why),
            (false, true) => Self::Final(why),
            (false, false) => Self::Passing(why),
        }
    }
}

struct Follower {
    engine: Arc<Engine>,
    client: Client,
    /// Where two seals that contradict each other are written, so that a restart remembers them.
    evidence: Option<PathBuf>,
    /// Whether the sequencer has said that it is of this chain.
    met: bool,
    /// Whether there may be blocks of the past to fetch: then no request is held for new ones.
    fetching: bool,
    /// Whether the sequencer showed lately that it has the same last block.
    agreed: bool,
}

impl Follower {
    /// Asks for a block, and takes it.
    async fn step(&mut self) -> Result<Step, Stumble> {
        if !self.met {
            self.meet().await?;
        }
        let height = self.engine.chain().last_accepted().height;
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

    /// Asks which chain it is: two chains without blocks look alike.
    async fn meet(&mut self) -> Result<(), Stumble> {
        let at = self.client.endpoint().authority();
        let passing = |why: String| Stumble::Passing(format!("{at}: {why}"));
        let answer = self.client.get("/health").await;
        let (_, body) = answer.map_err(|error| passing(session_runtime::failure::chain(&error)))?;
        let health: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let chain = health["chainId"].as_str();
        let chain = chain.ok_or_else(|| passing("nobody there runs a chain".to_owned()))?;
        if chain != self.engine.chain_id().to_string() {
            let own = self.engine.chain_id();
            return Err(Stumble::Final(format!("{at} runs chain {chain}, this is {own}")));
        }
        self.met = true;
        Ok(())
    }

    /// Looks at what the sequencer says of the last block here: a fork shows before its next one.
    async fn agree(&mut self, height: u64) -> Result<Step, Stumble> {
        let Some(sealed) = self.fetch(height, Duration::ZERO).await? else {
            let why = format!("the sequencer does not have block {height}, which it sealed");
            return Err(Stumble::Passing(why));
        };
        self.take(sealed).await?;
        self.agreed = true;
        Ok(Step::Agreed)
    }

    async fn next(&mut self, height: u64) -> Result<Step, Stumble> {
        let wait = if self.fetching { Duration::ZERO } else { WAIT };
        if let Some(sealed) = self.fetch(height, wait).await? {
            self.take(sealed).await?;
            return Ok(Step::Took);
        }
        self.engine.set_fetching(false);
        (self.fetching, self.agreed) = (false, false);
        Ok(Step::AtTip)
    }

    async fn take(&self, sealed: SealedBlock) -> Result<(), Stumble> {
        let (engine, evidence) = (Arc::clone(&self.engine), self.evidence.clone());
        let taken = tokio::task::spawn_blocking(move || {
            let taken = take(&engine, &sealed);
            if let (Err(solo::Refusal::Fork { height, .. }), Some(path)) = (&taken, evidence) {
                keep_evidence(&engine, *height, sealed, &path);
            }
            taken
        })
        .await;
        taken.map_err(|panicked| Stumble::Ours(panicked.to_string()))?.map_err(Stumble::from)
    }

    /// Returns nothing where the sequencer has no block yet.
    async fn fetch(&self, height: u64, wait: Duration) -> Result<Option<SealedBlock>, Stumble> {
        let path = format!("/blocks/{height}?wait={}", wait.as_millis());
        let fetched = match self.client.get(&path).await {
            Ok((200, bytes)) => SealedBlock::decode_exact(&bytes)
                .map(Some)
                .map_err(|error| format!("the answer is no sealed block: {error}")),
            Ok((204, _)) => Ok(None),
            Ok((status, _)) => Err(format!("the sequencer answered {status}")),
            Err(error) => Err(session_runtime::failure::chain(&error)),
        };
        fetched.map_err(Stumble::Passing)
    }
}

fn take(engine: &Engine, sealed: &SealedBlock) -> Result<(), solo::Refusal> {
    let (id, extra) = {
        let mut chain = engine.chain();
        match solo::verify_sealed(&mut chain, sealed, engine.now(), &session_crypto::RealVerifier)?
        {
            Taken::Known => return Ok(()),
            Taken::Verified { id, extra } => (id, extra),
        }
    };
    engine.accept(&id, extra)?;
    Ok(())
}

fn keep_evidence(engine: &Engine, height: u64, theirs: SealedBlock, path: &Path) {
    let ours = solo::sealed_at(&engine.chain(), height);
    let kept = match ours {
        Ok(Some(ours)) => {
            let bytes = ForkEvidence { ours, theirs }.to_bytes();
            let kept = files::write_atomic(path, &bytes, EVIDENCE_MODE, Existing::Keep);
            kept.map_err(|error| error.to_string())
        }
        Ok(None) => Err(format!("block {height} has no seal here")),
        Err(error) => Err(error.to_string()),
    };
    match kept {
        Ok(()) => tracing::error!("the evidence of the fork is {}", path.display()),
        Err(error) => tracing::error!("the evidence of the fork is not kept: {error}"),
    }
}

fn client(upstream: Endpoint, total: Duration) -> Client {
    let body_bytes_max = ANSWER_BYTES_MAX;
    let options =
        Options { total_timeout: total, read_timeout: total, body_bytes_max, ..Options::default() };
    Client::new(upstream, options)
}
