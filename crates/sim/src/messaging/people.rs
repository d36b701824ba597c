//! What people do: write, make groups, invite, remove, leave, change, link and exclude devices.

use std::collections::{BTreeMap, VecDeque};

use session_core::{AccountId, Entropy, SeededEntropy, Span, Text, Time};
use session_messaging::account;
use session_messaging::group::{self, Role};
use session_messaging::messenger::Messenger;
use session_messaging::messenger::api::{self, Answer, Command};
use session_messaging::say::{GroupId, Peer, Say, SayId};
use session_messaging::thread::{self, Body};
use session_messaging::vault::Vault;

use super::Summary;
use super::accidents::{Accident, Accidents};
use super::device::{Device, News};
use super::witness::{self, Said, Seat, Witness};
use crate::host::BEGINNING;
use crate::violation::Violation;
use crate::world::World;

/// Before this nobody does anything: nodes find each other, accounts publish.
const FIRST_ACT_MS: u64 = 8_000;
/// Mean time between two things that a person does.
const ACT_EVERY_MS: u64 = 8_000;
/// Time between two looks at everything that is shown.
const LOOK_EVERY: Span = Span::from_secs(15);
/// Time between two looks at epochs.
const WATCH_EVERY: Span = Span::from_secs(1);
/// Groups of a run, for each three people.
const GROUPS_PER_THREE: usize = 1;
/// Lines remembered of what was done and said.
const LOG_MAX: usize = 2_000;

/// A person.
struct Person {
    account: AccountId,
    /// Devices, in the order in which they were linked.
    devices: Vec<usize>,
    /// Devices that wait to be linked, or were excluded.
    others: Vec<usize>,
    next: Time,
}

/// Something that a device was told to do.
enum Deed {
    Say(Box<Said>),
    Group { members: Vec<AccountId> },
    Link { account: usize, device: usize },
    Invite { group: GroupId, account: AccountId },
    Other(&'static str),
    Change(&'static str, GroupId),
}

impl Deed {
    const fn name(&self) -> &'static str {
        match self {
            Self::Say(_) => "say",
            Self::Group { .. } => "make a group",
            Self::Link { .. } => "link",
            Self::Invite { .. } => "invite",
            Self::Other(name) | Self::Change(name, _) => name,
        }
    }
}

/// Everybody, and who watches them.
pub(crate) struct People {
    rng: SeededEntropy,
    people: Vec<Person>,
    /// What devices were told and have not answered; with how often they were started.
    waits: BTreeMap<(usize, u64), (u32, Deed)>,
    pub(super) groups: Vec<GroupId>,
    pub(crate) witness: Witness,
    next_look: Time,
    texts: u64,
    silent: bool,
    /// Devices that are nobody's yet.
    vacant: Vec<usize>,
    /// What was done and said, for whoever has to find out what went wrong.
    log: VecDeque<String>,
    /// Whether each device ran when it was last looked at, and how often it had been started.
    lives: BTreeMap<usize, (bool, u32)>,
    accidents: Option<Accidents>,
    pub(super) summary: Summary,
}

impl People {
    pub(crate) fn new(people: usize, rolls_back: bool, rng: SeededEntropy) -> Self {
        let person = |_| Person {
            account: AccountId::from([0; 32]),
            devices: Vec::new(),
            others: Vec::new(),
            next: BEGINNING,
        };
        Self {
            rng,
            people: (0..people).map(person).collect(),
            waits: BTreeMap::new(),
            groups: Vec::new(),
            witness: Witness::default(),
            next_look: BEGINNING,
            texts: 0,
            silent: false,
            vacant: Vec::new(),
            log: VecDeque::new(),
            lives: BTreeMap::new(),
            accidents: rolls_back.then(Accidents::default),
            summary: Summary::default(),
        }
    }

    /// Everybody gets a device and an account.
    pub(crate) fn move_in(&mut self, world: &mut World) -> Result<(), Box<Violation>> {
        for index in 0..self.people.len() {
            world.with_device(index, |device, now, _| device.create(now))?;
            world.start(index);
            let vault = world.devices()[index].vault();
            let person = &mut self.people[index];
            person.account = account::account(vault).expect("it was made above");
            person.devices = vec![index];
            let first = FIRST_ACT_MS + self.rng.below(ACT_EVERY_MS);
            person.next = world.now() + Span::from_millis(first);
        }
        self.vacant = (self.people.len()..world.devices().len()).rev().collect();
        Ok(())
    }

