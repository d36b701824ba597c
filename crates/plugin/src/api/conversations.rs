//! Conversations and channels: the seed's methods, and what it forgot.

use session_core::{AccountId, ChannelId, ConversationId, Text};
use session_crypto::{DsaPublicKey, KemPublicKey, PublicIdentity, RealVerifier, Signature};
use session_rpc::json_rpc::{self, ErrorObject};
use session_rpc::vm::api;
use session_rpc::vm::group::{Asker, KeyPair};
use session_rpc::vm::result::{self, SessionStatus, Shape as _};
use session_rpc::vm::{ErrorCode, Profile};
use session_storage::StoreError;
use session_vm::mailbox::signed::{Action, ChannelAction};
use session_vm::mailbox::{
    ActionRequest, Channel, ChannelRequest, CompatConversation, Invitation, ListRequest, Mailbox,
    Message, NewConversation, Refusal, SendRequest, Standing, Status, Unauthorized, View,
};

use super::turn::Turn;
use super::{Answer, Caller, internal};
use crate::http::{App, Role};
use crate::post::NoAnswer;

/// Channels that are looked at in one piece, and pieces of one call: a page may be short, even
/// empty, before the end.
const CHANNEL_SCAN: usize = 500;
const CHANNEL_SCANS_MAX: usize = 20;

pub(super) async fn create(app: &App, call: api::CreateSession) -> Answer {
    let metadata = call.metadata.unwrap_or_default();
    let created = if app.engine().config().profile == Profile::Go && is_go(&call.public_keys) {
        let new = CompatConversation {
            participants: call.participants,
            keys: call.public_keys,
            metadata,
        };
        app.engine().post().write(move |desk| desk.mailbox.create_compat(&mut desk.cx, new)).await
    } else {
        let mut participants = Vec::with_capacity(call.participants.len());
        let mut signing = call.signing_keys.unwrap_or_default().into_iter();
        for (index, (account, kem)) in call.participants.iter().zip(&call.public_keys).enumerate() {
            let field = |name: &str| format!("{name}[{index}]");
            let kem = kem_key(kem).map_err(|why| bad_key(field("publicKeys"), &why))?;
            let signing = match signing.next() {
                None => None,
                Some(key) => {
                    Some(dsa_key(&key).map_err(|why| bad_key(field("signingKeys"), &why))?)
                }
            };
            participants.push(Invitation { account: *account, kem, signing });
        }
        let new = NewConversation { participants, channel: call.channel, metadata };
        app.engine().post().write(move |desk| desk.mailbox.create(&mut desk.cx, new)).await
    };
    let created = created.map_err(refused)?;
    let status = status_result(created.status);
    let (session, expires) = (created.conversation, created.expires);
    Ok(result::SessionCreated { session, expires, status }.to_json())
}

// Keys of another size than ML-KEM-768's: only the reference's own tests send those.
fn is_go(keys: &[Vec<u8>]) -> bool {
    keys.iter().any(|key| key.len() != api::KEM_KEY_BYTES)
}

pub(super) async fn accept(app: &App, call: api::AcceptSession) -> Answer {
    let request = ActionRequest {
        conversation: call.session,
        participant: call.participant,
        action: Action::Accept,
        key: optional_key(call.signing_key.as_deref())?,
        signature: signature(&call.signature)?,
    };
    act(app, request).await?;
    view(app, call.session).await
}

/// Checks the signature on this thread, then has the conversation changed on its own.
async fn act(app: &App, request: ActionRequest) -> Result<Status, ErrorObject> {
    let post = app.engine().post();
    let check = post.prepare(|mailbox, now| mailbox.prepare_action(now, request));
    let proved = check.map_err(refusal)?.verify(&RealVerifier).map_err(refusal)?;
    let done = post.write(move |desk| desk.mailbox.apply_action(&mut desk.cx, proved)).await;
    done.map_err(refused)
}

pub(super) async fn get(app: &App, call: api::GetSession) -> Answer {
    prove_reader(app, call.session, call.asker).await?;
    view(app, call.session).await
}

