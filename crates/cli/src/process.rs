//! A program of a local network: started, watched, stopped, killed.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::exit::{Doing, Failure, Result};

/// A program that runs, or does not. It ends with this one, however this one ends.
pub(crate) struct Process {
    name: String,
    program: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// `name` is what people call it, `log` gets what it says.
    pub(crate) const fn new(name: String, program: PathBuf, log: PathBuf) -> Self {
        Self { name, program, log, child: None }
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    pub(crate) const fn is_started(&self) -> bool {
        self.child.is_some()
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Starts it; it stops by itself when its standard input ends.
    pub(crate) fn start(&mut self, args: &[OsString]) -> Result<()> {
        let log = || format!("cannot open {}", self.log.display());
        let output = File::options().create(true).append(true).open(&self.log).doing(log)?;
        let errors = output.try_clone().doing(log)?;
        let child = Command::new(&self.program)
            .args(args)
            .arg("--stop-with-stdin")
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .doing(|| format!("cannot start {}", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Fails if it was started and has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        match child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Failure::failed(format!(
                "{} ended at once ({status}): {}",
                self.name,
                last_line(&self.log)
            ))),
            Err(error) => Err(Failure::failed(format!("cannot watch {}: {error}", self.name))),
        }
    }

    /// Tells, once, how it ended if it ended by itself.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(format!("{} ended ({status}); see {}", self.name, self.log.display()))
    }

    /// Ends it the hard way, with SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.doing(|| format!("cannot kill {}", self.name))?;
        }
        Ok(())
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            // Fails only when the process is gone already.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }

    /// Waits until it has stopped, and kills it at the deadline. Returns whether it was killed.
    pub(crate) async fn wait_stopped(&mut self, deadline: Instant) -> bool {
        let Some(mut child) = self.child.take() else { return false };
        let late = tokio::time::timeout_at(deadline, child.wait()).await.is_err();
        if late {
            // The process may end by itself right now: nothing to do then.
            let _ = child.kill().await;
        }
        late
    }
}

/// Finds a program: the one that was named, or the one beside this program.
pub(crate) fn find(name: &str, given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return match path.exists() {
            true => Ok(path.to_owned()),
            false => Err(Failure::not_found(format!("--{name}: {} is not there", path.display()))),
        };
    }
    let own = std::env::current_exe().doing(|| "cannot find this program's folder".to_owned())?;
    let beside = own.with_file_name(name);
    if beside.exists() {
        return Ok(beside);
    }
    Err(Failure::not_found(format!(
        "{} is not there: build it with 'cargo build --release', or name it with --{name}",
        beside.display()
    )))
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}
