//! How the life of a plugin ends: by its host's word, or because the host is gone.
//!
//! Both hosts send SIGTERM, to the plugin or to its whole process group, at times when the chain
//! must go on; a terminal sends SIGINT to everybody. So SIGINT never counts, and SIGTERM counts
//! once the host has said `Shutdown`. A host that was killed says nothing at all: then the parent
//! process changes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, getppid};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// How long a driver may take from the end of its life until it returns: hosts kill after 5 s.
pub const FAREWELL_TIME: Duration = Duration::from_secs(4);

/// How often the parent process is looked at.
const PARENT_INTERVAL: Duration = Duration::from_secs(1);

/// Why a plugin ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// SIGTERM came after `Shutdown`.
    Terminated,
    /// The process that started the plugin is gone.
    ParentGone,
    /// The driver found its host gone.
    HostGone,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    shutdown_received: bool,
    end: Option<End>,
}

/// The life of this process as a plugin. Clones speak of the same life.
#[derive(Clone, Debug)]
pub struct Life {
    state: Arc<watch::Sender<State>>,
    // Ends the watching task with the last clone.
    _watching: Arc<Watching>,
}

#[derive(Debug)]
struct Watching(Option<JoinHandle<()>>);

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

/// Returns the process that started this one, as far as it can be seen from here.
#[must_use]
pub fn parent() -> Option<Pid> {
    getppid()
}

impl Life {
    /// Takes over SIGINT and SIGTERM and watches the parent process, from now on. `parent` is
    /// what [`parent`] returned when the program started.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(parent: Option<Pid>) -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        // Held, not looked at: having a handler is what ignores the signal.
        let interrupt = signal(SignalKind::interrupt())?;
        let state = Arc::new(watch::Sender::new(State::default()));
        let task = tokio::spawn(watch_over(state.clone(), terminate, interrupt, parent));
        Ok(Self { state, _watching: Arc::new(Watching(Some(task))) })
    }

    /// Makes a life that neither signals nor the parent process end, only [`Life::host_gone`]: for
    /// a driver inside a program that looks after itself.
    #[must_use]
    pub fn undisturbed() -> Self {
        let state = Arc::new(watch::Sender::new(State::default()));
        Self { state, _watching: Arc::new(Watching(None)) }
    }

    /// Notes that the host said `Shutdown`: from now on SIGTERM ends the plugin.
    pub fn shutdown_received(&self) {
        self.state.send_modify(|state| state.shutdown_received = true);
    }

    /// Returns whether the host said `Shutdown`.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.state.borrow().shutdown_received
    }

    /// Ends the plugin because its driver lost the host.
    pub fn host_gone(&self) {
        end(&self.state, End::HostGone);
    }

    /// Waits for the end and returns its reason. Dropping the future changes nothing.
    pub fn ended(&self) -> impl Future<Output = End> + Send + use<> {
        let mut state = self.state.subscribe();
        let life = self.clone();
        async move {
            let ended = state.wait_for(|state| state.end.is_some()).await;
            // The sender lives as long as `life`, which lives as long as this future.
            let end = ended.ok().and_then(|state| state.end).unwrap_or(End::HostGone);
            drop(life);
            end
        }
    }
}

/// The first reason stays.
fn end(state: &watch::Sender<State>, why: End) {
    state.send_modify(|state| {
        state.end.get_or_insert(why);
    });
}

async fn watch_over(
    state: Arc<watch::Sender<State>>,
    mut terminate: Signal,
    mut interrupt: Signal,
    parent: Option<Pid>,
) {
    let mut ticks = tokio::time::interval(PARENT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = terminate.recv() => {
                if state.borrow().shutdown_received {
                    end(&state, End::Terminated);
                } else {
                    tracing::info!("SIGTERM before the host's Shutdown: ignored");
                }
            }
            _ = interrupt.recv() => tracing::debug!("SIGINT: ignored"),
            _ = ticks.tick() => {
                if getppid() != parent {
                    end(&state, End::ParentGone);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
