//! The configuration of a chain: what a host passes on, or a file in standalone mode.
//!
//! The seed's five keys, and ours. `//` comments are allowed; keys that nobody knows are returned,
//! to be warned of; every key has a default.

use serde_json::{Map, Value};
use session_core::Span;

use super::Profile;
use super::jsonc::{self, BadText};
use crate::fields::{BadField, Fields};

/// Longest configuration.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024;
/// The prefix of post-quantum ids; there is no other.
pub const ID_PREFIX: &str = "07";

/// Longest life of a conversation that may be set: a year.
const SESSION_TTL_SECONDS_MAX: u64 = 365 * 86_400;
/// Most messages of one conversation that may be set.
const MESSAGES_MAX: u64 = 10_000_000;
/// Most channels that may be set.
const CHANNELS_MAX: u64 = 1_000_000;
/// Most conversations that may be set.
const SESSIONS_MAX: u64 = 16_000_000;
/// Longest retention that may be set: ten years.
const RETENTION_DAYS_MAX: u64 = 3650;
/// Shortest and longest time between blocks, in milliseconds.
const BLOCK_TIME_MS: (u64, u64) = (10, 3_600_000);
/// Most origins of web pages.
const ORIGINS_MAX: usize = 64;

/// The seed's five keys, as far as they are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsGiven {
    /// How long a conversation lives.
    pub session_ttl: Option<Span>,
    /// Most messages of one conversation.
    pub messages_max: Option<u64>,
    /// Most channels.
    pub channels_max: Option<u64>,
    /// How long messages are kept.
    pub retention: Option<Span>,
}

/// What conversations and channels are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a conversation lives.
    pub session_ttl: Span,
    /// Most messages of one conversation.
    pub messages_max: u64,
    /// Most channels.
    pub channels_max: u64,
    /// How long messages are kept.
    pub retention: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            session_ttl: Span::from_secs(86_400),
            messages_max: 10_000,
            channels_max: 1000,
            retention: Span::from_days(30),
        }
    }
}

impl Limits {
    /// Puts what is given over what was there.
    #[must_use]
    pub fn with(self, given: &LimitsGiven) -> Self {
        Self {
            session_ttl: given.session_ttl.unwrap_or(self.session_ttl),
            messages_max: given.messages_max.unwrap_or(self.messages_max),
            channels_max: given.channels_max.unwrap_or(self.channels_max),
            retention: given.retention.unwrap_or(self.retention),
        }
    }
}

/// A chain's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The seed's keys; they win over those of the genesis.
    pub limits: LimitsGiven,
    /// Most conversations.
    pub sessions_max: u64,
    /// What calls are taken.
    pub profile: Profile,
    /// Requests a second from one client address; 0 for no limit.
    pub client_rate: u32,
    /// The time between two blocks of a sequencer.
    pub block_time: Span,
    /// Origins of web pages that may call, such as `https://example.org`.
    pub cors_origins: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: LimitsGiven::default(),
            sessions_max: 1_000_000,
            profile: Profile::Strict,
            client_rate: 500,
            block_time: Span::from_secs(1),
            cors_origins: Vec::new(),
        }
    }
}

/// Why a text is not a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadConfig {
    /// It is not a JSON table.
    #[error(transparent)]
    Text(#[from] BadText),
    /// A field is of the wrong type or out of range.
    #[error(transparent)]
    Field(#[from] BadField),
}

impl Config {
    /// Parses a configuration; an empty one is the default. Returns it with the names of the keys
    /// that nobody knows.
    ///
    /// # Errors
    /// When the text is not a JSON table, or a value has the wrong type or is out of range.
    pub fn parse(text: &[u8]) -> Result<(Self, Vec<String>), BadConfig> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok((Self::default(), Vec::new()));
        }
        let table = jsonc::table(text, CONFIG_BYTES_MAX)?;
        let mut fields = Fields::new("", &table);
        let (limits, mut unknown) = limits(&mut fields)?;
        let default = Self::default();
        let config = Self {
            limits,
            sessions_max: within(&mut fields, "maxSessions", (1, SESSIONS_MAX))?
                .unwrap_or(default.sessions_max),
            profile: profile(&mut fields)?,
            client_rate: within(&mut fields, "rateLimit", (0, u32::MAX.into()))?
                .and_then(|rate| u32::try_from(rate).ok())
                .unwrap_or(default.client_rate),
            block_time: within(&mut fields, "blockTimeMs", BLOCK_TIME_MS)?
                .map_or(default.block_time, Span::from_millis),
            cors_origins: origins(&mut fields)?,
        };
        unknown.extend(fields.unknown());
        Ok((config, unknown))
    }
}

