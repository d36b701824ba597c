//! First contact: introductions, sent and received.

use session_core::{
    AccountId, Decode as _, Domain, Entropy, InboxAddress, Namespace, Span, Time, record,
};
use session_crypto::xwing::XWingSecret;
use session_crypto::{RealVerifier, Signature, Verifier as _};
use session_protocol::inbox::INTRODUCTIONS;
use session_protocol::limits::TTL_MAX;
use session_protocol::manifest::{IntroRoute, SignedManifest};
use session_protocol::request::{Item, ItemBytes};

use super::keys::IntroKey;
use super::known::{Learned, learn_one};
use super::{Me, Refused, is_blocked, known};
use crate::Cx;
use crate::boxes::{Assembly, Piece};
use crate::intro::{self, Intro, IntroBody};
use crate::messenger::api::{Error, Target};
use crate::mls::{Again, KeyAgreement};
use crate::say::DeviceId;
use crate::vault::{self, Table, Vault};

/// Introductions of which only some pieces have arrived: with one more, the oldest is dropped.
const HALVES_MAX: usize = 16;

/// Bytes of all of them together.
const HALVES_BYTES_MAX: usize = 16 << 20;

/// How long pieces wait for the others.
const HALF_LIFE: Span = TTL_MAX;

/// Introductions to one intro key that are remembered as taken.
const TAKEN_MAX: usize = 5000;

/// An item to be stored for somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) to: Target,
    pub(crate) ttl: Span,
    pub(crate) data: ItemBytes,
}

/// An introduction that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incoming {
    /// Who says to have written it. For a welcome only the group shows whether that is true: the
    /// leaf that signed it has to have the key that the manifest of the account lists
    /// ([`crate::group`] checks it). Asking to be added again is signed by the device, and was
    /// checked.
    pub(crate) from: AccountId,
    /// On which device; the account's manifest lists it.
    pub(crate) device: DeviceId,
    pub(crate) body: IntroBody,
    /// What the sender's manifest taught.
    pub(crate) learned: Learned,
}

record! {
    /// Pieces that wait for the others.
    struct Half {
        since: Time,
        /// The mailbox in which they came.
        address: InboxAddress,
        pieces: Assembly,
    }
}

/// Seals an introduction to an account: items to be stored in its intro mailbox.
///
/// # Errors
/// When it is too long, or this device has no manifest yet.
pub(crate) fn make_intro(
    rng: &mut dyn Entropy,
    vault: &dyn Vault,
    me: &Me,
    to: &SignedManifest,
    body: IntroBody,
) -> Result<Vec<Letter>, Error> {
    make_letters(rng, vault, me, &to.manifest.intro, INTRODUCTIONS, body)
}

/// As [`make_intro`], to whoever holds the key of a route.
pub(super) fn make_letters(
    rng: &mut dyn Entropy,
    vault: &dyn Vault,
    me: &Me,
    to: &IntroRoute,
    namespace: Namespace,
    body: IntroBody,
) -> Result<Vec<Letter>, Error> {
    let sender =
        known(vault, &me.account).ok_or(Error::NotFound { what: "manifest of the account" })?;
    let intro = Intro { version: 1, sender, device: me.device, body };
    let items = intro::seal(&intro, to, rng)
        .map_err(|error| Error::Invalid { field: "introduction", why: error.to_string() })?;
    let letter = |data| {
        let to = Target { rule: to.rule, write: Some(to.write.clone()), namespace };
        Letter { to, ttl: TTL_MAX, data }
    };
    Ok(items.into_iter().map(letter).collect())
}

/// Takes an item of an intro mailbox. `None` if it is to be ignored: pieces of it are missing, it was
/// taken before, its sender is blocked, or the mailbox is not, or no longer, ours.
///
/// # Errors
/// When it is not an introduction to this account by a device that the manifest of its sender lists.
pub(crate) fn arrived_intro(
    cx: &mut Cx<'_>,
    me: &mut Me,
    kx: &dyn KeyAgreement,
    address: &InboxAddress,
    item: &Item,
) -> Result<Option<Incoming>, Refused> {
    let Some(key) = IntroKey::load(cx.store, address) else { return Ok(None) };
    let piece = open(&key.secret(), address, item)?;
    let taken = taken_key(address, &piece.id);
    if cx.store.get(&taken).is_some() {
        return Ok(None);
    }
    let Some(whole) = collect(cx.store, cx.now, address, piece)? else { return Ok(None) };
    let intro = read(&whole)?;
    let from = intro.sender.account();
    if is_blocked(cx.store, &from) {
        return Ok(None);
    }
    check_sender(cx.store, cx.now, me, &intro)?;
    if let IntroBody::Rejoin { group, at, key_package, signature } = &intro.body {
        let again = Again { group: *group, at: *at };
        if cx.now.distance(*at) > TTL_MAX {
            let why = "it was asked for long ago, or will be";
            return Err(Refused::Invalid { field: "time of a device that asks to rejoin", why });
        }
        let statement = intro::rejoin_statement(group, &me.account, *at, key_package);
        check_rejoin(cx.store, kx, &intro, again, key_package, &statement, signature)?;
    }
    make_room(cx.store, address);
    vault::save(cx.store, &taken, &cx.now);
    let learned = learn_one(cx.store, cx.now, me, intro.sender);
    Ok(Some(Incoming { from, device: intro.device, body: intro.body, learned }))
}

