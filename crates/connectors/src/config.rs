//! What an operator sets up: the file `connectors.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value};
use session_protocol::workload::template::is_name;
use session_rpc::fields::{BadField, Fields};
use session_runtime::files::{self, FileError, Loose};
use zeroize::{Zeroize, Zeroizing};

use crate::gate::{Place, Url};
use crate::sql::Database;

/// The largest file.
const FILE_BYTES_MAX: usize = 256 << 10;
/// The largest file of certificates.
const ROOTS_BYTES_MAX: usize = 1 << 20;
/// Requests at once, unless the file says otherwise.
const REQUESTS_DEFAULT: usize = 32;
/// Most requests at once: each may take a socket and [`ANSWER_BYTES_MAX`](crate::ANSWER_BYTES_MAX).
const REQUESTS_MAX: u64 = 1024;

/// A text that nobody sees: wiped when it is dropped, and never printed.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
    }

    /// Returns the text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

/// What an operator sets up. Nothing set up is the default: public hosts, and no secrets.
#[derive(Clone, Debug)]
pub struct Config {
    /// Hosts that may be reached although they are not public, and in the clear.
    pub allow_private: BTreeSet<Place>,
    /// Roots of TLS besides those that browsers trust.
    pub roots: Vec<CertificateDer<'static>>,
    /// Headers that go to hosts.
    pub secrets: Vec<HostSecret>,
    /// Databases, by name.
    pub databases: BTreeMap<String, Database>,
    /// Object stores, by name.
    pub stores: BTreeMap<String, Store>,
    /// Requests at once; more wait.
    pub requests_max: usize,
}

/// A header with a secret, for one host.
#[derive(Clone, Debug)]
pub struct HostSecret {
    /// The host that gets it.
    pub place: Place,
    /// The header.
    pub header: HeaderName,
    /// Its value.
    pub value: Secret,
    /// How paths start that get it; empty for all.
    pub paths: Vec<String>,
    /// Whether writes get it, too.
    pub writes: bool,
}

/// A bucket of an object store that speaks the protocol of S3.
#[derive(Clone, Debug)]
pub struct Store {
    /// Host and port.
    pub place: Place,
    /// Whether it is spoken to with TLS.
    pub tls: bool,
    /// Its region.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// The id of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: Secret,
    /// What temporary keys come with.
    pub session_token: Option<Secret>,
    /// Whether workloads may write.
    pub writes: bool,
}

/// Why a file is no set-up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadConfig {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// A field is of the wrong type or out of range.
    #[error(transparent)]
    Field(#[from] BadField),
    /// A field that nobody knows: what it should do would not be done.
    #[error("{0}: it is unknown")]
    Unknown(String),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allow_private: BTreeSet::new(),
            roots: Vec::new(),
            secrets: Vec::new(),
            databases: BTreeMap::new(),
            stores: BTreeMap::new(),
            requests_max: REQUESTS_DEFAULT,
        }
    }
}

impl Config {
    /// Reads a file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// When it cannot be read or is malformed, or holds secrets and may be read by others.
    pub fn load(path: &Path) -> Result<Self, BadConfig> {
        let (bytes, loose) = match files::read_secret(path, FILE_BYTES_MAX, Loose::Refuse) {
            Err(loose @ FileError::Loose { .. }) => {
                (Zeroizing::new(files::read(path, FILE_BYTES_MAX)?), Some(loose))
            }
            bytes => (bytes?, None),
        };
        let text = str::from_utf8(&bytes).map_err(|error| BadConfig::Syntax(error.to_string()))?;
        let config = Self::parse(text, path.parent().unwrap_or(Path::new("")))?;
        match loose {
            Some(loose) if config.holds_secrets() => Err(loose.into()),
            _ => Ok(config),
        }
    }

