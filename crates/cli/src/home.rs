//! The folder of one person: identity, cursors, contacts, network file.
//!
//! ```text
//! HOME/identity.key     the identity, mode 0600
//! HOME/inbox.state      what was read already
//! HOME/contacts/ID      public keys that were imported by hand
//! HOME/sending/ID       files that are on their way out
//! HOME/network.toml     the network, unless --network names another
//! HOME/vault.key        the key of the messages, mode 0600
//! HOME/mode             how requests travel
//! HOME/guards           the nodes that packets are given to
//! HOME/hop-keys         the keys of hops, until they end
//! HOME/hops             hops and guards that were lost with packets in the last minutes
//! HOME/messages.vault   conversations, contacts, keys: encrypted
//! HOME/profiles/NAME/   all of this once more, for another account
//! HOME/profile          the name of the profile that is used
//! ```

use std::fs;
use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use session_client::Mode;
use session_core::{AccountId, Decode, Encode};
use session_crypto::identity_file::{self, Protection};
use session_crypto::{AccountRef, Identity, PublicIdentity};
use session_protocol::network_file;
use session_rpc::network_file::NetworkFile;
use session_runtime::files::{self, Existing, Loose, SECRET_MODE};

use crate::args::Common;
use crate::exit::{Code, Doing, Failure, Result};
use crate::members::SharedMembership;

/// The environment variable that holds the passphrase, for scripts.
pub(crate) const PASSPHRASE_VARIABLE: &str = "SESSION_PASSPHRASE";

/// An identity file has about 8.5 KB.
const IDENTITY_BYTES_MAX: usize = 64 * 1024;

/// No file that this program reads whole is larger.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The file that names the profile in use.
const PROFILE_FILE: &str = "profile";

/// The file that says how requests of a profile travel.
const MODE_FILE: &str = "mode";

/// The folder of the profiles.
const PROFILES: &str = "profiles";

/// Where one person's things are.
pub(crate) struct Home {
    /// What all profiles share.
    base: PathBuf,
    /// That of the profile, or `base`.
    dir: PathBuf,
    network: PathBuf,
    passphrase_file: Option<PathBuf>,
    read_receipts: bool,
    /// As the command line says.
    mode: Option<Mode>,
}

impl Home {
    /// Finds the folder: the flag, the environment, or `~/.lux-session`.
    pub(crate) fn find(common: &Common) -> Result<Self> {
        let base = match &common.home {
            Some(dir) => dir.clone(),
            None => std::env::var_os("HOME")
                .map(|home| Path::new(&home).join(".lux-session"))
                .ok_or_else(|| Failure::usage("HOME is not set: say where with --home DIR"))?,
        };
        let network = common.network.clone().unwrap_or_else(|| base.join("network.toml"));
        let used = || fs::read_to_string(base.join(PROFILE_FILE)).ok();
        let profile = common.profile.clone().or_else(used);
        let dir = match profile.as_deref().map(str::trim).filter(|name| !name.is_empty()) {
            None => base.clone(),
            Some(name) => {
                check_profile(name)?;
                base.join(PROFILES).join(name)
            }
        };
        let passphrase_file = common.passphrase_file.clone();
        let (read_receipts, mode) = (common.read_receipts, common.mode);
        Ok(Self { base, dir, network, passphrase_file, read_receipts, mode })
    }

    /// Returns how requests travel: as the command line says, or the profile, or as usual.
    pub(crate) fn mode(&self) -> Result<Mode> {
        if let Some(mode) = self.mode {
            return Ok(mode);
        }
        let path = self.dir.join(MODE_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().doing(|| path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Mode::default()),
            Err(error) => Err(Failure::failed(format!("cannot read {}: {error}", path.display()))),
        }
    }

    /// Returns how much longer something takes that needs so many round trips one after another: hops
    /// may wait on purpose.
    pub(crate) fn slack(&self, round_trips: u32) -> Duration {
        // A mode that cannot be read ends the command where requests begin.
        let once = self.mode().unwrap_or_default().round_trip();
        Duration::from_millis(once.as_millis()) * round_trips
    }

    /// Has requests of this profile travel so from now on.
    pub(crate) fn set_mode(&self, mode: Mode) -> Result<()> {
        self.make_dir(&self.dir)?;
        write_secret(&self.dir.join(MODE_FILE), format!("{mode}\n").as_bytes())
    }

    /// Tells whether others shall know what was read.
    pub(crate) const fn read_receipts(&self) -> bool {
        self.read_receipts
    }

