//! How the nodes of `dev` reach the scripted world: the manifest's hosts are mapped to it, and each
//! node's set-up names it as the one private place that may be reached.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use session_core::{List, Text};
use session_protocol::workload::manifest::{Connector, Egress, Source, Template};

use super::project::Package;
use super::world::{Database, HOST_PREFIX, NODE_HEADER, World};
use crate::exit::{Doing, Failure, Result};

/// Returns the package with every host of its manifest mapped to the world. It is another program
/// than the one that will run out there: its hash is another.
pub(super) fn mapped(package: &Package, world: SocketAddr) -> Result<Package> {
    let mut manifest = package.manifest.clone();
    let sources: Vec<Source> = manifest
        .sources
        .iter()
        .map(|source| {
            let mut source = source.clone();
            if let Connector::Http { url, .. } | Connector::Evm { url, .. } = &mut source.connector
            {
                *url = map(url, world)?;
            }
            Ok(source)
        })
        .collect::<Result<_>>()?;
    manifest.sources = List::new(sources).expect("there are as many as before");
    if !manifest.egress.is_empty() {
        let host = Text::new(world.ip().to_string()).expect("an address is short");
        let egress = Egress { host, port: world.port(), plain: true };
        manifest.egress = List::new([egress]).expect("it is one");
    }
    Package::new(manifest, package.module.clone(), package.input.clone())
}

/// Maps `https://HOST/PATH` to the world.
fn map(url: &Template, world: SocketAddr) -> Result<Template> {
    let Some((_, rest)) = url.split_once("://") else { return Ok(url.clone()) };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mapped = format!("http://{world}{HOST_PREFIX}{host}{slash}{path}");
    Text::new(mapped).map_err(|error| Failure::usage(format!("url: {error}")))
}

/// Returns the set-up of a node.
pub(super) fn text(script: &World, world: SocketAddr, node: usize, data: &Path) -> String {
    let mut text = format!(
        "allow_private = [\"{world}\"]\n\n[[secret]]\nhost = \"{}\"\nport = {}\n\
         header = \"{NODE_HEADER}\"\nvalue = \"{node}\"\nwrites = true\n",
        world.ip(),
        world.port(),
    );
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    for store in &script.store {
        let name = quoted(&store.name);
        let _ = write!(
            text,
            "\n[stores.{name}]\nendpoint = \"http://{world}\"\nregion = \"local\"\n\
             bucket = {name}\naccess_key = \"dev\"\nsecret_key = \"dev\"\nwrites = true\n",
        );
    }
    for database in &script.database {
        let address = quoted(&format!("sqlite:{}", file(data, database).display()));
        let _ = write!(text, "\n[databases.{}]\naddress = {address}\n", quoted(&database.name));
    }
    text
}

fn file(data: &Path, database: &Database) -> PathBuf {
    data.join(format!("{}.sqlite", database.name))
}

/// Makes the database of a node from its script.
pub(super) fn fill(database: &Database, dir: &Path, data: &Path) -> Result<()> {
    let script = dir.join(&database.script);
    let text =
        std::fs::read_to_string(&script).doing(|| format!("cannot read {}", script.display()))?;
    let file = file(data, database);
    if file.exists() {
        // A network that is used again begins with the world as it is written.
        std::fs::remove_file(&file).doing(|| format!("cannot remove {}", file.display()))?;
    }
    rusqlite::Connection::open(&file)
        .and_then(|connection| connection.execute_batch(&text))
        .map_err(|error| Failure::usage(format!("{}: {error}", script.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_mapped_to_the_world() {
        let world = "127.0.0.1:80".parse().unwrap();
        let mapped = |url: &str| map(&Text::new(url).unwrap(), world).unwrap().to_string();
        let cases = [
            ("https://a.example/x/{y}?z={z}", "http://127.0.0.1:80/-/a.example/x/{y}?z={z}"),
            ("http://a.example:8080", "http://127.0.0.1:80/-/a.example/"),
            ("https://a.example?q", "http://127.0.0.1:80/-/a.example/?q"),
        ];
        for (url, at) in cases {
            assert_eq!(mapped(url), at);
        }
    }
}
