//! Who is a node, and who says so later.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use session_protocol::{Membership, network_file};
use session_rpc::network_file::NetworkFile;

/// A network file of ten thousand nodes fits.
const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a directory will say.
pub type Asked<'a> = Pin<Box<dyn Future<Output = Option<Arc<dyn Membership>>> + Send + 'a>>;

/// Somebody who knows the nodes: a chain, for instance.
pub trait Directory: Send + Sync {
    /// Asks who the nodes are now. `None` where nothing is new, or nobody answers.
    fn ask(&self) -> Asked<'_>;
}

/// The nodes of a network.
#[derive(Clone)]
pub struct Network {
    pub(crate) membership: Arc<dyn Membership>,
    pub(crate) directory: Option<Arc<dyn Directory>>,
}

/// Why a network file is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct BadNetwork {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub why: String,
}

impl Network {
    /// Takes nodes that do not change.
    #[must_use]
    pub const fn new(membership: Arc<dyn Membership>) -> Self {
        Self { membership, directory: None }
    }

    /// Reads a network file.
    ///
    /// # Errors
    /// When it cannot be read, or contradicts itself.
    pub fn from_file(path: &Path) -> Result<Self, BadNetwork> {
        let bad = |why: String| BadNetwork { path: path.to_owned(), why };
        let bytes = session_runtime::files::read(path, FILE_BYTES_MAX)
            .map_err(|error| bad(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
        let (file, _) = NetworkFile::parse(&text).map_err(|error| bad(error.to_string()))?;
        let membership = network_file::membership(&file).map_err(|error| bad(error.to_string()))?;
        Ok(Self::new(Arc::new(membership)))
    }

    /// Asks `directory` for the nodes once a minute, and whenever a command fails because of them.
    #[must_use]
    pub fn with_directory(mut self, directory: Arc<dyn Directory>) -> Self {
        self.directory = Some(directory);
        self
    }

    /// Returns the nodes as they were last heard of when this was made.
    #[must_use]
    pub fn membership(&self) -> &Arc<dyn Membership> {
        &self.membership
    }
}
