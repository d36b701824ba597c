//! What people and bots ask for.

use session_core::{AccountId, Encode as _, List, Span, Text};

use super::api::{Answer, Command, Effect, Error};
use super::find::{Found, Goal};
use super::links::{self, Link, Waiting};
use super::{Messenger, TTL, Tally, Waiter, unsaid};
use crate::Cx;
use crate::account;
use crate::group::{self, Agreed, Kind, Phase, Seat, Wish};
use crate::outbox::Purpose;
use crate::say::{Copied, Disappear, GroupId, Peer, Said, Say, SayId, Standing};
use crate::thread::{self, SystemLine, ThreadId};

/// How long words of a group go to those who join, at most.
const HISTORY_MAX: u16 = 100;

impl Messenger {
    pub(super) fn command(&mut self, cx: &mut Cx<'_>, id: u64, command: Command) {
        let result = match command {
            Command::Publish => {
                self.publish(cx, true);
                Ok(Some(Answer::Done))
            }
            Command::Say { to, say } => self.say(cx, to, say).map(Some),
            Command::MarkRead { thread, up_to } => self.mark_read(cx, thread, up_to).map(Some),
            Command::Forget { thread, ids } => self.forget(cx, thread, &ids).map(Some),
            Command::SetContact { account, standing, name, verified } => {
                self.set_contact(cx, account, standing, name.as_deref(), verified).map(Some)
            }
            Command::SetGroup { group, standing } => self.set_group(cx, group, standing).map(Some),
            Command::LookUp { account } => {
                self.find(cx, account, Goal::Answer { command: id });
                Ok(None)
            }
            Command::CreateGroup { name, members, history } => {
                self.create_group(cx, id, &name, members, history)
            }
            Command::Invite { group, accounts } => self.invite(cx, id, group, accounts),
            Command::Remove { group, account } => self.remove(cx, id, group, account),
            Command::ChangeGroup { group, name, role, disappear } => {
                let seat = role.map(|(account, role)| Seat { account, role });
                self.change_group(cx, id, group, name, seat, disappear)
            }
            Command::Rotate { peer } => self.rotate(cx, id, peer),
            Command::AddDevice { request, name } => self.add_device(cx, &request, &name).map(Some),
            Command::RevokeDevice { device } => self.revoke_device(cx, device).map(Some),
            Command::LinkLegacy { seed } => self.link_legacy(cx, &seed).map(Some),
            Command::Flush => {
                self.send_receipts(cx);
                Ok(Some(Answer::Done))
            }
        };
        match result {
            Ok(Some(answer)) => answer_to(cx, id, Ok(answer)),
            Ok(None) => {}
            Err(error) => answer_to(cx, id, Err(error)),
        }
    }

    /// Says something. It is kept here before it leaves, and waits if there is no conversation yet.
    fn say(&mut self, cx: &mut Cx<'_>, to: Peer, say: Say) -> Result<Answer, Error> {
        sayable(&say)?;
        let id = SayId::generate(cx.rng);
        let said = Said { id, sent_at: cx.now, say };
        if said.to_bytes().len() > crate::say::SAID_BYTES_MAX {
            let (got, limit) = (said.to_bytes().len(), crate::say::SAID_BYTES_MAX);
            return Err(Error::TooMany { field: "bytes of the message", got, limit });
        }
        if let Peer::Account { account } = to {
            let standing = account::contact(cx.store, &account).map(|it| it.standing);
            match standing {
                Some(Standing::Blocked) => return Err(Error::Blocked(account)),
                Some(Standing::Accepted) => {}
                // Who writes to somebody wants to be answered.
                _ => drop(self.set_contact(cx, account, Standing::Accepted, None, None)?),
            }
        } else if let Peer::Group { group } = to {
            Self::member(cx, &group)?;
            if group::phase(cx.store, &group) == Some(Phase::Leaving) {
                return Err(Error::NoConversation(to));
            }
        }
        if !links::has_room(cx.store, &to) {
            let (got, limit) = (links::WAITING_MAX + 1, links::WAITING_MAX);
            return Err(Error::TooMany { field: "messages that wait", got, limit });
        }
        let thread = self.open_thread(cx, &to);
        if let Peer::Group { group } = to
            && thread::summary(cx.store, thread).is_some_and(|it| it.standing == Standing::Stranger)
        {
            // Whoever talks in a group has accepted it.
            self.copy(cx, Copied::Group { group, standing: Standing::Accepted });
            self.stand(cx, thread, Standing::Accepted);
        }
        let transient = matches!(said.say, Say::Typing { .. });
        if !transient {
            self.keep_own(cx, thread, to, &said);
            self.copy(cx, Copied::Said { to, said: encoded(&said) });
        }
        if let Say::Unsend { of } = &said.say
            && unsaid::unsay(cx.store, cx.now, &to).contains(of)
        {
            // It never left: there is nothing to take back.
            return Ok(Answer::Said { thread, id });
        }
        let purpose = if shows(&said.say) { Purpose::Said { thread, id } } else { Purpose::Quiet };
        if let Err(error) = self.send_or_wait(cx, to, purpose, &said) {
            // It is kept already, and not said: that is shown, too.
            self.given_up(cx, Purpose::Said { thread, id });
            return Err(error);
        }
        Ok(Answer::Said { thread, id })
    }

