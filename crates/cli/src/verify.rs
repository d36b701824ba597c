//! `session verify`: files that prove something, checked without a network. Bundles of sessions
//! are in [`bundle`].
//!
//! A file of evidence is JSON: `format`, `version`, and in hex `evidence` (its canonical bytes) and
//! `keys` (both public keys of the accused, whose hash is its id). The bytes of evidence alone are
//! taken too; the keys then come from `--node-keys` or from the genesis.

pub(crate) mod anchor;
pub(crate) mod bundle;
pub(crate) mod swarms;

use std::path::Path;

use serde_json::{Map, Value, json};
use session_core::{ChainId, Decode, Encode, NodeId, Span, Time};
use session_crypto::{PublicIdentity, RealVerifier};
use session_protocol::evidence::{Evidence, Finding, Ground};
use session_protocol::membership::{NetworkId, network_id};
use session_rpc::fields::Fields;
use session_rpc::vm::rfc3339;
use session_vm::genesis::Genesis;
use session_vm::records::{Chain, Only, Parameters, Params};

use crate::args::{Verify, VerifyOther};
use crate::chain::genesis;
use crate::chain::rpc::Rpc;
use crate::exit::{Failure, Result};
use crate::out::{Out, rows};
use crate::{home, id};

const FORMAT: &str = "lux-session-evidence";
const VERSION: u64 = 1;

pub(crate) async fn run(out: Out, command: &Verify) -> Result<()> {
    let Some(other) = &command.other else {
        return bundle::run(out, &command.bundle);
    };
    match other {
        VerifyOther::Evidence { file, genesis: named, url, node_keys } => {
            let (rules, first) = match (named, url) {
                (Some(path), _) => {
                    let genesis = genesis::read(path)?;
                    (Rules::of(&genesis), genesis.nodes)
                }
                (None, Some(url)) => (Rules::ask(&Rpc::new(url.clone())).await?, Vec::new()),
                (None, None) => {
                    return Err(Failure::usage(
                        "what is believed is missing: --genesis FILE, or --url URL of the chain",
                    ));
                }
            };
            let mut given = EvidenceFile::read(&home::read_input(file)?)?;
            if let Some(keys) = node_keys {
                given.keys = Some(public_keys(keys)?);
            }
            let accused = given.evidence.accused();
            let known = first.into_iter().map(|node| node.keys);
            let keys = given.keys.or_else(|| known.into_iter().find(|it| it.node_id() == accused));
            let keys = keys.ok_or_else(|| {
                Failure::usage(format!(
                    "the file holds no keys of node {accused}: name them with --node-keys"
                ))
            })?;
            evidence(out, &given.evidence, &keys, &rules)
        }
        VerifyOther::Receipt { file, nodes, genesis } => {
            crate::receipt::verify(out, file, nodes.as_deref(), genesis.as_deref())
        }
        VerifyOther::Certificate { file, genesis: path } => certificate(out, file, path),
    }
}

/// The rules of a chain that evidence is checked against.
pub(crate) struct Rules {
    chain: ChainId,
    network: NetworkId,
    genesis: Time,
    epoch: Span,
    settle: Span,
}

impl Rules {
    fn new(chain: ChainId, name: &str, genesis: Time, params: &Params) -> Self {
        let (epoch, settle) = (params.epoch, params.duties.settle);
        Self { chain, network: network_id(name), genesis, epoch, settle }
    }

    fn of(genesis: &Genesis) -> Self {
        Self::new(genesis.chain_id(), &genesis.name, genesis.time, &genesis.params)
    }

    /// Asks a node of the chain.
    pub(crate) async fn ask(rpc: &Rpc) -> Result<Self> {
        let chain = rpc.call("Health", json!({})).await?.parsed("chainId")?;
        let record = rpc.entry::<Chain>(&Only {}).await?;
        let params = rpc.entry::<Parameters>(&Only {}).await?;
        let (Some(record), Some(params)) = (record, params) else {
            return Err(Failure::failed("the chain has no name or no rules"));
        };
        Ok(Self::new(chain, &record.name, record.genesis, &params))
    }

    pub(crate) const fn chain(&self) -> &ChainId {
        &self.chain
    }

    /// Checks evidence with the keys of the accused.
    pub(crate) fn check(
        &self,
        evidence: &Evidence,
        keys: &PublicIdentity,
    ) -> std::result::Result<Finding, String> {
        let Self { chain, network, genesis, epoch, settle } = *self;
        let ground = Ground { chain, network, genesis, epoch, settle, verifier: &RealVerifier };
        evidence.verify(keys, &ground).map_err(|error| error.to_string())
    }
}

