//! One place that has the chain: a sequencer or one of its followers, over HTTP.
//!
//! What it says is not believed: blocks are checked by whoever takes them, and answers about the
//! state serve only people and the choice of a nonce.

use std::time::Duration;

use serde_json::{Value, json};
use session_core::{ChainId, Decode as _, TxId};
use session_protocol::chain::SealedBlock;
use session_runtime::failure::chain as chained;
use session_runtime::http::client::{BadEndpoint, Client, Endpoint, Options};

/// Longest answer: a block and its seal, or a page of nodes.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// The prefix of method names.
const METHODS: &str = "sessionvm.";

/// A source.
pub(crate) struct Source {
    client: Client,
}

/// Why there is no answer of use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// It cannot be asked now.
    #[error("{0}")]
    Away(String),
    /// It says what cannot be.
    #[error("{0}")]
    Lies(String),
    /// It refused a call.
    #[error("{0}")]
    Refused(Refused),
}

/// A call that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The refusal's number.
    pub(crate) code: i64,
    /// The stable name of the rule that a transaction broke.
    pub(crate) rejection: Option<String>,
    /// For people.
    pub(crate) why: String,
}

impl Refused {
    /// Another transaction of this account waits with the nonce: of an earlier run of this program,
    /// or of a command that was given beside it.
    pub(crate) fn is_nonce_taken(&self) -> bool {
        self.rejection.is_none() && self.why.contains("waits with nonce")
    }

    /// The account has gone on, or the source has not yet.
    pub(crate) fn is_of_another_nonce(&self) -> bool {
        self.rejection.as_deref() == Some("nonce")
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

/// What a source says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Its last block.
    pub(crate) height: u64,
    /// Its version.
    pub(crate) version: String,
    /// What is wrong with it, in its own words.
    pub(crate) fault: Option<String>,
}

impl Source {
    /// Makes the client of a source; `patience` is how long one answer may take.
    pub(crate) fn new(endpoint: Endpoint, patience: Duration) -> Self {
        let options = Options {
            total_timeout: patience,
            read_timeout: patience,
            body_bytes_max: ANSWER_BYTES_MAX,
            ..Options::default()
        };
        Self { client: Client::new(endpoint, options) }
    }

    /// Reads a list of URLs, separated by commas.
    ///
    /// # Errors
    /// When one is none.
    pub(crate) fn endpoints(list: &str) -> Result<Vec<Endpoint>, BadEndpoint> {
        let texts = list.split(',').map(str::trim).filter(|text| !text.is_empty());
        texts.map(Endpoint::parse).collect()
    }

    /// Returns where it is: `host:port`.
    pub(crate) fn name(&self) -> String {
        self.client.endpoint().authority()
    }

    /// Asks which chain it has: two chains without blocks look alike.
    ///
    /// # Errors
    /// When it does not answer, or has another one.
    pub(crate) async fn meet(&self, own: &ChainId) -> Result<Said, Trouble> {
        let answer = self.client.get("/health").await;
        let (_, body) = answer.map_err(|error| Trouble::Away(chained(&error)))?;
        let health: Value = serde_json::from_slice(&body).unwrap_or_default();
        let chain = health["chainId"].as_str();
        let chain = chain.ok_or_else(|| Trouble::Away("nobody there runs a chain".to_owned()))?;
        if chain != own.to_string() {
            return Err(Trouble::Lies(format!("it runs chain {chain}, this is {own}")));
        }
        Ok(Said {
            height: health["height"].as_u64().unwrap_or_default(),
            version: health["version"].as_str().unwrap_or_default().to_owned(),
            fault: health["fault"].as_str().map(str::to_owned),
        })
    }

    /// Fetches the sealed block at a height; waits for it that long, and returns nothing if it is
    /// not there then.
    ///
    /// # Errors
    /// When it does not answer, or answers something else.
    pub(crate) async fn fetch(
        &self,
        height: u64,
        wait: Duration,
    ) -> Result<Option<SealedBlock>, Trouble> {
        let path = format!("/blocks/{height}?wait={}", wait.as_millis());
        match self.client.get(&path).await {
            Ok((200, bytes)) => SealedBlock::decode_exact(&bytes)
                .map(Some)
                .map_err(|error| Trouble::Lies(format!("the answer is no sealed block: {error}"))),
            Ok((204, _)) => Ok(None),
            Ok((status, _)) => Err(Trouble::Away(format!("it answered {status}"))),
            Err(error) => Err(Trouble::Away(chained(&error))),
        }
    }

    /// Makes a call.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Result<Value, Trouble> {
        let call = json!({
            "jsonrpc": "2.0", "id": 1, "method": format!("{METHODS}{method}"), "params": params,
        });
        let answer = self.client.post("/rpc", "application/json", call.to_string()).await;
        let (status, body) = answer.map_err(|error| Trouble::Away(chained(&error)))?;
        let mut answer: Value = serde_json::from_slice(&body)
            .map_err(|_| Trouble::Away(format!("it answered {status} and no JSON")))?;
        let error = &answer["error"];
        if error.is_object() {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let message = text(&error["message"]).unwrap_or_else(|| error.to_string());
            let data = &error["data"];
            let why =
                text(&data["reason"]).map_or(message.clone(), |why| format!("{message}: {why}"));
            return Err(Trouble::Refused(Refused {
                code: error["code"].as_i64().unwrap_or_default(),
                rejection: text(&data["rejection"]),
                why,
            }));
        }
        Ok(answer["result"].take())
    }

    /// Hands a signed transaction over.
    ///
    /// # Errors
    /// When it does not answer, or refuses it.
    pub(crate) async fn issue(&self, transaction: &[u8]) -> Result<(), Trouble> {
        self.call("IssueTx", json!({ "tx": hex::encode(transaction) })).await.map(drop)
    }

    /// Returns whether it has a transaction, waiting or accepted.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn knows(&self, transaction: &TxId) -> Result<bool, Trouble> {
        match self.call("GetTx", json!({ "txId": transaction.to_string() })).await {
            Ok(_) => Ok(true),
            Err(Trouble::Refused(_)) => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }
}