async fn view(app: &App, session: ConversationId) -> Answer {
    let show = move |mailbox: &Mailbox, now| {
        mailbox.get(&session, now).map(|view| session_result(&view, true))
    };
    let post = app.engine().post();
    let session = match post.look(show) {
        Some(shown) => shown.map_err(refusal)?,
        None => {
            let read = post.read(move |desk| show(desk.mailbox, desk.cx.now));
            read.await.map_err(refused)?
        }
    };
    Ok(result::SessionReply { session }.to_json())
}

/// A conversation's id is 32 random bytes that only its participants were told: it is what allows
/// reading. Whoever signs besides is checked.
pub(crate) async fn prove_reader(
    app: &App,
    session: ConversationId,
    asker: Option<Asker>,
) -> Result<(), ErrorObject> {
    match asker {
        None => Ok(()),
        Some(asker) => act(app, asked(session, Action::Read, asker)?).await.map(drop),
    }
}

fn asked(
    conversation: ConversationId,
    action: Action,
    asker: Asker,
) -> Result<ActionRequest, ErrorObject> {
    Ok(ActionRequest {
        conversation,
        participant: asker.participant,
        action,
        key: optional_key(asker.signing_key.as_deref())?,
        signature: signature(&asker.signature)?,
    })
}

pub(super) async fn send(app: &App, turn: &mut Turn, call: api::SendMessage) -> Answer {
    let post = app.engine().post();
    let sent = if app.engine().config().profile == Profile::Go
        && call.signature.len() != api::SIGNATURE_BYTES
    {
        let api::SendMessage { session, sender, ciphertext, signature, .. } = call;
        turn.come().await;
        let sending = post.write(move |desk| {
            let now = desk.cx.now;
            let cx = &mut desk.cx;
            let sent = desk.mailbox.send_compat(cx, &session, &sender, &ciphertext, &signature)?;
            Ok((sent, now))
        });
        turn.pass();
        sending.await
    } else {
        let key = optional_key(call.signing_key.as_deref())?;
        let request = SendRequest {
            conversation: call.session,
            sender: call.sender,
            counter: call.counter,
            ciphertext: call.ciphertext,
            signature: signature(&call.signature)?,
            key,
        };
        let check = post.prepare(|mailbox, now| mailbox.prepare_send(now, request));
        // Tens of microseconds of pure work: on this thread, so that all cores take part.
        let proved = check.map_err(refusal)?.verify(&RealVerifier).map_err(refusal)?;
        turn.come().await;
        let sending = post.write(move |desk| {
            let now = desk.cx.now;
            Ok((desk.mailbox.apply_send(&mut desk.cx, proved)?, now))
        });
        turn.pass();
        sending.await
    };
    let (sent, received) = sent.map_err(refused)?;
    let (message, sequence) = (sent.message, sent.sequence);
    Ok(result::MessageSent { message, sequence, received }.to_json())
}

pub(super) async fn close(app: &App, call: api::CloseSession) -> Answer {
    match call.asker {
        Some(asker) => drop(act(app, asked(call.session, Action::Close, asker)?).await?),
        None if app.engine().config().profile == Profile::Go => {
            let post = app.engine().post();
            let closing =
                post.write(move |desk| desk.mailbox.close_compat(&mut desk.cx, &call.session));
            closing.await.map_err(refused)?;
        }
        None => {
            let session = call.session;
            let known = app.engine().post().read(move |desk| {
                desk.mailbox.get(&session, desk.cx.now).map(|view| view.status())
            });
            // What is wrong with the conversation comes first, as the reference answers.
            return Err(match known.await.map_err(refused)? {
                Status::Expired => ErrorCode::SessionExpired.error(),
                Status::Closed => ErrorCode::SessionClosed.error(),
                _ => {
                    ErrorCode::Unauthorized.because("closing needs a participant and its signature")
                }
            });
        }
    }
    Ok(result::Success { success: true }.to_json())
}