/// Evidence with the keys that it is checked with.
pub(crate) struct EvidenceFile {
    pub(crate) evidence: Evidence,
    pub(crate) keys: Option<PublicIdentity>,
}

impl EvidenceFile {
    /// Returns the text of the file.
    pub(crate) fn to_text(&self) -> String {
        let mut object = json!({
            "format": FORMAT, "version": VERSION, "evidence": hex::encode(self.evidence.to_bytes()),
        });
        if let Some(keys) = &self.keys {
            object["keys"] = hex::encode(keys.to_bytes()).into();
        }
        let mut text = serde_json::to_string_pretty(&object).expect("texts are JSON");
        text.push('\n');
        text
    }

    /// Reads a file: ours, or the bytes of evidence alone.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let Ok(Value::Object(table)) = serde_json::from_slice(bytes) else {
            let evidence = Evidence::decode_exact(bytes).map_err(|error| {
                not(&format!("it is neither JSON nor the bytes of evidence: {error}"))
            })?;
            return Ok(Self { evidence, keys: None });
        };
        Self::of(&table)
    }

    fn of(table: &Map<String, Value>) -> Result<Self> {
        let mut fields = Fields::new("", table);
        let wrong = |error: session_rpc::fields::BadField| not(&error.to_string());
        if fields.text("format").map_err(wrong)? != Some(FORMAT) {
            return Err(not(&format!("it is no evidence: format is not {FORMAT:?}")));
        }
        match fields.integer("version").map_err(wrong)? {
            Some(VERSION) => {}
            other => {
                let got = other.map_or_else(|| "missing".to_owned(), |other| other.to_string());
                return Err(not(&format!("its version is {got}, this is {VERSION}")));
            }
        }
        let mut bytes = |field| {
            let text = fields.text(field).map_err(wrong)?;
            let bytes = text.map(hex::decode).transpose();
            bytes.map_err(|error| not(&format!("{field}: {error}")))
        };
        let evidence = bytes("evidence")?.ok_or_else(|| not("evidence: it is missing"))?;
        let evidence = Evidence::decode_exact(&evidence)
            .map_err(|error| not(&format!("evidence: {error}")))?;
        let keys = bytes("keys")?.map(|keys| PublicIdentity::decode_exact(&keys)).transpose();
        let keys = keys.map_err(|error| not(&format!("keys: {error}")))?;
        Ok(Self { evidence, keys })
    }
}

pub(super) fn not(why: &str) -> Failure {
    Failure::refused(format!("NOT PROVEN: {why}"))
}

/// Reads public keys: hex, or a file with them.
fn public_keys(given: &str) -> Result<PublicIdentity> {
    let text = match hex::decode(given) {
        Ok(_) => given.to_owned(),
        Err(_) => String::from_utf8(home::read_input(Path::new(given))?)
            .map_err(|_| Failure::usage(format!("{given} is no text with keys in hex")))?,
    };
    let wrong = |why: String| Failure::usage(format!("--node-keys: {why}"));
    let bytes = hex::decode(id::without_header(&text)).map_err(|error| wrong(error.to_string()))?;
    PublicIdentity::decode_exact(&bytes).map_err(|error| wrong(error.to_string()))
}

fn evidence(out: Out, evidence: &Evidence, keys: &PublicIdentity, rules: &Rules) -> Result<()> {
    let finding = rules.check(evidence, keys).map_err(|why| not(&why))?;
    let shown = rows(&[
        ("accused", finding.accused.to_string()),
        ("of", evidence.name().to_owned()),
        ("because", because(evidence, &finding)),
        ("epoch", finding.epoch.map_or_else(|| "not said".to_owned(), |it| it.to_string())),
        ("case", finding.case.to_string()),
        ("chain", rules.chain.to_string()),
        ("keys", "the accused's: their hash is its id".to_owned()),
    ]);
    out.result(|| format!("PROVEN\n{shown}"), || finding_json(evidence, &finding));
    Ok(())
}

pub(crate) fn finding_json(evidence: &Evidence, finding: &Finding) -> Value {
    json!({
        "proven": true, "accused": finding.accused.to_string(), "kind": evidence.name(),
        "epoch": finding.epoch.map(|epoch| epoch.0), "caseId": finding.case.to_string(),
        "because": because(evidence, finding),
        "missing": finding.missing.map(|leaf| {
            json!({ "address": leaf.address.to_string(), "messageId": leaf.message.to_string() })
        }),
    })
}

