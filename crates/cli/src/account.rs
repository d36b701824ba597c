//! `session account`: the account that converses, and its 24 words.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use session_client::{Answer, Command, Inbox};
use session_core::Entropy as _;
use session_crypto::legacy::LegacyId;
use session_crypto::{AccountRef, Identity, Phrase, RealVerifier};
use session_messaging::Secret;
use session_messaging::account::{self, Finding};
use session_messaging::messenger::api;
use session_protocol::Membership as _;
use session_protocol::chain::Action;
use session_protocol::inbox::MANIFESTS;
use session_protocol::manifest::SignedManifest;
use session_protocol::request::Item;
use session_runtime::http::client::Endpoint;
use session_sdk::{NewAccount, Options, Session};
use session_vm::records::Manifests;
use zeroize::Zeroizing;

use crate::anchored::{self, Anchored};
use crate::args::Account;
use crate::chain::order;
use crate::chain::rpc::Rpc;
use crate::exit::{Failure, Result};
use crate::home::{self, Home};
use crate::out::{self, Out};
use crate::{contact, desk, local_chain, person};

/// Twenty-four words and what may stand between them.
const PHRASE_BYTES_MAX: u64 = 4096;

/// How long an anchor may take to be in a block.
const ANCHOR_PATIENCE: Duration = Duration::from_secs(60);

/// How many nodes are asked for what is published: more than one could keep something back.
const NODES_READ: usize = 3;

pub(crate) async fn run(home: &Home, out: Out, command: &Account) -> Result<()> {
    match command {
        Account::New { device, plain } => new(home, out, device, *plain).await,
        Account::Show => show(home, out),
        Account::Restore { device, plain } => restore(home, out, device, *plain).await,
        Account::Audit => audit(home, out).await,
        Account::Anchor { url } => anchor(home, out, url.as_ref()).await,
        Account::Link05 { file } => link05(home, out, file).await,
        Account::Words { show } => words(home, out, *show),
    }
}

async fn new(home: &Home, out: Out, device: &str, plain: bool) -> Result<()> {
    let seed = Zeroizing::new(person::entropy()?.bytes32());
    let phrase = Phrase::from_seed(&seed);
    let account =
        NewAccount::Phrase { phrase: phrase.clone(), device: device.to_owned(), restored: false };
    let session = make(home, account, plain).await?;
    let id = AccountRef(session.account()).to_string();
    publish(home, &session, out).await;
    session.stop().await;
    out.result(
        || {
            format!(
                "{id}\nnew account in {}; give the line above to others.\n\n{}\n\n\
                 Write these 24 words on paper, in this order, and keep them where nobody looks.\n\
                 They make the account again when this device is lost ('session account restore'),\n\
                 and whoever has them is you. They are not shown again unless you ask for them.",
                home.dir().display(),
                table(&phrase)
            )
        },
        || json!({ "id": id, "home": home.dir(), "words": phrase.words() }),
    );
    Ok(())
}

async fn restore(home: &Home, out: Out, device: &str, plain: bool) -> Result<()> {
    let text = read_words()?;
    let phrase: Phrase = text.parse().map_err(Failure::usage)?;
    let account = NewAccount::Phrase { phrase, device: device.to_owned(), restored: true };
    let session = make(home, account, plain).await?;
    let id = AccountRef(session.account()).to_string();
    publish(home, &session, out).await;
    session.stop().await;
    out.result(
        || {
            format!(
                "{id}\nrestored in {}. Messages are not in the words: 'session backup import' brings \
                 them back from a backup. Other devices of the account are added again with \
                 'session device request' on them.",
                home.dir().display()
            )
        },
        || json!({ "id": id, "home": home.dir() }),
    );
    Ok(())
}

/// Makes an account, or a device of one, where there is none yet.
pub(crate) async fn make(home: &Home, account: NewAccount, plain: bool) -> Result<Session> {
    if Session::exists(home.dir()) {
        return Err(Failure::usage(format!(
            "there is an account in {} already: use another --home, or 'session profile new NAME'",
            home.dir().display()
        )));
    }
    let passphrase = if plain { None } else { Some(Zeroizing::new(home.new_passphrase()?)) };
    let read_receipts = home.read_receipts();
    desk::open_with(home, Options { passphrase, create: Some(account), read_receipts }).await
}

/// Publishes what others need to write first; without it they cannot, yet.
async fn publish(home: &Home, session: &Session, out: Out) {
    let patience = person::PUBLISH_PATIENCE + home.slack(person::PUBLISH_TRIPS);
    match tokio::time::timeout(patience, session.sync_until_idle()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => out.warn(&format!("not published, nobody can write to you yet: {error}")),
        Err(_) => out.warn("the network does not answer: nobody can write to you before it has"),
    }
}