pub(super) fn within(
    fields: &mut Fields<'_>,
    field: &'static str,
    (min, max): (u64, u64),
) -> Result<Option<u64>, BadField> {
    match fields.integer(field)? {
        Some(got) if got > max => Err(BadField::over(fields.name(field), got, max)),
        Some(got) if got < min => {
            Err(fields.bad(field, format!("it is {got}, it must be at least {min}")))
        }
        got => Ok(got),
    }
}

/// Reads the seed's five keys, and `pqCrypto` beside them. Returns the keys inside of `pqCrypto`
/// that nobody knows.
pub(super) fn limits(fields: &mut Fields<'_>) -> Result<(LimitsGiven, Vec<String>), BadField> {
    let given = LimitsGiven {
        session_ttl: within(fields, "sessionTTL", (1, SESSION_TTL_SECONDS_MAX))?
            .map(Span::from_secs),
        messages_max: within(fields, "maxMessages", (1, MESSAGES_MAX))?,
        channels_max: within(fields, "maxChannels", (0, CHANNELS_MAX))?,
        retention: within(fields, "retentionDays", (1, RETENTION_DAYS_MAX))?.map(Span::from_days),
    };
    let prefix = fields.text("idPrefix")?;
    if prefix.is_some_and(|prefix| prefix != ID_PREFIX) {
        let why = format!("it must be {ID_PREFIX:?}, the prefix of post-quantum ids");
        return Err(fields.bad("idPrefix", why));
    }
    let mut unknown = Vec::new();
    if let Some(value) = fields.value("pqCrypto") {
        let table = object(fields, "pqCrypto", value)?;
        let mut schemes = Fields::new(fields.name("pqCrypto"), table);
        scheme(&mut schemes, "keyExchange", "ML-KEM-768")?;
        scheme(&mut schemes, "signature", "ML-DSA-65")?;
        unknown = schemes.unknown();
    }
    Ok((given, unknown))
}

pub(super) fn object<'a>(
    fields: &Fields<'_>,
    field: &str,
    value: &'a Value,
) -> Result<&'a Map<String, Value>, BadField> {
    value.as_object().ok_or_else(|| fields.bad(field, "it must be an object"))
}

fn scheme(fields: &mut Fields<'_>, field: &'static str, only: &str) -> Result<(), BadField> {
    match fields.text(field)? {
        Some(name) if name != only => Err(fields.bad(field, format!("it must be {only:?}"))),
        _ => Ok(()),
    }
}

fn profile(fields: &mut Fields<'_>) -> Result<Profile, BadField> {
    match fields.text("compat")? {
        None | Some("none") => Ok(Profile::Strict),
        Some("go") => Ok(Profile::Go),
        Some(_) => Err(fields.bad("compat", "it must be \"none\" or \"go\"")),
    }
}

fn origins(fields: &mut Fields<'_>) -> Result<Vec<String>, BadField> {
    let origins = fields.list_of("corsOrigins", origin)?.unwrap_or_default();
    if origins.len() > ORIGINS_MAX {
        let (got, limit) = (origins.len() as u64, ORIGINS_MAX as u64);
        return Err(BadField::over(fields.name("corsOrigins"), got, limit));
    }
    Ok(origins)
}

// What a browser sends as Origin: scheme and host, no path, no wildcard.
fn origin(text: &str) -> Result<String, &'static str> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    match host {
        Some(host) if !host.is_empty() && text.len() <= 256 && host.bytes().all(named) => {
            Ok(text.to_owned())
        }
        _ => Err("an origin is http:// or https://, a host, and a port if need be"),
    }
}

#[cfg(test)]
mod tests;
