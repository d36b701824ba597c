//! The methods of the client API: what they take and what they give.
//!
//! Bytes are hex, ids hex or CB58, times and spans milliseconds. Signatures cover the same bytes as
//! in the binary protocol, so a client signs once and speaks either.

use session_core::{AccountId, Digest, InboxAddress, MessageId, Namespace, NodeId, Span, Time};

use crate::fields::{BadField, Fields, identity_id};
use crate::json_rpc::{Call, ErrorObject, METHOD_NOT_FOUND};
use crate::session_api;

pub mod result;

/// Bytes of both public keys of an account: ML-KEM-768, then ML-DSA-65.
pub const KEYS_BYTES: usize = 1184 + 1952;
/// Bytes of an ML-DSA-65 signature.
pub const SIGNATURE_BYTES: usize = 3309;
/// Bytes of a capability.
const TOKEN_BYTES: usize = 32;
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
    /// A mailbox.
    Mailbox(Mailbox),
}

/// The rule of a mailbox: digests of its capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Of what reads.
    pub reader: Digest,
    /// Of what stores.
    pub writer: Digest,
    /// Of what deletes.
    pub eraser: Digest,
}

/// A capability of a mailbox; not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub [u8; TOKEN_BYTES]);

impl core::fmt::Debug for Token {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Token")
    }
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

