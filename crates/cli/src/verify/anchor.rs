//! What ties the bundle of a session to the chain: the entries of the session and of its epoch in
//! the states of sealed blocks, and the keys of the committee, whose hashes are the ids in the
//! session's entry.

use serde_json::json;
use session_core::committee::MEMBERS_MAX;
use session_core::{Blob, BlockId, Decode, Digest, Epoch, List, SessionId, record};
use session_crypto::{PublicIdentity, Signature};
use session_protocol::chain::Block;
use session_protocol::chain::block::BLOCK_BYTES_MAX;
use session_vm::records::{
    CurrentEpoch, EpochRecord, NodeKeys, Only, PastEpochs, Sessions, Table, WorkloadSession,
};
use session_vm::state::Proof;

use super::not;
use crate::args::Given;
use crate::chain::proof::Trust;
use crate::chain::rpc::Rpc;
use crate::chain::show;
use crate::exit::{Failure, Result};

record! {
    /// What the chain shows of a session.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Anchor {
        /// The members' keys, in the order of the committee.
        members: List<PublicIdentity, MEMBERS_MAX>,
        /// The session's entry.
        session: Shown,
        /// The record of the epoch in which it was created: its randomness.
        epoch: Shown,
    }

    /// An entry of the state, and the block that has this state.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Shown {
        /// Shows the entry.
        proof: Proof,
        /// The block with the root of that state.
        block: Blob<BLOCK_BYTES_MAX>,
        /// The sequencer's seal of the block.
        seal: Option<Signature>,
    }
}

/// What an anchor proves.
pub(crate) struct Anchored {
    /// The session, as the chain has it.
    pub(crate) session: WorkloadSession,
    /// Its epoch, as the chain has it.
    pub(crate) epoch: EpochRecord,
    /// The members' keys; their hashes are the ids in the session's entry.
    pub(crate) members: Vec<PublicIdentity>,
    /// The block that shows the session.
    pub(crate) height: u64,
}

impl Anchor {
    /// Asks the chain for it.
    pub(crate) async fn fetch(rpc: &Rpc, id: &SessionId) -> Result<Self> {
        let session = Shown::fetch(rpc, &Sessions::key(id)).await?;
        let entry: WorkloadSession = session
            .read()?
            .ok_or_else(|| Failure::not_found("the chain does not know the session"))?;
        let current = Shown::fetch(rpc, &CurrentEpoch::key(&Only {})).await?;
        let number = current.read::<EpochRecord>()?.map(|record| record.number);
        let epoch = match number == Some(entry.epoch) {
            true => current,
            false => Shown::fetch(rpc, &PastEpochs::key(&entry.epoch)).await?,
        };
        let mut members = Vec::with_capacity(entry.committee.len());
        for member in entry.committee.iter() {
            let keys = rpc.entry::<NodeKeys>(member).await?;
            members.push(keys.ok_or_else(|| {
                Failure::failed(format!("the chain does not know the keys of node {member}"))
            })?);
        }
        let members = List::new(members).map_err(Failure::failed)?;
        Ok(Self { members, session, epoch })
    }

    /// Checks everything against the genesis of the chain.
    pub(crate) fn verify(&self, trust: &Trust, id: &SessionId) -> Result<Anchored> {
        let (session, height) = self.session.verify(trust, &Sessions::key(id), "the session")?;
        let session: WorkloadSession = session;
        let epoch = self.epoch(trust, session.epoch)?;
        let ids = self.members.iter().map(PublicIdentity::node_id);
        if !ids.eq(session.committee.iter().copied()) {
            return Err(not("the members' keys are not those of the committee on the chain"));
        }
        Ok(Anchored { session, epoch, members: self.members.to_vec(), height })
    }

    fn epoch(&self, trust: &Trust, number: Epoch) -> Result<EpochRecord> {
        let current = CurrentEpoch::key(&Only {});
        let shown = self.epoch.proof.leaf.as_ref().map(|leaf| &*leaf.key);
        let key = if shown == Some(&*current) { current } else { PastEpochs::key(&number) };
        let (record, _) = self.epoch.verify::<EpochRecord>(trust, &key, "the epoch")?;
        match record.number == number {
            true => Ok(record),
            false => Err(not(&format!(
                "the record of epoch {} is shown for epoch {number}",
                record.number
            ))),
        }
    }
}

impl Shown {
    pub(super) async fn fetch(rpc: &Rpc, key: &[u8]) -> Result<Self> {
        let answer = rpc.call("GetProof", json!({ "key": hex::encode(key) })).await?;
        let proof = Proof::decode_exact(&answer.bytes("proof")?)
            .map_err(|error| answer.wrong(&format!("proof: {error}")))?;
        let id: BlockId = answer.parsed("blockId")?;
        let block = show::block_bytes(rpc, Some(Given::Id(id))).await?;
        let block = Blob::new(&block[..]).map_err(|error| answer.wrong(&error))?;
        let seal = show::seal(rpc, &id).await?;
        let seal = seal.map(|seal| Signature::decode_exact(&seal)).transpose();
        let seal = seal.map_err(|error| answer.wrong(&format!("seal: {error}")))?;
        Ok(Self { proof, block, seal })
    }

    /// Returns what it shows, unproven.
    fn read<T: Decode>(&self) -> Result<Option<T>> {
        let value = self.proof.leaf.as_ref().map(|leaf| T::decode_exact(&leaf.value));
        value.transpose().map_err(|error| Failure::failed(format!("the chain's entry: {error}")))
    }

    pub(super) const fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Returns the root and the height of its block, if that is one of the chain that is believed.
    pub(super) fn sealed(&self, trust: &Trust) -> Result<(Digest, u64)> {
        trust.sealed(&self.block, self.seal.as_ref())
    }

    /// Returns the root that its block names, unproven.
    pub(super) fn claimed_root(&self) -> Result<Digest> {
        let block = Block::decode_exact(&self.block);
        block.map(|block| block.state_root).map_err(Failure::failed)
    }

    fn verify<T: Decode>(&self, trust: &Trust, key: &[u8], what: &str) -> Result<(T, u64)> {
        let (root, height) = self.sealed(trust)?;
        let value =
            self.proof.verify(key, &root).map_err(|error| not(&format!("{what}: {error}")))?;
        let value = value.ok_or_else(|| not(&format!("the chain does not have {what}")))?;
        let value = T::decode_exact(value).map_err(|error| not(&format!("{what}: {error}")))?;
        Ok((value, height))
    }
}
