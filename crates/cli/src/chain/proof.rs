//! Proofs in files: what the chain holds, or that it does not, for somebody without a network.
//!
//! A file is JSON: `format`, `version`, and in hex `key` (the raw key of the entry), `proof` (the
//! path from the entry to the root of the state), `block` (the bytes of the block that has this
//! root) and `seal` (the sequencer's signature; not at the genesis). Nothing else is read: whatever
//! else the file says proves nothing.

use std::path::Path;

use serde_json::{Map, Value, json};
use session_core::{BlockId, ChainId, Decode, Digest};
use session_crypto::signer::RealVerifier;
use session_crypto::{AccountRef, DsaPublicKey, PublicIdentity, Signature};
use session_protocol::chain::Block;
use session_protocol::chain::block::{BLOCK_BYTES_MAX, Sealed, block_id};
use session_rpc::fields::Fields;
use session_rpc::vm::rfc3339;
use session_vm::genesis::Genesis;
use session_vm::records::{Accounts, Channels, Conversations, Manifests, Nodes, Sessions, Table};
use session_vm::state::{KEY_BYTES_MAX, Proof};

use super::record;
use super::rpc::Rpc;
use super::{genesis, show};
use crate::args::{Given, Subject};
use crate::exit::{Failure, Result};
use crate::out::{Out, rows};
use crate::{home, id};

const FORMAT: &str = "lux-session-proof";
const VERSION: u64 = 1;

/// The longest proof in bytes: a leaf, and a sibling for each of its key's bits.
const PROOF_BYTES_MAX: usize = 256 * 1024;

/// What is believed before anything is proven.
pub(crate) enum Trust {
    /// The genesis: its hash names the chain, and it names whose seals count.
    Genesis(Box<Genesis>),
    /// Whoever has these keys seals what is true.
    Sequencer(Box<DsaPublicKey>),
    /// A root of the state.
    Root(Digest),
}

/// What is asked of a proof beyond being one.
pub(super) struct Wanted<'a> {
    /// The entry must be there.
    pub(super) present: bool,
    /// Whose entry it must be.
    pub(super) about: Option<(Subject, &'a str)>,
}

/// An exported proof, parsed and not believed.
struct Bundle {
    key: Vec<u8>,
    proof: Proof,
    block: Option<Vec<u8>>,
    seal: Option<Signature>,
}

/// Where a proof leads to.
struct Anchor {
    root: Digest,
    /// The block with this root, unless the root itself was given.
    block: Option<(BlockId, Block)>,
}

impl Trust {
    /// Reads what was named on the command line.
    pub(super) fn find(
        genesis: Option<&Path>,
        sequencer: Option<&str>,
        root: Option<Digest>,
    ) -> Result<Self> {
        match (genesis, sequencer, root) {
            (_, _, Some(root)) => Ok(Self::Root(root)),
            (_, Some(keys), None) => sequencer_key(keys).map(Box::new).map(Self::Sequencer),
            (Some(path), None, None) => genesis::read(path).map(Box::new).map(Self::Genesis),
            (None, None, None) => Err(Failure::usage(
                "what is believed is missing: one of --genesis FILE, --sequencer KEYS and --root HEX",
            )),
        }
    }

    /// Checks that the bundle's block is one of the chain that is believed; returns its root.
    fn anchor(&self, bundle: &Bundle) -> Result<Anchor> {
        if let Self::Root(root) = self {
            return Ok(Anchor { root: *root, block: None });
        }
        let bytes = bundle.block.as_deref().ok_or_else(|| not("it holds no block"))?;
        self.block(bytes, bundle.seal.as_ref())
    }

    /// Checks that a block is one of the chain that is believed; returns its root.
    fn block(&self, bytes: &[u8], seal: Option<&Signature>) -> Result<Anchor> {
        let id = block_id(bytes);
        // The bytes of the chain's id follow the version.
        let named = bytes.get(1..33).and_then(|bytes| ChainId::decode_exact(bytes).ok());
        let chain = match self {
            Self::Genesis(genesis) => genesis.chain_id(),
            _ => named.ok_or_else(|| not("the block is too short to be one"))?,
        };
        let block = Block::parse(bytes, &chain).map_err(|error| not(&error.to_string()))?;
        self.check_seal(&block, id, seal)?;
        Ok(Anchor { root: block.state_root, block: Some((id, block)) })
    }

    /// As [`Self::block`]; returns the root and the height.
    pub(crate) fn sealed(&self, bytes: &[u8], seal: Option<&Signature>) -> Result<(Digest, u64)> {
        let Anchor { root, block } = self.block(bytes, seal)?;
        Ok((root, block.map_or(0, |(_, block)| block.height)))
    }

