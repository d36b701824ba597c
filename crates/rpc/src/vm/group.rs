//! Parameters that belong together: which of several is given decides what is meant.

use serde_json::Value;
use session_core::{AccountId, BlockId, ConversationId};

use super::Profile;
use super::api::{DSA_KEY_BYTES, KEM_KEY_BYTES, SIGNATURE_BYTES};
use super::kind::{
    ANY_NUMBER, At, Hex, Kind, OneOf, Optional, Parameter, Take, id, identity, identity_text,
};
use crate::fields::{BadField, Fields};

/// A participant who asks for something, and shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Who asks.
    pub participant: AccountId,
    /// The signature over what is asked.
    pub signature: Vec<u8>,
    /// ML-DSA-65, if it is given.
    pub signing_key: Option<Vec<u8>>,
}

/// `participant` and `signature`, or neither; with them perhaps `signingKey`.
pub(crate) struct Signed;

const SIGNATURE: Hex = Hex::exactly(SIGNATURE_BYTES);

impl Take for Signed {
    type Value = Option<Asker>;

    fn take(
        &self,
        _: &'static str,
        fields: &mut Fields<'_>,
        profile: Profile,
    ) -> Result<Option<Asker>, BadField> {
        let participant = Optional(identity::<AccountId>()).take("participant", fields, profile)?;
        let signature = Optional(SIGNATURE).take("signature", fields, profile)?;
        let signing_key = Optional(DSA).take("signingKey", fields, profile)?;
        match (participant, signature) {
            (Some(participant), Some(signature)) => {
                Ok(Some(Asker { participant, signature, signing_key }))
            }
            (None, None) if signing_key.is_none() => Ok(None),
            (Some(_), None) => Err(fields.bad("signature", "it is missing, participant is given")),
            (None, Some(_)) => Err(fields.bad("participant", "it is missing, signature is given")),
            (None, None) => Err(fields.bad("participant", "it is missing, signingKey is given")),
        }
    }

    fn parameters(&self, _: &'static str) -> Vec<Parameter> {
        let mut parameters = Optional(identity::<AccountId>()).parameters("participant");
        parameters.extend(Optional(SIGNATURE).parameters("signature"));
        parameters.extend(Optional(DSA).parameters("signingKey"));
        parameters
    }
}

/// What is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The messages of a conversation.
    Session(ConversationId),
    /// Accepted blocks.
    Blocks,
}

/// `sessionId` or `topic`.
pub(crate) struct TopicChoice;

const TOPICS: OneOf<()> = OneOf(&[("blocks", ())]);

impl Take for TopicChoice {
    type Value = Topic;

    fn take(
        &self,
        _: &'static str,
        fields: &mut Fields<'_>,
        profile: Profile,
    ) -> Result<Topic, BadField> {
        let session = Optional(id()).take("sessionId", fields, profile)?;
        match (session, Optional(TOPICS).take("topic", fields, profile)?) {
            (Some(session), None) => Ok(Topic::Session(session)),
            (None, Some(())) => Ok(Topic::Blocks),
            (None, None) => Err(fields.bad("sessionId", "it is missing, and so is topic")),
            (Some(_), Some(())) => {
                Err(fields.bad("topic", "sessionId is given too: give one of them"))
            }
        }
    }

    fn parameters(&self, _: &'static str) -> Vec<Parameter> {
        let mut session = Optional(id::<ConversationId>()).parameters("sessionId");
        session.extend(without_sample(Optional(TOPICS).parameters("topic")));
        session
    }
}

// A parameter that excludes the one before it: an example holds only one of them.
fn without_sample(parameters: Vec<Parameter>) -> impl Iterator<Item = Parameter> {
    parameters.into_iter().map(|parameter| Parameter { sample: Value::Null, ..parameter })
}

/// Which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockAt {
    /// The last accepted one.
    Last,
    /// The one at a height.
    Height(u64),
    /// The one with an id.
    Id(BlockId),
}

/// `height`, `blockId`, or neither.
pub(crate) struct BlockChoice;

impl Take for BlockChoice {
    type Value = BlockAt;

    fn take(
        &self,
        _: &'static str,
        fields: &mut Fields<'_>,
        profile: Profile,
    ) -> Result<BlockAt, BadField> {
        let height = Optional(ANY_NUMBER).take("height", fields, profile)?;
        match (height, Optional(id()).take("blockId", fields, profile)?) {
            (None, None) => Ok(BlockAt::Last),
            (Some(height), None) => Ok(BlockAt::Height(height)),
            (None, Some(id)) => Ok(BlockAt::Id(id)),
            (Some(_), Some(_)) => {
                Err(fields.bad("blockId", "height is given too: give one of them"))
            }
        }
    }

    fn parameters(&self, _: &'static str) -> Vec<Parameter> {
        let mut height = Optional(ANY_NUMBER).parameters("height");
        height.extend(without_sample(Optional(id::<BlockId>()).parameters("blockId")));
        height
    }
}

