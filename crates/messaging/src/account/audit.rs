//! What a swarm shows of the own account, compared with what this device knows to be true.

use session_core::{Digest, Time};
use session_crypto::RealVerifier;
use session_protocol::manifest::SignedManifest;
use session_protocol::request::Item;

use super::Own;
use super::known::{Known, is_listed};
use crate::mls::DeviceKey;
use crate::say::DeviceId;
use crate::vault::Vault;

/// Something about what is published for the own account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// There is no manifest.
    #[error("nothing is published for this account")]
    Nothing,
    /// Items in the place of manifests that are none.
    #[error("{count} items are no manifests of this account")]
    NotManifests {
        /// How many.
        count: usize,
    },
    /// The newest one is older than what this device knows.
    #[error(
        "the swarm shows manifest {shown}, this device knows {newest}: it was not stored, or is kept back"
    )]
    Stale {
        /// The highest number that is shown.
        shown: u64,
        /// The highest number that is known.
        newest: u64,
    },
    /// The newest one has expired.
    #[error("manifest {seq} expired at {expiry}: publish a new one")]
    Expired {
        /// Its number.
        seq: u64,
        /// When.
        expiry: Time,
    },
    /// This device holds the keys of the account and did not make it.
    #[error("manifest {seq} was signed with the keys of the account, but not on this device")]
    NotMadeHere {
        /// Its number.
        seq: u64,
    },
    /// Two with one number.
    #[error("there are two different manifests {seq}: somebody else signs for this account")]
    Forked {
        /// The number.
        seq: u64,
    },
    /// One does not name the one before.
    #[error(
        "manifest {seq} does not follow from manifest {before}: there are, or were, others between them"
    )]
    Gap {
        /// The one before, as far as is known.
        before: u64,
        /// The one that names another.
        seq: u64,
    },
    /// A device that this one knows nothing of.
    #[error("device {device} ({name:?}) is listed by manifest {seq}, and was not added here")]
    ForeignDevice {
        /// The device.
        device: DeviceId,
        /// Its name.
        name: String,
        /// The number of the manifest.
        seq: u64,
    },
    /// This device is not listed.
    #[error("manifest {seq} does not list this device")]
    NotListed {
        /// Its number.
        seq: u64,
    },
}

/// Compares the manifests that a swarm shows for the own account with what this device knows. Nothing
/// is changed, whatever is found.
#[must_use]
pub fn audit(vault: &dyn Vault, now: Time, items: &[Item]) -> Vec<Finding> {
    let Some(own) = Own::load(vault) else { return Vec::new() };
    let mut shown: Vec<SignedManifest> = Vec::new();
    let mut count = 0;
    for item in items {
        match SignedManifest::read(&own.account, &own.network, &item.data, &RealVerifier) {
            Ok(manifest) => shown.push(manifest),
            Err(_) => count += 1,
        }
    }
    shown.sort_by_cached_key(|it| (it.manifest.seq, it.digest()));
    shown.dedup();
    let mut findings = Vec::new();
    if count > 0 {
        findings.push(Finding::NotManifests { count });
    }
    if shown.is_empty() {
        findings.push(Finding::Nothing);
    }
    let known = Known::load(vault, &own.account);
    follow(&shown, &mut findings);
    if let Some(known) = &known {
        compare(&own, known, &shown, &mut findings);
    }
    if let Some(last) = shown.last() {
        newest(&own, known.as_ref(), last, now, &mut findings);
    }
    findings
}

/// Looks at them alone: does each follow from the one before?
fn follow(shown: &[SignedManifest], findings: &mut Vec<Finding>) {
    for pair in shown.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let (low, seq) = (before.manifest.seq, after.manifest.seq);
        if low == seq {
            findings.push(Finding::Forked { seq });
        } else if after.manifest.previous != before.digest() {
            findings.push(Finding::Gap { before: low, seq });
        }
    }
}

/// Looks for what contradicts what this device has seen or made.
fn compare(own: &Own, known: &Known, shown: &[SignedManifest], findings: &mut Vec<Finding>) {
    for it in shown {
        let (seq, digest) = (it.manifest.seq, it.digest());
        let same = |digest: &Digest| known.shown.iter().find(|seen| seen.digest == *digest);
        if known.shown.iter().any(|seen| seen.seq == seq && seen.digest != digest) {
            let finding = Finding::Forked { seq };
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        // Made before this device was restored, it cannot know its own work.
        let first = known.shown.iter().find(|seen| seen.ours).map(|seen| seen.seq);
        let since = first.is_some_and(|first| seq >= first);
        if own.seed.is_some() && since && !same(&digest).is_some_and(|seen| seen.ours) {
            findings.push(Finding::NotMadeHere { seq });
        }
    }
}

/// Looks at the newest one.
fn newest(
    own: &Own,
    known: Option<&Known>,
    last: &SignedManifest,
    now: Time,
    findings: &mut Vec<Finding>,
) {
    let seq = last.manifest.seq;
    if last.is_expired(now) {
        findings.push(Finding::Expired { seq, expiry: last.manifest.expiry });
    }
    if let Some(known) = known {
        let newest = known.newest.manifest.seq;
        if seq < newest {
            findings.push(Finding::Stale { shown: seq, newest });
        }
        for device in &last.manifest.devices {
            if !is_listed(&known.newest, &DeviceId(device.id), &device.key) {
                let (device, name) = (DeviceId(device.id), device.name.to_string());
                findings.push(Finding::ForeignDevice { device, name, seq });
            }
        }
    }
    let key = DeviceKey::from_seed(&own.device);
    if !is_listed(last, &key.id(), &key.key_hash()) {
        findings.push(Finding::NotListed { seq });
    }
}
