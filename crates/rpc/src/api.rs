//! The methods of the client API: what they take and what they give.
//!
//! Bytes are hex, ids hex or CB58, times and spans milliseconds. Signatures cover the same bytes as
//! in the binary protocol, so a client signs once and speaks either.

use session_core::{AccountId, InboxAddress, MessageId, Namespace, NodeId, Span, Time};

use crate::fields::{BadField, Fields, identity_id};
use crate::json_rpc::{Call, ErrorObject, METHOD_NOT_FOUND};
use crate::session_api;

pub mod result;

/// Bytes of both public keys of an account: ML-KEM-768, then ML-DSA-65.
pub const KEYS_BYTES: usize = 1184 + 1952;
/// Bytes of an ML-DSA-65 signature.
pub const SIGNATURE_BYTES: usize = 3309;
/// Bytes of a cursor.
const CURSOR_BYTES: usize = 16;

/// Every name, without the prefix `session.` or `session_` that may come before it.
pub const METHODS: [&str; 7] =
    ["store", "retrieve", "delete", "expire", "get_swarm", "info", "subscribe"];

/// Which inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbox {
    /// That of an account.
    Account(AccountId),
    /// The one at this address.
    Address(InboxAddress),
}

/// A place in the order of arrival; see the binary protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The store that counted.
    pub incarnation: u64,
    /// The last arrival that was seen.
    pub arrival: u64,
}

/// Which items to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// Those that arrived after a place.
    After(Cursor),
    /// Those with these ids.
    Ids(Vec<MessageId>),
}

/// How item bytes are written in a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As `data`, in hex.
    #[default]
    Hex,
    /// As `data_base64`.
    Base64,
}

/// The owner's signature and what it covers besides the parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The owner's keys; may be left out when the node has seen them.
    pub keys: Option<Vec<u8>>,
    /// When it was signed.
    pub timestamp: Time,
    /// Tells apart operations signed in the same millisecond.
    pub nonce: u64,
    /// The signature.
    pub signature: Vec<u8>,
}

/// Which way an expiry may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireMode {
    /// Earlier only.
    Shorten,
    /// Later only.
    Extend,
}

/// A call whose parameters have the right types.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// Keep an item in somebody's inbox.
    Store {
        /// Where.
        inbox: Inbox,
        /// Which compartment.
        namespace: Namespace,
        /// When it was sent; the node's own time when left out.
        timestamp: Option<Time>,
        /// How long to keep it.
        ttl: Span,
        /// The item.
        data: Vec<u8>,
    },
    /// Read items; namespaces that are open to everyone need no proof.
    Retrieve {
        /// Where.
        inbox: Inbox,
        /// Which compartment.
        namespace: Namespace,
        /// Which items.
        select: Select,
        /// At most this many item bytes.
        bytes_max: u32,
        /// The node that the signature names; this node when left out.
        audience: Option<NodeId>,
        /// The owner's proof.
        proof: Option<Proof>,
        /// How the bytes are to be written.
        encoding: Encoding,
    },
    /// Forget items everywhere.
    Delete {
        /// Whose inbox.
        account: AccountId,
        /// Which items.
        ids: Vec<MessageId>,
        /// The owner's proof.
        proof: Proof,
    },
    /// Move the expiry of items.
    Expire {
        /// Whose inbox.
        account: AccountId,
        /// Which items.
        ids: Vec<MessageId>,
        /// The new expiry.
        expiry: Time,
        /// Which way it may move.
        mode: ExpireMode,
        /// The owner's proof.
        proof: Proof,
    },
    /// Which nodes keep an inbox.
    GetSwarm {
        /// The inbox.
        inbox: Inbox,
    },
    /// How the node is.
    Info,
    /// Push new items while the response lasts.
    Subscribe {
        /// Whose inbox.
        account: AccountId,
        /// Which compartments, in the order that was signed.
        namespaces: Vec<Namespace>,
        /// The node that the signature names; this node when left out.
        audience: Option<NodeId>,
        /// The owner's proof.
        proof: Proof,
        /// How the bytes are to be written.
        encoding: Encoding,
    },
}