pub(super) async fn messages(app: &App, call: api::GetMessages) -> Answer {
    prove_reader(app, call.session, call.asker).await?;
    let (session, after) = (call.session, call.after);
    let limit = usize::try_from(call.limit).unwrap_or(usize::MAX);
    let read = app.engine().post().read(move |desk| {
        desk.mailbox.messages(desk.cx.store, desk.cx.now, &session, after, limit)
    });
    let page = read.await.map_err(refused)?;
    let next = page.more.then(|| page.messages.last().map(|last| last.sequence)).flatten();
    let messages = page.messages.into_iter().map(|message| message_result(session, message));
    Ok(result::Messages {
        messages: messages.collect(),
        first_sequence: page.first_sequence,
        next_sequence: page.next_sequence,
        next,
    }
    .to_json())
}

/// Lists conversations: their ids are what allows reading them, so only the node's own machine is
/// told, and nobody behind a host.
pub(super) async fn list(app: &App, caller: Caller, call: api::ListSessions) -> Answer {
    let own = caller.is_local() && app.role() != Role::Hosted;
    if !own && app.engine().config().profile != Profile::Go {
        return Err(ErrorCode::Unauthorized.because("only the node's own machine may list"));
    }
    let request = ListRequest {
        participant: call.participant,
        status: call.status.map(status_of),
        after: call.after,
        limit: usize::try_from(call.limit).unwrap_or(usize::MAX),
    };
    let read = app.engine().post().read(move |desk| {
        let now = desk.cx.now;
        let page = desk.mailbox.list(now, &request)?;
        let sessions = page.conversations.iter().filter_map(|id| {
            let view = desk.mailbox.get(id, now).ok()?;
            Some(session_result(&view, false))
        });
        Ok(result::SessionPage { sessions: sessions.collect(), next: page.next })
    });
    read.await.map(|page| page.to_json()).map_err(refused)
}

pub(super) async fn create_channel(app: &App, call: api::CreateChannel) -> Answer {
    let name = Text::new(call.name).map_err(|error| internal(&error))?;
    change(app, call.owner, &call.keys, ChannelAction::Create { name }, &call.signature).await
}

pub(super) async fn join_channel(app: &App, call: api::JoinChannel) -> Answer {
    let channel = call.channel;
    let revision = revision(app, channel, call.revision).await?;
    let action = ChannelAction::Join { channel, revision };
    change(app, call.member, &call.keys, action, &call.signature).await
}

pub(super) async fn leave_channel(app: &App, call: api::LeaveChannel) -> Answer {
    let channel = call.channel;
    let revision = revision(app, channel, call.revision).await?;
    let action = ChannelAction::Leave { channel, revision };
    apply(app, call.member, &call.keys, action, &call.signature).await?;
    Ok(result::Success { success: true }.to_json())
}

async fn revision(app: &App, channel: ChannelId, given: Option<u64>) -> Result<u64, ErrorObject> {
    if let Some(given) = given {
        return Ok(given);
    }
    let post = app.engine().post();
    let read = post.read(move |desk| desk.mailbox.channel(&channel).map(Channel::revision));
    read.await.map_err(refused)
}

async fn change(
    app: &App,
    account: AccountId,
    keys: &KeyPair,
    action: ChannelAction,
    bytes: &[u8],
) -> Answer {
    let channel = apply(app, account, keys, action, bytes).await?;
    channel_view(app, channel).await
}

async fn apply(
    app: &App,
    account: AccountId,
    keys: &KeyPair,
    action: ChannelAction,
    bytes: &[u8],
) -> Result<ChannelId, ErrorObject> {
    let kem = kem_key(&keys.kem).map_err(|why| bad_key("publicKey", &why))?;
    let dsa = dsa_key(&keys.dsa).map_err(|why| bad_key("signingKey", &why))?;
    let member = PublicIdentity::new(kem, dsa);
    if member.account_id() != account {
        return Err(refusal(Refusal::Unauthorized(Unauthorized::WrongKey)));
    }
    let request = ChannelRequest { member, action, signature: signature(bytes)? };
    let post = app.engine().post();
    let check = post.prepare(|mailbox, _| mailbox.prepare_channel(request));
    let proved = check.map_err(refusal)?.verify(&RealVerifier).map_err(refusal)?;
    let done = post.write(move |desk| desk.mailbox.apply_channel(&mut desk.cx, proved)).await;
    done.map_err(refused)
}