    /// Opens the thread with a peer; one with an account is treated as the account is.
    pub(super) fn open_thread(&mut self, cx: &mut Cx<'_>, peer: &Peer) -> ThreadId {
        let before = thread::thread_of(cx.store, peer);
        before.unwrap_or_else(|| {
            let thread = thread::open_thread(cx.store, peer, cx.now);
            if let Peer::Account { account } = peer {
                self.contact_changed(cx, *account);
            }
            thread
        })
    }

    /// Shows what the own account said.
    pub(super) fn keep_own(&mut self, cx: &mut Cx<'_>, thread: ThreadId, to: Peer, said: &Said) {
        let audience = self.audience(cx, to);
        let (account, device) = (self.me.account, self.me.device);
        let applied =
            thread::apply(cx.store, cx.now, thread, account, device, true, said, &audience);
        self.show(cx, thread, applied.places, false);
    }

    pub(super) fn audience(&self, cx: &Cx<'_>, to: Peer) -> Vec<AccountId> {
        match to {
            Peer::Account { account } => vec![account],
            Peer::Group { group } => {
                let all = group::roster(cx.store, &group).accounts();
                all.into_iter().filter(|it| *it != self.me.account).collect()
            }
        }
    }

    /// Sends to the conversation with a peer, or begins one.
    pub(super) fn send_or_wait(
        &mut self,
        cx: &mut Cx<'_>,
        to: Peer,
        purpose: Purpose,
        said: &Said,
    ) -> Result<(), Error> {
        let ready = links::group_of(cx.store, &to).filter(|group| self.can_talk(cx, group));
        if let Some(group) = ready {
            return self.send(cx, &group, purpose, said);
        }
        if !matches!(said.say, Say::Typing { .. }) {
            links::wait(cx.store, &to, &Waiting { purpose, said: encoded(said) });
            if let Peer::Account { account } = to {
                self.find(cx, account, Goal::Talk);
            }
        }
        Ok(())
    }

    /// Whether this device is in a group, and somebody else who could hear it: of two, the other
    /// one, and not only own devices.
    fn can_talk(&self, cx: &Cx<'_>, group: &GroupId) -> bool {
        let direct = matches!(group::agreed(cx.store, group), Some(it) if it.kind.is_direct());
        let heard = |leaf: &group::Leaf| {
            if direct { leaf.account != self.me.account } else { leaf.device != self.me.device }
        };
        group::phase(cx.store, group) == Some(Phase::Member)
            && group::roster(cx.store, group).leaves.iter().any(heard)
    }

    /// Seals and sends.
    pub(super) fn send(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        purpose: Purpose,
        said: &Said,
    ) -> Result<(), Error> {
        let ttl = match said.say {
            Say::Typing { .. } => thread::TYPING_FRESH,
            _ => self.ttl(cx, group),
        };
        let bytes = said.to_bytes();
        let Self { groups, outbox, me, .. } = self;
        let items = groups.say(cx, outbox, me.author(), group, purpose, &bytes, ttl)?;
        if let Purpose::Said { thread, id } = purpose {
            thread::sent(cx.store, thread, id, items);
        }
        Ok(())
    }