/// Bytes of a page when the caller does not say: what fits a reply of the binary protocol.
pub const PAGE_BYTES_DEFAULT: u32 = 768 * 1024;

impl Method {
    /// Reads the parameters of a call.
    ///
    /// # Errors
    /// When nobody knows the method, or a parameter is missing or of another type.
    pub fn parse(call: &Call) -> Result<Self, ErrorObject> {
        let mut fields = Fields::new("", &call.params);
        let read = match bare_name(&call.method) {
            "store" => store(&mut fields),
            "retrieve" => retrieve(&mut fields),
            "delete" => delete(&mut fields),
            "expire" => expire(&mut fields),
            "get_swarm" => inbox(&mut fields).map(|inbox| Self::GetSwarm { inbox }),
            "info" => Ok(Self::Info),
            "subscribe" => subscribe(&mut fields),
            _ => {
                // The name comes from outside: do not repeat more of it than a name has.
                let name: String = call.method.chars().take(64).collect();
                let message = format!("method {name:?} is not known");
                return Err(ErrorObject::new(METHOD_NOT_FOUND, "method_not_found", message)
                    .with("methods", [&METHODS[..], &session_api::METHODS[..]].concat()));
            }
        };
        Ok(read?)
    }

    /// Returns how item bytes are to be written in the result.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        match self {
            Self::Retrieve { encoding, .. } | Self::Subscribe { encoding, .. } => *encoding,
            _ => Encoding::Hex,
        }
    }
}

pub(crate) fn bare_name(method: &str) -> &str {
    method.strip_prefix("session.").or_else(|| method.strip_prefix("session_")).unwrap_or(method)
}

fn store(fields: &mut Fields<'_>) -> Result<Method, BadField> {
    let ttl = fields.integer("ttl")?;
    let data = match (fields.hex("data")?, fields.base64("data_base64")?) {
        (Some(data), None) | (None, Some(data)) => data,
        (None, None) => return Err(fields.bad("data", "it is missing, and so is data_base64")),
        (Some(_), Some(_)) => {
            return Err(fields.bad("data_base64", "data is given too: give one of them"));
        }
    };
    Ok(Method::Store {
        inbox: inbox(fields)?,
        namespace: namespace(fields)?,
        timestamp: fields.integer("timestamp")?.map(Time::from_millis),
        ttl: Span::from_millis(fields.required("ttl", ttl)?),
        data,
    })
}

fn retrieve(fields: &mut Fields<'_>) -> Result<Method, BadField> {
    let bytes_max = fields.integer("bytes_max")?.unwrap_or(PAGE_BYTES_DEFAULT.into());
    let bytes_max = u32::try_from(bytes_max)
        .map_err(|_| BadField::over("bytes_max", bytes_max, u32::MAX.into()))?;
    let select = match (cursor(fields)?, ids(fields)?) {
        (cursor, None) => Select::After(cursor.unwrap_or_default()),
        (None, Some(ids)) => Select::Ids(ids),
        (Some(_), Some(_)) => {
            return Err(fields.bad("ids", "cursor is given too: give one of them"));
        }
    };
    Ok(Method::Retrieve {
        inbox: inbox(fields)?,
        namespace: namespace(fields)?,
        select,
        bytes_max,
        audience: audience(fields)?,
        proof: if fields.value("signature").is_some() { Some(proof(fields)?) } else { None },
        encoding: encoding(fields)?,
    })
}

fn delete(fields: &mut Fields<'_>) -> Result<Method, BadField> {
    let ids = ids(fields)?;
    Ok(Method::Delete {
        account: account(fields)?,
        ids: fields.required("ids", ids)?,
        proof: proof(fields)?,
    })
}