pub(super) async fn get_channel(app: &App, call: api::GetChannel) -> Answer {
    channel_view(app, call.channel).await
}

async fn channel_view(app: &App, id: ChannelId) -> Answer {
    let read = app.engine().post().read(move |desk| desk.mailbox.channel(&id).map(channel_result));
    let channel = read.await.map_err(refused)?;
    Ok(result::ChannelReply { channel }.to_json())
}

pub(super) async fn list_channels(app: &App, call: api::ListChannels) -> Answer {
    let limit = usize::try_from(call.limit).unwrap_or(usize::MAX);
    let read = app.engine().post().read(move |desk| {
        let (mut channels, mut after) = (Vec::new(), call.after);
        for _ in 0..CHANNEL_SCANS_MAX {
            let page: Vec<_> = desk.mailbox.list_channels(after, CHANNEL_SCAN).collect();
            for channel in &page {
                if channels.len() == limit {
                    return Ok(result::ChannelPage { channels, next: after });
                }
                after = Some(channel.id());
                if call.member.as_ref().is_none_or(|member| channel.is_member(member)) {
                    channels.push(channel_result(channel));
                }
            }
            if page.len() < CHANNEL_SCAN {
                return Ok(result::ChannelPage { channels, next: None });
            }
        }
        Ok(result::ChannelPage { channels, next: after })
    });
    read.await.map(|page| page.to_json()).map_err(refused)
}

fn session_result(view: &View<'_>, with_keys: bool) -> result::Session {
    let keys = view.participants().map(|participant| participant.key.as_bytes().to_vec());
    // Readers check signatures themselves: they need these as much as the others.
    let signing = view
        .participants()
        .map(|participant| participant.signing.map_or_else(Vec::new, |key| key.as_ref().to_vec()));
    let accepted =
        view.participants().filter(|participant| participant.standing != Standing::Invited);
    let metadata = view.metadata().map(|(key, value)| (key.to_owned(), value.to_owned()));
    result::Session {
        id: view.id(),
        participants: view.participants().map(|participant| participant.account).collect(),
        public_keys: with_keys.then(|| keys.collect()),
        accepted: accepted.map(|participant| participant.account).collect(),
        counters: view.participants().map(|participant| participant.counter).collect(),
        signing_keys: with_keys.then(|| signing.collect()),
        channel: view.channel(),
        created: view.created(),
        expires: view.expires(),
        status: status_result(view.status()),
        metadata: metadata.collect(),
        next_sequence: view.next_sequence(),
        closed: view.closed(),
        compat: view.is_compat(),
    }
}

/// Writes a message as results and pushes show it.
pub(crate) fn message_result(session: ConversationId, message: Message) -> result::Message {
    result::Message {
        id: message.id,
        session,
        sender: message.sender,
        ciphertext: message.ciphertext,
        signature: message.signature,
        counter: message.counter,
        received: message.received,
        expires: message.expires,
        sequence: message.sequence,
    }
}

fn channel_result(channel: &Channel) -> result::Channel {
    result::Channel {
        id: channel.id(),
        name: channel.name().to_owned(),
        owner: channel.owner(),
        members: channel.members().collect(),
        created: channel.created(),
        revision: channel.revision(),
        message_count: None,
    }
}

const fn status_result(status: Status) -> SessionStatus {
    match status {
        Status::Pending => SessionStatus::Pending,
        Status::Active => SessionStatus::Active,
        Status::Expired => SessionStatus::Expired,
        Status::Closed => SessionStatus::Closed,
    }
}

