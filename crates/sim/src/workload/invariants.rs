//! What must hold of workload sessions: some of it at every event, the rest once all is at rest.

use session_core::{Decode as _, Inline, SessionId};
use session_crypto::Signer;
use session_crypto::fake::FakeVerifier;
use session_executor::Input;
use session_executor::bundle::{self, Bundle, Known};
use session_executor::report::{Report, SessionState};
use session_protocol::evidence::{self, Evidence};
use session_protocol::membership::network_id;
use session_protocol::workload::message::{Answer, Question, SessionRefusal};
use session_vm::query;
use session_vm::records::{SessionState as OnChain, WorkloadSession};

use super::liar::Lie;
use super::outside::Outside;
use super::world::{Broken, World};

/// How often a node may be told two things by one liar and miss it: what comes after a step was
/// decided is not looked at.
const OVERHEARD_MAX: u64 = 8;
/// Members whose files are checked: in large committees they differ in nothing but records.
const FILES_CHECKED_MAX: usize = 4;

/// A write has at most one effect at a target that knows its key.
pub(super) fn writes_happen_once(outside: &Outside) -> Result<(), Broken> {
    match outside.repeated().next() {
        None => Ok(()),
        Some((write, times)) => {
            Err(("writes_happen_once", format!("{write:?} had {times} effects")))
        }
    }
}

/// What honest nodes accuse somebody of shows that it lied.
pub(super) fn evidence_convicts_liars(
    world: &World,
    accused: Option<usize>,
    evidence: &Evidence,
) -> Result<(), Broken> {
    const NAME: &str = "evidence_convicts_liars";
    let Some(node) = accused.map(|index| &world.nodes[index]) else {
        return Err((NAME, format!("nobody is {}", evidence.accused())));
    };
    let view = world.view();
    let ground = evidence::Ground {
        chain: view.chain,
        network: network_id(&world.genesis.name),
        genesis: view.genesis,
        epoch: view.epoch.schedule.length,
        settle: view.params.settle,
        verifier: &FakeVerifier,
    };
    if let Err(bad) = evidence.verify(node.keys.public(), &ground) {
        return Err((NAME, format!("{evidence:?}: {bad}")));
    }
    match &node.liar {
        Some(liar) if liar.lie == Lie::Equivocate => Ok(()),
        _ => Err((NAME, format!("{accused:?} is accused and said nothing twice"))),
    }
}

/// Returns what is not at rest: every session ends, and its slots are freed.
pub(super) fn unrest(world: &World) -> Option<String> {
    let open = &world.view().sessions;
    if let Some((id, session)) = open.first_key_value() {
        let (count, deadline) = (open.len(), session.deadline);
        return Some(format!("{count} sessions are open, one is {id}, until {deadline:?}"));
    }
    world.nodes.iter().enumerate().find_map(|(index, node)| {
        let Some(exec) = &node.exec else { return Some(format!("node {index} is down")) };
        let (running, waiting) = (exec.running(), exec.waiting());
        let busy = node.is_honest() && running + waiting > 0;
        busy.then(|| format!("node {index} has {running} sessions that run, {waiting} that wait"))
    })
}

/// What a look at the end found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) finalized: usize,
    pub(super) failed: usize,
    pub(super) deadline: usize,
    pub(super) replayed: usize,
    pub(super) steps: u64,
}