    /// What disappears soon is not kept long by the swarm either.
    fn ttl(&self, cx: &Cx<'_>, group: &GroupId) -> Span {
        let link = links::link(cx.store, group);
        let summary = link.and_then(|link| thread::summary(cx.store, link.thread));
        match summary.map(|it| it.disappear) {
            Some(Disappear::AfterSend { span }) => span.min(TTL).max(super::TTL_LEAST),
            _ => TTL,
        }
    }

    /// Sends what waited for a conversation.
    pub(super) fn send_waiting(&mut self, cx: &mut Cx<'_>, peer: &Peer, group: &GroupId) {
        if !self.can_talk(cx, group) {
            return;
        }
        unsaid::unsay(cx.store, cx.now, peer);
        for waiting in links::take_waiting(cx.store, peer) {
            let Some(said) = decoded(&waiting.said) else { continue };
            if self.send(cx, group, waiting.purpose, &said).is_err() {
                self.given_up(cx, waiting.purpose);
            }
        }
    }

    fn mark_read(
        &mut self,
        cx: &mut Cx<'_>,
        thread: ThreadId,
        up_to: u64,
    ) -> Result<Answer, Error> {
        let summary = thread::summary(cx.store, thread).ok_or(NO_THREAD)?;
        let read = thread::mark_read(cx.store, cx.now, thread, up_to);
        if read.is_empty() {
            return Ok(Answer::Done);
        }
        let peer = summary.peer;
        for some in read.chunks(crate::say::RECEIPT_IDS_MAX) {
            let ids: Vec<SayId> = some.iter().map(|(id, _)| *id).collect();
            let ids = List::new(ids).expect("chunks of at most the bound");
            self.copy(cx, Copied::Read { to: peer, ids });
        }
        if self.config.read_receipts && summary.standing == Standing::Accepted {
            self.note_receipts(cx, peer, &read, true);
        }
        self.show(cx, thread, Vec::new(), false);
        Ok(Answer::Done)
    }

    fn forget(
        &mut self,
        cx: &mut Cx<'_>,
        thread: ThreadId,
        ids: &[SayId],
    ) -> Result<Answer, Error> {
        let summary = thread::summary(cx.store, thread).ok_or(NO_THREAD)?;
        let (ids, places) = if ids.is_empty() {
            (thread::forget_all(cx.store, cx.now, thread), Vec::new())
        } else {
            (ids.to_vec(), thread::forget(cx.store, cx.now, thread, ids))
        };
        unsaid::unsay(cx.store, cx.now, &summary.peer);
        for some in ids.chunks(crate::say::RECEIPT_IDS_MAX) {
            let ids = List::new(some.to_vec()).expect("chunks of at most the bound");
            self.copy(cx, Copied::Forgotten { to: summary.peer, ids });
        }
        self.show(cx, thread, places, false);
        Ok(Answer::Done)
    }

    pub(super) fn set_contact(
        &mut self,
        cx: &mut Cx<'_>,
        account: AccountId,
        standing: Standing,
        name: Option<&str>,
        verified: Option<bool>,
    ) -> Result<Answer, Error> {
        if account == self.me.account {
            let why = "that is the own account".to_owned();
            return Err(Error::Invalid { field: "account", why });
        }
        let contact = account::set_contact(cx.store, cx.now, &account, standing, name, verified)?;
        let copied = Copied::Contact { account, standing, name: contact.name.clone() };
        self.copy(cx, copied);
        self.contact_changed(cx, account);
        Ok(Answer::Done)
    }

    /// Shows a contact's name and standing in its thread.
    pub(super) fn contact_changed(&mut self, cx: &mut Cx<'_>, account: AccountId) {
        let Some(contact) = account::contact(cx.store, &account) else { return };
        if let Some(thread) = thread::thread_of(cx.store, &Peer::Account { account }) {
            self.stand(cx, thread, contact.standing);
            if !contact.name.is_empty() {
                thread::set_name(cx.store, thread, &contact.name);
            }
            self.show(cx, thread, Vec::new(), false);
        }
    }