    /// Parses the text of a file; relative paths are relative to `folder`.
    ///
    /// # Errors
    /// When it is not TOML, a field is unknown, of the wrong type or out of range, or a file of
    /// certificates cannot be read.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, BadConfig> {
        // The message of the parser without the line that it quotes: a secret may be in it.
        let syntax = |error: toml::de::Error| BadConfig::Syntax(error.message().to_owned());
        let mut table: Map<String, Value> = toml::from_str(text).map_err(syntax)?;
        let config = read(&table, folder);
        table.values_mut().for_each(wipe);
        config
    }

    fn holds_secrets(&self) -> bool {
        !(self.secrets.is_empty() && self.stores.is_empty() && self.databases.is_empty())
    }

    /// Returns the roots of TLS that are trusted.
    pub(crate) fn root_store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let (_, refused) = store.add_parsable_certificates(self.roots.iter().cloned());
        if refused > 0 {
            tracing::warn!(refused, "certificates of the set-up are no roots of TLS");
        }
        store
    }
}

impl HostSecret {
    /// Returns whether a request gets it.
    pub(crate) fn is_for(&self, place: &Place, path: &str, writes: bool) -> bool {
        let path_matches = |start: &String| path.starts_with(start.as_str());
        self.place == *place
            && (self.writes || !writes)
            && (self.paths.is_empty() || self.paths.iter().any(path_matches))
    }

    /// Returns the value as a header that is not printed.
    pub(crate) fn header_value(&self) -> HeaderValue {
        let value = HeaderValue::from_str(self.value.expose());
        let mut value = value.unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(table) => table.values_mut().for_each(wipe),
        _ => {}
    }
}

fn read(table: &Map<String, Value>, folder: &Path) -> Result<Config, BadConfig> {
    let mut fields = Fields::new("", table);
    let allow_private: BTreeSet<Place> =
        fields.list_of("allow_private", place)?.unwrap_or_default().into_iter().collect();
    let mut roots = Vec::new();
    for path in
        fields.list_of("roots", |path| Ok::<_, BadField>(folder.join(path)))?.into_iter().flatten()
    {
        let pem = files::read(&path, ROOTS_BYTES_MAX)?;
        let bad = |why: &str| BadField::new("roots", format!("{}: {why}", path.display()));
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.push(certificate.map_err(|error| bad(&format!("{error:?}")))?);
        }
        if roots.len() == before {
            return Err(bad("it holds no certificate").into());
        }
    }
    let requests_max = match fields.integer("requests_max")? {
        None => REQUESTS_DEFAULT,
        Some(got @ 1..=REQUESTS_MAX) => usize::try_from(got).unwrap_or(REQUESTS_DEFAULT),
        Some(0) => return Err(fields.bad("requests_max", "it must be at least 1").into()),
        Some(got) => return Err(BadField::over("requests_max", got, REQUESTS_MAX).into()),
    };
    let mut secrets = Vec::new();
    for (index, value) in fields.list("secret")?.unwrap_or_default().iter().enumerate() {
        let path = format!("secret[{index}]");
        secrets.push(section(&path, value, secret)?);
    }
    let mut databases = BTreeMap::new();
    for (name, value) in sections(&mut fields, "databases")? {
        let path = format!("databases.{name}");
        databases.insert(name, section(&path, value, database)?);
    }
    let mut stores = BTreeMap::new();
    for (name, value) in sections(&mut fields, "stores")? {
        let path = format!("stores.{name}");
        stores.insert(name, section(&path, value, |fields| store(fields, &allow_private))?);
    }
    known(&fields)?;
    Ok(Config { allow_private, roots, secrets, databases, stores, requests_max })
}

/// Reads a table, all of it.
fn section<T>(
    path: &str,
    value: &Value,
    read: impl FnOnce(&mut Fields<'_>) -> Result<T, BadField>,
) -> Result<T, BadConfig> {
    let table = value.as_object().ok_or_else(|| BadField::new(path, "it must be a table"))?;
    let mut fields = Fields::new(path, table);
    let section = read(&mut fields)?;
    known(&fields)?;
    Ok(section)
}

/// Returns the tables of a table, by name.
fn sections<'a>(
    fields: &mut Fields<'a>,
    field: &'static str,
) -> Result<Vec<(String, &'a Value)>, BadField> {
    let Some(value) = fields.value(field) else { return Ok(Vec::new()) };
    let table = value.as_object().ok_or_else(|| fields.bad(field, "it must be a table"))?;
    if let Some(bad) = table.keys().find(|name| !is_name(name)) {
        return Err(fields.bad(field, format!("{bad:?} is no name")));
    }
    Ok(table.iter().map(|(name, value)| (name.clone(), value)).collect())
}

