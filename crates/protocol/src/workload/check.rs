//! What a workload must be like to run at all.
//!
//! A record that decodes may still ask for what cannot work: these rules are checked where a
//! manifest is written, and again by every node before it runs a session. Numbers are those of the
//! table in the wire document.

use std::collections::BTreeSet;

use session_core::Span;
use session_core::committee::MEMBERS_MAX;

use super::manifest::{
    Aggregation, Confirm, Connector, Egress, EvmQuery, Limits, Manifest, PARAMETERS_MAX, Source,
    WORKLOAD_VERSION, Workload,
};
use super::template::{self, BadTemplate, Escape};

mod connector;
mod host;

/// Most fuel of a segment.
pub const FUEL_MAX: u64 = 20_000_000_000;
/// Most pages of memory: 64 MiB.
pub const MEMORY_PAGES_MAX: u32 = 1024;
/// Most bytes that a program keeps.
pub const STATE_BYTES_MAX: u32 = 1024 * 1024;
/// Most bytes that a program logs.
pub const LOG_BYTES_MAX: u32 = 256 * 1024;
/// Most requests to the world: their records fit a bundle.
pub const CALLS_MAX: u32 = 1024;
/// Most bytes that one member receives for a session.
pub const EGRESS_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Most attempts after the first.
pub const RETRIES_MAX: u8 = 32;
/// The longest that one member may take for one answer.
pub const TIMEOUT_MAX: Span = Span::from_secs(60);
/// The largest answer before it is transformed.
pub const ANSWER_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// Most redirects that are followed.
pub const REDIRECTS_MAX: u8 = 5;