    fn create_group(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        name: &str,
        mut members: Vec<AccountId>,
        history: u16,
    ) -> Result<Option<Answer>, Error> {
        members.sort();
        members.dedup();
        members.retain(|account| *account != self.me.account);
        let most = crate::group::MEMBERS_MAX - 1;
        if members.len() > most {
            return Err(Error::TooMany { field: "members", got: members.len(), limit: most });
        }
        if name.trim().is_empty() {
            let why = "it is empty".to_owned();
            return Err(Error::Invalid { field: "name", why });
        }
        let agreed = Agreed {
            version: 1,
            kind: Kind::Group,
            name: text("name", name)?,
            admins: List::new(vec![self.me.account]).expect("one is below the bound"),
            disappear: Disappear::Never,
            history: history.min(HISTORY_MAX),
        };
        let group = self.groups.create(cx, self.me.author(), agreed)?;
        let peer = Peer::Group { group };
        let thread = thread::open_thread(cx.store, &peer, cx.now);
        links::set_link(cx.store, &group, Link { thread, peer });
        thread::set_standing(cx.store, thread, Standing::Accepted);
        thread::set_name(cx.store, thread, name);
        let created = SystemLine::Created { by: self.me.account };
        let place = thread::note(cx.store, cx.now, thread, created);
        self.show(cx, thread, place.into_iter().collect(), false);
        let answer = Answer::Group { group, thread, missing: Vec::new() };
        Ok(self.add_all(cx, id, group, members, answer))
    }

    fn invite(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        group: GroupId,
        mut accounts: Vec<AccountId>,
    ) -> Result<Option<Answer>, Error> {
        self.admin(cx, &group)?;
        accounts.sort();
        accounts.dedup();
        let all = group::roster(cx.store, &group).accounts();
        accounts.retain(|account| !all.contains(account));
        let (got, limit) = (all.len() + accounts.len(), crate::group::MEMBERS_MAX);
        if got > limit {
            return Err(Error::TooMany { field: "members", got, limit });
        }
        Ok(self.add_all(cx, id, group, accounts, Answer::Done))
    }

    /// Looks accounts up and adds them; answers when the last one is in, or known to be missing.
    fn add_all(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        group: GroupId,
        mut accounts: Vec<AccountId>,
        answer: Answer,
    ) -> Option<Answer> {
        if account::devices(cx.store).len() > 1 && matches!(answer, Answer::Group { .. }) {
            accounts.push(self.me.account);
        }
        if accounts.is_empty() {
            return Some(answer);
        }
        let missing = Vec::new();
        self.tallies.insert(id, Tally { left: accounts.len(), answer, missing });
        for account in accounts {
            self.find(cx, account, Goal::Add { group, tally: Some(id) });
        }
        None
    }

    /// One of those who were to be added is in, or cannot be.
    pub(super) fn tally(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        account: AccountId,
        result: Result<(), Error>,
    ) {
        let Some(tally) = self.tallies.get_mut(&id) else { return };
        tally.left -= 1;
        if let Err(error) = result {
            tally.missing.push((account, error.to_string()));
        }
        if tally.left > 0 {
            return;
        }
        let Some(Tally { answer, missing, .. }) = self.tallies.remove(&id) else { return };
        let result = match answer {
            Answer::Group { group, thread, .. } => Ok(Answer::Group { group, thread, missing }),
            answer => match missing.into_iter().next() {
                None => Ok(answer),
                Some((account, why)) => Err(Error::Unreachable { account, why }),
            },
        };
        answer_to(cx, id, result);
    }

    fn remove(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        group: GroupId,
        account: AccountId,
    ) -> Result<Option<Answer>, Error> {
        Self::member(cx, &group)?;
        if account == self.me.account {
            self.groups.leave(cx, &group)?;
            return Ok(Some(Answer::Done));
        }
        self.admin(cx, &group)?;
        if !group::roster(cx.store, &group).accounts().contains(&account) {
            return Err(Error::NotFound { what: "such member" });
        }
        self.wish(cx, group, Wish::RemoveAccount { account }, Waiter::Command(id));
        Ok(None)
    }

    fn change_group(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        group: GroupId,
        name: Option<String>,
        seat: Option<Seat>,
        disappear: Option<Disappear>,
    ) -> Result<Option<Answer>, Error> {
        self.admin(cx, &group)?;
        let name = name.map(|name| text("name", &name)).transpose()?;
        let wish = Wish::Agree { name, seat, disappear };
        self.wish(cx, group, wish, Waiter::Command(id));
        Ok(None)
    }

