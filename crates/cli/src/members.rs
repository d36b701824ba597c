//! Who is a node: as the chain says where it is known, or else as the network file says.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use session_client::Mode;
use session_protocol::network_file;
use session_protocol::{Membership, StaticMembership};
use session_rpc::network_file::NetworkFile;
use session_runtime::http::client::Endpoint;
use session_sdk::Network;
use session_sdk::network::Directory;
use tokio::sync::Mutex;

use crate::chain::network;
use crate::chain::rpc::Rpc;
use crate::exit::{Failure, Result};
use crate::home::{self, Home};
use crate::local_chain;

/// How long the chain may take before the file is good enough.
const PATIENCE: Duration = Duration::from_secs(3);

/// A membership that tasks share.
pub(crate) type SharedMembership = Arc<StaticMembership>;

/// The nodes of the network, and where to ask who they are now.
#[derive(Clone)]
pub(crate) struct Members {
    network: NetworkFile,
    view: SharedMembership,
    chain: Option<Endpoint>,
}

impl Members {
    /// Reads the network file, and asks the chain beside it if there is one.
    pub(crate) async fn find(home: &Home) -> Result<Self> {
        let network = home.network()?;
        let chain = local_chain::url_beside(home.network_file())?;
        let mut members = Self::new(network, home.network_file(), chain)?;
        members.refresh().await;
        Ok(members)
    }

    /// Takes a network as it is.
    pub(crate) fn new(
        network: NetworkFile,
        path: &std::path::Path,
        chain: Option<Endpoint>,
    ) -> Result<Self> {
        let view = home::membership(&network, path)?;
        Ok(Self { network, view, chain })
    }

    pub(crate) const fn view(&self) -> &SharedMembership {
        &self.view
    }

    /// Returns the network as clients take it: the chain is asked again once in a while, and requests
    /// travel as the home says.
    pub(crate) fn into_network(self, home: &Home) -> Result<Network> {
        let network = Network::new(self.view.clone()).with_mode(home.mode()?, kept(home)?);
        Ok(network.with_directory(Arc::new(Asked(Mutex::new(self)))))
    }

    /// Returns the network for whoever asks nodes about themselves: they are asked directly.
    pub(crate) fn into_direct_network(self) -> Network {
        let network = Network::new(self.view.clone()).with_mode(Mode::Direct, None);
        network.with_directory(Arc::new(Asked(Mutex::new(self))))
    }

    /// Asks the chain; returns whether the nodes are others now. Without a chain, or one that does
    /// not answer, nothing changes.
    pub(crate) async fn refresh(&mut self) -> bool {
        let Some(chain) = &self.chain else { return false };
        let rpc = Rpc::new(chain.clone());
        let fetched = tokio::time::timeout(PATIENCE, network::fetch(&rpc)).await;
        let fetched = fetched.map_err(|_| Failure::failed("it takes too long")).flatten();
        match fetched.and_then(|network| self.replace(network)) {
            Ok(changed) => changed,
            Err(failure) => {
                tracing::info!("the nodes are as the network file says; the chain: {failure}");
                false
            }
        }
    }

    fn replace(&mut self, network: NetworkFile) -> Result<bool> {
        if network == self.network {
            return Ok(false);
        }
        let view = network_file::membership(&network).map_err(Failure::failed)?;
        // Whoever runs the file's network is asked about no other one.
        if view.network() != self.view.network() {
            let why = format!("it is of network {:?}, not of the file's", network.network);
            return Err(Failure::failed(why));
        }
        (self.network, self.view) = (network, Arc::new(view));
        Ok(true)
    }
}

// Where guards and hop keys can be kept: a home that is not there yet is made for them.
fn kept(home: &Home) -> Result<Option<std::path::PathBuf>> {
    home.make()?;
    Ok(Some(home.dir().to_owned()))
}

/// Members that are asked for by whoever needs them.
struct Asked(Mutex<Members>);

impl Directory for Asked {
    fn ask(&self) -> Pin<Box<dyn Future<Output = Option<Arc<dyn Membership>>> + Send + '_>> {
        Box::pin(async {
            let mut members = self.0.lock().await;
            members.refresh().await.then(|| members.view.clone() as Arc<dyn Membership>)
        })
    }
}