    fn check_seal(&self, block: &Block, id: BlockId, seal: Option<&Signature>) -> Result<()> {
        let height = block.height;
        let named;
        let sequencer = match self {
            Self::Genesis(genesis) if height == 0 => {
                let first = genesis.block(block.chain).map_err(Failure::usage)?.id();
                return if first == id {
                    Ok(())
                } else {
                    Err(not(&format!("its block {id} is not the genesis {first}")))
                };
            }
            Self::Genesis(genesis) => {
                named = genesis.sequencer.as_ref().ok_or_else(|| {
                    Failure::usage(
                        "the genesis names no sequencer: a host decided its blocks; ask somebody \
                         you trust for the state root, and give it with --root",
                    )
                })?;
                named.dsa()
            }
            Self::Sequencer(key) => key,
            Self::Root(_) => return Ok(()),
        };
        let seal = seal.ok_or_else(|| {
            not(&format!("nobody sealed its block {height}; the genesis alone needs no seal"))
        })?;
        Sealed { chain: block.chain, height, block: id }
            .verify(sequencer, seal, &RealVerifier)
            .map_err(|_| not(&format!("the seal of block {height} ({id}) is not the sequencer's")))
    }
}

fn not(why: &str) -> Failure {
    Failure::refused(format!("NOT PROVEN: {why}"))
}

/// Reads the sequencer's keys: hex, or a file with them.
fn sequencer_key(given: &str) -> Result<DsaPublicKey> {
    let text = match hex::decode(given) {
        Ok(_) => given.to_owned(),
        Err(_) => {
            let bytes = home::read_input(Path::new(given))?;
            String::from_utf8(bytes).map_err(|_| {
                Failure::usage(format!("{given} is no text: public keys in hex are needed"))
            })?
        }
    };
    let wrong = |why: String| Failure::usage(format!("--sequencer: {why}"));
    let bytes = hex::decode(id::without_header(&text)).map_err(|error| wrong(error.to_string()))?;
    match bytes.len() {
        DsaPublicKey::SIZE => {
            DsaPublicKey::try_from(&bytes[..]).map_err(|error| wrong(error.to_string()))
        }
        _ => PublicIdentity::decode_exact(&bytes)
            .map(|keys| keys.dsa().clone())
            .map_err(|error| wrong(error.to_string())),
    }
}

/// Asks for a proof, checks that it proves something, and writes it.
pub(super) async fn export(
    rpc: &Rpc,
    out: Out,
    (subject, id): (Subject, &str),
    file: Option<&Path>,
) -> Result<()> {
    let key = raw_key(subject, id)?;
    let answer = rpc.call("GetProof", json!({ "key": hex::encode(&key) })).await?;
    let block_id: BlockId = answer.parsed("blockId")?;
    let block = show::block_bytes(rpc, Some(Given::Id(block_id))).await?;
    let seal = show::seal(rpc, &block_id).await?;
    let mut text = json!({
        "format": FORMAT,
        "version": VERSION,
        "key": hex::encode(&key),
        "proof": hex::encode(answer.bytes("proof")?),
        "block": hex::encode(&block),
    });
    if let Some(seal) = seal {
        text["seal"] = hex::encode(seal).into();
    }
    let bundle = Bundle::read(&text).map_err(|failure| answer.wrong(&failure.why))?;
    let parsed = Block::decode_exact(&block).map_err(|error| answer.wrong(&error))?;
    let shown = bundle.proof.verify(&key, &parsed.state_root);
    let exists = shown.map_err(|error| answer.wrong(&error))?.is_some();
    let mut lines = serde_json::to_string_pretty(&text).expect("texts are JSON");
    lines.push('\n');
    match file {
        None => out.result(|| lines.trim_end().to_owned(), || text),
        Some(file) => {
            std::fs::write(file, lines).map_err(|error| {
                Failure::failed(format!("cannot write {}: {error}", file.display()))
            })?;
            let what = if exists { "is there" } else { "is NOT there" };
            out.result(
                || {
                    format!(
                        "proof that it {what} at height {} written to {}",
                        parsed.height,
                        file.display()
                    )
                },
                || {
                    json!({ "file": file, "exists": exists, "height": parsed.height,
                           "blockId": block_id.to_string() })
                },
            );
        }
    }
    Ok(())
}

/// Checks an exported proof, and shows what it proves.
pub(super) fn check(out: Out, file: &Path, trust: &Trust, wanted: &Wanted<'_>) -> Result<()> {
    let about = wanted.about.map(|(subject, id)| raw_key(subject, id)).transpose()?;
    let bytes = home::read_input(file)?;
    let text: Value = serde_json::from_slice(&bytes)
        .map_err(|error| not(&format!("{} is not JSON: {error}", file.display())))?;
    let bundle = Bundle::read(&text)?;
    if about.is_some_and(|key| key != bundle.key) {
        return Err(not("it is about another entry than that of --subject and --id"));
    }
    let anchor = trust.anchor(&bundle)?;
    let value = bundle
        .proof
        .verify(&bundle.key, &anchor.root)
        .map_err(|error| not(&format!("the state does not have this entry: {error}")))?;
    tell(out, &bundle.key, value, &anchor);
    if wanted.present && value.is_none() {
        return Err(not("that the entry is there; it is proven that it is not"));
    }
    Ok(())
}