/// What allows an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The owner's signature and what it covers besides the parameters.
    Signed {
        /// The owner's keys; may be left out when the node has seen them.
        keys: Option<Vec<u8>>,
        /// When it was signed.
        timestamp: Time,
        /// Tells apart operations signed in the same millisecond.
        nonce: u64,
        /// The signature.
        signature: Vec<u8>,
    },
    /// A capability of the mailbox.
    Token {
        /// The one that the operation takes.
        token: Token,
        /// When it was asked; the node's own time when left out.
        timestamp: Option<Time>,
        /// Tells apart operations of the same millisecond; zero when left out.
        nonce: u64,
    },
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
        /// What stores in a mailbox, for the namespaces of mailboxes.
        token: Option<Token>,
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
        /// The node that is asked; this node when left out.
        audience: Option<NodeId>,
        /// What allows it.
        proof: Option<Proof>,
        /// How the bytes are to be written.
        encoding: Encoding,
    },
    /// Forget items everywhere.
    Delete {
        /// That of an account, or a mailbox.
        inbox: Inbox,
        /// Which items.
        ids: Vec<MessageId>,
        /// What allows it.
        proof: Proof,
    },
    /// Move the expiry of items.
    Expire {
        /// That of an account, or a mailbox.
        inbox: Inbox,
        /// Which items.
        ids: Vec<MessageId>,
        /// The new expiry.
        expiry: Time,
        /// Which way it may move.
        mode: ExpireMode,
        /// What allows it.
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
        /// That of an account, or a mailbox.
        inbox: Inbox,
        /// Which compartments, in the order that was signed.
        namespaces: Vec<Namespace>,
        /// The node that is asked; this node when left out.
        audience: Option<NodeId>,
        /// What allows it.
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
    let token = token(fields)?;
    Ok(Method::Store {
        inbox: if token.is_some() { mailbox(fields).map(Inbox::Mailbox)? } else { inbox(fields)? },
        namespace: namespace(fields)?,
        timestamp: fields.integer("timestamp")?.map(Time::from_millis),
        ttl: Span::from_millis(fields.required("ttl", ttl)?),
        data,
        token,
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
    let is_proven = fields.value("signature").is_some() || fields.value("token").is_some();
    let (inbox, proof) = if is_proven {
        let (inbox, proof) = proven(fields)?;
        (inbox, Some(proof))
    } else {
        (inbox(fields)?, None)
    };
    Ok(Method::Retrieve {
        inbox,
        namespace: namespace(fields)?,
        select,
        bytes_max,
        audience: audience(fields)?,
        proof,
        encoding: encoding(fields)?,
    })
}

fn delete(fields: &mut Fields<'_>) -> Result<Method, BadField> {
    let ids = ids(fields)?;
    let ids = fields.required("ids", ids)?;
    let (inbox, proof) = proven(fields)?;
    Ok(Method::Delete { inbox, ids, proof })
}

fn expire(fields: &mut Fields<'_>) -> Result<Method, BadField> {
    let ids = ids(fields)?;
    let expiry = fields.integer("expiry")?;
    let mode = match fields.text("mode")? {
        Some("shorten") => ExpireMode::Shorten,
        Some("extend") => ExpireMode::Extend,
        _ => return Err(fields.bad("mode", "it must be \"shorten\" or \"extend\"")),
    };
    let ids = fields.required("ids", ids)?;
    let expiry = Time::from_millis(fields.required("expiry", expiry)?);
    let (inbox, proof) = proven(fields)?;
    Ok(Method::Expire { inbox, ids, expiry, mode, proof })
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
    let (audience, encoding) = (audience(fields)?, encoding(fields)?);
    let (inbox, proof) = proven(fields)?;
    Ok(Method::Subscribe { inbox, namespaces, audience, proof, encoding })
}

fn account(fields: &mut Fields<'_>) -> Result<AccountId, BadField> {
    let text = fields.text("account")?;
    identity_id(fields.required("account", text)?)
        .map_err(|error| fields.bad("account", error.to_string()))
}

fn inbox(fields: &mut Fields<'_>) -> Result<Inbox, BadField> {
    let is_mailbox = fields.value("reader").is_some();
    match (fields.value("account").is_some(), fields.parsed("address")?) {
        (false, None) if is_mailbox => mailbox(fields).map(Inbox::Mailbox),
        (true, None) => account(fields).map(Inbox::Account),
        (false, Some(address)) => Ok(Inbox::Address(address)),
        (false, None) => Err(fields.bad("address", "it is missing, and so is account")),
        (true, Some(_)) => Err(fields.bad("address", "account is given too: give one of them")),
    }
}

fn mailbox(fields: &mut Fields<'_>) -> Result<Mailbox, BadField> {
    let (reader, writer, eraser) =
        (fields.parsed("reader")?, fields.parsed("writer")?, fields.parsed("eraser")?);
    Ok(Mailbox {
        reader: fields.required("reader", reader)?,
        writer: fields.required("writer", writer)?,
        eraser: fields.required("eraser", eraser)?,
    })
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

/// What is proven, and how: with the signature of an account or a capability of a mailbox.
fn proven(fields: &mut Fields<'_>) -> Result<(Inbox, Proof), BadField> {
    let (timestamp, nonce) = (fields.integer("timestamp")?, fields.integer("nonce")?);
    let timestamp = timestamp.map(Time::from_millis);
    if let Some(token) = token(fields)? {
        if fields.value("signature").is_some() {
            return Err(fields.bad("signature", "token is given too: give one of them"));
        }
        let inbox = Inbox::Mailbox(mailbox(fields)?);
        return Ok((inbox, Proof::Token { token, timestamp, nonce: nonce.unwrap_or(0) }));
    }
    let inbox = Inbox::Account(account(fields)?);
    let signature = fields.hex_of("signature", SIGNATURE_BYTES)?;
    let proof = Proof::Signed {
        keys: fields.hex_of("keys", KEYS_BYTES)?,
        timestamp: fields.required("timestamp", timestamp)?,
        nonce: fields.required("nonce", nonce)?,
        signature: fields.required("signature", signature)?,
    };
    Ok((inbox, proof))
}

fn token(fields: &mut Fields<'_>) -> Result<Option<Token>, BadField> {
    let bytes = fields.hex_of("token", TOKEN_BYTES)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(Token))
}

impl core::fmt::Display for Cursor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}{:016x}", self.incarnation, self.arrival)
    }
}

#[cfg(test)]
mod tests;
