//! From an answer of the world to an observation.
//!
//! | the transform keeps | the observation |
//! |---|---|
//! | nothing | the body, if the status is 2xx; else the failure with the status |
//! | paths | canonical JSON: what one path selects, or the list of what several select |
//! | headers or the status | canonical JSON: an object of `status`, `headers` and `body` |
//!
//! A path that can only select one value selects that value, and there must be one; any other path
//! selects a list. Numbers stay as they were written. A guest function gets the observation last
//! and makes another of it.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding as _};
use session_core::Blob;
use session_protocol::workload::manifest::Transform;
use session_protocol::workload::oracle::{Fault, RawAnswer};
use session_protocol::workload::{Manifest, OBSERVATION_BYTES_MAX, Observation, Source};

pub(crate) mod json;
pub(crate) mod path;

use json::Json;
use path::Path;

pub use json::NotJson;
pub use path::BadPath;

/// Checks what [`session_protocol::workload::check`] cannot: that every path of a manifest is one.
///
/// # Errors
/// When one is not; it is named.
pub fn check(manifest: &Manifest) -> Result<(), BadPath> {
    for source in &manifest.sources {
        for path in &source.transform.paths {
            Path::parse(path)?;
        }
        if let Some(field) = crate::aggregate::field(&source.aggregation) {
            Path::parse(field)?.must_be_single()?;
        }
    }
    Ok(())
}

/// Runs a function of the module, by its name, on some bytes.
pub type GuestFunction<'a> = dyn FnMut(&str, &[u8]) -> Result<Vec<u8>, String> + 'a;

/// Makes an observation of what a connector brought. `guest` runs a function of the module.
pub fn observe(
    manifest: &Manifest,
    source: &Source,
    raw: Result<RawAnswer, Fault>,
    guest: &mut GuestFunction<'_>,
) -> Observation {
    debug_assert!(manifest.sources.contains(source), "the source is one of the manifest's");
    let made = raw.and_then(|answer| keep(source, answer)).and_then(|bytes| {
        let Some(function) = &source.transform.guest else { return Ok(bytes) };
        guest(function, &bytes).map_err(|_| Fault::Malformed)
    });
    match made.and_then(|bytes| Blob::new(bytes).map_err(|_| Fault::TooLarge)) {
        Ok(bytes) => Observation::Value { bytes },
        Err(fault) => Observation::Failed { fault },
    }
}

/// Returns whether what a source's transform makes is JSON.
pub(crate) fn makes_json(transform: &Transform) -> bool {
    transform.guest.is_none() && (!transform.paths.is_empty() || keeps_head(transform))
}

fn keeps_head(transform: &Transform) -> bool {
    transform.status || !transform.headers.is_empty()
}

fn keep(source: &Source, answer: RawAnswer) -> Result<Vec<u8>, Fault> {
    let transform = &source.transform;
    let good = (200..300).contains(&answer.status);
    if answer.body.len() > source.bytes_max as usize {
        return Err(Fault::TooLarge);
    }
    if !good && !transform.status {
        return Err(Fault::Status { code: answer.status });
    }
    if transform.paths.is_empty() && !keeps_head(transform) {
        return Ok(answer.body);
    }
    let selected = if transform.paths.is_empty() {
        None
    } else {
        match select(&answer.body, &transform.paths) {
            // An answer that says "no" need not be made of what was asked for.
            Err(Fault::Malformed) if !good => Some(Json::Null),
            selected => Some(selected?),
        }
    };
    let made = match selected {
        Some(selected) if !keeps_head(transform) => selected,
        selected => with_head(transform, &answer, selected),
    };
    Ok(made.to_text().into_bytes())
}

fn select(
    body: &[u8],
    paths: &[session_protocol::workload::manifest::Path],
) -> Result<Json, Fault> {
    let json = Json::parse(body).map_err(|_| Fault::Malformed)?;
    let tree = path::tree(&json);
    let mut size = 0;
    let mut selected = Vec::with_capacity(paths.len());
    for text in paths {
        let path = Path::parse(text).map_err(|_| Fault::Malformed)?;
        let value = path.select(&json, &tree).ok_or(Fault::Malformed)?;
        // Paths may overlap: what is too large is not gathered first.
        size += value.to_text().len();
        if size > OBSERVATION_BYTES_MAX {
            return Err(Fault::TooLarge);
        }
        selected.push(value);
    }
    Ok(match <[Json; 1]>::try_from(selected) {
        Ok([one]) => one,
        Err(several) => Json::List(several),
    })
}

/// Puts status and headers around the body, or around what was selected of it.
fn with_head(transform: &Transform, answer: &RawAnswer, selected: Option<Json>) -> Json {
    let mut object = BTreeMap::new();
    let mut put = |name: &str, value| object.insert(name.to_owned(), value);
    if transform.status {
        put("status", Json::Number(answer.status.to_string()));
    }
    if !transform.headers.is_empty() {
        let kept = transform.headers.iter().filter_map(|name| {
            let values: Vec<&str> = answer
                .headers
                .iter()
                .filter(|(found, _)| *found == **name)
                .map(|(_, value)| value.as_str())
                .collect();
            (!values.is_empty()).then(|| (name.to_string(), Json::Text(values.join(", "))))
        });
        put("headers", Json::Object(kept.collect()));
    }
    match (selected, core::str::from_utf8(&answer.body)) {
        (Some(selected), _) => put("body", selected),
        (None, Ok(text)) => put("body", Json::Text(text.to_owned())),
        (None, Err(_)) => put("body_base64", Json::Text(Base64::encode_string(&answer.body))),
    };
    Json::Object(object)
}

#[cfg(test)]
mod tests;
