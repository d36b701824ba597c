//! The whole story by itself: messages and files both ways, three nodes killed in the middle,
//! everything received and checked, the nodes restarted and repaired; LUX sent, and the chain's
//! sequencer killed in between; an epoch's beacon certified, and a node that lies caught.

mod duties;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use session_client::{Command, Inbox, InboxReader};
use session_core::{Entropy, SeededEntropy, Span};
use session_crypto::Identity;
use session_messaging::attachment::Manifest;
use session_messaging::content::Content;
use session_protocol::chain::Amount;
use session_protocol::inbox::{ATTACHMENTS, MESSAGES};
use tokio::time::Instant;

use crate::args::Common;
use crate::chain::{network, order};
use crate::cluster::Cluster;
use crate::exit::{Doing, Failure, Result};
use crate::home::Home;
use crate::local_chain::STAKE;
use crate::out::Out;
use crate::person::Person;
use crate::{transfer, up};

/// Messages that each of the two sends before and again after the nodes die.
const MESSAGES_EACH: usize = 10;

/// Bytes of the file that each sends.
const FILE_BYTES: usize = 3 * 1024 * 1024 + 1234;

/// The nodes that die: a swarm of ten loses nothing while at most three are gone.
const VICTIMS_MAX: usize = 3;

/// How long the restarted nodes may take to have everything again.
const REPAIR_TIMEOUT: Duration = Duration::from_secs(60);

const TTL: Span = Span::from_days(1);

/// The epochs of the demonstration: some turn while it runs.
pub(crate) const EPOCH: Span = Span::from_secs(5);

/// What alice and bob are given.
const GIFT: Amount = Amount::lux(25);

/// How long a transfer may take to be in a block.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(15);

/// Prints each step with its time.
struct Teller {
    out: Out,
    step: usize,
    last: Instant,
    started: Instant,
}

impl Teller {
    fn new(out: Out) -> Self {
        let now = Instant::now();
        Self { out, step: 0, last: now, started: now }
    }

    fn step(&mut self, what: &str) {
        self.step += 1;
        let took = self.last.elapsed();
        self.last = Instant::now();
        let step = self.step;
        self.out.result(
            || format!("{step:>2}. {what}  ({:.2} s)", took.as_secs_f64()),
            || {
                let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                json!({ "step": step, "what": what, "ms": ms })
            },
        );
    }
}

/// One of the two, and what arrived.
struct Actor {
    name: &'static str,
    person: Person,
    home: Home,
    folder: PathBuf,
    reader: InboxReader,
    texts: Vec<String>,
    manifests: Vec<Manifest>,
}

impl Actor {
    fn new(name: &'static str, dir: &Path, cluster: &Cluster) -> Result<Self> {
        let folder = dir.join(name);
        let home = Home::find(&Common {
            home: Some(folder.clone()),
            network: Some(cluster.network_file()),
            json: false,
            passphrase_file: None,
            profile: None,
            mode: up::mode(cluster),
            read_receipts: false,
        })?;
        let identity = Identity::generate(&mut crate::person::entropy()?);
        home.save_identity(&identity, true, true)?;
        let person = Person::of(&home, identity, cluster.members()?)?;
        let reader = InboxReader::new();
        Ok(Self { name, person, home, folder, reader, texts: Vec::new(), manifests: Vec::new() })
    }

    fn way(&self) -> Result<String> {
        Ok(match self.home.mode()?.hops() {
            0 => "directly".to_owned(),
            hops => format!("over {hops} hops, as everything that follows"),
        })
    }

    async fn say(&self, to: &Self, text: String) -> Result<usize> {
        let keys = self.person.find(to.person.account()).await?;
        let content = Content::text(crate::person::now(), text).map_err(Failure::failed)?;
        Ok(self.person.send(&keys, &content, TTL).await?.good())
    }

    async fn say_all(&self, to: &Self, round: &str) -> Result<usize> {
        let mut fewest = usize::MAX;
        for number in 0..MESSAGES_EACH {
            fewest = fewest.min(self.say(to, text(self.name, round, number)).await?);
        }
        Ok(fewest)
    }

    async fn send_file(&self, to: &Self) -> Result<()> {
        let keys = self.person.find(to.person.account()).await?;
        let path = self.folder.join(file_name(self.name));
        std::fs::write(&path, file_bytes(self.name))
            .doing(|| format!("cannot write {}", path.display()))?;
        let bar = transfer::bar(false, "");
        transfer::send_file(&self.person, &self.home, &keys, &path, TTL, &bar).await.map(drop)
    }