/// Returns the words in four columns, with their numbers.
fn table(phrase: &Phrase) -> String {
    let words = phrase.words();
    let rows = words.len() / 4;
    let row = |row: usize| {
        let cells = (0..4).map(|column| {
            let at = column * rows + row;
            format!("{:>2} {:<10}", at + 1, words[at])
        });
        format!("  {}", cells.collect::<String>().trim_end())
    };
    (0..rows).map(row).collect::<Vec<_>>().join("\n")
}

// Never from the command line: other programs of the machine see that, and the shell remembers it.
fn read_words() -> Result<Zeroizing<String>> {
    if std::io::stdin().is_terminal() {
        let typed = rpassword::prompt_password("the 24 words (not shown): ");
        return typed.map(Zeroizing::new).map_err(Failure::usage);
    }
    let mut text = Zeroizing::new(String::new());
    let mut input = std::io::stdin().lock().take(PHRASE_BYTES_MAX);
    input
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage(format!("standard input: {error}")))?;
    Ok(text)
}

fn show(home: &Home, out: Out) -> Result<()> {
    let vault = desk::open_vault(home)?;
    let own =
        account::account(&vault).ok_or_else(|| Failure::not_found("no account is made yet"))?;
    let known = account::known(&vault, &own);
    let digest = known.as_ref().map(|it| it.digest().to_string());
    let manifest = known.map(|it| it.manifest);
    let legacy = manifest.as_ref().and_then(contact::legacy);
    let devices = account::devices(&vault);
    let id = AccountRef(own).to_string();
    out.result(
        || {
            let mut rows =
                vec![("account", id.clone()), ("home", home.dir().display().to_string())];
            if let Some(manifest) = &manifest {
                let digest = digest.as_deref().unwrap_or_default();
                rows.push(("manifest", format!("number {} {digest}", manifest.seq)));
            }
            if let Some(legacy) = &legacy {
                rows.push(("linked 05", legacy.clone()));
            }
            for device in &devices {
                let here = if device.here { " (this one)" } else { "" };
                rows.push(("device", format!("{} {}{here}", device.id, &*device.name)));
            }
            out::rows(&rows)
        },
        || {
            let devices = devices.iter().map(crate::device::json);
            json!({ "id": id, "home": home.dir(), "devices": devices.collect::<Vec<_>>(),
                    "legacy": legacy,
                    "manifest_seq": manifest.as_ref().map(|it| it.seq), "manifest": digest,
                    "expires_ms": manifest.as_ref().map(|it| it.expiry.as_millis()) })
        },
    );
    Ok(())
}

fn words(home: &Home, out: Out, show: bool) -> Result<()> {
    if !show {
        return Err(Failure::usage(
            "whoever sees the words has the account: 'session account words --show' shows them",
        ));
    }
    let vault = desk::open_vault(home)?;
    let seed = account::seed(&vault).ok_or_else(|| {
        Failure::refused("this device does not hold the keys of the account, so it has no words")
    })?;
    let phrase = Phrase::from_seed(seed.expose());
    out.result(|| table(&phrase), || json!({ "words": phrase.words() }));
    Ok(())
}

async fn audit(home: &Home, out: Out) -> Result<()> {
    desk::with(home, async |session| {
        let items = published(session).await?;
        let (now, own) = (person::now(), session.account());
        let network = home::membership(&home.network()?, home.network_file())?.network();
        let read = |it: &Item| SignedManifest::read(&own, &network, &it.data, &RealVerifier).ok();
        let shown: Vec<_> = items.iter().filter_map(read).collect();
        let findings = desk::view(session, move |vault| account::audit(vault, now, &items)).await?;
        let anchored = anchored::compare(home, out, &own, &shown).await;
        let mut texts: Vec<String> = findings.iter().map(Finding::to_string).collect();
        let bad = anchored.filter(Anchored::is_bad);
        texts.extend(bad.map(|it| it.sentence()));
        let anchor = anchored.map(|it| it.json());
        let mut lines: Vec<String> = texts.iter().map(|text| out::harmless(text)).collect();
        if texts.is_empty() {
            lines.push("what is published is what this device signed; no device was added".into());
        }
        lines.extend(anchored.filter(|it| !it.is_bad()).map(|it| it.sentence()));
        out.result(|| lines.join("\n"), || json!({ "findings": texts, "anchor": anchor }));
        if texts.is_empty() {
            return Ok(());
        }
        Err(Failure::refused("the account is not published as this device knows it"))
    })
    .await
}