fn known(fields: &Fields<'_>) -> Result<(), BadConfig> {
    fields.unknown().into_iter().next().map_or(Ok(()), |field| Err(BadConfig::Unknown(field)))
}

fn place(text: &str) -> Result<Place, &'static str> {
    Place::parse(text).ok_or("it must be host:port, as an address of the web has it")
}

fn secret(fields: &mut Fields<'_>) -> Result<HostSecret, BadField> {
    let host = fields.text("host")?;
    let host = fields.required("host", host)?;
    let port = fields.small_integer("port")?.unwrap_or(443);
    let place = Place::new(host, port).filter(|_| port != 0);
    let place = place.ok_or_else(|| fields.bad("host", "it is no host"))?;
    let header = fields.text("header")?.unwrap_or("authorization").to_ascii_lowercase();
    let reserved =
        ["host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "trailer"];
    let name = HeaderName::from_bytes(header.as_bytes());
    let header = name.ok().filter(|name| !reserved.contains(&name.as_str()));
    let header = header.ok_or_else(|| fields.bad("header", "no such header can be set"))?;
    let value = fields.text("value")?;
    let value = fields.required("value", value)?;
    HeaderValue::from_str(value).map_err(|_| fields.bad("value", "no header can hold it"))?;
    let starts = |path: &str| {
        path.starts_with('/').then(|| path.to_owned()).ok_or("it must start with a slash")
    };
    let paths = fields.list_of("paths", starts)?.unwrap_or_default();
    let writes = flag(fields, "writes")?;
    Ok(HostSecret { place, header, value: Secret::new(value), paths, writes })
}

fn database(fields: &mut Fields<'_>) -> Result<Database, BadField> {
    let address = text(fields, "address")?;
    Database::parse(&address).map_err(|error| fields.bad("address", error.to_string()))
}

fn store(fields: &mut Fields<'_>, opened: &BTreeSet<Place>) -> Result<Store, BadField> {
    let endpoint = text(fields, "endpoint")?;
    let url = Url::parse(&endpoint).map_err(|error| fields.bad("endpoint", error.to_string()))?;
    if url.target != "/" {
        return Err(fields.bad("endpoint", "it must have no path"));
    }
    if !url.tls && !opened.contains(&url.place) {
        let why = "it must be https, or stand in allow_private";
        return Err(fields.bad("endpoint", why));
    }
    let bucket = text(fields, "bucket")?;
    let good =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(good) || bucket.contains("..") {
        return Err(fields.bad("bucket", "it is no name of a bucket"));
    }
    let session_token = fields.text("session_token")?.map(Secret::new);
    Ok(Store {
        place: url.place,
        tls: url.tls,
        region: text(fields, "region")?,
        bucket,
        access_key: text(fields, "access_key")?,
        secret_key: Secret::new(text(fields, "secret_key")?),
        session_token,
        writes: flag(fields, "writes")?,
    })
}

/// Takes a text that must be there and can stand in a header.
fn text(fields: &mut Fields<'_>, field: &'static str) -> Result<String, BadField> {
    let text = fields.text(field)?;
    let text = fields.required(field, text)?;
    let good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    good.then(|| text.to_owned()).ok_or_else(|| fields.bad(field, "it holds blanks or nothing"))
}

fn flag(fields: &mut Fields<'_>, field: &'static str) -> Result<bool, BadField> {
    let Some(value) = fields.value(field) else { return Ok(false) };
    value.as_bool().ok_or_else(|| fields.bad(field, "it must be true or false"))
}

#[cfg(test)]
mod tests;
