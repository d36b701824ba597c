//! The devices of the account: a new one asks, one that holds the keys of the account answers.
//!
//! The request is a text that the new device shows and its owner carries over. It holds nothing secret
//! but the seed of a mailbox: whoever else sees it can store and delete there, and read an answer that
//! is sealed to a key which only the new device has. He could also answer it, with an account of his
//! own: the new device shows which account it belongs to, and its owner looks.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use session_core::{
    AccountId, Blob, Decode as _, Digest, Domain, Encode as _, Entropy, Text, Time, digest, record,
};
use session_crypto::RealVerifier;
use session_crypto::xwing::{XWingPublicKey, XWingSecret};
use session_protocol::NetworkId;
use session_protocol::inbox::{BOXES, Mailbox};
use session_protocol::manifest::{DEVICES_MAX, Device, IntroRoute, LegacyLink, SignedManifest};
use session_protocol::request::Item;

use super::keys::{self, KEYS_BYTES_MAX, intro_route};
use super::known::{is_listed, keep_shown};
use super::manifest::{Draft, issue};
use super::{Begun, DEVICE_NAME_BYTES_MAX, Me, Own, Refused, Todo, device_name, known, vacant};
use crate::Cx;
use crate::intro::IntroBody;
use crate::messenger::api::{Error, Source};
use crate::mls::DeviceKey;
use crate::outbox::{Outbox, Purpose};
use crate::say::DeviceId;
use crate::secret::Secret;
use crate::vault::{self, Table, Vault};

/// With what a request begins, so that people and programs see what it is.
const PREFIX: &str = "luxlink1";

/// Longest text of a request that is looked at.
const REQUEST_TEXT_MAX: usize = 4096;

record! {
    /// What a new device keeps until it is answered.
    struct Linking {
        version: u16,
        network: NetworkId,
        /// From which its signing key is made.
        device: Secret,
        /// From which the key is made that the answer is sealed to.
        seal: Secret,
        /// From which the mailbox of the answer is derived.
        route: Secret,
        name: Text<DEVICE_NAME_BYTES_MAX>,
    }

    /// What a new device shows.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Request {
        pub(super) version: u16,
        pub(super) network: NetworkId,
        /// The hash of its signing key.
        pub(super) key: Digest,
        /// What the answer is sealed to.
        pub(super) seal: XWingPublicKey,
        /// From which the mailbox of the answer is derived.
        pub(super) route: Secret,
        pub(super) name: Text<DEVICE_NAME_BYTES_MAX>,
    }

    /// What it is answered.
    pub(super) struct Reply {
        pub(super) version: u16,
        pub(super) keys: Blob<KEYS_BYTES_MAX>,
    }
}

impl Linking {
    fn key() -> Vec<u8> {
        Table::Meta.key(&[b"account/linking"])
    }

    fn load(vault: &dyn Vault) -> Option<Self> {
        vault::load(vault, &Self::key())
    }

    fn request(&self) -> Request {
        Request {
            version: 1,
            network: self.network,
            key: DeviceKey::from_seed(&self.device).key_hash(),
            seal: XWingSecret::from_seed(self.seal.expose()).public(),
            route: self.route.clone(),
            name: self.name.clone(),
        }
    }
}

fn mailbox(route: &Secret) -> Mailbox {
    Mailbox::derive(&route.key(), &[b"link"])
}

impl Request {
    pub(super) fn text(&self) -> String {
        let mut bytes = self.to_bytes();
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        format!("{PREFIX}{}", Base64UrlUnpadded::encode_string(&bytes))
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Invalid { field: "request", why: why.to_owned() };
        let text: String =
            text.chars().filter(|c| !c.is_whitespace()).take(REQUEST_TEXT_MAX).collect();
        let digits = text.strip_prefix(PREFIX).ok_or_else(|| {
            wrong("it does not begin with luxlink1, as what a new device shows does")
        })?;
        let bytes = Base64UrlUnpadded::decode_vec(digits)
            .map_err(|_| wrong("it has characters that do not belong there, or lacks some"))?;
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or_else(|| wrong("it was cut"))?;
        if checksum(body) != *sum {
            return Err(wrong("it was altered or cut: copy it again"));
        }
        let request = Self::decode_exact(body).map_err(|why| wrong(&why.to_string()))?;
        if request.version != 1 {
            return Err(wrong("a later version made it: update this device"));
        }
        Ok(request)
    }

