//! The bundle of a session: its program run again, everything in it checked, and said in words.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::json;
use session_core::{Decode, Inline, sha256};
use session_crypto::RealVerifier;
use session_executor::bundle::{self, Bundle, Ground, Known, Outcome, ShownStep, Verdict};
use session_protocol::workload::oracle::OracleResult;
use session_rpc::vm::rfc3339;
use session_vm::records::SessionState;

use super::anchor::{Anchor, Anchored};
use super::not;
use crate::args::VerifyBundle;
use crate::chain::genesis;
use crate::chain::proof::Trust;
use crate::exit::{Doing, Failure, Result};
use crate::out::{Out, harmless, rows};

/// The text of the largest bundle: its bytes in hex, and what people read of it.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What is shown of a value.
const SHOWN_CHARS: usize = 60;

pub(super) fn run(out: Out, args: &VerifyBundle) -> Result<()> {
    let file = args.file.as_deref().ok_or_else(|| Failure::usage("a file is missing"))?;
    let bundle = read(file)?;
    let anchored = args.genesis.as_deref().map(|path| anchored(&bundle, path)).transpose()?;
    let known = anchored.as_ref().map(|anchored| known(&bundle, anchored));
    let verdict = check(&bundle, known.as_ref())?;
    if let Some(anchored) = &anchored {
        check_outcome(&bundle, anchored)?;
    }
    tell(out, &bundle, &verdict, anchored.as_ref(), args.verbose);
    Ok(())
}

/// Checks everything in a bundle.
pub(crate) fn check(bundle: &Bundle, known: Option<&Known>) -> Result<Verdict> {
    let ground = Ground { verifier: &RealVerifier, workers: &Inline, known };
    bundle::verify(bundle, &ground).map_err(|error| not(&error.to_string()))
}

fn read(file: &Path) -> Result<Bundle> {
    let what = || format!("cannot read {}", file.display());
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_string(&mut text),
        false => File::open(file).doing(what)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text),
    };
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return Err(not(&format!("{} is no text", file.display())));
        }
        read => read.doing(what)?,
    };
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Failure::usage(format!("{} is over {FILE_BYTES_MAX} bytes", file.display())));
    }
    bundle::from_json(&text).map_err(|error| not(&format!("{}: {error}", file.display())))
}

/// Proves, from the genesis on, what the chain has of the session.
fn anchored(bundle: &Bundle, path: &Path) -> Result<Anchored> {
    let genesis = genesis::read(path)?;
    let chain = genesis.chain_id();
    if chain != bundle.chain {
        return Err(not(&format!(
            "the bundle is of chain {}, the genesis of {chain}",
            bundle.chain
        )));
    }
    if bundle.anchor.is_empty() {
        return Err(not(
            "the bundle holds nothing that ties it to the chain: fetch it with 'session workload \
             bundle', or leave --genesis out and believe the keys in it",
        ));
    }
    let anchor = Anchor::decode_exact(&bundle.anchor)
        .map_err(|error| not(&format!("the anchor is none: {error}")))?;
    anchor.verify(&Trust::Genesis(Box::new(genesis)), &bundle.session)
}

fn known(bundle: &Bundle, anchored: &Anchored) -> Known {
    let Anchored { session, epoch, members, height } = anchored;
    Known {
        chain: bundle.chain,
        service: session.service,
        epoch: session.epoch,
        tx: session.tx,
        program: session.program,
        input: session.input,
        created: session.created,
        deadline: session.deadline,
        randomness: epoch.randomness,
        members: members.iter().map(|keys| (keys.node_id(), keys.dsa().clone())).collect(),
        shown_by: format!("block {height} of the chain, sealed by the sequencer of the genesis"),
    }
}

/// Checks that the chain has the same end, if it has one.
fn check_outcome(bundle: &Bundle, anchored: &Anchored) -> Result<()> {
    let differs =
        |what: &str| Err(not(&format!("the end: {what} of the bundle is not what the chain has")));
    match (&anchored.session.state, &bundle.outcome) {
        (
            SessionState::Finalized { output, oracle_root, receipts_root, .. },
            Outcome::Finished { output: own, oracle_root: own_oracle, receipts_root: own_receipts },
        ) => match () {
            () if *output != sha256(own).into() => differs("the output"),
            () if oracle_root != own_oracle => differs("the oracle root"),
            () if receipts_root != own_receipts => differs("the receipts root"),
            () => Ok(()),
        },
        (SessionState::Failed { reason, .. }, Outcome::Failed { reason: own }) => {
            if reason == own {
                Ok(())
            } else {
                differs("the reason")
            }
        }
        (SessionState::Finalized { .. }, _) => differs("the failure"),
        (SessionState::Failed { .. }, _) => differs("the result"),
        // The committee attested it, and the chain had not heard of it then.
        (SessionState::Pending | SessionState::Running { .. }, _) => Ok(()),
    }
}

