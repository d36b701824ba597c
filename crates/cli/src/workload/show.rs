//! Sessions that were started before: status, logs, result, bundle.

use std::io::Write;
use std::path::Path;

use serde_json::json;
use session_core::SessionId;

use super::follow::Seen;
use super::place::Place;
use super::{anchored, run};
use crate::exit::{Doing, Result};
use crate::out::{Out, harmless, rows};

pub(super) async fn status(place: &Place, out: Out, session: &SessionId) -> Result<()> {
    let seen = Seen::read(place.node().await?.session(session).await?)?;
    let (rounds, retries) = seen.rounds();
    let error = seen.answer.maybe_text("error")?.unwrap_or_default().to_owned();
    let output = seen.output().map(|bytes| run::readable(&bytes)).unwrap_or_default();
    let head = rows(&[
        ("session", session.to_string()),
        ("state", seen.state.clone()),
        ("service", seen.answer.text("serviceId")?.to_owned()),
        ("committee", seen.answer.texts("committee")?.join("\n           ")),
        ("oracle rounds", format!("{rounds}, {retries} retries")),
        ("error", error),
        ("result", output),
    ]);
    out.result(
        || std::iter::once(head).chain(seen.step_lines()).collect::<Vec<_>>().join("\n"),
        || seen.to_json(),
    );
    Ok(())
}

pub(super) async fn logs(place: &Place, out: Out, session: &SessionId, from: u32) -> Result<()> {
    let node = place.node().await?;
    let mut from = from;
    loop {
        let (lines, next) = node.logs(session, from).await?;
        if lines.is_empty() {
            return Ok(());
        }
        for (line, number) in lines.iter().zip(from..) {
            out.result(|| harmless(line), || json!({ "line": number, "log": line }));
        }
        from = next;
    }
}

pub(super) async fn result(place: &Place, out: Out, session: &SessionId) -> Result<()> {
    let seen = Seen::read(place.node().await?.session(session).await?)?;
    let output = seen.output()?;
    if out.is_json() {
        let text = std::str::from_utf8(&output).ok();
        out.result(String::new, || json!({ "output": hex::encode(&output), "text": text }));
        return Ok(());
    }
    // Bytes as they are: this may go into a file.
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(&output)
        .and_then(|()| stdout.flush())
        .doing(|| "cannot write the result".to_owned())
}

pub(super) async fn bundle(
    place: &Place,
    out: Out,
    session: &SessionId,
    file: &Path,
) -> Result<()> {
    let bundle = anchored::fetch(&place.node().await?, &place.rpc(None)?, session).await?;
    anchored::write(&bundle, file)?;
    out.result(
        || format!("written to {}: 'session verify {}' checks it", file.display(), file.display()),
        || json!({ "file": file, "sessionId": session.to_string() }),
    );
    Ok(())
}
