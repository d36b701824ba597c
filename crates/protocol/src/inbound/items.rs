//! Items that not everyone may store: their proof is checked here, before a machine sees them.

use session_core::{Decode as _, InboxAddress, Namespace, Span, Time};

use super::{CheckedOperation, Checker, Fault};
use crate::inbox::{self, AccessRule, Capability, Policy};
use crate::manifest::{BadManifest, SignedManifest};
use crate::peer::{ReplicaItem, Replicate};
use crate::puzzle::{Puzzle, Solution};
use crate::request::{ItemBytes, Operation, Refusal};
use crate::verified::Verified;

/// When to come back while many puzzles are being checked.
const BUSY_RETRY: Span = Span::from_millis(200);

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
    /// How many bits the solved puzzle that came with it is worth; zero without one.
    pub solved: u8,
}

impl Checker {
    /// Checks an operation that no owner signed; what needs a proof comes out as a deposit. `budget`
    /// is how many puzzles of the request may still be checked.
    pub(super) fn check_open(
        &self,
        operation: Operation,
        budget: &mut usize,
    ) -> Result<CheckedOperation, Refusal> {
        let deposit = match operation {
            Operation::Deposit { rule, token, namespace, timestamp, ttl, data } => {
                let policy =
                    inbox::policy(namespace).ok_or(Refusal::UnknownNamespace { namespace })?;
                if !policy.takes_capability() {
                    return Err(Refusal::bad_request("namespace", "it takes no capability: store"));
                }
                check_writer(&rule, &token)?;
                if policy == Policy::Slot && inbox::slot_of(&data).is_none() {
                    return Err(Refusal::bad_request(
                        "data",
                        "shorter than the slot it starts with",
                    ));
                }
                let address = rule.address();
                Deposit { address, namespace, timestamp, ttl, data, solved: 0 }
            }
            Operation::Introduce { rule, token, solution, timestamp, ttl, data } => {
                check_writer(&rule, &token)?;
                let (address, namespace) = (rule.address(), inbox::INTRODUCTIONS);
                let solved = self.check_solution(&address, solution, timestamp, &data, budget)?;
                Deposit { address, namespace, timestamp, ttl, data, solved }
            }
            Operation::Store { address, namespace, timestamp, ttl, data } => {
                match inbox::policy(namespace) {
                    Some(policy) if policy.takes_capability() => {
                        return Err(Refusal::Unauthorized { namespace });
                    }
                    Some(Policy::Manifest) => {
                        self.check_manifest(&address, &data)
                            .map_err(|bad| Refusal::bad_request("data", &bad.to_string()))?;
                        Deposit { address, namespace, timestamp, ttl, data, solved: 0 }
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

    /// Returns what a solution is worth: a few milliseconds of work, so what costs nothing comes first,
    /// and there is no more of it at once than a node bears.
    fn check_solution(
        &self,
        address: &InboxAddress,
        solution: Solution,
        sent: Time,
        data: &[u8],
        budget: &mut usize,
    ) -> Result<u8, Refusal> {
        if !solution.is_current(sent) {
            return Err(Refusal::bad_request("solution", "its window is over, or has not begun"));
        }
        let busy = Refusal::RateLimited { retry_after: BUSY_RETRY };
        *budget = budget.checked_sub(1).ok_or_else(|| busy.clone())?;
        let message = inbox::message_id(address, inbox::INTRODUCTIONS, data);
        let (network, window) = (self.membership().network(), solution.window);
        let puzzle = Puzzle { network, address: *address, message, window, bits: 0 };
        self.puzzles.check(&puzzle, solution.nonce).ok_or(busy)
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

fn check_writer(rule: &AccessRule, token: &Capability) -> Result<(), Refusal> {
    let AccessRule::Mailbox { writer, .. } = rule else {
        return Err(Refusal::bad_request("rule", "not that of a mailbox"));
    };
    if token.opens(writer) { Ok(()) } else { Err(Refusal::BadCapability) }
}