const fn status_of(status: SessionStatus) -> Status {
    match status {
        SessionStatus::Pending => Status::Pending,
        SessionStatus::Active => Status::Active,
        SessionStatus::Expired => Status::Expired,
        SessionStatus::Closed => Status::Closed,
        // The kinds that this version knows are those above.
        _ => Status::Closed,
    }
}

fn kem_key(bytes: &[u8]) -> Result<KemPublicKey, session_crypto::InvalidKey> {
    KemPublicKey::try_from(bytes)
}

fn dsa_key(bytes: &[u8]) -> Result<DsaPublicKey, session_crypto::InvalidKey> {
    DsaPublicKey::try_from(bytes)
}

fn optional_key(bytes: Option<&[u8]>) -> Result<Option<DsaPublicKey>, ErrorObject> {
    bytes.map(dsa_key).transpose().map_err(|why| bad_key("signingKey", &why))
}

fn signature(bytes: &[u8]) -> Result<Signature, ErrorObject> {
    Signature::try_from(bytes).map_err(|why| bad_key("signature", &why))
}

fn bad_key(field: impl Into<String>, why: &dyn core::fmt::Display) -> ErrorObject {
    ErrorCode::BadKey.because(why).field(field)
}

pub(crate) fn refused(error: NoAnswer) -> ErrorObject {
    match error {
        NoAnswer::Refused(why) => refusal(why),
        NoAnswer::Busy => ErrorCode::RateLimited.because(error).with("retry_after", 1),
        NoAnswer::Disk(StoreError::Full { .. }) => ErrorCode::DiskFull.error(),
        NoAnswer::Disk(error) => internal(&error),
        NoAnswer::Closed => ErrorCode::NotReady.because(error),
    }
}

fn refusal(error: Refusal) -> ErrorObject {
    match error {
        Refusal::UnknownConversation => ErrorCode::UnknownSession.error(),
        Refusal::Expired => ErrorCode::SessionExpired.error(),
        Refusal::Closed => ErrorCode::SessionClosed.error(),
        Refusal::Unauthorized(why) => ErrorCode::Unauthorized.because(why.reason()),
        Refusal::KeyNeeded => ErrorCode::KeyNeeded.because(&error).field("signingKey"),
        Refusal::Replayed { expected, got } => {
            ErrorCode::ReplayedCounter.error().with("expected", expected).with("got", got)
        }
        Refusal::CounterGap { expected, got } => {
            ErrorCode::CounterGap.error().with("expected", expected).with("got", got)
        }
        Refusal::Limit { field: "messages", got, limit } => {
            ErrorCode::SessionFull.error().limit(got, limit)
        }
        Refusal::Limit { field: "conversations" | "people", got, limit } => {
            ErrorCode::TooManySessions.error().limit(got, limit)
        }
        Refusal::Limit { field: "channels", got, limit } => {
            ErrorCode::TooManyChannels.error().limit(got, limit)
        }
        Refusal::Limit { field: "members", got, limit } => {
            ErrorCode::ChannelFull.error().limit(got, limit)
        }
        Refusal::Limit { field, got, limit } => {
            ErrorCode::TooLarge.because(&error).field(field).limit(got, limit)
        }
        // Only channels have names and members; an empty name is no parameter.
        Refusal::Invalid { field: "name", .. } => ErrorCode::ChannelExists.error(),
        Refusal::Invalid { field: "member", .. } => ErrorCode::AlreadyMember.error(),
        Refusal::Invalid { field, why } => {
            ErrorObject::new(json_rpc::INVALID_PARAMS, "invalid_params", format!("{field}: {why}"))
                .field(field)
        }
        Refusal::UnknownChannel => ErrorCode::UnknownChannel.error(),
        Refusal::Revision { expected, got } => {
            ErrorCode::Revision.error().with("expected", expected).with("got", got)
        }
        Refusal::Store(StoreError::Full { .. }) => ErrorCode::DiskFull.error(),
        error => internal(&error),
    }
}