fn tell(out: Out, bundle: &Bundle, verdict: &Verdict, anchored: Option<&Anchored>, verbose: bool) {
    let ended = anchored.map(|anchored| match &anchored.session.state {
        SessionState::Finalized { ended, .. } => {
            format!("finalized at {}", rfc3339::format(*ended))
        }
        SessionState::Failed { ended, .. } => format!("failed at {}", rfc3339::format(*ended)),
        _ => "not yet over in the block that the bundle shows".to_owned(),
    });
    let result = match &verdict.outcome {
        Outcome::Finished { output, .. } => readable(output),
        Outcome::Failed { reason } => format!("it failed: {}", harmless(reason)),
    };
    let mut lines = vec![rows(&[
        ("workload", harmless(&bundle.workload.manifest.name)),
        ("session", verdict.session.to_string()),
        ("result", result),
        ("on the chain", ended.clone().unwrap_or_default()),
    ])];
    if verbose {
        lines.push("steps:".to_owned());
        lines.extend(bundle.steps.iter().map(|step| step_line(bundle, step)));
        if !verdict.logs.is_empty() {
            lines.push("log:".to_owned());
            lines.extend(verdict.logs.iter().map(|line| format!("  {}", harmless(line))));
        }
    }
    lines.push("checked:".to_owned());
    lines.extend(verdict.checked.iter().map(|line| format!("  {line}")));
    lines.push("believed:".to_owned());
    lines.extend(verdict.trusted.iter().map(|line| format!("  {line}")));
    out.result(
        || format!("PROVEN\n{}", lines.join("\n")),
        || {
            let (output, failed) = match &verdict.outcome {
                Outcome::Finished { output, .. } => (Some(hex::encode(&**output)), None),
                Outcome::Failed { reason } => (None, Some(reason.to_string())),
            };
            json!({
                "proven": true, "sessionId": verdict.session.to_string(), "output": output,
                "failed": failed, "steps": verdict.steps, "requests": verdict.requests,
                "retries": verdict.retries, "records": verdict.records,
                "signatures": verdict.signatures, "fuel": verdict.fuel, "logs": verdict.logs,
                "receipts": verdict.receipts.len(), "checked": verdict.checked,
                "trusted": verdict.trusted, "anchored": anchored.is_some(), "onChain": ended,
            })
        },
    );
}

/// Says what was checked in a step.
fn step_line(bundle: &Bundle, step: &ShownStep) -> String {
    let leaf = &step.leaf;
    let index = leaf.index;
    let short = |hash: &session_core::Digest| hash.to_string()[..16].to_owned();
    let Some(decision) = &step.decision else {
        return format!(
            "  {index:>3}  computed again: same fuel, state and end, {}…",
            short(&leaf.output_hash)
        );
    };
    let commit = &decision.commit;
    let saw = match &commit.result {
        OracleResult::Value { bytes } => readable(bytes),
        OracleResult::Failed { fault } => format!("nothing: {fault}"),
        OracleResult::NoConsensus => "no consensus".to_owned(),
    };
    format!(
        "  {index:>3}  {}: attempt {}, {} signed records, attested by {} of {} members, root {}…: {saw}",
        if leaf.kind == session_protocol::workload::StepKind::WriteExternal {
            "wrote"
        } else {
            "read"
        },
        decision.retry + 1,
        commit.records.len(),
        decision.certificate.signatures.len(),
        bundle.members.len(),
        short(&leaf.commit_root),
    )
}

/// Shows the beginning of bytes.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let cut: String = text.chars().take(SHOWN_CHARS).collect();
            let more = if cut.len() < text.len() { "…" } else { "" };
            format!("{}{more}", harmless(&cut).replace('\n', " ⏎ "))
        }
        Err(_) => format!("{} bytes", bytes.len()),
    }
}