    fn rotate(&mut self, cx: &mut Cx<'_>, id: u64, peer: Peer) -> Result<Option<Answer>, Error> {
        let group = links::group_of(cx.store, &peer).ok_or(Error::NoConversation(peer))?;
        Self::member(cx, &group)?;
        self.wish(cx, group, Wish::Update, Waiter::Command(id));
        Ok(None)
    }

    /// Refuses unless this device can act in a group.
    pub(super) fn member(cx: &Cx<'_>, group: &GroupId) -> Result<(), Error> {
        match group::phase(cx.store, group) {
            Some(Phase::Member | Phase::Leaving) => Ok(()),
            Some(Phase::Lost) => Err(Error::Lost),
            Some(Phase::Removed) | None => {
                Err(Error::NoConversation(Peer::Group { group: *group }))
            }
        }
    }

    fn admin(&self, cx: &Cx<'_>, group: &GroupId) -> Result<(), Error> {
        Self::member(cx, group)?;
        match group::agreed(cx.store, group) {
            Some(agreed) if group::is_admin(&agreed, &self.me.account) => Ok(()),
            _ => Err(Error::NotAdmin),
        }
    }

    /// Makes the conversation with an account that something waits for.
    pub(super) fn begin_talk(
        &mut self,
        cx: &mut Cx<'_>,
        account: AccountId,
        found: &Found,
    ) -> Result<(), Error> {
        let peer = Peer::Account { account };
        // Alone in it, unless the other one is being added, nobody is reached by it.
        if let Some(group) = links::primary(cx.store, &account)
            && group::phase(cx.store, &group) == Some(Phase::Member)
            && (self.can_talk(cx, &group) || group::is_changing(cx.store, &group))
        {
            self.send_waiting(cx, &peer, &group);
            return Ok(());
        }
        let agreed = Agreed {
            version: 1,
            kind: Kind::Direct { creator: self.me.account, other: account },
            name: Text::default(),
            admins: List::default(),
            disappear: Disappear::Never,
            history: 0,
        };
        let group = self.groups.create(cx, self.me.author(), agreed)?;
        let thread = self.open_thread(cx, &peer);
        links::set_link(cx.store, &group, Link { thread, peer });
        links::set_primary(cx.store, &account, Some(group));
        self.add(cx, group, account, found, Waiter::Talk(account))?;
        if account::devices(cx.store).len() > 1 {
            self.find(cx, self.me.account, Goal::Add { group, tally: None });
        }
        Ok(())
    }
}

const NO_THREAD: Error = Error::NotFound { what: "such thread" };

pub(super) fn answer_to(cx: &mut Cx<'_>, id: u64, result: Result<Answer, Error>) {
    cx.effects.push(Effect::Answer { id, result });
}

pub(super) fn encoded(said: &Said) -> session_core::Blob<{ crate::say::SAID_BYTES_MAX }> {
    session_core::Blob::new(said.to_bytes()).expect("what was said was measured")
}

pub(super) fn decoded(bytes: &[u8]) -> Option<Said> {
    use session_core::Decode as _;
    Said::decode_exact(bytes).ok()
}

/// Whether a message appears in the thread by itself.
fn shows(say: &Say) -> bool {
    matches!(say, Say::Text { .. } | Say::File { .. })
}

fn sayable(say: &Say) -> Result<(), Error> {
    let what = match say {
        Say::Delivered { .. } | Say::Read { .. } => "a receipt",
        Say::Seen => "a sign of life",
        Say::Copy { .. } => "a copy",
        Say::Text { body, .. } | Say::Edit { body, .. } if body.trim().is_empty() => {
            let why = "it is empty".to_owned();
            return Err(Error::Invalid { field: "text", why });
        }
        _ => return Ok(()),
    };
    Err(Error::NotSayable { what })
}

fn text<const MAX: usize>(field: &'static str, value: &str) -> Result<Text<MAX>, Error> {
    Text::new(value).map_err(|over| Error::TooMany { field, got: over.got, limit: over.limit })
}
