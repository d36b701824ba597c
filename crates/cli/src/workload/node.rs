//! Questions to a node about workload sessions, over its JSON-RPC.

use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};
use session_core::{Digest, Epoch, ServiceId, SessionId, TxId};
use session_protocol::workload::{BLOB_BYTES_MAX, blob_id};
use session_rpc::json_rpc::METHOD_NOT_FOUND;
use session_runtime::failure::chain as chained;
use session_runtime::http::client::{Client, Endpoint, Options};

use crate::chain::rpc::Answer;
use crate::exit::{Code, Doing, Failure, Result};
use crate::out::harmless;

/// How long a node may think: a bundle is put together from the whole session.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a node is asked again that asks for it.
const BUSY_MAX: u32 = 20;

/// The pause before.
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// A node that is asked.
pub(crate) struct Node {
    client: Client,
}

impl Node {
    pub(crate) fn new(url: Endpoint) -> Self {
        let options = Options { read_timeout: PATIENCE, ..Options::default() };
        Self { client: Client::new(url, options) }
    }

    /// Returns whether it answers.
    pub(crate) async fn is_well(&self) -> bool {
        self.client.get("/health").await.is_ok_and(|(status, _)| status == 200)
    }

    /// Uploads a module, a workload or an input, and checks that the node calls it as we do.
    pub(crate) async fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let params = json!({ "data": Base64::encode_string(bytes), "encoding": "base64" });
        let answer = self.call("PutBlob", params).await?;
        let (named, own): (Digest, _) = (answer.parsed("blob")?, blob_id(bytes));
        match named == own {
            true => Ok(own),
            false => Err(answer.wrong(&format!("it names the blob {named}, it is {own}"))),
        }
    }

    /// Tells the committee of a session where its program and input are.
    pub(crate) async fn create(
        &self,
        (service, epoch, tx): (&ServiceId, Epoch, &TxId),
        (program, input): (&Digest, &Digest),
    ) -> Result<SessionId> {
        let params = json!({
            "service": service.to_string(), "epoch": epoch.0, "tx": tx.to_string(),
            "program": program.to_string(), "input": input.to_string(),
        });
        self.call("CreateSession", params).await?.parsed("sessionId")
    }

    pub(crate) async fn start(&self, session: &SessionId) -> Result<()> {
        self.call("StartSession", json!({ "sessionId": session.to_string() })).await.map(drop)
    }

    /// Returns a session, as the node or the member that it asked sees it.
    pub(crate) async fn session(&self, session: &SessionId) -> Result<Answer> {
        let answer = self.call("GetSession", json!({ "sessionId": session.to_string() })).await?;
        answer.inner("session")
    }

    /// Returns lines of the log, and the number of the one after them.
    pub(crate) async fn logs(&self, session: &SessionId, from: u32) -> Result<(Vec<String>, u32)> {
        let params = json!({ "sessionId": session.to_string(), "from": from });
        let answer = self.call("GetLogs", params).await?;
        let next = u32::try_from(answer.number("next")?).map_err(|error| answer.wrong(&error))?;
        Ok((answer.texts("lines")?, next))
    }

    /// Returns the bundle of a session that ended: its canonical bytes.
    pub(crate) async fn bundle(&self, session: &SessionId) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let params = json!({
                "sessionId": session.to_string(), "offset": bytes.len(), "encoding": "base64",
            });
            let answer = self.call("GetBundle", params).await?;
            let total = usize::try_from(answer.number("total")?).unwrap_or(usize::MAX);
            if total > BLOB_BYTES_MAX {
                return Err(answer.wrong(&format!("{total} bytes are over {BLOB_BYTES_MAX}")));
            }
            let part = Base64::decode_vec(answer.text("data")?)
                .map_err(|error| answer.wrong(&format!("data: {error}")))?;
            if part.is_empty() && bytes.len() < total {
                return Err(answer.wrong(&"the piece is empty"));
            }
            bytes.extend_from_slice(&part);
            if bytes.len() >= total {
                let named: Digest = answer.parsed("id")?;
                return match blob_id(&bytes) == named {
                    true => Ok(bytes),
                    // Another member may have answered in between, with another bundle.
                    false => Err(answer.wrong(&"its pieces are not of one bundle: try again")),
                };
            }
        }
    }

    /// Asks for one thing; a node that is busy is asked again.
    async fn call(&self, method: &'static str, params: Value) -> Result<Answer> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let call = call.to_string();
        for _ in 0..BUSY_MAX {
            let answered = self.client.post("/rpc", "application/json", call.clone()).await;
            let at = self.client.endpoint();
            let (status, body) = answered.map_err(|error| {
                let why = format!("the node at {at} does not answer: {}", chained(&error));
                Failure::new(Code::Network, why)
            })?;
            if status == 429 {
                tokio::time::sleep(BUSY_PAUSE).await;
                continue;
            }
            let body: Value = serde_json::from_slice(&body)
                .doing(|| format!("{at} answers HTTP {status} without JSON"))?;
            if let Some(error) = body.get("error").filter(|error| !error.is_null()) {
                return Err(refusal(method, error));
            }
            return match body.get("result") {
                Some(Value::Object(table)) => Ok(Answer::new(method, table.clone())),
                _ => {
                    Err(Failure::failed(format!("{at} answers with neither a result nor an error")))
                }
            };
        }
        Err(Failure::new(Code::Network, format!("{} is too busy", self.client.endpoint())))
    }
}

/// What a refusal means for scripts, and for people.
fn refusal(method: &str, error: &Value) -> Failure {
    let message = error.get("message").and_then(Value::as_str).unwrap_or("no reason given");
    if error.get("code").and_then(Value::as_i64) == Some(METHOD_NOT_FOUND.into()) {
        let why = format!("the node does not know the method {method}: it runs no workloads");
        return Failure::new(Code::Network, why);
    }
    let code = match message {
        "session not found" => Code::NotFound,
        _ => Code::Refused,
    };
    Failure::new(code, harmless(message))
}
