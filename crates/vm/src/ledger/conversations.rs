//! Anchors of conversations, and group channels.

use session_core::{ChannelId, ConversationId, Digest, Span, Text, merkle};
use session_protocol::chain::transaction::{
    CHANNEL_NAME_BYTES_MAX, channel_id, conversation_id, hidden_participant,
};

use super::{Execution, Rejection};
use crate::records::{
    Channel, ChannelMembers, ChannelNames, Channels, Conversation, Conversations, ManifestAnchor,
    Manifests, Membership, channel_name_digest,
};

/// Most participants of a conversation, as the seed's service has it.
pub const PARTICIPANTS_MAX: u16 = 1_000;
/// The shortest conversation: shorter ones would be over before their block is accepted.
pub const CONVERSATION_TTL_MIN: Span = Span::from_secs(60);
/// The longest conversation: as long as the owner's own items are kept.
pub const CONVERSATION_TTL_MAX: Span = Span::from_days(30);
/// Most members of a channel, as of a conversation.
pub const CHANNEL_MEMBERS_MAX: u16 = 1_000;

impl Execution<'_> {
    pub(super) fn anchor_manifest(&mut self, seq: u64, manifest: &Digest) -> Result<(), Rejection> {
        let account = self.sender();
        let before = self.draft.get::<Manifests>(&account).map_or(0, |anchor| anchor.seq);
        if seq <= before {
            return Err(Rejection::ManifestSeq { got: seq, before });
        }
        let anchored = self.context.time;
        let anchor = ManifestAnchor { seq, manifest: *manifest, anchored };
        self.draft.put::<Manifests>(&account, &anchor);
        Ok(())
    }

    pub(super) fn open_conversation(
        &mut self,
        participants_root: &Digest,
        participants: u16,
        ttl: Span,
    ) -> Result<(), Rejection> {
        if participants == 0 || participants > PARTICIPANTS_MAX {
            return Err(Rejection::Participants { got: participants });
        }
        if ttl < CONVERSATION_TTL_MIN || ttl > CONVERSATION_TTL_MAX {
            return Err(Rejection::Ttl { got: ttl });
        }
        let created = self.context.time;
        let conversation = Conversation {
            participants_root: *participants_root,
            participants,
            opened_by: self.sender(),
            created,
            expires: created + ttl,
            closed: None,
        };
        let id = conversation_id(&self.context.chain, &self.tx.id);
        self.draft.put::<Conversations>(&id, &conversation);
        Ok(())
    }

    pub(super) fn close_conversation(
        &mut self,
        id: &ConversationId,
        salt: &[u8; 32],
        proof: &merkle::Proof,
    ) -> Result<(), Rejection> {
        let unknown = Rejection::UnknownConversation { conversation: *id };
        let conversation = self.draft.get::<Conversations>(id).ok_or(unknown)?;
        if let Some(closed) = conversation.closed {
            return Err(Rejection::ConversationClosed { closed });
        }
        let (now, expires) = (self.context.time, conversation.expires);
        if now >= expires {
            return Err(Rejection::ConversationExpired { expires });
        }
        let (got, participants) = (proof.count, conversation.participants);
        if got != u64::from(participants) {
            return Err(Rejection::ParticipantCount { got, participants });
        }
        let leaf = hidden_participant(salt, &self.sender());
        proof
            .verify(leaf.as_bytes(), &conversation.participants_root)
            .map_err(Rejection::NotParticipant)?;
        self.draft.put::<Conversations>(id, &Conversation { closed: Some(now), ..conversation });
        Ok(())
    }

    pub(super) fn create_channel(
        &mut self,
        name: &Text<CHANNEL_NAME_BYTES_MAX>,
    ) -> Result<(), Rejection> {
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(Rejection::ChannelName);
        }
        let name_digest = channel_name_digest(name);
        if let Some(channel) = self.draft.get::<ChannelNames>(&name_digest) {
            return Err(Rejection::ChannelExists { channel });
        }
        let (owner, created) = (self.sender(), self.context.time);
        let id = channel_id(&self.context.chain, &self.tx.id);
        let channel = Channel { name: name.clone(), owner, members: 1, created };
        self.draft.put::<Channels>(&id, &channel);
        self.draft.put::<ChannelNames>(&name_digest, &id);
        self.draft.put::<ChannelMembers>(&Membership { channel: id, account: owner }, &created);
        Ok(())
    }

    pub(super) fn join_channel(&mut self, id: &ChannelId) -> Result<(), Rejection> {
        let (mut channel, place) = self.channel(id)?;
        if self.draft.has::<ChannelMembers>(&place) {
            return Err(Rejection::AlreadyMember);
        }
        if channel.members >= CHANNEL_MEMBERS_MAX {
            return Err(Rejection::ChannelFull);
        }
        channel.members += 1;
        self.draft.put::<Channels>(id, &channel);
        self.draft.put::<ChannelMembers>(&place, &self.context.time);
        Ok(())
    }

    pub(super) fn leave_channel(&mut self, id: &ChannelId) -> Result<(), Rejection> {
        let (mut channel, place) = self.channel(id)?;
        if !self.draft.has::<ChannelMembers>(&place) {
            return Err(Rejection::NotMember);
        }
        self.draft.remove::<ChannelMembers>(&place);
        channel.members -= 1;
        if channel.members == 0 {
            self.draft.remove::<Channels>(id);
            self.draft.remove::<ChannelNames>(&channel_name_digest(&channel.name));
        } else {
            self.draft.put::<Channels>(id, &channel);
        }
        Ok(())
    }

    fn channel(&self, id: &ChannelId) -> Result<(Channel, Membership), Rejection> {
        let unknown = Rejection::UnknownChannel { channel: *id };
        let channel = self.draft.get::<Channels>(id).ok_or(unknown)?;
        Ok((channel, Membership { channel: *id, account: self.sender() }))
    }
}
