//! Items that not everyone may store: their proof is checked here, before a machine sees them.

use session_core::{Decode as _, InboxAddress, Namespace, Span, Time};

use super::{CheckedOperation, Checker, Fault};
use crate::inbox::{self, AccessRule, Policy};
use crate::manifest::{BadManifest, SignedManifest};
use crate::peer::{ReplicaItem, Replicate};
use crate::request::{ItemBytes, Operation, Refusal};
use crate::verified::Verified;

/// An item for a place that asks for a proof, which was shown: the capability of the writers of a
/// mailbox, or the signature of the account under its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Where.
    pub address: InboxAddress,
    /// Which compartment.
    pub namespace: Namespace,
    /// When the sender says it was sent.
    pub timestamp: Time,
    /// How long to keep it.
    pub ttl: Span,
    /// The item.
    pub data: ItemBytes,
}

impl Checker {
    /// Checks an operation that no owner signed; what needs a proof comes out as a deposit.
    pub(super) fn check_open(&self, operation: Operation) -> Result<CheckedOperation, Refusal> {
        let deposit = match operation {
            Operation::Deposit { rule, token, namespace, timestamp, ttl, data } => {
                let AccessRule::Mailbox { writer, .. } = &rule else {
                    return Err(Refusal::bad_request("rule", "not that of a mailbox"));
                };
                let policy =
                    inbox::policy(namespace).ok_or(Refusal::UnknownNamespace { namespace })?;
                if !policy.takes_capability() {
                    return Err(Refusal::bad_request("namespace", "it takes no capability: store"));
                }
                if !token.opens(writer) {
                    return Err(Refusal::BadCapability);
                }
                if policy == Policy::Slot && inbox::slot_of(&data).is_none() {
                    return Err(Refusal::bad_request(
                        "data",
                        "shorter than the slot it starts with",
                    ));
                }
                Deposit { address: rule.address(), namespace, timestamp, ttl, data }
            }
            Operation::Store { address, namespace, timestamp, ttl, data } => {
                match inbox::policy(namespace) {
                    Some(policy) if policy.takes_capability() => {
                        return Err(Refusal::Unauthorized { namespace });
                    }
                    Some(Policy::Manifest) => {
                        self.check_manifest(&address, &data)
                            .map_err(|bad| Refusal::bad_request("data", &bad.to_string()))?;
                        Deposit { address, namespace, timestamp, ttl, data }
                    }
                    _ => {
                        let open = Operation::Store { address, namespace, timestamp, ttl, data };
                        return Ok(CheckedOperation::Open(open));
                    }
                }
            }
            open => return Ok(CheckedOperation::Open(open)),
        };
        Ok(CheckedOperation::Deposit(Box::new(Verified::new(deposit))))
    }

    pub(super) fn check_replicate(
        &self,
        replicate: Replicate,
    ) -> Result<Verified<Replicate>, Fault> {
        replicate.items.iter().try_for_each(|item| self.check_copy(item))?;
        Ok(Verified::new(replicate))
    }

    /// Checks a copy from another member, as far as its bytes alone prove something.
    pub(super) fn check_copy(&self, item: &ReplicaItem) -> Result<(), Fault> {
        match inbox::policy(item.namespace) {
            Some(Policy::Manifest) => Ok(self.check_manifest(&item.address, &item.data)?),
            _ => Ok(()),
        }
    }

    fn check_manifest(&self, address: &InboxAddress, data: &[u8]) -> Result<(), BadManifest> {
        let manifest = SignedManifest::decode_exact(data)?;
        if AccessRule::from(manifest.account()).address() != *address {
            return Err(BadManifest::Invalid {
                field: "keys",
                why: "their account does not own the inbox",
            });
        }
        manifest.check(&self.membership().network(), &*self.verifier)
    }
}