/// Everything that must hold at rest.
pub(super) fn at_rest(world: &mut World) -> Result<Found, Broken> {
    who_contradicts_itself_is_accused(world)?;
    if world.is_overrun() {
        conflicts_are_accounted_for(world)?;
        let mut found = Found::default();
        for id in world.witness.sessions.keys() {
            count(&mut found, &query::session(world.blocks.state(), id).expect("it was open once"));
        }
        return Ok(found);
    }
    let sessions: Vec<_> = world.witness.sessions.keys().copied().collect();
    let honest: Vec<usize> =
        (0..world.members).filter(|node| world.nodes[*node].is_honest()).collect();
    let mut found = Found::default();
    let mut live = Vec::new();
    for id in &sessions {
        for node in &honest {
            live.push(report(world, *node, *id)?);
        }
    }
    // What ended is kept: all of it is read from the journals, by programs that begin anew.
    for node in &honest {
        world.nodes[*node].crash();
        world.nodes[*node].start();
        world.viewed(*node, world.nodes[*node].life)?;
    }
    for (place, id) in sessions.iter().enumerate() {
        let reports = &live[place * honest.len()..][..honest.len()];
        for (node, before) in honest.iter().zip(reports) {
            let after = report(world, *node, *id)?;
            if after != *before {
                let what = format!("session {id} at node {node}: {before:?}, then {after:?}");
                return Err(("what_ended_is_kept", what));
            }
        }
        let on_chain = query::session(world.blocks.state(), id).expect("it was open once");
        count(&mut found, &on_chain);
        members_agree_with_the_chain(world, *id, &on_chain, &honest, reports)?;
        found.steps += reports.iter().flatten().map(|it| it.steps.len() as u64).max().unwrap_or(0);
        found.replayed += replay_equals_live(world, *id, &on_chain, &honest, reports)?;
    }
    Ok(found)
}

fn count(found: &mut Found, session: &WorkloadSession) {
    match &session.state {
        OnChain::Finalized { .. } => found.finalized += 1,
        OnChain::Failed { reason, .. } if &**reason == "deadline" => found.deadline += 1,
        _ => found.failed += 1,
    }
}

/// Whoever often says two things to honest nodes is accused by one.
fn who_contradicts_itself_is_accused(world: &World) -> Result<(), Broken> {
    for (node, times) in &world.witness.overheard {
        if *times > OVERHEARD_MAX && !world.witness.accused.contains(node) {
            let what = format!("{node} said two things to somebody, {times} times");
            return Err(("who_contradicts_itself_is_accused", what));
        }
    }
    Ok(())
}

/// Where too many lie and quorums contradict each other, there is evidence against a third.
fn conflicts_are_accounted_for(world: &World) -> Result<(), Broken> {
    let (conflicts, accused) = (world.counts.conflicts, world.witness.accused.len());
    if conflicts > 0 && 3 * accused < world.members {
        let what = format!("{conflicts} conflicts, evidence against {accused} nodes");
        return Err(("conflicts_are_accounted_for", what));
    }
    Ok(())
}

/// What the chain says of a session is what honest members say, and enough of them know it.
fn members_agree_with_the_chain(
    world: &World,
    id: SessionId,
    session: &WorkloadSession,
    honest: &[usize],
    reports: &[Option<Report>],
) -> Result<(), Broken> {
    const NAME: &str = "members_agree_with_the_chain";
    let mut known = 0;
    for (node, report) in honest.iter().zip(reports) {
        let Some(report) = report else { continue };
        let agrees = match &session.state {
            OnChain::Finalized { output, oracle_root, receipts_root, .. } => {
                let same = report.output_hash == Some(*output)
                    && report.oracle_root == Some(*oracle_root)
                    && report.receipts_root == Some(*receipts_root);
                known += usize::from(same);
                report.state == SessionState::Finalized && same
            }
            // What was attested too late for the chain is as good among members.
            OnChain::Failed { reason, .. } if &**reason == "deadline" => {
                matches!(report.state, SessionState::Finalized | SessionState::Failed)
            }
            OnChain::Failed { reason, .. } => {
                known += 1;
                report.state == SessionState::Failed && report.error.as_deref() == Some(&**reason)
            }
            _ => false,
        };
        if !agrees {
            let what = format!("session {id} at node {node}: {report:?}, {:?}", session.state);
            return Err((NAME, what));
        }
    }
    let attested = match &session.state {
        OnChain::Failed { reason, .. } => &**reason != "deadline",
        _ => true,
    };
    let needed = session_core::committee::quorum(world.members).unwrap_or(0);
    if attested && known < needed.saturating_sub(world.liars()) {
        let what = format!("{known} honest members know how session {id} ended");
        return Err((NAME, what));
    }
    Ok(())
}

