//! The file of a workload's manifest: what a program may ask of the world, and how much of
//! everything.
//!
//! ```toml
//! name = "price"
//! retries = 7
//!
//! [limits]
//! fuel = 1_000_000_000
//!
//! [[egress]]
//! host = "api.example.com"
//!
//! [[source]]
//! name = "btc"
//! kind = "http"
//! url = "https://api.example.com/price/{symbol}"
//! paths = ["$.price"]
//! aggregation = "median"
//! ```
//!
//! Every key that nobody knows is an error: a misspelled limit would be no limit. What the values
//! mean, and whether they fit together, is for the consumer to check.

use serde_json::{Map, Value};
use session_core::Span;

use crate::fields::{BadField, Fields};

mod source;

pub use source::{Aggregation, Confirm, Connector, EvmQuery, Method, Rule, SourceEntry};

/// A parsed manifest file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFile {
    /// What people call it.
    pub name: String,
    /// Whether it may name hosts of private networks.
    pub development: bool,
    /// How often a step that asks the world is tried again.
    pub retries: u8,
    /// How much of everything.
    pub limits: Limits,
    /// The hosts that it may reach.
    pub egress: Vec<EgressEntry>,
    /// What it may ask.
    pub sources: Vec<SourceEntry>,
}

/// How much a session may use; what the file leaves out has a default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fuel from the start or a checkpoint on.
    pub fuel: u64,
    /// Pages of 64 KiB of memory.
    pub memory_pages: u32,
    /// Bytes that the program keeps.
    pub state_bytes: u32,
    /// Bytes that it logs.
    pub log_bytes: u32,
    /// Requests to the world.
    pub calls: u32,
    /// Bytes that one member may receive from the world.
    pub egress_bytes: u64,
}

/// One `[[egress]]` of a manifest file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressEntry {
    /// The host.
    pub host: String,
    /// Its port: 443, or 80 without TLS, if the file names none.
    pub port: u16,
    /// Whether it may be spoken to without TLS.
    pub plain: bool,
}

/// Why a text is not the file of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadManifestText {
    /// It is not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// A field is missing, unknown or wrong.
    #[error(transparent)]
    Field(#[from] BadField),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 1_000_000_000,
            memory_pages: 64,
            state_bytes: 64 * 1024,
            log_bytes: 64 * 1024,
            calls: 64,
            egress_bytes: 16 * 1024 * 1024,
        }
    }
}

impl ManifestFile {
    /// Parses the file of a manifest. A table `[build]` is for tools and skipped.
    ///
    /// # Errors
    /// When the text is not TOML, or a field is missing, unknown or wrong.
    pub fn parse(text: &str) -> Result<Self, BadManifestText> {
        let table: Map<String, Value> = toml::from_str(text)
            .map_err(|error| BadManifestText::Syntax(error.to_string().trim().to_owned()))?;
        let mut fields = Fields::new("", &table);
        let name = fields.text("name")?;
        let file = Self {
            name: fields.required("name", name)?.to_owned(),
            development: flag(&mut fields, "development")?,
            retries: narrow(&mut fields, "retries")?.unwrap_or(7),
            limits: match fields.value("limits") {
                Some(value) => Limits::read(value)?,
                None => Limits::default(),
            },
            egress: tables(&mut fields, "egress", EgressEntry::read)?,
            sources: tables(&mut fields, "source", SourceEntry::read)?,
        };
        let _ = fields.value("build");
        nothing_else(&fields)?;
        Ok(file)
    }
}

impl Limits {
    fn read(value: &Value) -> Result<Self, BadField> {
        let table = value.as_object();
        let table = table.ok_or_else(|| BadField::new("limits", "it must be a table, [limits]"))?;
        let mut fields = Fields::new("limits", table);
        let usual = Self::default();
        let limits = Self {
            fuel: fields.integer("fuel")?.unwrap_or(usual.fuel),
            memory_pages: narrow(&mut fields, "memory_pages")?.unwrap_or(usual.memory_pages),
            state_bytes: narrow(&mut fields, "state_bytes")?.unwrap_or(usual.state_bytes),
            log_bytes: narrow(&mut fields, "log_bytes")?.unwrap_or(usual.log_bytes),
            calls: narrow(&mut fields, "calls")?.unwrap_or(usual.calls),
            egress_bytes: fields.integer("egress_bytes")?.unwrap_or(usual.egress_bytes),
        };
        nothing_else(&fields)?;
        Ok(limits)
    }
}

impl EgressEntry {
    fn read(fields: &mut Fields<'_>) -> Result<Self, BadField> {
        let host = fields.text("host")?;
        let plain = flag(fields, "plain")?;
        let port = fields.small_integer("port")?.unwrap_or(if plain { 80 } else { 443 });
        Ok(Self { host: fields.required("host", host)?.to_owned(), port, plain })
    }
}

/// Reads a list of tables, and leaves nothing in them unread.
fn tables<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    read: impl Fn(&mut Fields<'_>) -> Result<T, BadField>,
) -> Result<Vec<T>, BadField> {
    let list = fields.list(name)?.unwrap_or_default();
    let mut entries = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let path = format!("{name}[{index}]");
        let table = value.as_object().ok_or_else(|| {
            BadField::new(path.as_str(), format!("it must be a table, [[{name}]]"))
        })?;
        let mut fields = Fields::new(path, table);
        entries.push(read(&mut fields)?);
        nothing_else(&fields)?;
    }
    Ok(entries)
}

fn nothing_else(fields: &Fields<'_>) -> Result<(), BadField> {
    match fields.unknown().into_iter().next() {
        Some(field) => Err(BadField::new(field, "nobody knows this key here")),
        None => Ok(()),
    }
}

fn flag(fields: &mut Fields<'_>, field: &'static str) -> Result<bool, BadField> {
    match fields.value(field) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(fields.bad(field, "it must be true or false")),
    }
}

/// Takes an integer of fewer bits.
fn narrow<T: TryFrom<u64>>(
    fields: &mut Fields<'_>,
    field: &'static str,
) -> Result<Option<T>, BadField> {
    let Some(number) = fields.integer(field)? else { return Ok(None) };
    let most = u64::MAX >> (64 - 8 * size_of::<T>());
    let over = |_| BadField::over(fields.name(field), number, most);
    T::try_from(number).map(Some).map_err(over)
}

/// Parses a length of time: `500ms`, `10s` or `2m`.
fn span(text: &str) -> Result<Span, &'static str> {
    let wrong = "it must be a whole number and ms, s or m: \"10s\"";
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err(wrong),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| plain).ok_or(wrong)?;
    number.checked_mul(unit).map(Span::from_millis).ok_or(wrong)
}

#[cfg(test)]
mod tests;
