//! The program of a bot: run once for a message, or kept alive.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::answer::{Answer, LINE_BYTES_MAX};
use crate::exit::{Doing, Failure, Result};
use crate::home::PASSPHRASE_VARIABLE;

/// Most that a program may write for one message.
const OUTPUT_BYTES_MAX: u64 = 1024 * 1024;

/// Most answers to one message.
const ANSWERS_MAX: usize = 32;

fn start(command: &[OsString]) -> Result<Child> {
    let (program, args) = command.split_first().ok_or_else(|| Failure::usage("no program"))?;
    let what = || format!("cannot run {}", program.display());
    let mut command = Command::new(program);
    // What it prints as errors is for whoever started the bot. Passphrases are not for it.
    command.args(args).env_remove(PASSPHRASE_VARIABLE).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command.spawn().doing(what)
}

/// A program that is run for each message.
pub(super) struct Once<'a> {
    pub(super) command: &'a [OsString],
    pub(super) limit: Duration,
}

impl Once<'_> {
    /// Runs it for one message; returns what it says.
    pub(super) async fn run(&self, line: &Value) -> Result<Vec<Answer>> {
        let mut child = start(self.command)?;
        let work = async {
            let mut stdin = child.stdin.take().expect("it is piped");
            let mut stdout = child.stdout.take().expect("it is piped").take(OUTPUT_BYTES_MAX + 1);
            let mut output = Vec::new();
            let text = format!("{line}\n");
            let write = async {
                // A program that does not read its input still may answer.
                let _ = stdin.write_all(text.as_bytes()).await;
                drop(stdin);
            };
            let ((), read) = tokio::join!(write, stdout.read_to_end(&mut output));
            read.doing(|| "cannot read from the program".to_owned())?;
            if output.len() as u64 > OUTPUT_BYTES_MAX {
                let why =
                    format!("the program wrote over {OUTPUT_BYTES_MAX} bytes: nothing is said");
                return Err(Failure::failed(why));
            }
            let status = child.wait().await.doing(|| "cannot wait for the program".to_owned())?;
            if !status.success() {
                return Err(Failure::failed(format!(
                    "the program failed ({status}): nothing is said"
                )));
            }
            read_all(&output)
        };
        // The program is killed when it is dropped.
        tokio::time::timeout(self.limit, work).await.unwrap_or_else(|_| {
            Err(Failure::failed(format!("the program took over {:?}: nothing is said", self.limit)))
        })
    }
}

fn read_all(output: &[u8]) -> Result<Vec<Answer>> {
    let text = std::str::from_utf8(output).doing(|| "the program wrote no text".to_owned())?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.len() > ANSWERS_MAX {
        let got = lines.len();
        return Err(Failure::failed(format!(
            "the program wrote {got} answers, {ANSWERS_MAX} are allowed"
        )));
    }
    lines.into_iter().map(Answer::read).collect()
}

/// A program that stays.
pub(super) struct Stream {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
}

impl Stream {
    pub(super) fn start(command: &[OsString]) -> Result<Self> {
        let mut child = start(command)?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Self { child, stdin, stdout, begun: Vec::new() })
    }

    /// Tells it of a message.
    pub(super) async fn tell(&mut self, line: &Value) -> Result<()> {
        let stdin = self.stdin.as_mut().ok_or_else(|| Failure::failed("the program has ended"))?;
        let text = format!("{line}\n");
        let told = tokio::time::timeout(Duration::from_secs(30), stdin.write_all(text.as_bytes()));
        match told.await {
            Ok(told) => told.doing(|| "the program does not listen".to_owned()),
            Err(_) => Err(Failure::failed("the program reads nothing for 30 s")),
        }
    }

    /// Waits for the next answer; `None` once it has ended. Dropping the future loses nothing. Lines
    /// that are no answers are left out, with a warning.
    pub(super) async fn next(&mut self) -> Result<Option<Answer>> {
        loop {
            let Some(line) = next_line(&mut self.stdout, &mut self.begun).await? else {
                return Ok(None);
            };
            match Answer::read(&line) {
                Ok(answer) => return Ok(Some(answer)),
                Err(failure) => tracing::warn!("{failure}"),
            }
        }
    }

    /// Tells it that nothing follows, and returns what it still says.
    pub(super) async fn finish(mut self, limit: Duration) -> Vec<Answer> {
        drop(self.stdin.take());
        let mut answers = Vec::new();
        let read = async {
            while let Ok(Some(answer)) = self.next().await {
                answers.push(answer);
                if answers.len() >= ANSWERS_MAX {
                    break;
                }
            }
        };
        // It is killed when it is dropped.
        let _ = tokio::time::timeout(limit, read).await;
        let _ = self.child.start_kill();
        answers
    }
}

/// Reads a line, going on where a dropped future stopped.
async fn next_line(
    input: &mut (impl AsyncBufRead + Unpin),
    begun: &mut Vec<u8>,
) -> Result<Option<String>> {
    loop {
        let some = input.fill_buf().await.doing(|| "cannot read from the program".to_owned())?;
        if some.is_empty() {
            return Ok(None);
        }
        let end = some.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(some.len(), |end| end + 1);
        if begun.len() + taken > LINE_BYTES_MAX {
            return Err(Failure::failed(format!(
                "the program wrote a line over {LINE_BYTES_MAX} bytes"
            )));
        }
        begun.extend_from_slice(&some[..taken]);
        input.consume(taken);
        if end.is_some() {
            let line = String::from_utf8_lossy(begun).into_owned();
            begun.clear();
            if !line.trim().is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests;