    async fn receive(&mut self) -> Result<()> {
        for received in self.person.read(&mut self.reader).await? {
            let message = received.message.map_err(|error| {
                Failure::failed(format!("{} cannot open a message: {error}", self.name))
            })?;
            match message.content {
                Content::Text { body, .. } => self.texts.push(body.to_string()),
                Content::File { manifest, .. } => self.manifests.push(manifest),
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that everything that `from` sent has arrived once, and fetches the file.
    async fn check(&mut self, from: &'static str) -> Result<()> {
        let mut expected: Vec<String> = ["before", "after"]
            .iter()
            .flat_map(|round| (0..MESSAGES_EACH).map(move |number| text(from, round, number)))
            .collect();
        expected.sort_unstable();
        self.texts.sort_unstable();
        if self.texts != expected {
            return Err(Failure::failed(format!(
                "{} received {} messages, {} were sent: LOST OR REPEATED",
                self.name,
                self.texts.len(),
                expected.len()
            )));
        }
        let [manifest] = &self.manifests[..] else {
            return Err(Failure::failed(format!(
                "{} received {} files, 1 was sent",
                self.name,
                self.manifests.len()
            )));
        };
        let bar = transfer::bar(false, "");
        let path = transfer::receive_file(&self.person, manifest, &self.folder, &bar).await?;
        let bytes = std::fs::read(&path).doing(|| format!("cannot read {}", path.display()))?;
        if bytes != file_bytes(from) {
            return Err(Failure::failed(format!("{} received a damaged file", self.name)));
        }
        Ok(())
    }
}

fn text(from: &str, round: &str, number: usize) -> String {
    format!("message {number} from {from}, sent {round} the nodes died")
}

fn file_name(from: &str) -> String {
    format!("file of {from}.bin")
}

fn file_bytes(from: &str) -> Vec<u8> {
    let mut bytes = vec![0; FILE_BYTES];
    SeededEntropy::new(u64::from(from.as_bytes()[0])).fill(&mut bytes);
    bytes
}

/// Tells the story on a network that is not running yet. An error means that something was lost.
pub(crate) async fn tell(cluster: &mut Cluster, dir: &Path, out: Out) -> Result<()> {
    let mut teller = Teller::new(out);
    teller.step(&format!(
        "a chain started; {} nodes registered on it with {STAKE} LUX each, by block {}; the network \
         file written from it",
        cluster.registered(),
        cluster.chain().tip().await?.height,
    ));
    for index in 0..cluster.len() {
        cluster.start(index)?;
    }
    cluster.wait_ready().await?;
    teller.step(&format!("{} node processes started, each connected to all others", cluster.len()));

    let mut alice = Actor::new("alice", dir, cluster)?;
    let mut bob = Actor::new("bob", dir, cluster)?;
    alice.person.publish().await?;
    bob.person.publish().await?;
    teller.step(&format!(
        "two identities made, their keys published {}: alice {}…, bob {}…",
        alice.way()?,
        &alice.person.text_id()[..10],
        &bob.person.text_id()[..10]
    ));

    let fewest = alice.say_all(&bob, "before").await?.min(bob.say_all(&alice, "before").await?);
    teller.step(&format!(
        "{MESSAGES_EACH} messages each way; every one has at least {fewest} verified receipts"
    ));

    // A file is on its way while the nodes die.
    let victims = victims(cluster);
    let (sent, killed) = tokio::join!(alice.send_file(&bob), kill_soon(cluster, &victims));
    killed?;
    sent?;
    teller.step(&format!(
        "nodes {victims:?} killed with SIGKILL while alice sent {FILE_BYTES} bytes; the file is stored"
    ));

    let fewest = alice.say_all(&bob, "after").await?.min(bob.say_all(&alice, "after").await?);
    bob.send_file(&alice).await?;
    teller.step(&format!(
        "{MESSAGES_EACH} more messages each way and bob's file, with {} of {} nodes dead; at least \
         {fewest} receipts each",
        victims.len(),
        cluster.len()
    ));

    alice.receive().await?;
    bob.receive().await?;
    alice.check("bob").await?;
    bob.check("alice").await?;
    teller.step(&format!(
        "everything received and verified: {} messages and a file each, nothing lost, nothing twice",
        2 * MESSAGES_EACH
    ));

    let items = most_items(cluster).await;
    for &index in &victims {
        cluster.start(index)?;
    }
    cluster.wait_ready().await?;
    teller.step("the dead nodes restarted");
    repaired(cluster, items).await?;
    let count = honest(cluster).len();
    teller.step(&format!("repaired: each of the {count} honest nodes has all {items} items"));

    for &index in &victims {
        read_from(&alice, cluster, index, &bob).await?;
        read_from(&bob, cluster, index, &alice).await?;
    }
    teller.step("every item read again from each restarted node alone, and verified");

    chain_survives(cluster, &mut teller, [&alice, &bob]).await?;
    duties::tell(cluster, &mut teller).await?;

    let total = teller.started.elapsed();
    out.remark(&format!("\nNothing was lost. The whole story took {:.1} s.", total.as_secs_f64()));
    alice.person.agent.stop().await;
    bob.person.agent.stop().await;
    Ok(())
}

/// Sends LUX on the chain, kills its sequencer, and sends LUX again.
async fn chain_survives(
    cluster: &mut Cluster,
    teller: &mut Teller,
    [alice, bob]: [&Actor; 2],
) -> Result<()> {
    let height = give(cluster, alice).await?;
    teller.step(&format!("{GIFT} LUX transferred to alice in block {height} of the chain"));

    let before = cluster.chain().tip().await?;
    cluster.chain_mut().kill().await?;
    cluster.chain_mut().start().await?;
    let after = cluster.chain().tip().await?;
    // It may have turned an epoch meanwhile, but it forgets nothing.
    let same = after.height > before.height || after == before;
    if !same || balance(cluster, alice).await? != GIFT {
        return Err(Failure::failed(format!(
            "the chain was at height {}, and after SIGKILL at {}: LOST",
            before.height, after.height
        )));
    }
    teller.step(&format!(
        "the chain's sequencer killed with SIGKILL and restarted: at height {} as before",
        after.height
    ));

    give(cluster, bob).await?;
    let health = cluster.chain().health().await?;
    let listed = network::fetch(&cluster.chain().rpc()?).await?.nodes.len();
    // Who lied may be out already.
    let well = health.flag("healthy")? && listed >= honest(cluster).len();
    if !well || balance(cluster, bob).await? != GIFT {
        return Err(Failure::failed(format!("the chain is not well: {}", health.json())));
    }
    teller.step(&format!(
        "{GIFT} LUX transferred to bob; the chain is healthy at height {} and lists {listed} nodes",
        cluster.chain().tip().await?.height
    ));
    Ok(())
}

async fn give(cluster: &Cluster, to: &Actor) -> Result<u64> {
    let (rpc, operator) = (cluster.chain().rpc()?, cluster.chain().operator()?);
    let account = to.person.account();
    let done = order::transfer(&rpc, &operator, account, GIFT, TRANSFER_TIMEOUT).await?;
    done.accepted.map(|(height, _)| height).ok_or_else(|| Failure::failed("it is in no block"))
}

async fn balance(cluster: &Cluster, of: &Actor) -> Result<Amount> {
    let params = json!({ "account": of.person.text_id() });
    let answer = cluster.chain().rpc()?.call("GetAccount", params).await?;
    answer.inner("account")?.amount("balance")
}

/// The nodes that do not lie.
fn honest(cluster: &Cluster) -> Vec<usize> {
    (0..cluster.len()).filter(|index| cluster.lie(*index).is_none()).collect()
}

/// The last honest nodes, as many as the swarm can miss.
fn victims(cluster: &Cluster) -> Vec<usize> {
    let honest = honest(cluster);
    let missable = (honest.len() - (2 * honest.len() / 3 + 1)).min(VICTIMS_MAX);
    honest[honest.len() - missable..].to_vec()
}

async fn kill_soon(cluster: &mut Cluster, victims: &[usize]) -> Result<()> {
    tokio::time::sleep(Duration::from_millis(60)).await;
    for &index in victims {
        cluster.kill(index).await?;
    }
    Ok(())
}

async fn most_items(cluster: &Cluster) -> u64 {
    let mut most = 0;
    for index in honest(cluster) {
        most = most.max(cluster.health(index).await.map_or(0, |health| health.items));
    }
    most
}

async fn repaired(cluster: &Cluster, items: u64) -> Result<()> {
    let deadline = Instant::now() + REPAIR_TIMEOUT;
    loop {
        let mut behind = Vec::new();
        for index in honest(cluster) {
            let has = cluster.health(index).await.map_or(0, |health| health.items);
            if has < items {
                behind.push((index, has));
            }
        }
        if behind.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::failed(format!(
                "not repaired after {} s: of {items} items, (node, items): {behind:?}",
                REPAIR_TIMEOUT.as_secs()
            )));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reads the whole inbox of `reader` from one node and compares it with what is known to be there.
async fn read_from(reader: &Actor, cluster: &Cluster, index: usize, sender: &Actor) -> Result<()> {
    let node = cluster.id(index);
    let mut items = 0;
    for namespace in [MESSAGES, ATTACHMENTS] {
        let (mut cursor, mut more) = (None, true);
        while more {
            let command = Command::RetrieveFrom { from: Inbox::Own, node, namespace, cursor };
            let session_client::Answer::Pages(pages) = reader.person.run(command).await? else {
                return Err(Failure::failed("the client answered something else"));
            };
            more = false;
            for page in pages {
                items += page.items.len();
                more = page.more;
                cursor = Some(page.cursor);
            }
        }
    }
    let chunks: usize = reader.manifests.iter().map(|manifest| manifest.chunks() as usize).sum();
    let expected = 2 * MESSAGES_EACH + reader.manifests.len() + chunks;
    if items != expected {
        return Err(Failure::failed(format!(
            "node {index} has {items} of the {expected} items that {} sent to {}",
            sender.name, reader.name
        )));
    }
    Ok(())
}