pub(super) fn open(
    secret: &XWingSecret,
    address: &InboxAddress,
    item: &Item,
) -> Result<Piece, Refused> {
    intro::open(secret, address, &item.data).map_err(|_| Refused::NotOpened)
}

pub(super) fn read(whole: &[u8]) -> Result<Intro, Refused> {
    intro::read(whole).map_err(Refused::Introduction)
}

/// Checks the manifest that the sender shows, and that the newest one we know lists the device.
fn check_sender(vault: &dyn Vault, now: Time, me: &Me, intro: &Intro) -> Result<(), Refused> {
    let shown = &intro.sender;
    let account = shown.account();
    shown.check(&me.network, &RealVerifier)?;
    if shown.is_expired(now) {
        return Err(Refused::Expired { account, expiry: shown.manifest.expiry });
    }
    if newest(vault, intro).device(&intro.device.0).is_none() {
        return Err(Refused::Impostor { device: intro.device, account });
    }
    Ok(())
}

/// Returns the newer one of what the sender shows and what is known.
fn newest(vault: &dyn Vault, intro: &Intro) -> SignedManifest {
    known(vault, &intro.sender.account())
        .filter(|known| known.manifest.seq >= intro.sender.manifest.seq)
        .unwrap_or_else(|| intro.sender.clone())
}

/// Checks that the device itself asks, with a key package of its own.
fn check_rejoin(
    vault: &dyn Vault,
    kx: &dyn KeyAgreement,
    intro: &Intro,
    again: Again,
    key_package: &[u8],
    statement: &[u8],
    signature: &Signature,
) -> Result<(), Refused> {
    let wrong =
        |why| Refused::Invalid { field: "key package of a device that asks to rejoin", why };
    let (who, hash, _) =
        kx.read_key_package(key_package).map_err(|_| wrong("it is not in order"))?;
    let manifest = newest(vault, intro);
    let device = manifest.device(&intro.device.0);
    if who.account != manifest.account() || who.device != intro.device {
        return Err(wrong("it is another device's"));
    }
    if who.again != Some(again) {
        return Err(wrong("it was made for something else"));
    }
    if device.is_none_or(|device| device.key != hash) {
        return Err(Refused::Impostor { device: intro.device, account: manifest.account() });
    }
    let key = kx.signing_key(key_package).ok_or_else(|| wrong("it shows no key"))?;
    RealVerifier
        .verify(&key, Domain::Rejoin, statement, signature)
        .map_err(|_| wrong("the device did not sign that it asks"))
}

/// Puts pieces together; those that wait are bounded.
pub(super) fn collect(
    vault: &mut dyn Vault,
    now: Time,
    address: &InboxAddress,
    piece: Piece,
) -> Result<Option<Vec<u8>>, Refused> {
    let key = Table::Pending.key(&[b"i", &piece.id]);
    let before = vault::load::<Half>(vault, &key).filter(|half| half.address == *address);
    let mut pieces = match before {
        Some(half) => half.pieces,
        None => Assembly::new(&piece)?,
    };
    match pieces.add(piece) {
        Ok(Some(whole)) => {
            vault.remove(&key);
            Ok(Some(whole))
        }
        Ok(None) => {
            vault.remove(&key);
            drop_halves(vault, now, pieces.bytes());
            vault::save(vault, &key, &Half { since: now, address: *address, pieces });
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes room for pieces of so many bytes.
fn drop_halves(vault: &mut dyn Vault, now: Time, bytes: usize) {
    let mut halves: Vec<(Time, usize, Vec<u8>)> = Vec::new();
    vault.scan(&Table::Pending.key(&[b"i"]), &[], false, &mut |key, value| {
        let since = Half::decode_exact(value).map_or(Time::ZERO, |half| half.since);
        halves.push((since, value.len(), key.to_vec()));
        true
    });
    halves.sort();
    let mut held: usize = halves.iter().map(|(_, size, _)| size).sum();
    let mut left = halves.len();
    for (since, size, key) in halves {
        if since + HALF_LIFE > now && left < HALVES_MAX && held + bytes <= HALVES_BYTES_MAX {
            break;
        }
        vault.remove(&key);
        left -= 1;
        held -= size;
    }
}

fn taken_key(address: &InboxAddress, id: &[u8; 16]) -> Vec<u8> {
    Table::Seen.key(&[b"i", address.as_ref(), id])
}

fn make_room(vault: &mut dyn Vault, address: &InboxAddress) {
    let taken = taken(vault, address);
    // Whoever sends so many may repeat some of them: groups refuse to be joined twice.
    for key in taken.iter().take((taken.len() + 1).saturating_sub(TAKEN_MAX)) {
        vault.remove(key);
    }
}

fn taken(vault: &dyn Vault, address: &InboxAddress) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    vault.scan(&Table::Seen.key(&[b"i", address.as_ref()]), &[], false, &mut |key, _| {
        keys.push(key.to_vec());
        true
    });
    keys
}

/// Forgets what arrived at an intro key that is erased.
pub(super) fn forget_taken(vault: &mut dyn Vault, address: &InboxAddress) {
    for key in taken(vault, address) {
        vault.remove(&key);
    }
}
