use std::time::SystemTime;

use serde_json::{Value, json};
use session_core::{AccountId, Encode as _, NodeId, SeededEntropy, Time};
use session_crypto::Identity;
use session_messaging::content::{Message, open_message};
use session_protocol::membership::network_id;
use session_protocol::owner::{Authorization, OwnerAction, OwnerOperation};

/// An account that signs for the network of [`Place`](super::Place).
pub(crate) struct Owner {
    identity: Identity,
    rng: SeededEntropy,
}

impl Owner {
    pub(crate) fn new(seed: u8) -> Self {
        Self { identity: Identity::from_seed(&[seed; 32]), rng: SeededEntropy::new(seed.into()) }
    }

    pub(crate) fn account(&self) -> AccountId {
        self.identity.public().account_id()
    }

    /// Returns the parameters that publish the account's keys.
    pub(crate) fn card(&self) -> Value {
        json!({
            "account": self.account().to_string(), "namespace": 1, "ttl": 3_600_000,
            "data": hex::encode(self.identity.public().to_bytes()),
        })
    }

    /// Opens a message to the account.
    pub(crate) fn open(&self, item: &[u8]) -> Message {
        open_message(&self.identity, network_id("test"), item).unwrap()
    }

    /// Returns the parameters that prove an action, keys included.
    pub(crate) fn prove(&mut self, action: OwnerAction) -> Value {
        self.prove_at(action, now())
    }

    pub(crate) fn prove_at(&mut self, action: OwnerAction, now: Time) -> Value {
        let network = network_id("test");
        let operation = OwnerOperation::sign(network, &self.identity, action, now, &mut self.rng);
        let Authorization::Signed { nonce, signature, .. } = operation.authorization else {
            panic!("it was signed")
        };
        json!({
            "account": format!("07{}", self.account()),
            "keys": hex::encode(self.identity.public().to_bytes()),
            "timestamp": now.as_millis(),
            "nonce": nonce.to_string(),
            "signature": hex::encode(signature.to_bytes()),
        })
    }
}

#[allow(clippy::disallowed_methods)] // a client's clock
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap())
}

/// Returns the whole inbox as an action.
pub(crate) fn read_all(audience: NodeId) -> OwnerAction {
    use session_core::Namespace;
    use session_protocol::request::{Cursor, Select};
    let select = Select::After { cursor: Cursor::default() };
    OwnerAction::Retrieve { namespace: Namespace(0), select, bytes_max: 768 * 1024, audience }
}
