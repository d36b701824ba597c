//! What the chain has of an account's manifest, compared with what a swarm shows.
//!
//! A swarm can keep the newest manifest back; the chain shows the same to everybody. Whoever asks a
//! node of the chain believes that node for its newest block: `session chain proof manifest` and
//! `session chain check` do without.

use serde_json::{Value, json};
use session_core::{AccountId, Digest};
use session_protocol::manifest::SignedManifest;
use session_rpc::vm::rfc3339;
use session_runtime::http::client::Endpoint;
use session_vm::records::{ManifestAnchor, Manifests};

use crate::chain::rpc::Rpc;
use crate::exit::{Failure, Result};
use crate::home::Home;
use crate::local_chain;
use crate::out::Out;

/// How a manifest and the chain's anchor stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchored {
    /// The account has anchored nothing.
    No,
    /// The newest manifest is anchored.
    Yes(ManifestAnchor),
    /// One before the newest is.
    Earlier(ManifestAnchor),
    /// A later one than all that are shown: the swarm keeps it back, or does not have it yet.
    Later(ManifestAnchor),
    /// Another one of the same number: one of both was shown to some and not to others.
    Another(ManifestAnchor),
}

impl Anchored {
    /// Compares the anchor with the manifests that are shown, by number and digest.
    fn new(anchor: Option<ManifestAnchor>, shown: &[(u64, Digest)]) -> Self {
        let Some(anchor) = anchor else { return Self::No };
        let newest = shown.iter().map(|(seq, _)| *seq).max().unwrap_or(0);
        let of_number = || shown.iter().filter(|(seq, _)| *seq == anchor.seq);
        let same = of_number().any(|(_, digest)| *digest == anchor.manifest);
        if anchor.seq > newest {
            Self::Later(anchor)
        } else if !same && of_number().next().is_some() {
            Self::Another(anchor)
        } else if anchor.seq == newest {
            Self::Yes(anchor)
        } else {
            Self::Earlier(anchor)
        }
    }

    /// Tells whether it contradicts what is shown.
    pub(crate) const fn is_bad(&self) -> bool {
        matches!(self, Self::Later(_) | Self::Another(_))
    }

    /// Says it in a sentence.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::No => "no manifest of the account is anchored on the chain".to_owned(),
            Self::Yes(it) => format!(
                "anchored: the chain has the same manifest {}, since {}",
                it.seq,
                rfc3339::format(it.anchored)
            ),
            Self::Earlier(it) => format!(
                "anchored up to manifest {}: the newest one is not on the chain yet",
                it.seq
            ),
            Self::Later(it) => format!(
                "the anchor contradicts what is published: the chain has manifest {}, and the swarm \
                 shows none that late: it does not have it yet, or keeps it back",
                it.seq
            ),
            Self::Another(it) => format!(
                "the anchor contradicts what is published: the chain has another manifest {} \
                 ({}), so not everybody was shown the same",
                it.seq, it.manifest
            ),
        }
    }

    pub(crate) fn json(&self) -> Value {
        let (state, anchor) = match self {
            Self::No => ("none", None),
            Self::Yes(it) => ("same", Some(it)),
            Self::Earlier(it) => ("earlier", Some(it)),
            Self::Later(it) => ("later", Some(it)),
            Self::Another(it) => ("another", Some(it)),
        };
        json!({
            "state": state, "seq": anchor.map(|it| it.seq),
            "manifest": anchor.map(|it| it.manifest.to_string()),
            "anchored": anchor.map(|it| rfc3339::format(it.anchored)),
        })
    }
}

/// Compares the manifests of an account that are shown with the chain that this home knows; nothing
/// if it knows none, or none that answers, of which it warns.
pub(crate) async fn compare(
    home: &Home,
    out: Out,
    account: &AccountId,
    shown: &[SignedManifest],
) -> Option<Anchored> {
    let compared = async {
        match local_chain::known(home)? {
            Some(chain) => compare_with(chain, account, shown).await.map(Some),
            None => Ok(None),
        }
    };
    compared.await.unwrap_or_else(|failure| {
        out.warn(&not_compared(&failure));
        None
    })
}

/// Compares manifests with the anchor that a node of a chain shows.
pub(crate) async fn compare_with(
    chain: Endpoint,
    account: &AccountId,
    shown: &[SignedManifest],
) -> Result<Anchored> {
    let anchor = Rpc::new(chain).entry::<Manifests>(account).await?;
    let shown: Vec<_> = shown.iter().map(|it| (it.manifest.seq, it.digest())).collect();
    Ok(Anchored::new(anchor, &shown))
}

/// Says that the chain was not asked.
pub(crate) fn not_compared(failure: &Failure) -> String {
    format!("not compared with the chain: {failure}")
}

#[cfg(test)]
mod tests {
    use session_core::Time;

    use super::*;

    fn anchor(seq: u64, byte: u8) -> ManifestAnchor {
        ManifestAnchor { seq, manifest: [byte; 32].into(), anchored: Time::ZERO }
    }

    #[test]
    fn an_anchor_is_compared_by_number_and_digest() {
        let shown = [(1, Digest::from([1; 32])), (2, [2; 32].into()), (4, [4; 32].into())];
        let compare = |anchor| Anchored::new(Some(anchor), &shown);
        assert_eq!(Anchored::new(None, &shown), Anchored::No);
        assert_eq!(compare(anchor(4, 4)), Anchored::Yes(anchor(4, 4)));
        assert_eq!(compare(anchor(2, 2)), Anchored::Earlier(anchor(2, 2)));
        // Expired ones are shown no more: nothing contradicts them.
        assert_eq!(compare(anchor(3, 3)), Anchored::Earlier(anchor(3, 3)));
        assert_eq!(compare(anchor(4, 5)), Anchored::Another(anchor(4, 5)));
        assert_eq!(compare(anchor(1, 5)), Anchored::Another(anchor(1, 5)));
        assert_eq!(compare(anchor(5, 5)), Anchored::Later(anchor(5, 5)));
        assert_eq!(Anchored::new(Some(anchor(1, 1)), &[]), Anchored::Later(anchor(1, 1)));
        assert!(compare(anchor(5, 5)).is_bad() && compare(anchor(4, 5)).is_bad());
        assert!(!compare(anchor(2, 2)).is_bad() && !Anchored::No.is_bad());
    }
}