/// Anchors what this device knows to be the newest manifest, signed with the keys of the account.
async fn anchor(home: &Home, out: Out, url: Option<&Endpoint>) -> Result<()> {
    let chain = match url {
        Some(url) => Some(url.clone()),
        None => local_chain::known(home)?,
    };
    let chain = chain.ok_or_else(|| {
        Failure::usage("no chain is known beside the network file: name one with --url")
    })?;
    let vault = desk::open_vault(home)?;
    let own =
        account::account(&vault).ok_or_else(|| Failure::not_found("no account is made yet"))?;
    let newest = account::known(&vault, &own)
        .ok_or_else(|| Failure::not_found("nothing is published for this account yet"))?;
    let seed = account::seed(&vault).ok_or_else(|| {
        Failure::refused("this device does not hold the keys of the account, so it cannot sign")
    })?;
    drop(vault);
    let (seq, manifest) = (newest.manifest.seq, newest.digest());
    let rpc = Rpc::new(chain);
    let before = rpc.entry::<Manifests>(&own).await?;
    if let Some(before) = before.filter(|it| it.seq >= seq) {
        if (before.seq, before.manifest) != (seq, manifest) {
            return Err(Failure::refused(format!(
                "the chain has manifest {} ({}), this device knows {seq} ({manifest}): \
                 'session account audit' tells more",
                before.seq, before.manifest
            )));
        }
        out.result(
            || format!("manifest {seq} is anchored already: {manifest}"),
            || json!({ "seq": seq, "manifest": manifest.to_string(), "already": true }),
        );
        return Ok(());
    }
    let keys = Identity::from_seed(seed.expose());
    let action = Action::AnchorManifest { seq, manifest };
    let done = order::carry_out(&rpc, &keys, action, ANCHOR_PATIENCE).await?;
    let height = done.accepted.map(|(height, _)| height);
    out.result(
        || {
            let block = height.map_or_else(String::new, |height| format!(" in block {height}"));
            format!("manifest {seq} is anchored{block}: {manifest}")
        },
        || {
            json!({ "seq": seq, "manifest": manifest.to_string(), "already": false,
                    "height": height, "txId": done.tx.to_string() })
        },
    );
    Ok(())
}

async fn link05(home: &Home, out: Out, file: &Path) -> Result<()> {
    let seed = legacy_seed(file)?;
    let id = LegacyId::from_ed25519_seed(seed.expose()).to_string();
    desk::with(home, async |session| {
        let command = api::Command::LinkLegacy { seed };
        session.command(command).await.map_err(desk::failure)?;
        session.sync_until_idle().await.map_err(desk::failure)?;
        out.result(
            || {
                format!(
                    "{id} is linked: whoever looks this account up sees it. Nothing is sent to the \
                     classical account, and nothing of it is read here."
                )
            },
            || json!({ "legacy": id }),
        );
        Ok(())
    })
    .await
}

/// Reads the seed of a classical account: 16 bytes, which the classical client fills up with
/// zeros, or all 32.
fn legacy_seed(file: &Path) -> Result<Secret> {
    let bytes = Zeroizing::new(home::read_input_up_to(file, PHRASE_BYTES_MAX)?);
    // The text is not repeated: it may be a seed with a slip in it.
    let wrong = || {
        Failure::usage(format!(
            "{} holds no seed of a classical account: 32 or 64 hex digits are needed",
            file.display()
        ))
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong())?.trim();
    let mut seed = Zeroizing::new([0; 32]);
    let length = text.len() / 2;
    if !matches!(text.len(), 32 | 64) {
        return Err(wrong());
    }
    hex::decode_to_slice(text, &mut seed[..length]).map_err(|_| wrong())?;
    Ok(Secret::from(*seed))
}

/// Reads the manifests of the account from several nodes.
async fn published(session: &Session) -> Result<Vec<Item>> {
    let address = person::inbox_of(session.account());
    let mut cursors = BTreeMap::new();
    let mut items: Vec<Item> = Vec::new();
    loop {
        let command = Command::Retrieve {
            from: Inbox::Public { address },
            namespace: MANIFESTS,
            cursors: cursors.clone(),
            nodes: NODES_READ,
        };
        let Answer::Pages(pages) = session.network(command).await.map_err(desk::failure)? else {
            return Err(Failure::failed("the client answered something else than was asked"));
        };
        let more = pages.iter().any(|page| page.more);
        for page in pages {
            cursors.insert(page.node, page.cursor);
            items.extend(page.items);
        }
        if !more {
            return Ok(items);
        }
    }
}
