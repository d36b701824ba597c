//! The states of a session, as the seed has them, and what leads from one to the next.

use crate::report::SessionState;

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It has not begun.
    Pending,
    /// The program runs; after its end the committee attests what came of it.
    Running {
        /// The compute step.
        step: u32,
    },
    /// The world is asked.
    WaitingIo {
        /// The step of the request.
        step: u32,
    },
    /// It ended well.
    Finalized {
        /// How many steps it had.
        steps: u32,
    },
    /// It ended badly.
    Failed {
        /// How many steps it had, the last one perhaps unfinished.
        steps: u32,
    },
}

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It began.
    Started,
    /// The program asked the world.
    Asked,
    /// The committee decided what the world said.
    Decided,
    /// The program goes on as new.
    Checkpointed,
    /// A quorum attests that it ended well.
    Finalized,
    /// It failed: attested, or over its time.
    Failed,
}

/// Something happened that cannot happen in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session that is {} cannot be {event:?}", state.name())]
pub(crate) struct NotAllowed {
    /// The state.
    pub(crate) state: SessionState,
    /// What happened.
    pub(crate) event: Event,
}

impl State {
    /// Returns the state after an event.
    pub(crate) fn after(self, event: Event) -> Result<Self, NotAllowed> {
        match (self, event) {
            (Self::Pending, Event::Started) => Ok(Self::Running { step: 0 }),
            (Self::Running { step }, Event::Asked) => Ok(Self::WaitingIo { step: step + 1 }),
            (Self::Running { step }, Event::Checkpointed) => Ok(Self::Running { step: step + 1 }),
            (Self::Running { step }, Event::Finalized) => Ok(Self::Finalized { steps: step + 1 }),
            (Self::WaitingIo { step }, Event::Decided) => Ok(Self::Running { step: step + 1 }),
            (Self::Pending, Event::Failed) => Ok(Self::Failed { steps: 0 }),
            (Self::Running { step } | Self::WaitingIo { step }, Event::Failed) => {
                Ok(Self::Failed { steps: step + 1 })
            }
            (state, event) => Err(NotAllowed { state: state.name(), event }),
        }
    }

    /// Returns the step that it is at; of an ended session the last one.
    pub(crate) const fn step(self) -> u32 {
        match self {
            Self::Pending => 0,
            Self::Running { step } | Self::WaitingIo { step } => step,
            Self::Finalized { steps } | Self::Failed { steps } => steps.saturating_sub(1),
        }
    }

    /// Returns whether nothing can happen any more.
    pub(crate) const fn is_ended(self) -> bool {
        matches!(self, Self::Finalized { .. } | Self::Failed { .. })
    }

    /// Returns its name.
    pub(crate) const fn name(self) -> SessionState {
        match self {
            Self::Pending => SessionState::Pending,
            Self::Running { .. } => SessionState::Running,
            Self::WaitingIo { .. } => SessionState::WaitingIo,
            Self::Finalized { .. } => SessionState::Finalized,
            Self::Failed { .. } => SessionState::Failed,
        }
    }
}

#[cfg(test)]
mod tests;