    /// Nobody begins anything new.
    pub(crate) fn fall_silent(&mut self, world: &mut World) {
        self.silent = true;
        if let Some(accidents) = self.accidents.take() {
            accidents.end(world);
        }
    }

    /// Lets everybody live until a time after the beginning.
    pub(crate) fn live(&mut self, world: &mut World, until: Span) -> Result<(), Box<Violation>> {
        let until = BEGINNING + until;
        while world.now() < until {
            let acts = self.people.iter().map(|person| person.next);
            let act = acts.min().filter(|_| !self.silent);
            let next = act.into_iter().chain([until, world.now() + WATCH_EVERY]).min();
            let next = next.unwrap_or(until).max(world.now());
            world.run_until(next.since(BEGINNING))?;
            self.hear(world);
            self.check(world)?;
            if self.silent {
                continue;
            }
            self.have_accidents(world)?;
            for index in 0..self.people.len() {
                if self.people[index].next <= world.now() {
                    let wait = ACT_EVERY_MS / 2 + self.rng.below(ACT_EVERY_MS);
                    self.people[index].next = world.now() + Span::from_millis(wait);
                    self.act(world, index)?;
                }
            }
        }
        Ok(())
    }

    fn have_accidents(&mut self, world: &mut World) -> Result<(), Box<Violation>> {
        let Some(mut accidents) = self.accidents.take() else { return Ok(()) };
        if accidents.is_due(world.now()) {
            // What a device showed before it went back was shown.
            self.next_look = world.now();
            self.check(world)?;
            let devices: Vec<usize> =
                self.people.iter().flat_map(|person| person.devices.clone()).collect();
            let (vacant, rng) = (&mut self.vacant, &mut self.rng);
            if let Some(Accident { device, copy }) = accidents.happen(world, &devices, vacant, rng)
            {
                let what = if copy.is_some() { "is copied" } else { "goes back in time" };
                self.note(world, device, what);
                self.witness.went_back(device, world.now(), copy.is_some());
                self.summary.rolled_back += 1;
                let owner = self.people.iter_mut().find(|it| it.devices.contains(&device));
                if let (Some(person), Some(copy)) = (owner, copy) {
                    person.others.push(copy);
                    self.witness.went_back(copy, world.now(), true);
                }
            }
        }
        self.accidents = Some(accidents);
        Ok(())
    }

    /// Looks at everything that can be seen, now and then.
    fn check(&mut self, world: &World) -> Result<(), Box<Violation>> {
        let (people, witness) = (&self.people, &mut self.witness);
        let seats = seats(people, world);
        witness.watch(&seats, world.now());
        if world.now() < self.next_look {
            return Ok(());
        }
        self.next_look = world.now() + LOOK_EVERY;
        let looked = witness.look(&seats, world.now());
        looked.map_err(|(name, what)| Box::new(world.violation(name, what)))
    }

    /// Looks at everything for the last time.
    pub(crate) fn at_rest(&mut self, world: &mut World) -> Result<(), Box<Violation>> {
        self.next_look = world.now();
        self.check(world)
    }

    /// Returns what is not at rest.
    pub(crate) fn unrest(&mut self, world: &World) -> Option<String> {
        let seats = seats(&self.people, world);
        let (missing, shown, excused) = self.witness.missing(&seats);
        (self.summary.shown, self.summary.excused) = (shown, excused);
        missing
            .or_else(|| witness::under_way(world, &seats))
            .or_else(|| witness::apart(&self.witness, &seats))
            .or_else(|| {
                // Wishes for a group that the device is out of come to nothing without a word.
                let gone = |device: usize, group: &GroupId| {
                    let vault = world.devices()[device].vault();
                    !Messenger::epochs(vault).iter().any(|(id, _, _)| id == group)
                };
                let mut waits = self.waits.iter();
                let (of, (_, deed)) = waits.find(|((device, _), (_, deed))| {
                    !matches!(deed, Deed::Change(_, group) | Deed::Invite { group, .. } if gone(*device, group))
                })?;
                Some(format!("device {} has not answered: {}", of.0, deed.name()))
            })
    }

    pub(crate) fn summary(&self, world: &World) -> Summary {
        let epochs = world.devices().iter().flat_map(|it| Messenger::epochs(it.vault()));
        Summary {
            said: self.witness.said.values().filter(|it| it.answered).count(),
            groups: self.groups.len(),
            epochs: epochs.map(|(_, epoch, _)| epoch).max().unwrap_or(0),
            ..self.summary.clone()
        }
    }

