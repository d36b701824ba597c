use serde_json::{Value, json};
use session_core::{
    AccountId, ChainId, ConversationId, Digest, Domain, Encode as _, SeededEntropy, Span, Time,
};
use session_crypto::{Identity, PublicIdentity, Signer};
use session_protocol::chain::{Action, Amount, Transaction};
use session_runtime::SystemClock;
use session_vm::mailbox::signed::{
    Action as Wish, ChannelAction, SignedAction, SignedChannelAction, message_bytes,
};

use super::Node;

/// Both public keys in hex.
pub(crate) fn keys(of: &PublicIdentity) -> String {
    hex::encode(of.to_bytes())
}

/// Returns the bytes of a signed transfer.
pub(crate) fn transfer(
    chain: ChainId,
    from: &Identity,
    nonce: u64,
    to: AccountId,
    lux: u64,
) -> Vec<u8> {
    let action = Action::Transfer { to, amount: Amount::lux(lux) };
    let now: Time = SystemClock::new().now();
    let transaction = Transaction {
        version: 1,
        chain,
        sender: from.public().account_id(),
        nonce,
        fee_max: Amount(1_000_000),
        expires: now + Span::from_secs(3600),
        action,
    };
    transaction.sign(from, false, &mut SeededEntropy::new(nonce)).to_bytes()
}

/// Somebody with keys of its own.
pub(crate) struct Person {
    pub(crate) identity: Identity,
    rng: SeededEntropy,
}

impl Person {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = SeededEntropy::new(seed);
        Self { identity: Identity::generate(&mut rng), rng }
    }

    pub(crate) fn account(&self) -> AccountId {
        self.identity.public().account_id()
    }

    /// The account as calls write it.
    pub(crate) fn id(&self) -> String {
        self.identity.public().account_ref().to_string()
    }

    pub(crate) fn kem(&self) -> String {
        hex::encode(self.identity.public().kem().as_ref())
    }

    pub(crate) fn dsa(&self) -> String {
        hex::encode(self.identity.public().dsa().as_ref())
    }

    pub(crate) fn sign(&mut self, domain: Domain, bytes: &[u8]) -> String {
        hex::encode(self.identity.sign(domain, bytes, &mut self.rng).as_ref())
    }

    /// The parameters by which this person shows that it wishes something of a channel.
    pub(crate) fn channel(&mut self, scope: Digest, action: ChannelAction) -> String {
        let signed = SignedChannelAction { scope, member: self.account(), action };
        self.sign(Domain::ChannelAction, &signed.to_bytes())
    }
}

/// A conversation as a participant knows it.
#[derive(Clone, Copy)]
pub(crate) struct Talk {
    pub(crate) scope: Digest,
    pub(crate) id: ConversationId,
    pub(crate) expires: Time,
}

impl Talk {
    /// Opens a conversation that waits for all its participants.
    pub(crate) fn open(node: &Node, people: &[&Person]) -> Self {
        let created = node.ask("CreateSession", Self::params(people));
        Self::read(node, created["sessionId"].as_str().unwrap())
    }

    /// The seed's parameters for these participants.
    pub(crate) fn params(people: &[&Person]) -> Value {
        let ids: Vec<_> = people.iter().map(|person| person.id()).collect();
        let keys: Vec<_> = people.iter().map(|person| person.kem()).collect();
        json!({"participants": ids, "publicKeys": keys})
    }

    /// Learns of a conversation what its participants sign.
    pub(crate) fn read(node: &Node, id: &str) -> Self {
        let session = node.ask("GetSession", json!({"sessionId": id}));
        let expires = session["session"]["expires"].as_str().unwrap();
        let expires = session_rpc::vm::rfc3339::parse(expires).unwrap();
        Self { scope: node.scope(), id: id.parse().unwrap(), expires }
    }

    /// A participant's signed wish, with the key if `with_key`.
    pub(crate) fn wish(&self, person: &mut Person, action: Wish, with_key: bool) -> Value {
        let (participant, expires) = (person.account(), self.expires);
        let (scope, conversation) = (self.scope, self.id);
        let signed = SignedAction { scope, conversation, action, participant, expires };
        let signature = person.sign(Domain::ConversationAction, &signed.to_bytes());
        let mut params = json!({"sessionId": self.id.to_string(), "participant": person.id(), "signature": signature});
        if with_key {
            params["signingKey"] = person.dsa().into();
        }
        params
    }

    /// A signed message, with the key if `with_key`.
    pub(crate) fn message(
        &self,
        sender: &mut Person,
        counter: u64,
        ciphertext: &[u8],
        with_key: bool,
    ) -> Value {
        let bytes = message_bytes(&self.scope, &self.id, &sender.account(), counter, ciphertext);
        let signature = sender.sign(Domain::ConversationMessage, &bytes);
        let mut params = json!({
            "sessionId": self.id.to_string(),
            "sender": sender.id(),
            "ciphertext": hex::encode(ciphertext),
            "signature": signature,
            "counter": counter,
        });
        if with_key {
            params["signingKey"] = sender.dsa().into();
        }
        params
    }
}