    /// Returns where, and under which key, it is answered.
    fn answer_route(&self) -> IntroRoute {
        intro_route(0, &self.seal, &mailbox(&self.route))
    }

    fn device(&self) -> DeviceId {
        DeviceId(*self.key.as_bytes().first_chunk().expect("16 is less than 32"))
    }
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    *digest(Domain::DeviceLink, &[bytes]).as_bytes().first_chunk().expect("4 is less than 32")
}

/// Prepares this device for an account that another device holds, and returns the text to carry there.
/// Asked again, it returns the same text.
///
/// # Errors
/// When this device belongs to an account, or the name is too long.
pub fn new_device(
    vault: &mut dyn Vault,
    rng: &mut dyn Entropy,
    network: NetworkId,
    name: &str,
) -> Result<String, Error> {
    vacant(vault)?;
    let name = device_name(name)?;
    let linking = match Linking::load(vault) {
        Some(linking) if linking.network == network => Linking { name, ..linking },
        _ => {
            let (device, seal) = (Secret::generate(rng), Secret::generate(rng));
            Linking { version: 1, network, device, seal, route: Secret::generate(rng), name }
        }
    };
    vault::save(vault, &Linking::key(), &linking);
    Ok(linking.request().text())
}

/// Returns the mailbox to watch while this device waits for an answer; what arrives there goes to
/// [`arrived_link`].
#[must_use]
pub fn linking(vault: &dyn Vault) -> Option<Source> {
    let mailbox = mailbox(&Linking::load(vault)?.route);
    Some(Source { rule: mailbox.rule(), read: Some(mailbox.read), namespace: BOXES })
}

/// Takes an item of the mailbox of [`linking`]. Returns the account once the answer is there: this
/// device belongs to it from then on, and can be opened. Its owner is to be shown which it is.
///
/// # Errors
/// When it is not an answer to the request of this device.
pub fn arrived_link(
    vault: &mut dyn Vault,
    now: Time,
    item: &Item,
) -> Result<Option<AccountId>, Refused> {
    let Some(linking) = Linking::load(vault) else { return Ok(None) };
    let address = mailbox(&linking.route).address();
    let secret = XWingSecret::from_seed(linking.seal.expose());
    let piece = super::intro::open(&secret, &address, item)?;
    let Some(whole) = super::intro::collect(vault, now, &address, piece)? else { return Ok(None) };
    let intro = super::intro::read(&whole)?;
    let IntroBody::Link { payload } = intro.body else {
        return Err(Refused::Invalid { field: "answer", why: "it is about something else" });
    };
    let reply = Reply::decode_exact(&payload)
        .map_err(|why| Refused::Malformed { what: "the answer to a new device", why })?;
    let manifest = intro.sender;
    manifest.check(&linking.network, &RealVerifier)?;
    let key = DeviceKey::from_seed(&linking.device);
    if !is_listed(&manifest, &key.id(), &key.key_hash()) {
        return Err(Refused::Impostor { device: key.id(), account: manifest.account() });
    }
    // Nobody signs the answer; the account has signed which keys are its own.
    if !keys::belong_to(&reply.keys, &manifest) {
        let why = "its keys are not those that the account publishes";
        return Err(Refused::Invalid { field: "answer", why });
    }
    keys::import_keys(vault, now, &reply.keys)?;
    let own = Own {
        version: 1,
        account: manifest.account(),
        network: linking.network,
        device: linking.device,
        seed: None,
        begun: Begun::Yes,
        name: linking.name,
    };
    keep_shown(vault, now, manifest);
    own.save(vault);
    vault.remove(&Linking::key());
    Ok(Some(own.account))
}

