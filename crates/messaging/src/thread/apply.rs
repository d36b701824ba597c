//! What was said becomes messages and changes of messages.

use session_core::{AccountId, Span, Time};

use super::change::{Change, Scene};
use super::record::{self, Found, Kept, Progress, Version};
use super::{Body, Status, SystemLine, ThreadId, early};
use crate::say::{DeviceId, Disappear, Peer, Said, Say, SayId, Standing};
use crate::vault::{self, Vault};

/// How far the clocks of devices may differ for a timer to reach messages that overtook it.
const SKEW: Span = Span::from_secs(3600);

/// Whoever typed longer ago is not typing now: nobody has to keep that for longer.
pub(crate) const TYPING_FRESH: Span = Span::from_secs(60);

/// Messages that a timer looks at for having overtaken it.
const OVERTAKEN_MAX: usize = 1000;

/// The shortest time to disappear after: with less, a message is gone before anybody sees it.
const DISAPPEAR_MIN: Span = Span::from_secs(5);

/// What came of something said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Places that are new or changed, in order.
    pub places: Vec<u64>,
    /// Whether a message is new. False when it was there before.
    pub new: bool,
    /// Whether it is worth a sound: new, unread, in an accepted thread that is not muted.
    pub alert: bool,
    /// Whether its author may be told that it arrived: new, of somebody else, accepted.
    pub receipt_due: bool,
    /// The author types, or ceases to.
    pub typing: Option<bool>,
    /// Messages disappear differently from now on.
    pub timer: Option<Disappear>,
    /// Own messages that went a step further.
    pub status: Vec<(u64, Status)>,
}

/// Takes up something that `author` said in a thread. The same thing twice changes nothing.
///
/// `own` says whether the author is the own account; `audience` is who else is in the conversation
/// (only looked at for own messages; the author is left out). Timers of groups are agreed on, see
/// [`set_disappear`](super::set_disappear): one that is only said there is ignored.
#[expect(clippy::too_many_arguments, reason = "who, where, when and what, all needed")]
pub fn apply(
    vault: &mut dyn Vault,
    now: Time,
    thread: ThreadId,
    author: AccountId,
    device: DeviceId,
    own: bool,
    said: &Said,
    audience: &[AccountId],
) -> Applied {
    // Nobody draws the name that lines have; what has it could be neither found nor deleted.
    if said.id == SayId::default() {
        return Applied::default();
    }
    let Some(mut scene) = Scene::open(vault, now, thread) else { return Applied::default() };
    let version = Version { at: said.sent_at, by: said.id };
    let say = Saying { author, device, own, id: said.id, sent_at: said.sent_at, audience };
    let mut applied = match &said.say {
        Say::Text { body, reply_to } => {
            scene.insert(&say, Body::Text { body: body.clone() }, *reply_to)
        }
        Say::File { manifest, route, caption, reply_to } => {
            let (manifest, route) = (manifest.clone(), route.clone());
            scene.insert(&say, Body::File { manifest, route, caption: caption.clone() }, *reply_to)
        }
        Say::Edit { of, body } => {
            scene.alter(author, &[*of], &Change::Edit { body: body.clone(), version })
        }
        Say::Unsend { of } => scene.alter(author, &[*of], &Change::Unsend),
        Say::React { to, emoji, on } => {
            let change = Change::React { emoji: emoji.clone(), on: *on, version };
            scene.alter(author, &[*to], &change)
        }
        Say::Delivered { ids } if !own => scene.alter(author, ids, &Change::Delivered),
        Say::Read { ids } if own => scene.alter(author, ids, &Change::Seen { at: now }),
        Say::Read { ids } => scene.alter(author, ids, &Change::Read),
        Say::Timer { disappear } if matches!(scene.thread.peer, Peer::Account { .. }) => {
            scene.timer(&say, *disappear)
        }
        Say::Typing { on } => {
            let fresh = now.since(said.sent_at) <= TYPING_FRESH;
            return Applied { typing: fresh.then_some(*on), ..Applied::default() };
        }
        Say::Delivered { .. }
        | Say::Timer { .. }
        | Say::Profile { .. }
        | Say::Seen
        | Say::Copy { .. } => return Applied::default(),
    };
    applied.places.sort_unstable();
    applied.places.dedup();
    scene.close();
    applied
}

