//! Where a workload runs: whose network, which node, which chain, on whose account.

use std::path::{Path, PathBuf};

use session_crypto::Identity;
use session_runtime::http::client::Endpoint;

use super::node::Node;
use super::run::fund;
use crate::args::Common;
use crate::chain::rpc::Rpc;
use crate::exit::{Code, Failure, Result};
use crate::home::Home;
use crate::{chain, cluster, local_chain, up};

/// What was said on the command line, and where things are that were not said.
pub(super) struct Place {
    home: Home,
    node: Option<Endpoint>,
    /// Where the identity of the network's operator is, if it was made here.
    operator: Option<Common>,
}

impl Place {
    /// Finds the network: as it was named, the home's own, or the one that `session up` makes in
    /// this folder.
    pub(super) fn find(common: &Common, node: Option<&Endpoint>) -> Result<Self> {
        let mut common = common.clone();
        let here = Path::new(up::DIR).join("network.toml");
        if !Home::find(&common)?.network_file().exists()
            && common.network.is_none()
            && here.exists()
        {
            common.network = Some(here);
        }
        let home = Home::find(&common)?;
        let dir = home.network_file().parent().map(Path::to_owned).unwrap_or_default();
        let operator = local_chain::operator_home(&dir);
        let operator = operator.join("identity.key").exists().then_some(Common {
            home: Some(operator),
            network: None,
            json: common.json,
            passphrase_file: None,
            profile: None,
            mode: None,
            read_receipts: false,
        });
        Ok(Self { home, node: node.cloned(), operator })
    }

    /// Returns a node that answers.
    pub(super) async fn node(&self) -> Result<Node> {
        if let Some(url) = &self.node {
            return Ok(Node::new(url.clone()));
        }
        let file = self.nodes_file();
        for url in cluster::urls_beside(self.home.network_file())? {
            let node = Node::new(url);
            if node.is_well().await {
                return Ok(node);
            }
        }
        Err(Failure::new(
            Code::Network,
            format!(
                "no node answers: start a network with 'session up', or name a node with --node \
                 (looked into {})",
                file.display()
            ),
        ))
    }

    fn nodes_file(&self) -> PathBuf {
        self.home.network_file().with_file_name(cluster::URLS_FILE)
    }

    /// Returns the chain.
    pub(super) fn rpc(&self, named: Option<&Endpoint>) -> Result<Rpc> {
        if let Some(url) = named {
            return Ok(Rpc::new(url.clone()));
        }
        let beside = local_chain::url_beside(self.home.network_file())?;
        Ok(Rpc::new(beside.unwrap_or_else(chain::usual)))
    }

    /// Returns who pays: the own identity, which the operator of a local network gives what it
    /// needs, or that operator.
    pub(super) async fn identity(&self, rpc: &Rpc) -> Result<Identity> {
        let operator = || self.operator.as_ref().map(|common| Home::find(common)?.identity());
        if !self.home.identity_path().exists()
            && let Some(operator) = operator()
        {
            return operator;
        }
        let own = self.home.identity()?;
        if let Some(operator) = operator() {
            fund(rpc, &operator?, &own).await?;
        }
        Ok(own)
    }
}
