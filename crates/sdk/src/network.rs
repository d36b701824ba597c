//! Who is a node, and who says so later.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use session_client::onion::{GuardList, Mode};
use session_core::{Decode as _, Encode as _};
use session_protocol::{Membership, network_file};
use session_rpc::network_file::NetworkFile;
use session_runtime::files::{self, Existing, Loose, SECRET_MODE};

/// A list of guards has less than 500 bytes.
const GUARDS_BYTES_MAX: usize = 4096;

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
    pub(crate) guards: GuardFile,
}

/// Where the guards are kept. What is there is private: it tells through whom somebody is reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuardFile(Option<PathBuf>);

impl GuardFile {
    /// Reads the guards of the last time; none, where there are none.
    pub(crate) fn load(&self) -> GuardList {
        let Some(path) = self.0.as_ref().filter(|path| path.exists()) else {
            return GuardList::default();
        };
        let read = files::read_secret(path, GUARDS_BYTES_MAX, Loose::Warn);
        let read = read.map_err(|error| error.to_string());
        let list = read
            .and_then(|bytes| GuardList::decode_exact(&bytes).map_err(|error| error.to_string()));
        list.unwrap_or_else(|why| {
            tracing::warn!("{}: {why}; other guards are chosen", path.display());
            GuardList::default()
        })
    }

    /// Keeps the guards for the next start. Where that fails, others are chosen then.
    pub(crate) fn save(&self, guards: &GuardList) {
        let Some(path) = &self.0 else { return };
        let bytes = guards.to_bytes();
        if let Err(error) = files::write_atomic(path, &bytes, SECRET_MODE, Existing::Replace) {
            tracing::warn!("the guards are not kept: {error}");
        }
    }
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
        let (mode, guards) = (Mode::default(), GuardFile::default());
        Self { membership, directory: None, mode, guards }
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
    /// `guards`: with others at each start, one of them would soon be an enemy's.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode, guards: Option<PathBuf>) -> Self {
        (self.mode, self.guards) = (mode, GuardFile(guards));
        self
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
