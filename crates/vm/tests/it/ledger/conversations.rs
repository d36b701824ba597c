use session_core::merkle::{BadProof, Tree};
use session_core::{AccountId, ConversationId, Digest, Domain, Span, TxId, digest};
use session_protocol::chain::Action;
use session_vm::ledger::{CONVERSATION_TTL_MAX, CONVERSATION_TTL_MIN, PARTICIPANTS_MAX, Rejection};
use session_vm::query;

use super::world::{HOUR, World};

const SALT: [u8; 32] = [4; 32];

fn leaf(salt: &[u8; 32], account: &AccountId) -> Digest {
    digest(Domain::ConversationParticipant, &[salt, account.as_bytes()])
}

fn tree(world: &World, participants: &[usize]) -> Tree {
    Tree::new(participants.iter().map(|who| leaf(&SALT, &world.id(*who))))
}

fn open(world: &mut World, tree: &Tree, ttl: Span) -> Result<TxId, Rejection> {
    let participants = tree.count() as u16;
    world.run(1, Action::OpenConversation { participants_root: tree.root(), participants, ttl })
}

fn id(world: &World, tx: &TxId) -> ConversationId {
    let made = digest(Domain::Conversation, &[world.chain.as_bytes(), tx.as_bytes()]);
    ConversationId::from(*made.as_bytes())
}

fn close(conversation: ConversationId, tree: &Tree, index: u64) -> Action {
    Action::CloseConversation { conversation, salt: SALT, proof: tree.prove(index).unwrap() }
}

#[test]
fn a_participant_closes_a_conversation_once() {
    let mut world = World::new(0);
    let tree = tree(&world, &[1, 2, 3]);
    let tx = open(&mut world, &tree, HOUR).unwrap();
    let id = id(&world, &tx);
    let opened = query::conversation(&world.state, &id).unwrap();
    assert_eq!((opened.participants, opened.opened_by), (3, world.id(1)));
    assert_eq!((opened.expires, opened.closed), (world.now + HOUR, None));

    // Somebody else, with the proof of a participant.
    let refused = world.run(4, close(id, &tree, 1)).unwrap_err();
    assert!(matches!(refused, Rejection::NotParticipant(BadProof::Root { .. })), "{refused}");
    // A participant, with the proof of another one.
    assert!(world.run(2, close(id, &tree, 0)).is_err());
    world.run(2, close(id, &tree, 1)).unwrap();
    let closed = world.now;
    assert_eq!(query::conversation(&world.state, &id).unwrap().closed, Some(closed));
    let again = world.run(1, close(id, &tree, 0));
    assert_eq!(again, Err(Rejection::ConversationClosed { closed }));

    let conversation = [9; 32].into();
    let unknown = Err(Rejection::UnknownConversation { conversation });
    assert_eq!(world.run(1, close(conversation, &tree, 0)), unknown);
}

#[test]
fn the_root_has_as_many_leaves_as_it_says() {
    let mut world = World::new(0);
    let tree = tree(&world, &[1, 2, 3]);
    let open =
        Action::OpenConversation { participants_root: tree.root(), participants: 2, ttl: HOUR };
    let tx = world.run(1, open).unwrap();
    let id = id(&world, &tx);
    let refused = Err(Rejection::ParticipantCount { got: 3, participants: 2 });
    assert_eq!(world.run(2, close(id, &tree, 1)), refused);
}

#[test]
fn an_expired_conversation_stays_expired() {
    let mut world = World::new(0);
    let tree = tree(&world, &[1]);
    let tx = open(&mut world, &tree, CONVERSATION_TTL_MIN).unwrap();
    let id = id(&world, &tx);
    let expires = world.now + CONVERSATION_TTL_MIN;
    world.pass(CONVERSATION_TTL_MIN);
    for _ in 0..2 {
        let refused = world.run(1, close(id, &tree, 0));
        assert_eq!(refused, Err(Rejection::ConversationExpired { expires }));
    }
}

#[test]
fn participants_and_lifetimes_are_bounded() {
    let mut world = World::new(0);
    let root = Digest::default();
    let action =
        |participants, ttl| Action::OpenConversation { participants_root: root, participants, ttl };
    for got in [0, PARTICIPANTS_MAX + 1] {
        let refused = world.run(1, action(got, HOUR));
        assert_eq!(refused, Err(Rejection::Participants { got }));
    }
    let moment = Span::from_millis(1);
    let short = Span::from_millis(CONVERSATION_TTL_MIN.as_millis() - 1);
    for got in [Span::ZERO, short, CONVERSATION_TTL_MAX + moment] {
        assert_eq!(world.run(1, action(1, got)), Err(Rejection::Ttl { got }));
    }
    world.run(1, action(1, CONVERSATION_TTL_MIN)).unwrap();
    world.run(1, action(PARTICIPANTS_MAX, CONVERSATION_TTL_MAX)).unwrap();
}
