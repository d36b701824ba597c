//! Who is a node, and who says so later.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use session_client::onion::Mode;
use session_protocol::{Membership, network_file};
use session_rpc::network_file::NetworkFile;

use crate::kept::KeptFiles;

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
    pub(crate) mode: Mode,
    pub(crate) kept: KeptFiles,
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
    pub fn new(membership: Arc<dyn Membership>) -> Self {
        let (mode, kept) = (Mode::default(), KeptFiles::default());
        Self { membership, directory: None, mode, kept }
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

    /// Has requests travel this way. With hops, the nodes that packets are given to are kept in
    /// `folder` ([`GUARDS_FILE`](crate::kept::GUARDS_FILE)): with others at each start, one of them
    /// would soon be an enemy's. Hop keys and the state of hops are kept beside them, which makes
    /// starts faster.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode, folder: Option<PathBuf>) -> Self {
        (self.mode, self.kept) = (mode, KeptFiles(folder));
        self
    }

    /// Returns what is kept from the last start and cannot be used, in words: a session starts
    /// without it.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        self.kept.load().1
    }

    /// Returns how requests travel.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns the nodes as they were last heard of when this was made.
    #[must_use]
    pub fn membership(&self) -> &Arc<dyn Membership> {
        &self.membership
    }
}