    /// Returns the folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Lists the profiles, with whether each is the one in use.
    pub(crate) fn profiles(&self) -> Vec<(String, bool)> {
        let mut names: Vec<String> = fs::read_dir(self.base.join(PROFILES))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| check_profile(name).is_ok())
            .collect();
        names.sort_unstable();
        let used = |name: &String| self.base.join(PROFILES).join(name) == self.dir;
        names.into_iter().map(|name| (used(&name), name)).map(|(used, name)| (name, used)).collect()
    }

    /// Makes the folder of a profile.
    pub(crate) fn make_profile(&self, name: &str) -> Result<PathBuf> {
        check_profile(name)?;
        let dir = self.base.join(PROFILES).join(name);
        if dir.exists() {
            return Err(Failure::usage(format!("there is a profile {name} already")));
        }
        self.make_dir(&dir)?;
        Ok(dir)
    }

    /// Uses a profile from now on; `None` for none.
    pub(crate) fn use_profile(&self, name: Option<&str>) -> Result<()> {
        let Some(name) = name else {
            // Not there is as good as gone.
            let _ = fs::remove_file(self.base.join(PROFILE_FILE));
            return Ok(());
        };
        check_profile(name)?;
        if !self.base.join(PROFILES).join(name).is_dir() {
            return Err(Failure::not_found(format!(
                "there is no profile {name}: make it with 'session profile new {name}'"
            )));
        }
        write_secret(&self.base.join(PROFILE_FILE), name.as_bytes())
    }

    /// Returns where the network file is, or would be.
    pub(crate) fn network_file(&self) -> &Path {
        &self.network
    }

    /// Reads the network file.
    pub(crate) fn network(&self) -> Result<NetworkFile> {
        if !self.network.exists() {
            return Err(Failure::usage(format!(
                "there is no network file at {}: name one with --network FILE, or make a network \
                 with 'session up'",
                self.network.display()
            )));
        }
        read_network(&self.network)
    }

    /// Reads the own identity, asking for its passphrase when it has one.
    pub(crate) fn identity(&self) -> Result<Identity> {
        let path = self.identity_path();
        if !path.exists() {
            return Err(Failure::not_found(format!(
                "there is no identity at {}: make one with 'session id new'",
                path.display()
            )));
        }
        let bytes =
            files::read_secret(&path, IDENTITY_BYTES_MAX, Loose::Warn).map_err(Failure::failed)?;
        self.decode(&path, &bytes)
    }

    /// Reads an identity from the bytes of any identity file.
    pub(crate) fn decode(&self, path: &Path, bytes: &[u8]) -> Result<Identity> {
        let what = || path.display().to_string();
        let passphrase = match identity_file::protection(bytes).doing(what)? {
            Protection::Plain => None,
            Protection::Passphrase => Some(self.passphrase(&format!("passphrase of {}", what()))?),
        };
        identity_file::decode(bytes, passphrase.as_deref().map(str::as_bytes)).doing(what)
    }

    /// Writes the own identity, encrypted unless `plain`.
    pub(crate) fn save_identity(
        &self,
        identity: &Identity,
        plain: bool,
        force: bool,
    ) -> Result<()> {
        let path = self.identity_path();
        if path.exists() && !force {
            return Err(Failure::usage(format!(
                "{} is there already; --force replaces it, and what was sent to it can then no \
                 longer be opened",
                path.display()
            )));
        }
        self.make_dir(&self.dir)?;
        let bytes = self.encode(identity, plain)?;
        write_secret(&path, &bytes)
    }

    /// Returns the bytes of an identity file, encrypted unless `plain`.
    pub(crate) fn encode(&self, identity: &Identity, plain: bool) -> Result<Vec<u8>> {
        if plain {
            return Ok(identity_file::encode_plain(identity).to_vec());
        }
        let passphrase = self.new_passphrase()?;
        identity_file::encode_encrypted(
            identity,
            passphrase.as_bytes(),
            &mut crate::person::entropy()?,
        )
        .map_err(Failure::usage)
    }

    /// Returns the keys of somebody whose public keys were imported.
    pub(crate) fn contact(&self, account: &AccountId) -> Option<PublicIdentity> {
        let bytes = fs::read(self.contact_path(account)).ok()?;
        PublicIdentity::decode_exact(&bytes).ok().filter(|keys| keys.account_id() == *account)
    }

    /// Remembers somebody's public keys.
    pub(crate) fn save_contact(&self, keys: &PublicIdentity) -> Result<()> {
        self.save("contacts", &AccountRef(keys.account_id()).to_string(), &keys.to_bytes())
    }

    /// Reads a small state file; `None` when it is not there.
    pub(crate) fn load<T: Decode>(&self, folder: &str, name: &str) -> Result<Option<T>> {
        let path = self.dir.join(folder).join(name);
        match fs::read(&path) {
            Ok(bytes) => T::decode_exact(&bytes)
                .map(Some)
                .doing(|| format!("{} is damaged; delete it to start over", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::failed(format!("cannot read {}: {error}", path.display()))),
        }
    }

    /// Writes a small state file, all of it or nothing.
    pub(crate) fn save(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<()> {
        let dir = self.dir.join(folder);
        self.make_dir(&dir)?;
        let path = dir.join(name);
        write_secret(&path, bytes)
    }

    /// Forgets a small state file.
    pub(crate) fn forget(&self, folder: &str, name: &str) {
        // Not there is as good as gone.
        let _ = fs::remove_file(self.dir.join(folder).join(name));
    }

    /// Lists the small state files of a folder.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.join(folder))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn identity_path(&self) -> PathBuf {
        self.dir.join("identity.key")
    }

    fn contact_path(&self, account: &AccountId) -> PathBuf {
        self.dir.join("contacts").join(AccountRef(*account).to_string())
    }

    /// Makes the folder, unless it is there.
    pub(crate) fn make(&self) -> Result<()> {
        self.make_dir(&self.dir)
    }

    fn make_dir(&self, dir: &Path) -> Result<()> {
        files::create_private_directory(dir).map_err(Failure::failed)
    }

    /// Asks for a passphrase: a file, the environment, or whoever sits at the terminal.
    pub(crate) fn passphrase(&self, prompt: &str) -> Result<String> {
        if let Some(file) = &self.passphrase_file {
            let text = fs::read_to_string(file)
                .doing(|| format!("cannot read the passphrase from {}", file.display()))?;
            return Ok(text.lines().next().unwrap_or_default().to_owned());
        }
        if let Ok(passphrase) = std::env::var(PASSPHRASE_VARIABLE) {
            return Ok(passphrase);
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::usage(format!(
                "a passphrase is needed and nobody is there to type it: set {PASSPHRASE_VARIABLE}, \
                 use --passphrase-file, or keep the keys in the clear with --plain"
            )));
        }
        rpassword::prompt_password(format!("{prompt}: "))
            .doing(|| "cannot read the passphrase".to_owned())
    }

    /// Asks for a passphrase that is made up now; typed ones twice.
    pub(crate) fn new_passphrase(&self) -> Result<String> {
        let first = self.passphrase("new passphrase")?;
        let typed = self.passphrase_file.is_none() && std::env::var(PASSPHRASE_VARIABLE).is_err();
        if typed && self.passphrase("the same once more")? != first {
            return Err(Failure::usage("the two passphrases differ"));
        }
        Ok(first)
    }
}

