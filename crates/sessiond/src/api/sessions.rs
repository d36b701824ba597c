//! Workload sessions between JSON-RPC and the machine.

use serde_json::Value;
use session_core::{Decode as _, SessionId, seed_ids};
use session_executor::report::Report;
use session_protocol::workload::message::{Answer, Question, SessionRefusal};
use session_protocol::workload::step::{Step, StepKind, StepState};
use session_rpc::api::Encoding;
use session_rpc::json_rpc::ErrorObject;
use session_rpc::session_api::{Method, SESSION_REFUSED, result};

use crate::workload::{Given, Wish};

/// What the result of a call is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// The name of bytes, of which there are so many.
    Kept(u64),
    /// An order about a session was taken; a new one is pending.
    Ordered(SessionId, Option<&'static str>),
    /// A session.
    Session,
    /// Lines of a log.
    Logs,
    /// A piece of a bundle, from this byte on.
    Bundle(u32, Encoding),
}

/// Returns what a call wants, and how it is answered.
pub(crate) fn wish(method: Method) -> Result<(Wish, Form), ErrorObject> {
    Ok(match method {
        Method::PutBlob { data } => {
            let form = Form::Kept(data.len() as u64);
            (Wish::Put(data), form)
        }
        Method::CreateSession { service, epoch, tx, program, input } => {
            let session = seed_ids::session_id(&service, epoch, &tx);
            let form = Form::Ordered(session, Some("pending"));
            (Wish::Create { session, program, input }, form)
        }
        Method::StartSession { session } => {
            (Wish::Ask(Question::Start { session }), Form::Ordered(session, None))
        }
        Method::FinalizeSession { session } => {
            (Wish::Ask(Question::Finalize { session }), Form::Ordered(session, None))
        }
        Method::GetSession { session } => (Wish::Ask(Question::Session { session }), Form::Session),
        Method::GetLogs { session, from } => {
            (Wish::Ask(Question::Logs { session, from }), Form::Logs)
        }
        Method::GetBundle { session, offset, encoding } => {
            (Wish::Ask(Question::Bundle { session, offset }), Form::Bundle(offset, encoding))
        }
        _ => return Err(ErrorObject::invalid_request("this node does not serve it")),
    })
}

/// Returns the result of a call.
///
/// # Errors
/// When it was refused.
pub(crate) fn result(given: Given, form: Form) -> Result<Value, ErrorObject> {
    let answer = match (given, form) {
        (Given::Stored(Ok(blob)), Form::Kept(bytes)) => {
            return Ok(result::to_json(&result::Kept { blob, bytes }));
        }
        (Given::Stored(Err(refusal)), _) => return Err(refused(&refusal)),
        (Given::Stored(Ok(_)), _) => return Err(unexpected()),
        (Given::Answer(answer), _) => answer,
    };
    Ok(match (answer, form) {
        (Answer::Refused { refusal }, _) => return Err(refused(&refusal)),
        // Whoever creates a session is shown it.
        (Answer::Done | Answer::Session { .. }, Form::Ordered(session_id, state)) => {
            result::to_json(&result::Ordered { session_id, state })
        }
        (Answer::Session { report }, Form::Session) => {
            let report = Report::decode_exact(&report).map_err(|_| unexpected())?;
            result::to_json(&result::Found { session: session(report) })
        }
        (Answer::Logs { lines, next }, Form::Logs) => {
            let lines = lines.iter().map(|line| line.to_string()).collect();
            result::to_json(&result::Logs { lines, next })
        }
        (Answer::Bundle { total, id, bytes }, Form::Bundle(offset, encoding)) => {
            let data = result::Data { bytes: bytes.into_vec(), encoding };
            result::to_json(&result::BundlePart { total, id, offset, data })
        }
        _ => return Err(unexpected()),
    })
}

/// A member that answered may be of another version, or lie.
fn unexpected() -> ErrorObject {
    refused(&other("a member of the committee answered something else than was asked"))
}

pub(crate) fn other(why: &str) -> SessionRefusal {
    SessionRefusal::Other { why: session_core::Text::new(why).expect("our texts are short") }
}

/// Returns the error object of a refusal: its texts are the seed's.
pub(crate) fn refused(refusal: &SessionRefusal) -> ErrorObject {
    let (number, name) = number(refusal);
    let error = ErrorObject::new(SESSION_REFUSED - number, name, refusal.to_string());
    match refusal {
        SessionRefusal::StepNotCompleted { step } => error.with("step", *step),
        SessionRefusal::BlobMissing { blob } => error.with("blob", blob.to_string()),
        _ => error,
    }
}

/// Returns the number of a refusal in the binary protocol, and a stable name.
const fn number(refusal: &SessionRefusal) -> (i32, &'static str) {
    match refusal {
        SessionRefusal::NotFound => (1, "session_not_found"),
        SessionRefusal::NotPending => (2, "session_not_pending"),
        SessionRefusal::NotRunning => (3, "session_not_running"),
        SessionRefusal::StepNotCompleted { .. } => (4, "step_not_completed"),
        SessionRefusal::StepOutOfRange => (5, "step_out_of_range"),
        SessionRefusal::RequestNotFound => (6, "request_not_found"),
        SessionRefusal::Full => (7, "sessions_full"),
        SessionRefusal::Exists => (8, "session_exists"),
        SessionRefusal::NoChain => (9, "no_chain"),
        SessionRefusal::BlobMissing { .. } => (10, "blob_missing"),
        SessionRefusal::BadWorkload { .. } => (11, "bad_workload"),
        _ => (12, "session_refused"),
    }
}

fn session(report: Report) -> result::Session {
    result::Session {
        id: report.session,
        service_id: report.service,
        epoch: report.epoch,
        tx_id: report.tx,
        program: report.program,
        input: report.input,
        committee: report.committee.into_vec(),
        state: report.state.name(),
        current_step: report.current_step,
        steps_left_out: report.steps_left_out,
        steps: report.steps.into_iter().map(step).collect(),
        output_hash: report.output_hash,
        oracle_root: report.oracle_root,
        receipts_root: report.receipts_root,
        output: report.output.map(session_core::Blob::into_vec),
        created_at: report.created,
        deadline: report.deadline,
        finalized_at: report.finalized,
        error: report.error.map(|error| error.to_string()),
        fuel: report.fuel,
        retries: report.retries,
        checkpoints: report.checkpoints,
        receipts: report.receipts,
        log_lines: report.log_lines,
    }
}

fn step(step: Step) -> result::Step {
    result::Step {
        step_index: step.index,
        kind: match step.kind {
            StepKind::Compute => "compute",
            StepKind::WriteExternal => "write_external",
            StepKind::ReadExternal => "read_external",
        },
        request_id: step.request,
        retry_index: step.retry,
        tx_id: step.tx,
        input_hash: step.input_hash,
        output_hash: step.output_hash,
        oracle_commit_root: step.commit_root,
        attestation_id: step.attestation,
        state: match step.state {
            StepState::Pending => "pending",
            StepState::Executing => "executing",
            StepState::Waiting => "waiting",
            StepState::Completed => "completed",
            StepState::Failed => "failed",
        },
        started_at: step.started,
        completed_at: step.completed,
    }
}

#[cfg(test)]
mod tests;