    /// Takes what devices have to say.
    fn hear(&mut self, world: &mut World) {
        for device in 0..world.devices().len() {
            for news in world.take_news(device) {
                match news {
                    News::Answer { id, result } => {
                        self.note(world, device, format_args!("answers {result:?}"));
                        if let Some((_, deed)) = self.waits.remove(&(device, id)) {
                            self.answered(world, deed, result);
                        }
                    }
                    News::Warning(warning) => {
                        self.note(world, device, format_args!("warns: {warning}"));
                        let text = format!("{warning:?}");
                        let kind: String =
                            text.chars().take_while(|it| it.is_alphanumeric()).collect();
                        let kind = if kind == "Refused" { warning.to_string() } else { kind };
                        *self.summary.warnings.entry(kind).or_default() += 1;
                    }
                }
            }
            let (up, lives) = (world.devices()[device].is_up(), world.devices()[device].lives);
            if self.lives.insert(device, (up, lives)) != Some((up, lives)) {
                self.note(world, device, format_args!("runs: {up}, life {lives}"));
            }
            // Nobody is answered by a device that has crashed.
            let it = &world.devices()[device];
            let lives = it.is_up().then_some(it.lives);
            self.waits.retain(|(of, _), (life, _)| *of != device || lives == Some(*life));
        }
    }

    fn note(&mut self, world: &World, device: usize, what: impl std::fmt::Display) {
        if self.log.len() == LOG_MAX {
            self.log.pop_front();
        }
        let at = world.now().since(BEGINNING).as_millis();
        self.log.push_back(format!("{at:>8} ms  device {device} {what}"));
    }

