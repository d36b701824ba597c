//! What most tests ask, and how they look at the answers.

use session_client::{Answer, Command, Error, Inbox};
use session_core::InboxAddress;
use session_protocol::inbox::MESSAGES;

use crate::world::World;

/// Somebody else.
pub(crate) fn bob() -> InboxAddress {
    InboxAddress::from([0xb0; 32])
}

/// New items of the own inbox, from so many nodes.
pub(crate) fn read(nodes: usize) -> Command {
    Command::Retrieve { from: Inbox::Own, namespace: MESSAGES, cursors: [].into(), nodes }
}

/// Requires that a store came to its end.
pub(crate) fn stored(result: &Result<Answer, Error>) {
    assert!(matches!(result, Ok(Answer::Stored(_))), "{result:?}");
}

/// Runs a command, and tells how many milliseconds it took.
pub(crate) fn timed(world: &mut World, command: Command) -> (Result<Answer, Error>, u64) {
    let before = world.now;
    let result = world.run(command);
    (result, world.now.since(before).as_millis())
}