/// Makes a device part of the account, from what it shows; asked again, answers it again.
///
/// # Errors
/// When this device does not hold the keys of the account, the request is wrong or of another
/// network, or there are too many devices.
pub(crate) fn add_device(
    cx: &mut Cx<'_>,
    outbox: &mut Outbox,
    me: &mut Me,
    request: &str,
    name: &str,
) -> Result<Vec<Todo>, Error> {
    me.keys()?;
    let request = Request::parse(request)?;
    if request.network != me.network {
        let why = "the device is of another network".to_owned();
        return Err(Error::Invalid { field: "request", why });
    }
    let newest = manifest_of(cx.store, me)?;
    let device = request.device();
    if !is_listed(&newest, &device, &request.key) {
        let name = if name.is_empty() { request.name.clone() } else { device_name(name)? };
        let mut draft = Draft::after(&newest);
        if draft.devices.len() >= DEVICES_MAX {
            let (got, limit) = (draft.devices.len() + 1, DEVICES_MAX);
            return Err(Error::TooMany { field: "devices", got, limit });
        }
        draft.devices.push(Device { id: device.0, key: request.key, added: cx.now, name });
        issue(cx, outbox, me, draft)?;
    }
    answer(cx, outbox, me, &request)?;
    Ok(vec![Todo::ShareKeys, Todo::Admit { device }])
}

fn answer(cx: &mut Cx<'_>, outbox: &mut Outbox, me: &Me, request: &Request) -> Result<(), Error> {
    let keys = keys::export_keys(cx.store).ok_or(Error::NotFound { what: "key of the account" })?;
    let reply = Reply { version: 1, keys };
    let payload = Blob::new(reply.to_bytes()).expect("keys are below 64 KiB");
    let to = request.answer_route();
    let body = IntroBody::Link { payload };
    for letter in super::intro::make_letters(cx.rng, cx.store, me, &to, BOXES, body)? {
        outbox.send(cx, Purpose::Published, letter.to, letter.ttl, letter.data);
    }
    Ok(())
}

/// Excludes a device: it is told no new keys, and new ones are drawn for first contact.
///
/// # Errors
/// When this device does not hold the keys of the account, the device is not listed, or is this one.
pub(crate) fn revoke_device(
    cx: &mut Cx<'_>,
    outbox: &mut Outbox,
    me: &mut Me,
    device: &DeviceId,
) -> Result<Vec<Todo>, Error> {
    me.keys()?;
    if *device == me.device {
        let why =
            "a device does not exclude itself: use another one that holds the keys".to_owned();
        return Err(Error::Invalid { field: "device", why });
    }
    let newest = manifest_of(cx.store, me)?;
    if newest.device(&device.0).is_none() {
        return Err(Error::NotFound { what: "such device" });
    }
    let mut draft = Draft::after(&newest);
    draft.devices.retain(|listed| listed.id != device.0);
    draft.draw_intro = true;
    draft.draw_directory = true;
    issue(cx, outbox, me, draft)?;
    Ok(vec![Todo::Exclude { device: *device }, Todo::ShareKeys])
}

/// Publishes that a classical account is the same person's: both keys sign it.
///
/// # Errors
/// When this device does not hold the keys of the account.
pub(crate) fn link_legacy(
    cx: &mut Cx<'_>,
    outbox: &mut Outbox,
    me: &mut Me,
    classical: &session_crypto::legacy::LegacyKey,
) -> Result<(), Error> {
    me.keys()?;
    let mut draft = Draft::after(&manifest_of(cx.store, me)?);
    draft.legacy = Some(LegacyLink::sign(classical, &me.network, &me.account));
    issue(cx, outbox, me, draft)
}

fn manifest_of(vault: &dyn Vault, me: &Me) -> Result<SignedManifest, Error> {
    known(vault, &me.account)
        .filter(|it| is_listed(it, &me.device, &me.key.key_hash()))
        .ok_or(Error::NotFound { what: "manifest that lists this device" })
}

/// Returns where a request is answered.
#[cfg(test)]
pub(super) fn answer_route(request: &str) -> Result<IntroRoute, Error> {
    Request::parse(request).map(|request| request.answer_route())
}
