//! Files on their way out and in: chunk by chunk, resumable, with progress.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use indicatif::{ProgressBar, ProgressStyle};
use session_client::{NewItem, StoredProof};
use session_core::{Span, Time, record};
use session_crypto::PublicIdentity;
use session_messaging::attachment::{
    CHUNK_BYTES, FileHash, FileKey, Manifest, Opener, SealedPiece, Sealer,
};
use session_messaging::content::Content;
use session_messaging::file_name::FileName;
use session_protocol::inbox::ATTACHMENTS;
use session_sdk::transfer::{free_name, resume};

use crate::exit::{Doing, Failure, Result};
use crate::home::Home;
use crate::person::{self, Person};

/// Pieces in one request: below the size of a frame, and few to repeat after an interruption.
const PIECES_AT_ONCE: usize = 8;

/// Where the state of files on their way is kept.
const SENDING: &str = "sending";

record! {
    /// What is needed to go on with a file that was interrupted.
    struct Sending {
        key: [u8; 32],
        size: u64,
        modified: u64,
        started: Time,
        acknowledged: u32,
    }
}

/// What came of sending a file.
pub(crate) struct SentFile {
    pub(crate) proof: StoredProof,
    pub(crate) size: u64,
    pub(crate) chunks: u32,
    pub(crate) resumed_at: u32,
}

/// Seals and stores a file chunk by chunk, then sends its manifest.
///
/// What was acknowledged is remembered in `home`, so that sending again goes on behind it.
pub(crate) async fn send_file(
    person: &Person,
    home: &Home,
    to: &PublicIdentity,
    path: &Path,
    ttl: Span,
    progress: &ProgressBar,
) -> Result<SentFile> {
    let what = || format!("cannot read {}", path.display());
    // Asked before opening: a pipe would wait for its writer.
    let metadata = fs::metadata(path).doing(what)?;
    if !metadata.is_file() {
        return Err(Failure::usage(format!("{} is not a regular file", path.display())));
    }
    let mut file = File::open(path).doing(what)?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(0));
    let size = metadata.len();
    let address = person::inbox_of(to.account_id());
    let slot = slot(path, to)?;
    let mut state = match home.load::<Sending>(SENDING, &slot)? {
        // Half of its time must be left for what was stored before.
        Some(state)
            if state.size == size
                && state.modified == modified
                && person::now().since(state.started).as_millis() < ttl.as_millis() / 2 =>
        {
            state
        }
        _ => Sending {
            key: *FileKey::generate(&mut crate::person::entropy()?).expose(),
            size,
            modified,
            started: person::now(),
            acknowledged: 0,
        },
    };
    let resumed_at = state.acknowledged;
    let mut sealer =
        Sealer::new(FileKey::from(state.key), size, address).map_err(Failure::usage)?;
    progress.set_length(size);
    let mut pending = Vec::new();
    while sealer.next_length() > 0 {
        let mut plain = vec![0; sealer.next_length()];
        file.read_exact(&mut plain)
            .doing(|| format!("{} became shorter while it was read", path.display()))?;
        let chunk = sealer.next_chunk();
        let piece = sealer.seal_next(&plain).map_err(Failure::failed)?;
        if chunk >= state.acknowledged {
            pending.push(piece);
        }
        if pending.len() == PIECES_AT_ONCE {
            store_pieces(person, address, &mut pending, ttl).await?;
            state.acknowledged = sealer.next_chunk();
            home.save(SENDING, &slot, &session_core::Encode::to_bytes(&state))?;
        }
        progress.inc(plain.len() as u64);
    }
    store_pieces(person, address, &mut pending, ttl).await?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let chunks = sealer.chunks();
    let (manifest, mut indexes) =
        sealer.finish(FileName::sanitise(&name)).map_err(Failure::failed)?;
    store_pieces(person, address, &mut indexes, ttl).await?;
    let content = Content::File { sent_at: person::now(), manifest };
    let proof = person.send(to, &content, ttl).await?;
    home.forget(SENDING, &slot);
    progress.finish_and_clear();
    Ok(SentFile { proof, size, chunks, resumed_at })
}