// A name becomes a folder: nothing else may become of it.
fn check_profile(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(fits) {
        return Err(Failure::usage(format!(
            "a profile's name has up to 64 letters, digits, - _ and dots, not at its start; got {name:?}"
        )));
    }
    Ok(())
}

/// Writes a file that only its owner may read: all of it or nothing.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    files::write_atomic(path, bytes, SECRET_MODE, Existing::Replace).map_err(Failure::failed)
}

/// Reads a network file.
pub(crate) fn read_network(path: &Path) -> Result<NetworkFile> {
    let text = fs::read_to_string(path).doing(|| format!("cannot read {}", path.display()))?;
    let (file, unknown) = NetworkFile::parse(&text)
        .map_err(|error| Failure::new(Code::Usage, format!("{}: {error}", path.display())))?;
    for key in unknown {
        tracing::warn!("{}: nobody knows the key {key}", path.display());
    }
    Ok(file)
}

/// Checks what a network file says.
pub(crate) fn membership(file: &NetworkFile, path: &Path) -> Result<SharedMembership> {
    let wrong = |error| Failure::new(Code::Usage, format!("{}: {error}", path.display()));
    network_file::membership(file).map(Arc::new).map_err(wrong)
}

/// Reads a whole file, or standard input for `-`.
pub(crate) fn read_input(path: &Path) -> Result<Vec<u8>> {
    read_input_up_to(path, FILE_BYTES_MAX)
}

/// Reads a whole file of at most `max` bytes, or standard input for `-`.
pub(crate) fn read_input_up_to(path: &Path, max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let what = || format!("cannot read {}", path.display());
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(max + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).doing(what)?.take(max + 1).read_to_end(&mut bytes)
    };
    read.doing(what)?;
    if bytes.len() as u64 > max {
        return Err(Failure::usage(format!("{} is over {max} bytes", path.display())));
    }
    Ok(bytes)
}

/// Writes a secret to a file of mode 0600, or to standard output for `-`.
pub(crate) fn write_output(path: &Path, bytes: &[u8]) -> Result<()> {
    let what = || format!("cannot write {}", path.display());
    if path == Path::new("-") {
        return std::io::stdout().lock().write_all(bytes).doing(what);
    }
    write_secret(path, bytes)
}

/// Tells who may read a file besides its owner; for the warning in `id show`.
pub(crate) fn readable_by_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0)
}
