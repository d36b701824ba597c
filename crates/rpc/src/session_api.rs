//! The methods about workload sessions: what they take and what they give.
//!
//! Names and fields are the seed's. Bytes are hex (or base64 where the caller asks for it), ids hex
//! or CB58, times milliseconds.

use session_core::{Digest, Epoch, ServiceId, SessionId, TxId};

use crate::api::{Encoding, bare_name, encoding};
use crate::fields::{BadField, Fields};
use crate::json_rpc::{Call, ErrorObject};

pub mod result;

/// Every name, without the prefix `session.` or `session_` that may come before it.
pub const METHODS: [&str; 7] = [
    "PutBlob",
    "CreateSession",
    "StartSession",
    "GetSession",
    "FinalizeSession",
    "GetLogs",
    "GetBundle",
];

/// Refusals of sessions have this code minus their number in the binary protocol.
pub const SESSION_REFUSED: i32 = -32100;

/// A call whose parameters have the right types.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// Keep a module, a workload or an input, under its hash.
    PutBlob {
        /// The bytes.
        data: Vec<u8>,
    },
    /// Tell the committee of a session that the chain created where its program and input are.
    CreateSession {
        /// The service.
        service: ServiceId,
        /// The epoch of the transaction.
        epoch: Epoch,
        /// The transaction that created it.
        tx: TxId,
        /// The workload.
        program: Digest,
        /// The input.
        input: Digest,
    },
    /// Let a session begin.
    StartSession {
        /// Which.
        session: SessionId,
    },
    /// How a session is.
    GetSession {
        /// Which.
        session: SessionId,
    },
    /// Give the chain the outcome again.
    FinalizeSession {
        /// Which.
        session: SessionId,
    },
    /// What the program logged.
    GetLogs {
        /// Of which.
        session: SessionId,
        /// The first line.
        from: u32,
    },
    /// A piece of the file that proves a session.
    GetBundle {
        /// Of which.
        session: SessionId,
        /// The first byte.
        offset: u32,
        /// How the bytes are to be written.
        encoding: Encoding,
    },
}

impl Method {
    /// Reads the parameters of a call; `None` if the method is not about workload sessions.
    #[must_use]
    pub fn parse(call: &Call) -> Option<Result<Self, ErrorObject>> {
        let mut fields = Fields::new("", &call.params);
        let read = match bare_name(&call.method) {
            "PutBlob" => data(&mut fields).map(|data| Self::PutBlob { data }),
            "CreateSession" => create(&mut fields),
            "StartSession" => session(&mut fields).map(|session| Self::StartSession { session }),
            "GetSession" => session(&mut fields).map(|session| Self::GetSession { session }),
            "FinalizeSession" => {
                session(&mut fields).map(|session| Self::FinalizeSession { session })
            }
            "GetLogs" => logs(&mut fields),
            "GetBundle" => bundle(&mut fields),
            _ => return None,
        };
        Some(read.map_err(ErrorObject::from))
    }
}

fn create(fields: &mut Fields<'_>) -> Result<Method, BadField> {
    let (service, epoch) = (fields.parsed("service")?, fields.integer("epoch")?);
    let (tx, program, input) =
        (fields.parsed("tx")?, fields.parsed("program")?, fields.parsed("input")?);
    Ok(Method::CreateSession {
        service: fields.required("service", service)?,
        epoch: Epoch(fields.required("epoch", epoch)?),
        tx: fields.required("tx", tx)?,
        program: fields.required("program", program)?,
        input: fields.required("input", input)?,
    })
}

fn logs(fields: &mut Fields<'_>) -> Result<Method, BadField> {
    Ok(Method::GetLogs { session: session(fields)?, from: place(fields, "from")? })
}

fn bundle(fields: &mut Fields<'_>) -> Result<Method, BadField> {
    Ok(Method::GetBundle {
        session: session(fields)?,
        offset: place(fields, "offset")?,
        encoding: encoding(fields)?,
    })
}

fn session(fields: &mut Fields<'_>) -> Result<SessionId, BadField> {
    let id = fields.parsed("sessionId")?;
    fields.required("sessionId", id)
}

fn place(fields: &mut Fields<'_>, name: &'static str) -> Result<u32, BadField> {
    let number = fields.integer(name)?.unwrap_or(0);
    u32::try_from(number).map_err(|_| BadField::over(fields.name(name), number, u32::MAX.into()))
}

/// As `data`, in the encoding that is named, or as `data_base64`.
fn data(fields: &mut Fields<'_>) -> Result<Vec<u8>, BadField> {
    let plain = match encoding(fields)? {
        Encoding::Hex => fields.hex("data")?,
        Encoding::Base64 => fields.base64("data")?,
    };
    match (plain, fields.base64("data_base64")?) {
        (Some(data), None) | (None, Some(data)) => Ok(data),
        (None, None) => Err(fields.bad("data", "it is missing, and so is data_base64")),
        (Some(_), Some(_)) => Err(fields.bad("data_base64", "data is given too: give one of them")),
    }
}

#[cfg(test)]
mod tests;