async fn store_pieces(
    person: &Person,
    address: session_core::InboxAddress,
    pieces: &mut Vec<SealedPiece>,
    ttl: Span,
) -> Result<()> {
    let store = async |some: &[SealedPiece]| {
        let item =
            |it: &SealedPiece| NewItem { namespace: ATTACHMENTS, ttl, data: it.item.clone() };
        let items: Vec<NewItem> = some.iter().map(item).collect();
        if items.is_empty() { Ok(()) } else { person.store_many(address, items).await.map(drop) }
    };
    for some in pieces.chunks(PIECES_AT_ONCE) {
        // Over hops a request holds one piece: some are on their way at once.
        let mut parts = some.chunks(some.len().div_ceil(4));
        let mut part = || parts.next().unwrap_or_default();
        let [a, b, c, d] = [part(), part(), part(), part()];
        tokio::try_join!(store(a), store(b), store(c), store(d))?;
    }
    pieces.clear();
    Ok(())
}

/// The name under which a file on its way out is remembered.
fn slot(path: &Path, to: &PublicIdentity) -> Result<String> {
    let path = fs::canonicalize(path).doing(|| format!("cannot find {}", path.display()))?;
    let mut hash = FileHash::new();
    hash.update(to.account_id().as_bytes());
    hash.update(path.as_os_str().as_encoded_bytes());
    Ok(hash.finish().to_string())
}

/// Fetches, opens and checks a file; returns where it was saved.
///
/// A download that was cut off goes on behind what is there.
pub(crate) async fn receive_file(
    person: &Person,
    manifest: &Manifest,
    folder: &Path,
    progress: &ProgressBar,
) -> Result<PathBuf> {
    fs::create_dir_all(folder).doing(|| format!("cannot make {}", folder.display()))?;
    let part = folder.join(format!(".{}.part", manifest.hash()));
    let what = || format!("cannot write {}", part.display());
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&part)
        .doing(what)?;
    let mut opener = Opener::new(manifest.clone());
    fetch_indexes(person, &mut opener).await?;
    let mut hash = FileHash::new();
    let mut chunk = resume(&mut file, manifest, &mut hash).doing(what)?;
    progress.set_length(manifest.size());
    progress.set_position(u64::from(chunk) * CHUNK_BYTES as u64);
    while chunk < manifest.chunks() {
        let last = manifest.chunks().min(chunk.saturating_add(PIECES_AT_ONCE as u32));
        let ids: Vec<_> = (chunk..last)
            .map(|chunk| opener.chunk_id(chunk).expect("every index item was opened"))
            .collect();
        for item in person.fetch(ATTACHMENTS, &ids).await? {
            let plain = opener.open_chunk(chunk, &item.data).map_err(Failure::failed)?;
            file.write_all(&plain).doing(what)?;
            hash.update(&plain);
            progress.inc(plain.len() as u64);
            chunk += 1;
        }
    }
    if let Err(error) = manifest.check_hash(&hash) {
        // Nothing in it can be trusted: the next try starts over.
        let _ = fs::remove_file(&part);
        return Err(Failure::failed(error));
    }
    file.sync_all().doing(what)?;
    let target = free_name(folder, manifest.name().as_str());
    fs::rename(&part, &target).doing(|| format!("cannot write {}", target.display()))?;
    progress.finish_and_clear();
    Ok(target)
}

async fn fetch_indexes(person: &Person, opener: &mut Opener) -> Result<()> {
    for some in opener.missing_indexes().chunks(PIECES_AT_ONCE) {
        let ids: Vec<_> = some.iter().map(|(_, id)| *id).collect();
        let items = person.fetch(ATTACHMENTS, &ids).await?;
        for ((index, _), item) in some.iter().zip(items) {
            opener.open_index(*index, &item.data).map_err(Failure::failed)?;
        }
    }
    Ok(())
}

/// Makes a bar for people who look, and nothing for those who do not.
pub(crate) fn bar(visible: bool, what: &str) -> ProgressBar {
    if !visible {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
    )
    .expect("a fixed template");
    ProgressBar::new(0).with_style(style).with_message(what.to_owned())
}