/// Running a session again from a member's file comes to the same: output, fuel, steps, roots.
fn replay_equals_live(
    world: &mut World,
    id: SessionId,
    session: &WorkloadSession,
    honest: &[usize],
    reports: &[Option<Report>],
) -> Result<usize, Broken> {
    const NAME: &str = "replay_equals_live";
    let open = &world.witness.sessions[&id];
    let known = Known {
        chain: world.view().chain,
        service: session.service,
        epoch: session.epoch,
        tx: session.tx,
        program: session.program,
        input: session.input,
        created: session.created,
        deadline: session.deadline,
        randomness: open.randomness,
        members: open.committee.members.to_vec(),
        shown_by: "the simulated chain".into(),
    };
    let mut replayed = 0;
    for (node, report) in honest.iter().zip(reports).take(FILES_CHECKED_MAX) {
        let Some(report) = report else { continue };
        let bundle = match file(world, *node, id)? {
            Ok(bundle) => bundle,
            Err(refusal) => {
                let proven = report.state == SessionState::Finalized;
                if proven {
                    let what = format!("node {node} has no file of session {id}: {refusal}");
                    return Err((NAME, what));
                }
                continue;
            }
        };
        let ground =
            bundle::Ground { verifier: &FakeVerifier, workers: &Inline, known: Some(&known) };
        let verdict = bundle::verify(&bundle, &ground)
            .map_err(|bad| (NAME, format!("session {id} at node {node}: {bad}")))?;
        let same = match &verdict.outcome {
            bundle::Outcome::Finished { output, oracle_root, receipts_root } => {
                report.output.as_ref() == Some(output)
                    && report.oracle_root == Some(*oracle_root)
                    && report.receipts_root == Some(*receipts_root)
            }
            bundle::Outcome::Failed { reason } => report.error.as_deref() == Some(&**reason),
        };
        if !same || verdict.fuel != report.fuel || verdict.steps as usize != report.steps.len() {
            let what = format!("session {id} at node {node}: {report:?}, again {verdict:?}");
            return Err((NAME, what));
        }
        replayed += 1;
    }
    Ok(replayed)
}

fn ask(world: &mut World, node: usize, question: Question) -> Result<Option<Answer>, Broken> {
    let id = world.people.number();
    world.input(node, Input::Ask { id, question })?;
    Ok(world.nodes[node].answers.remove(&id))
}

/// Returns what a member says of a session, if it ever heard of it.
fn report(world: &mut World, node: usize, session: SessionId) -> Result<Option<Report>, Broken> {
    match ask(world, node, Question::Session { session })? {
        Some(Answer::Session { report }) => {
            let report = Report::decode_exact(&report)
                .map_err(|error| ("reports_decode", format!("node {node}: {error}")))?;
            Ok(Some(report))
        }
        Some(Answer::Refused { refusal: SessionRefusal::NotFound }) | None => Ok(None),
        other => Err(("reports_decode", format!("node {node} says {other:?}"))),
    }
}

/// Returns the file that proves a session, from a member.
fn file(
    world: &mut World,
    node: usize,
    session: SessionId,
) -> Result<Result<Bundle, SessionRefusal>, Broken> {
    const NAME: &str = "files_are_whole";
    let mut file = Vec::new();
    loop {
        let offset = u32::try_from(file.len()).unwrap_or(u32::MAX);
        match ask(world, node, Question::Bundle { session, offset })? {
            Some(Answer::Bundle { total, bytes, .. }) if !bytes.is_empty() => {
                file.extend_from_slice(&bytes);
                if file.len() >= total as usize {
                    break;
                }
            }
            Some(Answer::Refused { refusal }) => return Ok(Err(refusal)),
            other => return Err((NAME, format!("node {node} says {other:?}"))),
        }
    }
    let bundle = Bundle::decode_exact(&file);
    bundle.map(Ok).map_err(|error| (NAME, format!("node {node}: {error}")))
}
