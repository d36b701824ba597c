//! Objects of S3 and its likes: read, write, and write if absent.
//!
//! A write leaves its key beside the object. Who repeats it "if absent" finds the object there, and
//! by the key that it is the same write: one effect, however often it is tried.
//!
//! *Provided:* requests signed for one store, one bucket, one moment. *Not provided:* lists,
//! deletions, objects in parts.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::json;
use session_core::sha256;
use session_protocol::workload::oracle::RawAnswer;
use session_protocol::workload::template::{Escape, render};
use session_runtime::clock::SystemClock;

use crate::Request;
use crate::config::Store;
use crate::gate::{Denied, Url};
use crate::http::{Bounds, Http, Order, Trouble, egress_of};

mod sigv4;

use sigv4::{Moment, Scope, Signed};

/// The longest key of an object.
const KEY_BYTES_MAX: usize = 1024;
/// Where a write leaves its key.
const WRITE_KEY: &str = "x-amz-meta-write-key";

/// The stores that the operator set up. See the [module](self).
pub(crate) struct Objects {
    stores: BTreeMap<String, Store>,
    clock: SystemClock,
}

/// Where a body goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Put<'a> {
    pub(crate) store: &'a str,
    pub(crate) key: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) if_absent: bool,
}

/// What is done to an object.
struct Action {
    method: Method,
    url: Url,
    /// Besides those that every request has.
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Objects {
    pub(crate) fn new(stores: BTreeMap<String, Store>) -> Self {
        Self { stores, clock: SystemClock::new() }
    }

    /// Reads an object.
    pub(crate) async fn get(
        &self,
        http: &Http,
        request: &Request<'_>,
        store: &str,
        key: &str,
    ) -> Result<RawAnswer, Trouble> {
        let store = self.store(store)?;
        let url = place_of(store, key, request)?;
        let action = Action { method: Method::GET, url, headers: Vec::new(), body: Bytes::new() };
        self.perform(http, request, store, action, 0).await
    }

    /// Writes the body of the request.
    pub(crate) async fn put(
        &self,
        http: &Http,
        request: &Request<'_>,
        put: Put<'_>,
    ) -> Result<RawAnswer, Trouble> {
        let store = self.store(put.store)?;
        if !store.writes {
            return Err(Denied::ReadOnly.into());
        }
        let write_key = request.write_key.ok_or(Trouble::Malformed("a write has no key"))?;
        let write_key = hex::encode(write_key.as_bytes());
        let url = place_of(store, put.key, request)?;
        let mut headers =
            vec![("content-type", put.content_type.to_owned()), (WRITE_KEY, write_key.clone())];
        if put.if_absent {
            headers.push(("if-none-match", "*".to_owned()));
        }
        let body = Bytes::copy_from_slice(&request.call.body);
        let action = Action { method: Method::PUT, url: url.clone(), headers, body };
        let mut answer = self.perform(http, request, store, action, 0).await?;
        let mut written = (200..300).contains(&answer.status);
        if answer.status == 412 && put.if_absent {
            let head = Action { method: Method::HEAD, url, headers: vec![], body: Bytes::new() };
            let there = self.perform(http, request, store, head, answer.received).await?;
            let ours = |(name, value): &(String, String)| name == WRITE_KEY && *value == write_key;
            written = there.status == 200 && there.headers.iter().any(ours);
            answer.received += there.received;
        }
        if !written {
            return Ok(answer);
        }
        // The same for the writer that wrote and the one that found it written.
        let hash = hex::encode(sha256(&request.call.body));
        let body = json!({ "bytes": request.call.body.len(), "sha256": hash });
        let body = body.to_string().into_bytes();
        Ok(RawAnswer { status: 200, headers: Vec::new(), body, received: answer.received })
    }

    fn store(&self, name: &str) -> Result<&Store, Trouble> {
        self.stores.get(name).ok_or(Trouble::NotSetUp)
    }

    /// Signs a request and sends it, after `spent` bytes were received already.
    async fn perform(
        &self,
        http: &Http,
        request: &Request<'_>,
        store: &Store,
        action: Action,
        spent: u64,
    ) -> Result<RawAnswer, Trouble> {
        let moment = Moment::new(self.clock.now());
        let headers = sign(store, &action, &moment)?;
        let bad = || Trouble::Malformed("the place of the store is too long");
        let egress = [egress_of(&store.place, !store.tls).ok_or_else(bad)?];
        let order = Order {
            writes: action.method == Method::PUT,
            method: action.method,
            url: action.url,
            headers,
            body: action.body,
            egress: &egress,
            redirects: 0,
            bounds: Bounds::new(request.source.bytes_max, request.bytes_left).after(spent),
            packed: false,
            secrets: false,
        };
        http.perform(order).await
    }
}

/// Returns the headers of a request, signature and all.
fn sign(
    store: &Store,
    action: &Action,
    moment: &Moment,
) -> Result<Vec<(HeaderName, HeaderValue)>, Trouble> {
    let body = hex::encode(sha256(&action.body));
    let host = action.url.authority();
    let token = store.session_token.as_ref().map(|token| token.expose());
    let mut signed = vec![
        ("host", host.as_str()),
        ("x-amz-content-sha256", body.as_str()),
        ("x-amz-date", moment.text()),
    ];
    signed.extend(token.map(|token| ("x-amz-security-token", token)));
    signed.extend(action.headers.iter().map(|(name, value)| (*name, value.trim())));
    signed.sort_unstable();
    let scope = Scope {
        access_key: &store.access_key,
        secret_key: store.secret_key.expose(),
        region: &store.region,
        service: "s3",
    };
    let request = Signed {
        method: action.method.as_str(),
        path: &action.url.target,
        query: "",
        headers: &signed,
        body: &body,
    };
    let authorization = scope.sign(&request, moment);
    // The host is set by whoever sends.
    let sent = signed.iter().filter(|(name, _)| *name != "host");
    sent.chain([&("authorization", authorization.as_str())])
        .map(|(name, value)| {
            let mut value =
                HeaderValue::from_str(value).map_err(|_| Denied::Header((*name).to_owned()))?;
            value.set_sensitive(matches!(*name, "authorization" | "x-amz-security-token"));
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| Denied::Header((*name).to_owned()))?;
            Ok((name, value))
        })
        .collect()
}

/// Returns where an object is: the bucket is the first part of the path.
fn place_of(store: &Store, key: &str, request: &Request<'_>) -> Result<Url, Denied> {
    let key = render(key, &request.call.parameters, Escape::None);
    let key = key.map_err(|error| Denied::Template(error.to_string()))?;
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Denied::Template("the key is empty or too long".to_owned()));
    }
    let scheme = if store.tls { "https" } else { "http" };
    Ok(Url::parse(&format!("{scheme}://{}/{}/{}", store.place, store.bucket, escape(&key)))?)
}

/// Escapes all but slashes and what needs no escape, as the signature has it.
fn escape(key: &str) -> String {
    let mut out = String::new();
    for byte in key.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            true => out.push(byte.into()),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
