//! The law between logic and world.
//!
//! Logic is a [`Machine`]: it is handed an input and a [`Context`], and leaves effects behind. It
//! never reads a clock, draws entropy, opens a file or socket, spawns or awaits.
//!
//! **One call is one transaction.** The shell makes what the call wrote durable, and only then
//! performs its effects, in order. It may run many calls before one commit, as long as no effect
//! leaves before the commit that its call belongs to.

use crate::entropy::Entropy;
use crate::time::Time;

/// The only door out of a machine.
pub struct Context<'a, S: ?Sized, E> {
    /// The time of this call, from the shell's clock.
    pub now: Time,
    /// The transaction that this call writes into.
    pub store: &'a mut S,
    /// Randomness; seeded in the simulator.
    pub rng: &'a mut dyn Entropy,
    /// What the shell does once the transaction is durable, in this order.
    pub effects: &'a mut Vec<E>,
}

impl<'a, S: ?Sized, E> Context<'a, S, E> {
    /// Lends the same doors to an owned machine whose effects differ in type.
    ///
    /// The inner effects go to `inner`; the caller maps them into its own.
    pub fn lend<'b, F>(&'b mut self, inner: &'b mut Vec<F>) -> Context<'b, S, F> {
        Context { now: self.now, store: self.store, rng: self.rng, effects: inner }
    }
}

/// A pure piece of the system that the shell or the simulator drives.
pub trait Machine {
    /// The store whose transaction a call writes into; `()` for machines that keep nothing.
    type Store: ?Sized;
    /// What happened, in the past tense.
    type Input;
    /// What the shell is ordered to do.
    type Effect;

    /// Handles one input.
    fn handle(&mut self, cx: &mut Context<'_, Self::Store, Self::Effect>, input: Self::Input);

    /// Returns the next time at which [`Machine::tick`] wants to run.
    fn deadline(&self) -> Option<Time>;

    /// Does what is due at `cx.now`.
    fn tick(&mut self, cx: &mut Context<'_, Self::Store, Self::Effect>);
}

#[cfg(test)]
mod tests;