/// Returns how messages disappear that are to disappear so.
pub(super) fn bounded(disappear: Disappear) -> Disappear {
    match disappear {
        Disappear::Never => Disappear::Never,
        Disappear::AfterSend { span } => Disappear::AfterSend { span: span.max(DISAPPEAR_MIN) },
        Disappear::AfterRead { span } => Disappear::AfterRead { span: span.max(DISAPPEAR_MIN) },
    }
}

/// Adds a line that nobody wrote. Returns its place, or `None` if there is no such thread.
pub fn note(vault: &mut dyn Vault, now: Time, thread: ThreadId, line: SystemLine) -> Option<u64> {
    let mut scene = Scene::open(vault, now, thread)?;
    let nobody = Saying {
        author: AccountId::default(),
        device: DeviceId::default(),
        own: false,
        id: SayId::default(),
        sent_at: now,
        audience: &[],
    };
    let kept = scene.kept(&nobody, Body::Line { line }, None);
    let place = scene.add(&kept);
    scene.close();
    Some(place)
}

/// Who says something, and when.
struct Saying<'a> {
    author: AccountId,
    device: DeviceId,
    own: bool,
    id: SayId,
    sent_at: Time,
    audience: &'a [AccountId],
}

impl Scene<'_> {
    fn insert(&mut self, say: &Saying<'_>, body: Body, reply_to: Option<SayId>) -> Applied {
        if record::find(self.vault, self.id, say.id, say.author).is_some() {
            return Applied::default();
        }
        let mut kept = self.kept(say, body, reply_to);
        kept.disappear = match self.thread.peer {
            // Said in the epoch that brought the timer or later, whenever its author says it was.
            Peer::Group { .. } => self.thread.disappear(),
            // A clock that is behind does not make it stay.
            Peer::Account { .. } => self.thread.disappear_at(say.sent_at + SKEW),
        };
        if say.own {
            let (id, thread) = (self.id, &mut self.thread);
            let (audience, accounts) =
                record::keep_audience(self.vault, id, thread, say.author, say.audience);
            let progress = Progress { audience, accounts, ..Progress::default() };
            kept.progress = Some(Box::new(progress));
        }
        let unread = self.thread.unread;
        let Some(place) = self.arrive(kept, None) else { return Applied::default() };
        let accepted = self.thread.standing == Standing::Accepted;
        Applied {
            places: vec![place],
            new: true,
            // Not for what was taken back or read elsewhere before it came here.
            alert: accepted && !self.thread.muted && self.thread.unread > unread,
            receipt_due: accepted && !say.own,
            ..Applied::default()
        }
    }

    fn kept(&self, say: &Saying<'_>, body: Body, reply_to: Option<SayId>) -> Kept {
        Kept {
            body,
            id: say.id,
            author: say.author,
            device: say.device,
            own: say.own,
            sent_at: say.sent_at,
            received_at: self.now,
            reply_to,
            edited: None,
            read_at: None,
            disappear: Disappear::Never,
            expires: None,
            reactions: Default::default(),
            progress: None,
        }
    }

    /// Makes the changes that waited for a message and keeps it, at a place of its own choice or at
    /// `place`. Returns the place, or `None` if it was forgotten or its time was over before.
    pub(super) fn arrive(&mut self, mut kept: Kept, place: Option<u64>) -> Option<u64> {
        let (id, author) = (kept.id, kept.author);
        let waited = early::take(self, id, author);
        for (by, change) in &waited {
            self.make(&mut kept, *by, change);
        }
        let forgotten = waited.iter().any(|(_, change)| *change == Change::Forget);
        let over = kept.expiry().is_some_and(|at| at <= self.now);
        if forgotten || over {
            let gone = Found::Gone { at: self.now };
            vault::save(self.vault, &record::index_key(self.id, id, author), &gone);
            return None;
        }
        let place = match place {
            None => self.next_place(),
            Some(place) => self.free_place(place),
        };
        if kept.is_unread() {
            self.thread.unread = self.thread.unread.saturating_add(1);
        }
        kept.expires = None;
        record::set_expiry(self.vault, self.id, place, &mut kept);
        record::save_message(self.vault, self.id, place, &kept);
        let found = Found::At { place };
        vault::save(self.vault, &record::index_key(self.id, id, author), &found);
        self.thread.last = self.thread.last.max(place);
        self.thread.active = self.thread.active.max(kept.received_at);
        Some(place)
    }

    /// Keeps a line without a name.
    fn add(&mut self, kept: &Kept) -> u64 {
        let place = self.next_place();
        record::save_message(self.vault, self.id, place, kept);
        self.thread.last = place;
        self.thread.active = self.thread.active.max(self.now);
        place
    }

    fn next_place(&self) -> u64 {
        self.now.as_millis().max(self.thread.last.saturating_add(1))
    }

    fn free_place(&self, mut place: u64) -> u64 {
        while self.vault.get(&record::message_key(self.id, place)).is_some() {
            place = place.saturating_add(1);
        }
        place
    }

    fn timer(&mut self, say: &Saying<'_>, disappear: Disappear) -> Applied {
        if record::find(self.vault, self.id, say.id, say.author).is_some() {
            return Applied::default();
        }
        let disappear = bounded(disappear);
        // A clock that is ahead does not outlast the next change.
        let version = Version { at: say.sent_at.min(self.now), by: say.id };
        let line = SystemLine::Timer { by: say.author, disappear };
        let kept = self.kept(say, Body::Line { line }, None);
        let mut places: Vec<_> = self.arrive(kept, None).into_iter().collect();
        places.extend(self.set_timer(version, disappear, say.own));
        Applied { places, new: true, timer: Some(self.thread.disappear()), ..Applied::default() }
    }

    /// Sets the timer, also for messages that were sent after it and arrived before. Returns the
    /// places of those.
    ///
    /// When it was set is the word of its author, and whoever sets it back must not erase what lies
    /// here: messages that arrived earlier stay as they are, and so do own ones unless `own` says
    /// that the own account sets it. In groups nothing overtakes it.
    pub(super) fn set_timer(
        &mut self,
        version: Version,
        disappear: Disappear,
        own: bool,
    ) -> Vec<u64> {
        let set = self.thread.set_timer(version, disappear);
        if !set || matches!(self.thread.peer, Peer::Group { .. }) {
            return Vec::new();
        }
        let prefix = record::messages_prefix(self.id);
        let mut overtaken = Vec::new();
        let (vault, thread) = (&*self.vault, &self.thread);
        let all = vault::list::<Kept>(vault, &prefix, &[], true, OVERTAKEN_MAX);
        for (key, mut kept) in all {
            if kept.received_at + SKEW < self.now {
                break;
            }
            let settled = kept.disappear == thread.disappear_at(kept.sent_at + SKEW);
            if settled || (kept.own && !own) || matches!(kept.body, Body::Line { .. }) {
                continue;
            }
            let disappear = thread.disappear_at(kept.sent_at);
            let Some((_, place)) = record::place_of(&key) else { continue };
            if disappear != kept.disappear {
                kept.disappear = disappear;
                overtaken.push((place, kept));
            }
        }
        for (place, kept) in &mut overtaken {
            record::set_expiry(self.vault, self.id, *place, kept);
            record::save_message(self.vault, self.id, *place, kept);
        }
        overtaken.into_iter().map(|(place, _)| place).collect()
    }
}