fn expire(fields: &mut Fields<'_>) -> Result<Method, BadField> {
    let ids = ids(fields)?;
    let expiry = fields.integer("expiry")?;
    let mode = match fields.text("mode")? {
        Some("shorten") => ExpireMode::Shorten,
        Some("extend") => ExpireMode::Extend,
        _ => return Err(fields.bad("mode", "it must be \"shorten\" or \"extend\"")),
    };
    Ok(Method::Expire {
        account: account(fields)?,
        ids: fields.required("ids", ids)?,
        expiry: Time::from_millis(fields.required("expiry", expiry)?),
        mode,
        proof: proof(fields)?,
    })
}

fn subscribe(fields: &mut Fields<'_>) -> Result<Method, BadField> {
    let mut namespaces = Vec::new();
    for (index, value) in fields.list("namespaces")?.unwrap_or_default().iter().enumerate() {
        let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
        let why = "it must be a whole number from 0 to 65535";
        let field = || format!("namespaces[{index}]");
        namespaces.push(Namespace(number.ok_or_else(|| fields.bad(&field(), why))?));
    }
    if namespaces.is_empty() {
        return Err(fields.bad("namespaces", "it must name at least one"));
    }
    Ok(Method::Subscribe {
        account: account(fields)?,
        namespaces,
        audience: audience(fields)?,
        proof: proof(fields)?,
        encoding: encoding(fields)?,
    })
}

fn account(fields: &mut Fields<'_>) -> Result<AccountId, BadField> {
    let text = fields.text("account")?;
    identity_id(fields.required("account", text)?)
        .map_err(|error| fields.bad("account", error.to_string()))
}

fn inbox(fields: &mut Fields<'_>) -> Result<Inbox, BadField> {
    match (fields.value("account").is_some(), fields.parsed("address")?) {
        (true, None) => account(fields).map(Inbox::Account),
        (false, Some(address)) => Ok(Inbox::Address(address)),
        (false, None) => Err(fields.bad("address", "it is missing, and so is account")),
        (true, Some(_)) => Err(fields.bad("address", "account is given too: give one of them")),
    }
}

fn namespace(fields: &mut Fields<'_>) -> Result<Namespace, BadField> {
    Ok(Namespace(fields.small_integer("namespace")?.unwrap_or(0)))
}

fn audience(fields: &mut Fields<'_>) -> Result<Option<NodeId>, BadField> {
    let Some(text) = fields.text("audience")? else { return Ok(None) };
    identity_id(text).map(Some).map_err(|error| fields.bad("audience", error.to_string()))
}

fn ids(fields: &mut Fields<'_>) -> Result<Option<Vec<MessageId>>, BadField> {
    fields.list_of("ids", str::parse)
}

fn cursor(fields: &mut Fields<'_>) -> Result<Option<Cursor>, BadField> {
    let Some(bytes) = fields.hex_of("cursor", CURSOR_BYTES)? else { return Ok(None) };
    let (incarnation, arrival) = bytes.split_at(8);
    let number = |half: &[u8]| half.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Ok(Some(Cursor { incarnation: number(incarnation), arrival: number(arrival) }))
}

pub(crate) fn encoding(fields: &mut Fields<'_>) -> Result<Encoding, BadField> {
    match fields.text("encoding")? {
        None | Some("hex") => Ok(Encoding::Hex),
        Some("base64") => Ok(Encoding::Base64),
        Some(_) => Err(fields.bad("encoding", "it must be \"hex\" or \"base64\"")),
    }
}

fn proof(fields: &mut Fields<'_>) -> Result<Proof, BadField> {
    let (timestamp, nonce) = (fields.integer("timestamp")?, fields.integer("nonce")?);
    let signature = fields.hex_of("signature", SIGNATURE_BYTES)?;
    Ok(Proof {
        keys: fields.hex_of("keys", KEYS_BYTES)?,
        timestamp: Time::from_millis(fields.required("timestamp", timestamp)?),
        nonce: fields.required("nonce", nonce)?,
        signature: fields.required("signature", signature)?,
    })
}

impl core::fmt::Display for Cursor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}{:016x}", self.incarnation, self.arrival)
    }
}

#[cfg(test)]
mod tests;