/// Says in a sentence what evidence shows.
pub(crate) fn because(evidence: &Evidence, finding: &Finding) -> String {
    match evidence {
        Evidence::Equivocation { first, second } => format!(
            "it attested {} and {} for the same {:?} {}",
            first.statement.root,
            second.statement.root,
            first.statement.kind,
            first.statement.subject
        ),
        Evidence::BadOpening { opening, .. } => format!(
            "it showed something else for item {} than it had committed to",
            opening.leaf.message
        ),
        Evidence::FalseReceipt { receipt, .. } => {
            let missing = finding.missing.map_or(receipt.message, |leaf| leaf.message);
            let epoch = finding.epoch.unwrap_or_default();
            format!(
                "it promised on {} to keep item {missing}, and its commitment of epoch {epoch} is without it",
                rfc3339::format(receipt.stored_at),
            )
        }
        Evidence::Records { first, second } => format!(
            "it recorded {} and {} for the same request {}",
            first.head.data_hash, second.head.data_hash, first.head.request
        ),
        Evidence::RoundVotes { first, second } => format!(
            "it voted for {} and {} in the same {:?} of request {}",
            first.ballot.root, second.ballot.root, first.ballot.phase, first.ballot.request
        ),
    }
}

fn certificate(out: Out, file: &Path, genesis: &Path) -> Result<()> {
    let genesis = genesis::read(genesis)?;
    let bytes = home::read_input(file)?;
    let certificate = session_vm::bundle::CertificateFile::decode_exact(&bytes)
        .map_err(|error| not(&format!("{} is no certificate: {error}", file.display())))?;
    let proven = certificate
        .verify(&genesis, &RealVerifier, &session_core::Inline)
        .map_err(|error| not(&error.to_string()))?;
    let statement = &certificate.certificate.statement;
    let members = certificate.members.len();
    let signers = certificate.certificate.signatures.len();
    let nodes: Vec<NodeId> = certificate.members.iter().map(|member| member.node).collect();
    let shown = rows(&[
        ("epoch", format!("{}, {:?} beacon", statement.epoch, proven.epoch.mode)),
        ("randomness", proven.epoch.randomness.to_string()),
        ("of", format!("{:?}", statement.kind)),
        ("subject", statement.subject.to_string()),
        ("root", statement.root.to_string()),
        ("signed by", format!("{signers} of the {members} members of the committee")),
        ("committee", format!("{}, in the chain's state", statement.committee)),
        ("block", format!("{}, {}", proven.height, proven.block)),
        ("chain", statement.chain.to_string()),
    ]);
    out.result(
        || format!("PROVEN\n{shown}"),
        || {
            let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            json!({
                "proven": true, "epoch": statement.epoch.0, "subject": statement.subject.to_string(),
                "root": statement.root.to_string(), "committee": statement.committee.to_string(),
                "randomness": proven.epoch.randomness.to_string(), "height": proven.height,
                "members": nodes, "signatures": signers, "chainId": statement.chain.to_string(),
            })
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use session_core::{Digest, Epoch, SeededEntropy};
    use session_crypto::Identity;
    use session_protocol::attestation::{Kind, Statement};

    use super::*;

    fn equivocation(node: &Identity, chain: ChainId) -> Evidence {
        let vote = |root: u8| {
            let statement = Statement {
                chain,
                committee: Digest::from([1; 32]),
                kind: Kind::EpochBeacon,
                subject: Digest::from([2; 32]),
                root: Digest::from([root; 32]),
                epoch: Epoch(7),
            };
            Box::new(statement.sign(node, &mut SeededEntropy::new(root.into())))
        };
        Evidence::Equivocation { first: vote(3), second: vote(4) }
    }

    #[test]
    fn a_file_proves_itself_and_nothing_else() {
        let node = Identity::generate(&mut SeededEntropy::new(1));
        let chain = ChainId::from([9; 32]);
        let rules = Rules::new(chain, "test", Time::ZERO, &Params::default());
        let keys = Some(node.public().clone());
        let file = EvidenceFile { evidence: equivocation(&node, chain), keys };
        let read = EvidenceFile::read(file.to_text().as_bytes()).unwrap();
        let finding = rules.check(&read.evidence, &read.keys.unwrap()).unwrap();
        assert_eq!((finding.accused, finding.epoch), (node.public().node_id(), Some(Epoch(7))));

        // The bytes alone are taken; the keys of somebody else and another chain prove nothing.
        let bare = EvidenceFile::read(&file.evidence.to_bytes()).unwrap();
        assert!(bare.keys.is_none());
        let stranger = Identity::generate(&mut SeededEntropy::new(2));
        assert!(rules.check(&bare.evidence, stranger.public()).is_err());
        let other = equivocation(&node, ChainId::from([8; 32]));
        assert!(rules.check(&other, node.public()).unwrap_err().contains("another chain"));
        for bad in [&b"{}"[..], b"nothing", br#"{"format":"lux-session-evidence","version":2}"#] {
            assert!(EvidenceFile::read(bad).is_err());
        }
    }
}
