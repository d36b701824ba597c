//! The outside world of `session workload dev`: scripted answers over HTTP on loopback, databases
//! in files, and a ledger of what was written.
//!
//! The world knows which node asks and can tell each something else: what diverges between machines
//! out there diverges here.

mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::exit::{Doing, Failure, Result};

use server::Asked;
pub(crate) use server::{HOST_PREFIX, NODE_HEADER, Served, Write};

/// The name of the file.
pub(crate) const FILE: &str = "world.toml";

/// Most routes, stores and databases: a world fits a screen or two.
const THINGS_MAX: usize = 64;

/// A delay that no source waits for.
const DELAY_MS_MAX: u64 = 120_000;

/// What is out there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct World {
    /// Answers to requests.
    #[serde(default)]
    pub(crate) route: Vec<Route>,
    /// Places that keep what is put there.
    #[serde(default)]
    pub(crate) store: Vec<Store>,
    /// Databases.
    #[serde(default)]
    pub(crate) database: Vec<Database>,
    /// People to whom messages can be sent.
    #[serde(default)]
    pub(crate) person: Vec<Somebody>,
}

/// How requests are answered. The first route that fits answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    /// The host that it plays; without it, every host of the manifest.
    pub(crate) host: Option<String>,
    /// The method.
    #[serde(default = "get")]
    pub(crate) method: String,
    /// The path with its query; `*` at the end stands for anything.
    pub(crate) path: String,
    /// The status.
    #[serde(default = "ok")]
    pub(crate) status: u16,
    /// Headers of the answer.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default)]
    pub(crate) body: String,
    /// Other bodies for the first node, the second, and so on; the last one stands for the rest.
    #[serde(default)]
    pub(crate) per_node: Vec<String>,
    /// Bodies one after the other: a node that asks again gets the next, in the end the last.
    #[serde(default)]
    pub(crate) over_time: Vec<String>,
    /// How long the answer takes.
    #[serde(default)]
    pub(crate) delay_ms: u64,
    /// Of a write: how often it happens and nobody hears of it (status 503).
    #[serde(default)]
    pub(crate) lost_answers: u32,
    /// Of a write: whether it is taken without an Idempotency-Key.
    #[serde(default)]
    pub(crate) keyless: bool,
}

/// A place that keeps what is put there, under the path; also an object store of this name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    /// The name under which the manifest knows it as an object store; also the first part of its
    /// paths.
    pub(crate) name: String,
    /// How often an object is written and nobody hears of it (status 503).
    #[serde(default)]
    pub(crate) lost_answers: u32,
}

/// A SQLite database of each node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    /// The name under which the manifest knows it.
    pub(crate) name: String,
    /// A file with the statements that fill it, in the folder of the workload.
    pub(crate) script: PathBuf,
}

/// Somebody with an account; `${name}` in the input stands for its id.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Somebody {
    /// What the script calls them.
    pub(crate) name: String,
}

fn get() -> String {
    "GET".to_owned()
}

const fn ok() -> u16 {
    200
}

impl World {
    /// Reads the world of a workload; nothing is out there if there is no file.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text =
            std::fs::read_to_string(&path).doing(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).map_err(|why| Failure::usage(format!("{}: {why}", path.display())))
    }

    /// Reads the text of a file.
    pub(crate) fn parse(text: &str) -> std::result::Result<Self, String> {
        let world: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let World { route, store, database, person } = &world;
        let things = [route.len(), store.len(), database.len(), person.len()];
        if let Some(things) = things.into_iter().find(|things| *things > THINGS_MAX) {
            return Err(format!("{things} of one kind, the limit is {THINGS_MAX}"));
        }
        for (index, route) in world.route.iter().enumerate() {
            route.check().map_err(|why| format!("route {index}: {why}"))?;
        }
        for Store { name, .. } in &world.store {
            let good =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if !(3..=63).contains(&name.len()) || !name.bytes().all(good) {
                return Err(format!(
                    "store {name:?}: 3 to 63 small letters, digits and - name one"
                ));
            }
        }
        Ok(world)
    }
}

impl Route {
    fn check(&self) -> std::result::Result<(), String> {
        if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&self.method.as_str()) {
            return Err(format!(
                "method: {:?} is none of GET, POST, PUT, PATCH, DELETE",
                self.method
            ));
        }
        if !self.path.starts_with('/') {
            return Err(format!("path: {:?} does not begin with /", self.path));
        }
        if !(100..=599).contains(&self.status) {
            return Err(format!("status: {} is none of HTTP's", self.status));
        }
        if self.delay_ms > DELAY_MS_MAX {
            return Err(format!("delay_ms: {} is over {DELAY_MS_MAX}", self.delay_ms));
        }
        if !self.per_node.is_empty() && !self.over_time.is_empty() {
            return Err("per_node and over_time do not go together".to_owned());
        }
        Ok(())
    }

    pub(crate) fn writes(&self) -> bool {
        self.method != "GET"
    }

    fn fits(&self, asked: &Asked<'_>) -> bool {
        let path = match self.path.strip_suffix('*') {
            Some(start) => asked.target.starts_with(start),
            None => asked.target == self.path,
        };
        let host = self.host.as_deref().is_none_or(|own| own == asked.host);
        path && host && self.method == asked.method
    }

    /// Returns what a node gets that asks for the `asked`th time.
    fn body(&self, node: usize, asked: usize) -> &str {
        let at = |all: &[String], at: usize| at.min(all.len().saturating_sub(1));
        if let Some(body) = self.per_node.get(at(&self.per_node, node)) {
            return body;
        }
        self.over_time.get(at(&self.over_time, asked)).unwrap_or(&self.body)
    }
}