    /// Returns what was done and said, the oldest first.
    pub(crate) fn log(&self) -> String {
        self.log.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    fn answered(&mut self, world: &World, deed: Deed, result: Result<Answer, api::Error>) {
        if let Deed::Invite { group, account } = &deed {
            self.witness.invited.insert((*group, *account), world.now());
        }
        match (deed, result) {
            (Deed::Say(said), Ok(Answer::Said { id, .. })) => {
                self.witness.said.insert(id, Said { answered: true, ..*said });
            }
            (Deed::Group { members }, Ok(Answer::Group { group, .. })) => {
                self.groups.push(group);
                self.witness.made.insert(group);
                for account in members {
                    self.witness.invited.insert((group, account), world.now());
                }
            }
            (Deed::Link { account, device }, Ok(_)) => {
                self.people[account].others.retain(|other| *other != device);
                self.people[account].devices.push(device);
                self.summary.linked += 1;
            }
            (_, Ok(_)) => {}
            (_, Err(error)) => {
                let text = format!("{error:?}");
                let kind = text.chars().take_while(|it| it.is_alphanumeric()).collect();
                *self.summary.refusals.entry(kind).or_default() += 1;
            }
        }
    }

    fn order(
        &mut self,
        world: &mut World,
        device: usize,
        command: Command,
        deed: Deed,
    ) -> Result<(), Box<Violation>> {
        self.note(world, device, format_args!("is told to {}: {command:?}", deed.name()));
        let id = world.with_device(device, |it, now, out| it.order(now, command, out))?;
        let life = world.devices()[device].lives;
        self.waits.insert((device, id), (life, deed));
        Ok(())
    }

    fn act(&mut self, world: &mut World, index: usize) -> Result<(), Box<Violation>> {
        let ready = |device: &&usize| world.devices()[**device].messenger().is_some();
        let devices: Vec<usize> =
            self.people[index].devices.iter().filter(ready).copied().collect();
        let Some(device) = self.pick(&devices) else { return Ok(()) };
        let group = self.group_of(world, device);
        match (self.rng.below(100), group) {
            (0..40, _) | (40..75, None) => self.write(world, index, device),
            (40..75, Some(group)) => self.say(world, index, device, Peer::Group { group }),
            (75..82, _) => self.make_group(world, index, device),
            (82..86, Some(group)) => self.invite(world, device, group),
            (86..89, Some(group)) => self.remove(world, index, device, group),
            (89..93, Some(group)) => self.race(world, group),
            (93..95, Some(group)) => self.promote(world, device, group),
            (95..97, _) => self.link(world, index, device),
            (97, _) => self.exclude(world, index, device),
            _ => self.rotate(world, index, device),
        }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let index = self.rng.below((from.len() as u64).max(1));
        from.get(usize::try_from(index).ok()?).copied()
    }

    fn other(&mut self, index: usize) -> AccountId {
        let step = 1 + self.rng.below(self.people.len() as u64 - 1) as usize;
        self.people[(index + step) % self.people.len()].account
    }

    /// Returns one of the groups that a device is in.
    fn group_of(&mut self, world: &World, device: usize) -> Option<GroupId> {
        let vault = world.devices()[device].vault();
        let groups: Vec<GroupId> = Messenger::epochs(vault)
            .into_iter()
            .map(|(group, _, _)| group)
            .filter(|group| self.groups.contains(group))
            .collect();
        self.pick(&groups)
    }

    fn write(
        &mut self,
        world: &mut World,
        index: usize,
        device: usize,
    ) -> Result<(), Box<Violation>> {
        let account = self.other(index);
        self.say(world, index, device, Peer::Account { account })
    }

    pub(super) fn say(
        &mut self,
        world: &mut World,
        index: usize,
        device: usize,
        to: Peer,
    ) -> Result<(), Box<Violation>> {
        self.texts += 1;
        let mut text = format!("text {} of {index} on device {device}", self.texts);
        // Most are short; some need a large box.
        let long = if self.rng.below(12) == 0 { self.rng.below(6_000) } else { 0 };
        text.extend((0..long).map(|_| '.'));
        let author = self.people[index].account;
        let command = Command::Say {
            to,
            say: Say::Text { body: Text::new(text.clone()).expect("short"), reply_to: None },
        };
        let id = world.with_device(device, |it, now, out| it.order(now, command, out))?;
        let seats = seats(&self.people, world);
        let vault = world.devices()[device].vault();
        let at = world.now();
        let groups = witness::behind(vault, author, &to, at);
        let audience = witness::audience(vault, author, &to);
        let hears =
            |it: &&Seat<'_>| it.counts && it.number != device && audience.contains(&it.account);
        let there = seats.iter().filter(hears).map(|it| it.number).collect();
        // Whoever has several devices may add one of them later than another: what is said before
        // is shown on those only that were there.
        let alone = |it: &&Person| {
            it.devices.len() + it.others.len() == 1 && audience.contains(&it.account)
        };
        let due = self.people.iter().filter(alone).map(|it| it.devices[0]);
        let due = due.filter(|it| *it != device).collect();
        let answered = false;
        let said = Said { text, author, device, to, at, answered, audience, groups, there, due };
        if let Some(name) = newest(vault, &to, &said.text) {
            self.witness.said.insert(name, said.clone());
        }
        let life = world.devices()[device].lives;
        self.note(
            world,
            device,
            format_args!("says to {to:?}: {}", &said.text[..said.text.len().min(40)]),
        );
        self.waits.insert((device, id), (life, Deed::Say(Box::new(said))));
        Ok(())
    }

    pub(super) fn make_group(
        &mut self,
        world: &mut World,
        index: usize,
        device: usize,
    ) -> Result<(), Box<Violation>> {
        if self.groups.len() >= (self.people.len() * GROUPS_PER_THREE / 3).max(1) {
            return self.write(world, index, device);
        }
        let count = 1 + self.rng.below(self.people.len().min(5) as u64);
        let members: Vec<AccountId> = (0..count).map(|_| self.other(index)).collect();
        let history = self.rng.below(2) as u16 * 10;
        let name = format!("group {}", self.groups.len());
        let command = Command::CreateGroup { name, members: members.clone(), history };
        self.order(world, device, command, Deed::Group { members })
    }

    fn invite(
        &mut self,
        world: &mut World,
        device: usize,
        group: GroupId,
    ) -> Result<(), Box<Violation>> {
        let all: Vec<AccountId> = self.people.iter().map(|it| it.account).collect();
        let Some(account) = self.pick(&all) else { return Ok(()) };
        self.witness.invited.insert((group, account), Time::MAX);
        let command = Command::Invite { group, accounts: vec![account] };
        self.order(world, device, command, Deed::Invite { group, account })
    }

    fn remove(
        &mut self,
        world: &mut World,
        index: usize,
        device: usize,
        group: GroupId,
    ) -> Result<(), Box<Violation>> {
        let members = group::members(world.devices()[device].vault(), &group);
        let own = self.people[index].account;
        let admin = members.contains(&(own, Role::Admin));
        let accounts: Vec<AccountId> = members.iter().map(|(account, _)| *account).collect();
        let account = if admin { self.pick(&accounts) } else { Some(own) };
        let Some(account) = account else { return Ok(()) };
        self.witness.departed.insert((group, account));
        self.summary.removed += 1;
        self.order(world, device, Command::Remove { group, account }, Deed::Change("remove", group))
    }

    /// Everybody who may changes the group at the same time; everybody else draws new keys.
    fn race(&mut self, world: &mut World, group: GroupId) -> Result<(), Box<Violation>> {
        for index in 0..self.people.len() {
            for device in self.people[index].devices.clone() {
                let it = &world.devices()[device];
                let members = group::members(it.vault(), &group);
                let own = self.people[index].account;
                if it.messenger().is_none() || !members.iter().any(|(account, _)| *account == own) {
                    continue;
                }
                let command = if members.contains(&(own, Role::Admin)) {
                    let name = Some(format!("named {} by {device}", self.rng.below(1000)));
                    Command::ChangeGroup { group, name, role: None, disappear: None }
                } else if self.rng.below(3) == 0 {
                    Command::Rotate { peer: Peer::Group { group } }
                } else {
                    continue;
                };
                self.order(world, device, command, Deed::Change("race", group))?;
            }
        }
        Ok(())
    }

    fn promote(
        &mut self,
        world: &mut World,
        device: usize,
        group: GroupId,
    ) -> Result<(), Box<Violation>> {
        let members = group::members(world.devices()[device].vault(), &group);
        let accounts: Vec<AccountId> = members.iter().map(|(account, _)| *account).collect();
        let Some(account) = self.pick(&accounts) else { return Ok(()) };
        let role = Some((account, Role::Admin));
        let command = Command::ChangeGroup { group, name: None, role, disappear: None };
        self.order(world, device, command, Deed::Change("promote", group))
    }

    fn rotate(
        &mut self,
        world: &mut World,
        index: usize,
        device: usize,
    ) -> Result<(), Box<Violation>> {
        let account = self.other(index);
        let command = Command::Rotate { peer: Peer::Account { account } };
        self.order(world, device, command, Deed::Other("rotate"))
    }

    fn link(
        &mut self,
        world: &mut World,
        index: usize,
        device: usize,
    ) -> Result<(), Box<Violation>> {
        let first = self.people[index].devices[0];
        let several = self.people[index].devices.len() + self.people[index].others.len() > 1;
        if several
            || first != device
            || self.waits.values().any(|(_, it)| matches!(it, Deed::Link { .. }))
        {
            return self.write(world, index, device);
        }
        let Some(another) = self.vacant.pop() else { return self.write(world, index, device) };
        let account = self.people[index].account;
        let request = world.with_device(another, |it, _, _| it.ask(account))?;
        world.start(another);
        self.people[index].others.push(another);
        self.witness.linked.entry(account).or_insert(world.now());
        let command = Command::AddDevice { request, name: "another".to_owned() };
        self.order(world, device, command, Deed::Link { account: index, device: another })
    }

    fn exclude(
        &mut self,
        world: &mut World,
        index: usize,
        device: usize,
    ) -> Result<(), Box<Violation>> {
        let devices = &self.people[index].devices;
        let Some(another) = devices.get(1).copied().filter(|_| devices[0] == device) else {
            return self.write(world, index, device);
        };
        let Some(id) = world.devices()[another].messenger().map(Messenger::device) else {
            return self.write(world, index, device);
        };
        self.people[index].devices.pop();
        self.people[index].others.push(another);
        self.summary.excluded += 1;
        self.order(world, device, Command::RevokeDevice { device: id }, Deed::Other("exclude"))
    }
}

/// Returns the name of a text that was said last in a conversation.
fn newest(vault: &dyn Vault, to: &Peer, text: &str) -> Option<SayId> {
    let thread = thread::thread_of(vault, to)?;
    let last = thread::messages(vault, thread, None, 1).pop()?;
    matches!(&last.body, Body::Text { body } if **body == *text).then_some(last.id)
}

fn seats<'a>(people: &[Person], world: &'a World) -> Vec<Seat<'a>> {
    let mut seats = Vec::new();
    for person in people {
        let in_use = person.devices.iter().map(|number| (*number, true));
        let others = person.others.iter().map(|number| (*number, false));
        for (number, counts) in in_use.chain(others) {
            let device: &Device = &world.devices()[number];
            seats.push(Seat { number, account: person.account, device, counts });
        }
    }
    seats
}