/// Why a workload cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {wrong}")]
pub struct BadManifest {
    /// The field, as the manifest file names it.
    pub field: String,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// A version that nobody defined.
    #[error("version {got} is unknown, this is {WORKLOAD_VERSION}")]
    Version {
        /// The version.
        got: u8,
    },
    /// Outside its bounds.
    #[error("it is {got}, it must be from {least} to {most}")]
    Range {
        /// What it is.
        got: u64,
        /// The smallest that is taken.
        least: u64,
        /// The largest that is taken.
        most: u64,
    },
    /// Not the name of anything.
    #[error("{name:?} is no name: 1 to 64 letters, digits, _ and - make one")]
    Name {
        /// What it is.
        name: String,
    },
    /// There already.
    #[error("{what:?} is there twice")]
    Twice {
        /// What.
        what: String,
    },
    /// Not the name of a host.
    #[error("{host:?} is no host: {why}")]
    Host {
        /// What it is.
        host: String,
        /// Why not.
        why: &'static str,
    },
    /// A host that is not of the public internet.
    #[error(
        "{host} is {why}: members reach public hosts only (development = true in the file lets a local committee reach it where its operators allow it)"
    )]
    Private {
        /// The host.
        host: String,
        /// What it is.
        why: &'static str,
    },
    /// Not an address.
    #[error("{url:?} is no address: {why}")]
    Url {
        /// What it is.
        url: String,
        /// Why not.
        why: &'static str,
    },
    /// An address that leads where the workload may not reach.
    #[error("{host}:{port} is not in egress: add [[egress]] with this host and port")]
    NotInEgress {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// An address without TLS.
    #[error(
        "{host}:{port} is reached without TLS: use https, or set plain = true in its [[egress]]"
    )]
    Plain {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// Braces that do not match, or more.
    #[error(transparent)]
    Template(#[from] BadTemplate),
    /// A source that is not there.
    #[error("there is no source {name:?}")]
    UnknownSource {
        /// Its name.
        name: String,
    },
    /// Something that makes no sense here.
    #[error("{0}")]
    Senseless(&'static str),
}

type Checked = Result<(), BadManifest>;

/// Checks that a workload can run: by whoever makes it and by every node that is to run it.
///
/// # Errors
/// When it cannot; the first field that is wrong is named.
pub fn check(workload: &Workload) -> Checked {
    if workload.version != WORKLOAD_VERSION {
        return Err(at("version", Wrong::Version { got: workload.version }));
    }
    check_manifest(&workload.manifest)
}

/// Checks what a program may do.
///
/// # Errors
/// When it cannot work; the first field that is wrong is named.
pub fn check_manifest(manifest: &Manifest) -> Checked {
    if manifest.name.is_empty() || manifest.name.chars().any(char::is_control) {
        return Err(at("name", Wrong::Name { name: manifest.name.to_string() }));
    }
    range("retries", manifest.retries_max, 0, RETRIES_MAX)?;
    limits(&manifest.limits)?;
    let mut seen = BTreeSet::new();
    for (index, egress) in manifest.egress.iter().enumerate() {
        let field = |name: &str| format!("egress[{index}].{name}");
        host::check(&egress.host).map_err(|wrong| at(field("host"), wrong))?;
        range(&field("port"), egress.port, 1, u16::MAX)?;
        if !seen.insert((&egress.host, egress.port)) {
            let what = format!("{}:{}", egress.host, egress.port);
            return Err(at(field("host"), Wrong::Twice { what }));
        }
    }
    let mut seen = BTreeSet::new();
    for (index, source) in manifest.sources.iter().enumerate() {
        let field = format!("source[{index}]");
        name(&format!("{field}.name"), &source.name)?;
        if !seen.insert(&source.name) {
            let wrong = Wrong::Twice { what: source.name.to_string() };
            return Err(at(format!("{field}.name"), wrong));
        }
        check_source(&Place { manifest, field }, source)?;
    }
    Ok(())
}

/// Checks that no host in it is private by its text. What names lead to, members find out.
///
/// # Errors
/// When one is; it is named.
pub fn check_public(manifest: &Manifest) -> Checked {
    for (index, Egress { host, .. }) in manifest.egress.iter().enumerate() {
        if let Some(why) = host::private(host) {
            let wrong = Wrong::Private { host: host.to_string(), why };
            return Err(at(format!("egress[{index}].host"), wrong));
        }
    }
    Ok(())
}

/// Returns the templates of a connector, and how values stand in them.
#[must_use]
pub fn templates(connector: &Connector) -> Vec<(&str, Escape)> {
    match connector {
        Connector::Http { url, headers, .. } => {
            let headers = headers.iter().map(|header| (&*header.value, Escape::None));
            core::iter::once((&**url, Escape::Url)).chain(headers).collect()
        }
        Connector::Evm { url, query, .. } => {
            let mut templates = vec![(&**url, Escape::Url)];
            match query {
                EvmQuery::Block => {}
                EvmQuery::Balance { address } => templates.push((address, Escape::None)),
                EvmQuery::Call { to, arguments, .. } => {
                    templates.push((to, Escape::None));
                    templates.extend(arguments.iter().map(|text| (&**text, Escape::None)));
                }
            }
            templates
        }
        Connector::Sql { .. } => Vec::new(),
        Connector::ObjectGet { key, .. } | Connector::ObjectPut { key, .. } => {
            vec![(key, Escape::None)]
        }
        Connector::Message { to } => vec![(to, Escape::None)],
    }
}

/// Returns the parameters that a connector needs.
///
/// # Errors
/// When the braces of a template do not match.
pub fn parameters(connector: &Connector) -> Result<BTreeSet<&str>, BadTemplate> {
    let mut names = BTreeSet::new();
    for (template, _) in templates(connector) {
        names.extend(template::parameters(template)?);
    }
    if let Connector::Sql { parameters, .. } = connector {
        names.extend(parameters.iter().map(|name| &**name));
    }
    Ok(names)
}

/// Where in a manifest something is.
struct Place<'a> {
    manifest: &'a Manifest,
    field: String,
}

impl Place<'_> {
    fn at(&self, name: &str, wrong: impl Into<Wrong>) -> BadManifest {
        at(format!("{}.{name}", self.field), wrong.into())
    }

    fn senseless(&self, name: &str, why: &'static str) -> Checked {
        Err(self.at(name, Wrong::Senseless(why)))
    }
}

fn at(field: impl Into<String>, wrong: Wrong) -> BadManifest {
    BadManifest { field: field.into(), wrong }
}

fn range<T: Into<u64> + Copy>(field: &str, got: T, least: u64, most: T) -> Checked {
    let (got, most) = (got.into(), most.into());
    let good = (least..=most).contains(&got);
    if good { Ok(()) } else { Err(at(field, Wrong::Range { got, least, most })) }
}

fn name(field: &str, name: &str) -> Checked {
    let good = template::is_name(name);
    if good { Ok(()) } else { Err(at(field, Wrong::Name { name: name.to_owned() })) }
}

fn limits(limits: &Limits) -> Checked {
    range("limits.fuel", limits.fuel, 1, FUEL_MAX)?;
    range("limits.memory_pages", limits.memory_pages, 1, MEMORY_PAGES_MAX)?;
    range("limits.state_bytes", limits.state_bytes, 0, STATE_BYTES_MAX)?;
    range("limits.log_bytes", limits.log_bytes, 0, LOG_BYTES_MAX)?;
    range("limits.calls", limits.calls, 0, CALLS_MAX)?;
    range("limits.egress_bytes", limits.egress_bytes, 0, EGRESS_BYTES_MAX)
}