/// An account's public keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// ML-KEM-768, 1184 bytes.
    pub kem: Vec<u8>,
    /// ML-DSA-65, 1952 bytes.
    pub dsa: Vec<u8>,
}

/// Both keys in one parameter, or `publicKey` and `signingKey`.
pub(crate) struct KeyChoice;

const BOTH: Hex = Hex::exactly(KEM_KEY_BYTES + DSA_KEY_BYTES);
const KEM: Hex = Hex::exactly(KEM_KEY_BYTES);
const DSA: Hex = Hex::exactly(DSA_KEY_BYTES);

impl Take for KeyChoice {
    type Value = KeyPair;

    fn take(
        &self,
        name: &'static str,
        fields: &mut Fields<'_>,
        profile: Profile,
    ) -> Result<KeyPair, BadField> {
        let both = Optional(BOTH).take(name, fields, profile)?;
        let kem = Optional(KEM).take("publicKey", fields, profile)?;
        let dsa = Optional(DSA).take("signingKey", fields, profile)?;
        match (both, kem, dsa) {
            (Some(mut kem), None, None) => {
                let dsa = kem.split_off(KEM_KEY_BYTES);
                Ok(KeyPair { kem, dsa })
            }
            (None, Some(kem), Some(dsa)) => Ok(KeyPair { kem, dsa }),
            (None, None, None) => {
                let why = "it is missing, and so are publicKey and signingKey";
                Err(fields.bad(name, why))
            }
            (None, None, Some(_)) => Err(fields.bad("publicKey", "it is missing")),
            (None, Some(_), None) => Err(fields.bad("signingKey", "it is missing")),
            (Some(_), ..) => {
                let why = "publicKey or signingKey is given too: give one form of the keys";
                Err(fields.bad(name, why))
            }
        }
    }

    fn parameters(&self, name: &'static str) -> Vec<Parameter> {
        let mut both = Optional(BOTH).parameters(name);
        both.extend(without_sample(Optional(KEM).parameters("publicKey")));
        both.extend(without_sample(Optional(DSA).parameters("signingKey")));
        both
    }
}

/// A table of the state whose keys are 32-byte ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateTable {
    /// Accounts.
    Account,
    /// Keys of accounts.
    AccountKeys,
    /// Service nodes.
    Node,
    /// Keys of service nodes.
    NodeKeys,
    /// Workload sessions.
    Workload,
    /// Conversations.
    Conversation,
    /// Channels.
    Channel,
}

/// Which entry of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The one with these raw bytes.
    Raw(Vec<u8>),
    /// The one of a thing in a table.
    Of {
        /// The table.
        table: StateTable,
        /// The thing's 32-byte id.
        id: [u8; 32],
    },
}

/// `key`, or `table` and `id`.
pub(crate) struct Keys(pub(crate) Hex);

/// The 32 bytes of any id, in every form that an id has.
struct AnyId;

impl Kind for AnyId {
    type Value = [u8; 32];

    fn read(&self, at: At<'_>, value: &Value, _: Profile) -> Result<[u8; 32], BadField> {
        let Some(text) = value.as_str() else {
            return Err(BadField::new(at.to_string(), "it must be a text"));
        };
        identity_text::<session_core::Digest>(at, text).map(|id| *id.as_bytes())
    }

    fn schema(&self) -> Value {
        identity::<session_core::Digest>().schema()
    }

    fn sample(&self) -> Value {
        Value::Null
    }
}

const TABLE: OneOf<StateTable> = OneOf(&[
    ("account", StateTable::Account),
    ("accountKeys", StateTable::AccountKeys),
    ("node", StateTable::Node),
    ("nodeKeys", StateTable::NodeKeys),
    ("workload", StateTable::Workload),
    ("conversation", StateTable::Conversation),
    ("channel", StateTable::Channel),
]);

impl Take for Keys {
    type Value = Key;

    fn take(
        &self,
        _: &'static str,
        fields: &mut Fields<'_>,
        profile: Profile,
    ) -> Result<Key, BadField> {
        let key = Optional(&self.0).take("key", fields, profile)?;
        let table = Optional(TABLE).take("table", fields, profile)?;
        let id = Optional(AnyId).take("id", fields, profile)?;
        match (key, table, id) {
            (Some(key), None, None) => Ok(Key::Raw(key)),
            (None, Some(table), Some(id)) => Ok(Key::Of { table, id }),
            (None, None, None) => Err(fields.bad("key", "it is missing, and so are table and id")),
            (None, Some(_), None) => Err(fields.bad("id", "it is missing, table is given")),
            (None, None, Some(_)) => Err(fields.bad("table", "it is missing, id is given")),
            (Some(_), ..) => {
                Err(fields.bad("key", "table or id is given too: give one form of the key"))
            }
        }
    }

    fn parameters(&self, _: &'static str) -> Vec<Parameter> {
        let mut key = Optional(&self.0).parameters("key");
        key.extend(without_sample(Optional(TABLE).parameters("table")));
        key.extend(without_sample(Optional(AnyId).parameters("id")));
        key
    }
}
