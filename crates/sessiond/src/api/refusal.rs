//! Refusals of the service as JSON-RPC errors.

use serde_json::{Value, json};
use session_protocol::request::Refusal;
use session_rpc::json_rpc::{ErrorObject, REFUSED};

/// Returns the error object of a refusal: code [`REFUSED`] minus its code in the binary protocol.
#[must_use]
pub fn error(refusal: &Refusal) -> ErrorObject {
    let code = REFUSED - i32::from(refusal.code());
    let error = ErrorObject::new(code, refusal.name(), refusal.to_string());
    match refusal {
        Refusal::BadRequest { field, .. } => error.field(&**field),
        Refusal::BadSignature { .. } => error.field("signature"),
        Refusal::Clock { signed, server_time, tolerance } => error
            .field("timestamp")
            .with("signed", signed.as_millis())
            .with("server_time", server_time.as_millis())
            .with("tolerance", tolerance.as_millis()),
        Refusal::WrongSwarm { swarm, members } => {
            let members = members.into_iter().map(
                |member| json!({ "node": member.node.to_string(), "address": &*member.address }),
            );
            error
                .field("address")
                .with("swarm", swarm.to_string())
                .with("members", members.collect::<Vec<Value>>())
        }
        Refusal::TooLarge { field, got, limit } => error.field(&**field).limit(*got, *limit),
        Refusal::RateLimited { retry_after } => error.with("retry_after", retry_after.as_millis()),
        Refusal::SignatureReused => error.field("signature"),
        Refusal::UnknownKeys => error.field("keys"),
        Refusal::UnknownNamespace { namespace } | Refusal::Unauthorized { namespace } => {
            error.field("namespace").with("namespace", namespace.0)
        }
        Refusal::TtlOutOfRange { got, min, max } => {
            let (got, max) = (got.as_millis(), max.as_millis());
            error.field("ttl").limit(got, max).with("min", min.as_millis())
        }
        Refusal::NotEnoughReplicas { stored, needed } => {
            error.with("stored", *stored).with("needed", *needed)
        }
        Refusal::WrongNode { audience } => {
            error.field("audience").with("audience", audience.to_string())
        }
        Refusal::InboxFull { field, limit } => error.field(&**field).with("limit", *limit),
        Refusal::SlotTaken { holder } => error.field("data").with("holder", holder.to_string()),
        Refusal::BadCapability => error.field("token"),
        Refusal::PuzzleNeeded { bits, window } => {
            error.with("bits", *bits).with("window", window.as_millis())
        }
        _ => error,
    }
}