fn check_source(place: &Place<'_>, source: &Source) -> Checked {
    let names = parameters(&source.connector);
    let names = names.map_err(|bad| place.at(connector::template_field(&source.connector), bad))?;
    if names.len() > PARAMETERS_MAX {
        return place.senseless("name", "its templates have more than 16 parameters");
    }
    connector::check(place, &source.connector)?;
    let timeout = source.timeout.as_millis();
    range(&format!("{}.timeout in ms", place.field), timeout, 1, TIMEOUT_MAX.as_millis())?;
    range(&format!("{}.bytes_max", place.field), source.bytes_max, 1, ANSWER_BYTES_MAX)?;
    let most = u8::try_from(MEMBERS_MAX).expect("a committee has 21 members");
    range(&format!("{}.records_min", place.field), source.records_min, 0, most)?;
    transform(place, source)?;
    aggregation(place, source, most)?;
    if source.connector.writes() && source.fallback.is_some() {
        return place.senseless("fallback", "a write has none: it happened or it did not");
    }
    source.confirm.as_ref().map_or(Ok(()), |rule| confirm(place, source, rule))
}

fn transform(place: &Place<'_>, source: &Source) -> Checked {
    let transform = &source.transform;
    let mut seen = BTreeSet::new();
    for header in &transform.headers {
        if !connector::is_header(header) {
            return place.senseless("keep_headers", "names of headers are in lower case");
        }
        if !seen.insert(header) {
            return Err(place.at("keep_headers", Wrong::Twice { what: header.to_string() }));
        }
    }
    let head = transform.status || !transform.headers.is_empty();
    if head && !matches!(source.connector, Connector::Http { .. }) {
        return place.senseless("keep_status", "only http answers with a status and headers");
    }
    if transform.paths.iter().any(|path| !path.starts_with('$')) {
        return place.senseless("paths", "a path begins with $");
    }
    match &transform.guest {
        Some(function) => name(&format!("{}.guest", place.field), function),
        None => Ok(()),
    }
}

fn aggregation(place: &Place<'_>, source: &Source, most: u8) -> Checked {
    let single = matches!(source.aggregation, Aggregation::Single);
    if source.connector.writes() != single {
        return place.senseless(
            "aggregation",
            if single {
                "\"single\" is for writes: of a read every member is a witness"
            } else {
                "a write has one writer: leave it out, or say \"single\""
            },
        );
    }
    match &source.aggregation {
        Aggregation::Median { field } if !field.is_empty() && !field.starts_with('$') => {
            place.senseless("field", "a path begins with $")
        }
        Aggregation::ByFields { rules } if rules.is_empty() => {
            place.senseless("fields", "by_fields needs at least one field")
        }
        Aggregation::ByFields { rules } => {
            let mut seen = BTreeSet::new();
            match rules.iter().find(|rule| !seen.insert(&rule.field)) {
                Some(rule) => {
                    Err(place.at("fields", Wrong::Twice { what: rule.field.to_string() }))
                }
                None => Ok(()),
            }
        }
        Aggregation::KOfN { k } => range(&format!("{}.k", place.field), *k, 1, most),
        _ => Ok(()),
    }
}

fn confirm(place: &Place<'_>, source: &Source, confirm: &Confirm) -> Checked {
    if !source.connector.writes() {
        return place.senseless("confirm", "only a write is confirmed");
    }
    let read = place.manifest.sources.iter().find(|other| other.name == confirm.source);
    let Some(read) = read else {
        let name = confirm.source.to_string();
        return Err(place.at("confirm", Wrong::UnknownSource { name }));
    };
    if read.connector.writes() {
        return place.senseless("confirm", "what confirms a write is a read");
    }
    if read.connector.pins() {
        return place.senseless("confirm", "a read at a fixed block confirms nothing");
    }
    let transform = &read.transform;
    let whole = transform.paths.is_empty() && transform.headers.is_empty() && !transform.status;
    if confirm.equals_body && !(whole && transform.guest.is_none()) {
        return place.senseless("confirm_equals_body", "the read keeps only a part of its answer");
    }
    let (written, needed) = (parameters(&source.connector), parameters(&read.connector));
    match (written, needed) {
        (Ok(written), Ok(needed)) if !needed.is_subset(&written) => {
            place.senseless("confirm", "the read needs a parameter that the write does not have")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
