//! From the file of a manifest to the manifest.

use session_core::codec::OverLimit;
use session_core::{Blob, List, Text};
use session_rpc::workload::{self as rpc, BadManifestText, ManifestFile, SourceEntry};

use super::check::{BadManifest, check_manifest, check_public};
use super::manifest::{
    Aggregation, Confirm, Connector, Egress, EvmQuery, FieldRule, Header, HttpMethod, Limits,
    Manifest, Rule, Source, Transform,
};

/// Why a file is not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadFile {
    /// The text cannot be read.
    #[error(transparent)]
    Text(#[from] BadManifestText),
    /// A field is too long, or there are too many of something.
    #[error("{field}: it holds {}, the limit is {}", over.got, over.limit)]
    Over {
        /// The field.
        field: String,
        /// By how much.
        over: OverLimit,
    },
    /// It asks for what cannot work.
    #[error(transparent)]
    Manifest(#[from] BadManifest),
}

/// Reads the file of a manifest, and checks it as nodes do. Only a file that says that it is for
/// development may name hosts of private networks.
///
/// # Errors
/// When the text is not TOML, a field is missing, unknown or wrong, or the manifest cannot work.
pub fn parse(text: &str) -> Result<Manifest, BadFile> {
    manifest(&ManifestFile::parse(text)?)
}

/// Makes the manifest that a file describes, and checks that it can work.
///
/// # Errors
/// When a field is too long, or the manifest cannot work.
pub fn manifest(file: &ManifestFile) -> Result<Manifest, BadFile> {
    let mut egress = Vec::with_capacity(file.egress.len());
    for (index, entry) in file.egress.iter().enumerate() {
        let host = bounded(format!("egress[{index}].host"), Text::new(entry.host.as_str()))?;
        egress.push(Egress { host, port: entry.port, plain: entry.plain });
    }
    let mut sources = Vec::with_capacity(file.sources.len());
    for (index, entry) in file.sources.iter().enumerate() {
        sources.push(source(&At(format!("source[{index}]")), entry)?);
    }
    let limits = file.limits;
    let manifest = Manifest {
        name: bounded("name", Text::new(file.name.as_str()))?,
        egress: bounded("egress", List::new(egress))?,
        sources: bounded("source", List::new(sources))?,
        limits: Limits {
            fuel: limits.fuel,
            memory_pages: limits.memory_pages,
            state_bytes: limits.state_bytes,
            log_bytes: limits.log_bytes,
            calls: limits.calls,
            egress_bytes: limits.egress_bytes,
        },
        retries_max: file.retries,
    };
    // Rules about hosts first: what is said of a source whose host cannot be reached would mislead.
    if !file.development {
        check_public(&manifest)?;
    }
    check_manifest(&manifest)?;
    Ok(manifest)
}

fn bounded<T>(field: impl Into<String>, made: Result<T, OverLimit>) -> Result<T, BadFile> {
    made.map_err(|over| BadFile::Over { field: field.into(), over })
}

/// The place of a source in the file.
struct At(String);

impl At {
    fn text<const MAX: usize>(&self, field: &str, text: &str) -> Result<Text<MAX>, BadFile> {
        bounded(format!("{}.{field}", self.0), Text::new(text))
    }

    fn texts<const MAX: usize, const COUNT: usize>(
        &self,
        field: &str,
        texts: &[String],
    ) -> Result<List<Text<MAX>, COUNT>, BadFile> {
        let texts = texts.iter().map(|text| self.text(field, text));
        self.list(field, texts.collect::<Result<Vec<_>, _>>()?)
    }

    fn list<T, const COUNT: usize>(
        &self,
        field: &str,
        values: Vec<T>,
    ) -> Result<List<T, COUNT>, BadFile> {
        bounded(format!("{}.{field}", self.0), List::new(values))
    }
}

fn source(at: &At, entry: &SourceEntry) -> Result<Source, BadFile> {
    let connector = connector(at, &entry.connector)?;
    let aggregation = match &entry.aggregation {
        Some(aggregation) => self::aggregation(at, aggregation)?,
        None if connector.writes() => Aggregation::Single,
        None => Aggregation::Identical,
    };
    let fallback = entry.fallback.as_deref().map(Blob::new).transpose();
    let confirm = match &entry.confirm {
        Some(confirm) => Some(Confirm {
            source: at.text("confirm", &confirm.source)?,
            equals_body: confirm.equals_body,
        }),
        None => None,
    };
    Ok(Source {
        name: at.text("name", &entry.name)?,
        connector,
        transform: Transform {
            headers: at.texts("keep_headers", &entry.keep_headers)?,
            status: entry.keep_status,
            paths: at.texts("paths", &entry.paths)?,
            guest: entry.guest.as_ref().map(|name| at.text("guest", name)).transpose()?,
        },
        aggregation,
        records_min: entry.records_min,
        timeout: entry.timeout,
        bytes_max: entry.bytes_max,
        fallback: bounded(format!("{}.fallback", at.0), fallback)?,
        confirm,
    })
}

fn connector(at: &At, entry: &rpc::Connector) -> Result<Connector, BadFile> {
    Ok(match entry {
        rpc::Connector::Http { method, url, headers, redirects } => {
            let header = |(name, value): &(String, String)| {
                let (name, value) = (at.text("headers", name)?, at.text("headers", value)?);
                Ok::<_, BadFile>(Header { name, value })
            };
            let headers = headers.iter().map(header).collect::<Result<Vec<_>, _>>()?;
            Connector::Http {
                method: self::method(*method),
                url: at.text("url", url)?,
                headers: at.list("headers", headers)?,
                redirects: *redirects,
            }
        }
        rpc::Connector::Evm { url, query, confirmations } => Connector::Evm {
            url: at.text("url", url)?,
            query: self::query(at, query)?,
            confirmations: *confirmations,
        },
        rpc::Connector::Sql { database, statement, parameters } => Connector::Sql {
            database: at.text("database", database)?,
            statement: at.text("statement", statement)?,
            parameters: at.texts("parameters", parameters)?,
        },
        rpc::Connector::ObjectGet { store, key } => {
            Connector::ObjectGet { store: at.text("store", store)?, key: at.text("key", key)? }
        }
        rpc::Connector::ObjectPut { store, key, content_type, if_absent } => Connector::ObjectPut {
            store: at.text("store", store)?,
            key: at.text("key", key)?,
            content_type: at.text("content_type", content_type)?,
            if_absent: *if_absent,
        },
        rpc::Connector::Message { to } => Connector::Message { to: at.text("to", to)? },
    })
}

const fn method(method: rpc::Method) -> HttpMethod {
    match method {
        rpc::Method::Get => HttpMethod::Get,
        rpc::Method::Post => HttpMethod::Post,
        rpc::Method::Put => HttpMethod::Put,
        rpc::Method::Patch => HttpMethod::Patch,
        rpc::Method::Delete => HttpMethod::Delete,
    }
}

fn query(at: &At, query: &rpc::EvmQuery) -> Result<EvmQuery, BadFile> {
    Ok(match query {
        rpc::EvmQuery::Block => EvmQuery::Block,
        rpc::EvmQuery::Balance { address } => {
            EvmQuery::Balance { address: at.text("address", address)? }
        }
        rpc::EvmQuery::Call { to, function, arguments } => EvmQuery::Call {
            to: at.text("to", to)?,
            function: at.text("function", function)?,
            arguments: at.texts("arguments", arguments)?,
        },
    })
}

fn aggregation(at: &At, aggregation: &rpc::Aggregation) -> Result<Aggregation, BadFile> {
    Ok(match aggregation {
        rpc::Aggregation::Identical => Aggregation::Identical,
        rpc::Aggregation::Median { field } => {
            Aggregation::Median { field: at.text("field", field)? }
        }
        rpc::Aggregation::Mode => Aggregation::Mode,
        rpc::Aggregation::ByFields { fields } => {
            let rule = |(field, rule): &(String, rpc::Rule)| {
                let rule = match rule {
                    rpc::Rule::Identical => Rule::Identical,
                    rpc::Rule::Median => Rule::Median,
                    rpc::Rule::Mode => Rule::Mode,
                };
                Ok::<_, BadFile>(FieldRule { field: at.text("fields", field)?, rule })
            };
            let rules = fields.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
            Aggregation::ByFields { rules: at.list("fields", rules)? }
        }
        rpc::Aggregation::KOfN { k } => Aggregation::KOfN { k: *k },
        rpc::Aggregation::Single => Aggregation::Single,
    })
}

#[cfg(test)]
mod tests;
