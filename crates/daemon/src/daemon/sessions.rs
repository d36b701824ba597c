//! Workload sessions: the way of what their machine says to connections, to the chain and to whoever
//! runs programs and asks the world.

use std::collections::BTreeSet;

use session_core::{Machine as _, NodeId};
use session_executor::{Effect as Executed, Input as Execute};
use session_network::{Class, From};
use session_protocol::workload::Message;
use session_protocol::workload::message::{Answer, SessionRefusal};

use super::{Cx, Daemon, Effect, Report};

impl Daemon {
    /// Tells the executor, if there is one, and follows what it leaves behind.
    pub(super) fn execute(&mut self, cx: &mut Cx<'_>, input: Execute) {
        let Some(executor) = &mut self.executor else { return };
        let mut effects = Vec::new();
        executor.handle(&mut cx.lend(&mut effects), input);
        self.executed(cx, effects);
    }

    pub(super) fn tick_executor(&mut self, cx: &mut Cx<'_>) {
        let Some(executor) = &mut self.executor else { return };
        let mut effects = Vec::new();
        executor.tick(&mut cx.lend(&mut effects));
        self.executed(cx, effects);
    }

    /// A local caller brings bytes.
    pub(super) fn put_blob(&mut self, cx: &mut Cx<'_>, id: u64, bytes: Vec<u8>) {
        if self.executor.is_none() {
            let result = Err(SessionRefusal::NoChain);
            return cx.effects.push(Effect::BlobStored { id, result });
        }
        self.execute(cx, Execute::Put { id, bytes });
    }

    /// A local caller waits for an answer.
    pub(super) fn ask_sessions(&mut self, cx: &mut Cx<'_>, id: u64, input: Execute) {
        if self.executor.is_none() {
            let answer = Answer::Refused { refusal: SessionRefusal::NoChain };
            return cx.effects.push(Effect::SessionAnswer { id, answer });
        }
        self.execute(cx, input);
    }

    fn executed(&mut self, cx: &mut Cx<'_>, effects: Vec<Executed>) {
        for effect in effects {
            match effect {
                Executed::Send { nodes, message } => self.say(cx, &nodes, &message),
                Executed::Connect { nodes } => self.connect_sessions(cx, nodes),
                Executed::Run(job) => cx.effects.push(Effect::RunProgram(job)),
                Executed::Forget { session } => {
                    cx.effects.push(Effect::ForgetProgram { session });
                }
                Executed::Fetch(fetch) => cx.effects.push(Effect::Fetch(fetch)),
                Executed::Submit { action } => cx.effects.push(Effect::Submit { action }),
                Executed::Accuse { evidence } => cx.effects.push(Effect::Accuse { evidence }),
                Executed::Stored { id, result } => {
                    cx.effects.push(Effect::BlobStored { id, result });
                }
                Executed::Answer { id, answer } => {
                    cx.effects.push(Effect::SessionAnswer { id, answer });
                }
                Executed::Misbehaved { node, why } => {
                    let why = why.to_owned();
                    let input = session_network::Input::Misbehaved { node, why };
                    self.network(cx, |network, cx| network.handle(cx, input));
                }
                Executed::Note(note) => cx.effects.push(Effect::Report(Report::Session(note))),
            }
        }
    }

    /// A committee knows itself by the machine's own hand: nothing is sent to this node.
    fn say(&mut self, cx: &mut Cx<'_>, nodes: &[NodeId], message: &Message) {
        let class = if message.is_bulk() { Class::Bulk } else { Class::Interactive };
        let me = self.node;
        for node in nodes.iter().filter(|node| **node != me) {
            self.network(cx, |network, cx| {
                network.send_to(cx, From::Node(*node), class, message.kind(), message)
            });
        }
    }

    fn connect_sessions(&mut self, cx: &mut Cx<'_>, mut nodes: BTreeSet<NodeId>) {
        nodes.remove(&self.node);
        let before = std::mem::replace(&mut self.links.sessions, nodes);
        let changed: Vec<NodeId> =
            before.symmetric_difference(&self.links.sessions).copied().collect();
        for node in changed {
            self.keep_link(cx, node);
        }
    }
}