fn tell(out: Out, key: &[u8], value: Option<&[u8]>, anchor: &Anchor) {
    // An entry of a table that this version does not know is proven all the same.
    let read = record::read(key, value);
    let (what, mut lines) = match &read {
        Ok(entry) => (entry.what, entry.lines()),
        Err(why) => ("", vec![("unknown", why.clone())]),
    };
    let head = if value.is_some() { "PROVEN" } else { "PROVEN ABSENT: there is no such entry" };
    lines.insert(0, ("key", hex::encode(key)));
    if read.is_err() {
        lines.extend(value.map(|value| ("value", hex::encode(value))));
    }
    lines.push(("state root", anchor.root.to_string()));
    if let Some((id, block)) = &anchor.block {
        lines.push(("block", format!("{}, {id}", block.height)));
        lines.push(("time", rfc3339::format(block.time)));
        lines.push(("chain", block.chain.to_string()));
    }
    let shown: Vec<(&str, String)> =
        lines.iter().map(|(name, value)| (*name, value.clone())).collect();
    out.result(
        || format!("{head}{}{what}\n{}", if what.is_empty() { "" } else { ": " }, rows(&shown)),
        || {
            let mut object = json!({
                "proven": true, "exists": value.is_some(), "key": hex::encode(key),
                "value": value.map(hex::encode), "stateRoot": anchor.root.to_string(),
            });
            if let Ok(entry) = &read {
                object["table"] = entry.table.into();
                object["of"] = entry.key_json();
                object["record"] = entry.to_json();
            }
            if let Some((id, block)) = &anchor.block {
                object["blockId"] = id.to_string().into();
                object["height"] = block.height.into();
                object["timestamp"] = rfc3339::format(block.time).into();
                object["chainId"] = block.chain.to_string().into();
            }
            object
        },
    );
}

impl Bundle {
    fn read(text: &Value) -> Result<Self> {
        let empty = Map::new();
        let mut fields = Fields::new("", text.as_object().unwrap_or(&empty));
        let wrong = |error: session_rpc::fields::BadField| not(&error.to_string());
        if fields.text("format").map_err(wrong)? != Some(FORMAT) {
            return Err(not(&format!("it is no proof: format is not {FORMAT:?}")));
        }
        match fields.integer("version").map_err(wrong)? {
            Some(VERSION) => {}
            Some(other) => {
                return Err(not(&format!("its version is {other}, this is {VERSION}")));
            }
            None => return Err(not("version: it is missing")),
        }
        let key = hex_field(&mut fields, "key", KEY_BYTES_MAX)?;
        let proof = hex_field(&mut fields, "proof", PROOF_BYTES_MAX)?;
        let block = hex_field(&mut fields, "block", BLOCK_BYTES_MAX)?;
        let seal = hex_field(&mut fields, "seal", Signature::SIZE)?;
        let missing = |field: &str| not(&format!("{field}: it is missing"));
        let proof = Proof::decode_exact(&proof.ok_or_else(|| missing("proof"))?)
            .map_err(|error| not(&format!("proof: {error}")))?;
        let seal = seal.map(|seal| Signature::decode_exact(&seal)).transpose();
        let seal = seal.map_err(|error| not(&format!("seal: {error}")))?;
        Ok(Self { key: key.ok_or_else(|| missing("key"))?, proof, block, seal })
    }
}

fn hex_field(fields: &mut Fields<'_>, field: &'static str, max: usize) -> Result<Option<Vec<u8>>> {
    let text = fields.text(field).map_err(|error| not(&error.to_string()))?;
    let Some(text) = text else { return Ok(None) };
    if text.len() > 2 * max {
        return Err(not(&format!(
            "{field}: it has {} digits, the limit is {}",
            text.len(),
            2 * max
        )));
    }
    hex::decode(text).map(Some).map_err(|error| not(&format!("{field}: {error}")))
}

/// Returns the key of the state under which something is.
fn raw_key(subject: Subject, id: &str) -> Result<Vec<u8>> {
    let wrong = |error: &dyn core::fmt::Display| Failure::usage(format!("{id:?}: {error}"));
    match subject {
        Subject::Account | Subject::Manifest => {
            let account: AccountRef = id.parse().map_err(|error| wrong(&error))?;
            Ok(match subject {
                Subject::Manifest => Manifests::key(&account.0),
                _ => Accounts::key(&account.0),
            })
        }
        Subject::Node => Ok(Nodes::key(&id.parse().map_err(|error| wrong(&error))?)),
        Subject::Channel => Ok(Channels::key(&id.parse().map_err(|error| wrong(&error))?)),
        Subject::Conversation => {
            Ok(Conversations::key(&id.parse().map_err(|error| wrong(&error))?))
        }
        Subject::Workload => Ok(Sessions::key(&id.parse().map_err(|error| wrong(&error))?)),
        Subject::Key => hex::decode(id).map_err(|error| wrong(&error)),
    }
}
