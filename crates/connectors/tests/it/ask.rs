//! Requests, and nodes that perform them.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use session_connectors::{Config, Connectors, Request, Resolver, Resolving};
use session_core::{Blob, Digest, List, Span, Text};
use session_protocol::workload::manifest::{
    Aggregation, Connector, Egress, Header, HttpMethod, Limits, Manifest, Source, Transform,
};
use session_protocol::workload::oracle::{Fault, OracleCall, Parameter, Pin, RawAnswer};

/// A request with everything that it needs.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) manifest: Manifest,
    pub(crate) source: Source,
    pub(crate) call: OracleCall,
    pub(crate) pin: Option<Pin>,
    pub(crate) write_key: Option<Digest>,
    pub(crate) bytes_left: u64,
}

pub(crate) fn text<const MAX: usize>(text: impl Into<String>) -> Text<MAX> {
    Text::new(text).unwrap()
}

pub(crate) fn list<T, const MAX: usize>(values: impl Into<Vec<T>>) -> List<T, MAX> {
    List::new(values).unwrap()
}

impl Ask {
    pub(crate) fn new(connector: Connector) -> Self {
        let source = Source {
            name: text("it"),
            connector,
            transform: Transform::default(),
            aggregation: Aggregation::Identical,
            records_min: 0,
            timeout: Span::from_secs(5),
            bytes_max: 64 << 10,
            fallback: None,
            confirm: None,
        };
        let limits = Limits {
            fuel: 1,
            memory_pages: 1,
            state_bytes: 1,
            log_bytes: 1,
            calls: 1,
            egress_bytes: 1 << 20,
        };
        let manifest = Manifest {
            name: text("test"),
            egress: list([]),
            sources: list([]),
            limits,
            retries_max: 0,
        };
        let call =
            OracleCall { source: 0, parameters: list([]), body: Blob::new(Vec::new()).unwrap() };
        Self { manifest, source, call, pin: None, write_key: None, bytes_left: 1 << 20 }
    }

    /// A read.
    pub(crate) fn get(url: impl Into<String>) -> Self {
        Self::http(HttpMethod::Get, url, &[], 0)
    }

    /// A write.
    pub(crate) fn post(url: impl Into<String>, body: &[u8]) -> Self {
        let mut ask = Self::http(HttpMethod::Post, url, &[], 0);
        ask.call.body = Blob::new(body.to_vec()).unwrap();
        ask.write_key = Some(Digest::from([7; 32]));
        ask
    }

    pub(crate) fn http(
        method: HttpMethod,
        url: impl Into<String>,
        headers: &[(&str, &str)],
        redirects: u8,
    ) -> Self {
        let header =
            |(name, value): &(&str, &str)| Header { name: text(*name), value: text(*value) };
        let headers: Vec<Header> = headers.iter().map(header).collect();
        Self::new(Connector::Http { method, url: text(url), headers: list(headers), redirects })
    }

    pub(crate) fn egress(mut self, host: &str, port: u16, plain: bool) -> Self {
        let mut egress = self.manifest.egress.into_vec();
        egress.push(Egress { host: text(host), port, plain });
        self.manifest.egress = list(egress);
        self
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        let mut parameters = self.call.parameters.into_vec();
        parameters.push(Parameter { name: text(name), value: text(value) });
        self.call.parameters = list(parameters);
        self
    }

    pub(crate) fn timeout_ms(mut self, millis: u64) -> Self {
        self.source.timeout = Span::from_millis(millis);
        self
    }

    pub(crate) fn bytes_max(mut self, bytes: u32) -> Self {
        self.source.bytes_max = bytes;
        self
    }

    pub(crate) fn redirects(mut self, count: u8) -> Self {
        if let Connector::Http { redirects, .. } = &mut self.source.connector {
            *redirects = count;
        }
        self
    }

    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            manifest: &self.manifest,
            source: &self.source,
            call: &self.call,
            pin: self.pin,
            write_key: self.write_key,
            bytes_left: self.bytes_left,
        }
    }

    pub(crate) async fn to(&self, connectors: &Connectors) -> Result<RawAnswer, Fault> {
        connectors.ask(self.request()).await
    }
}

/// A node with this set-up.
pub(crate) fn node(config: &str) -> Connectors {
    Connectors::new(Config::parse(config, Path::new("")).unwrap())
}

/// A node whose operator opened these hosts.
pub(crate) fn node_with(opened: &[&str]) -> Connectors {
    node(&format!("allow_private = {opened:?}"))
}

/// A node to which `api.test:port` is this machine.
pub(crate) fn node_for(port: u16) -> Connectors {
    let names = Names::default().answer("api.test", "127.0.0.1");
    node_with(&[&format!("api.test:{port}")]).with_resolver(Arc::new(names))
}

/// A resolver with an answer for each time that it is asked; the last is for all times.
#[derive(Default)]
pub(crate) struct Names {
    answers: Mutex<BTreeMap<String, VecDeque<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    /// Adds the next answer for a name: addresses with blanks between them.
    pub(crate) fn answer(self, name: &str, addresses: &str) -> Self {
        let addresses = addresses.split(' ').map(|address| address.parse().unwrap()).collect();
        self.answers.lock().unwrap().entry(name.to_owned()).or_default().push_back(addresses);
        self
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        self.asked.lock().unwrap().push(host.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let answer = answers.get_mut(host).and_then(|answers| match answers.len() {
            0 | 1 => answers.front().cloned(),
            _ => answers.pop_front(),
        });
        Box::pin(async move { answer.ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }
}
