//! A messenger's orders, carried out by a client: with a scripted messenger in place of the real one.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use session_client::talk::{self, Talker, Talks};
use session_client::{Answer, Command, Effect, Error, Inbox, InboxReader, Input, StoredProof};
use session_core::{
    Context, Decode as _, InboxAddress, Machine, MessageId, Namespace, Span, SwarmId, Time,
};
use session_messaging::messenger::api::{self, NetFailure, Source, Target};
use session_messaging::vault::{MemoryVault, Table, Vault};
use session_protocol::inbox::{ATTACHMENTS, BOXES, COMMITS, MANIFESTS, Mailbox};
use session_protocol::request::{Item, ItemBytes};

use crate::mailboxes::mailbox;
use crate::world::{START, World};

/// What the messenger is to order next, and what it heard.
#[derive(Default)]
struct Book {
    orders: VecDeque<api::Effect>,
    heard: Vec<api::Input>,
}

#[derive(Clone, Default)]
struct Script(Rc<RefCell<Book>>);

impl Script {
    fn order(&self, order: api::Effect) {
        self.0.borrow_mut().orders.push_back(order);
    }

    fn take(&self) -> Vec<api::Input> {
        let heard = std::mem::take(&mut self.0.borrow_mut().heard);
        let progress = |it: &api::Input| matches!(it, api::Input::CaughtUp { .. });
        heard.into_iter().filter(|it| !progress(it)).collect()
    }
}

impl Talks for Script {
    fn handle<'a>(&mut self, cx: &mut Context<'a, dyn Vault + 'a, api::Effect>, input: api::Input) {
        if let api::Input::Arrived { items, .. } = &input {
            for item in items {
                cx.store.put(&Table::Seen.key(&[item.id.as_bytes()]), b"seen");
            }
        }
        self.0.borrow_mut().heard.push(input);
    }

    fn deadline(&self, _: &dyn Vault) -> Option<Time> {
        (!self.0.borrow().orders.is_empty()).then_some(Time::ZERO)
    }

    fn tick<'a>(&mut self, cx: &mut Context<'a, dyn Vault + 'a, api::Effect>) {
        cx.effects.extend(self.0.borrow_mut().orders.drain(..));
    }
}

/// A device, as a world drives it.
struct Device {
    talker: Talker<Script>,
    vault: MemoryVault,
    said: Vec<talk::Effect>,
}

impl Device {
    fn is_idle(&self) -> bool {
        self.talker.is_idle(&self.vault, START, START)
    }

    fn call(
        &mut self,
        cx: &mut Context<'_, (), Effect>,
        call: impl FnOnce(&mut Talker<Script>, &mut talk::Cx<'_>),
    ) {
        let mut effects = Vec::new();
        let (now, rng) = (cx.now, &mut *cx.rng);
        let mut inner = talk::Cx { now, store: &mut self.vault, rng, effects: &mut effects };
        call(&mut self.talker, &mut inner);
        for effect in effects {
            match effect {
                talk::Effect::Send { conn, class, frame } => {
                    cx.effects.push(Effect::Send { conn, class, frame });
                }
                talk::Effect::Dial { dial, address, key } => {
                    cx.effects.push(Effect::Dial { dial, address, key });
                }
                talk::Effect::Close { conn, why } => cx.effects.push(Effect::Close { conn, why }),
                other => self.said.push(other),
            }
        }
    }
}

impl Machine for Device {
    type Store = ();
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, cx: &mut Context<'_, (), Effect>, input: Input) {
        let input = match input {
            Input::Network(input) => talk::Input::Network(input),
            Input::Command { id, command } => talk::Input::Run { id, command },
            other => panic!("not for a device: {other:?}"),
        };
        self.call(cx, |talker, cx| talker.handle(cx, input));
    }

    fn deadline(&self) -> Option<Time> {
        self.talker.deadline(&self.vault)
    }

    fn tick(&mut self, cx: &mut Context<'_, (), Effect>) {
        self.call(cx, |talker, cx| talker.tick(cx));
    }
}

fn device(seed: u64, nodes: usize, vault: MemoryVault) -> (World<Device>, Script) {
    let script = Script::default();
    let world = World::around(seed, &[(SwarmId(1), nodes)], |config| Device {
        talker: Talker::new(script.clone(), config),
        vault,
        said: Vec::new(),
    });
    (world, script)
}

fn target(of: &Mailbox, namespace: Namespace) -> Target {
    Target { rule: of.rule(), write: Some(of.write.clone()), namespace }
}

fn source(of: &Mailbox) -> Source {
    Source { rule: of.rule(), read: Some(of.read.clone()), namespace: BOXES }
}

fn store(id: u64, to: Target, data: &[u8]) -> api::Effect {
    api::Effect::Store { id, to, ttl: Span::from_days(1), data: ItemBytes::new(data).unwrap() }
}

fn arrived(heard: &[api::Input]) -> Vec<(InboxAddress, MessageId)> {
    let mut all = Vec::new();
    for input in heard {
        if let api::Input::Arrived { address, items } = input {
            all.extend(items.iter().map(|item| (*address, item.id)));
        }
    }
    all
}

fn put(world: &mut World<Device>, to: &Mailbox, data: &[u8]) -> Item {
    let all: Vec<usize> = (0..world.nodes.len()).collect();
    world.arrive_at(to.address(), data, &all)
}

#[test]
fn what_is_to_be_stored_is_stored_and_proven() {
    let (mut world, script) = device(1, 5, MemoryVault::new());
    let it = mailbox(1);
    script.order(store(7, target(&it, BOXES), b"box"));
    // Everyone may store there: no capability is shown.
    script.order(store(8, target(&it, ATTACHMENTS), b"piece"));
    world.pass(Span::from_secs(1));
    let heard = script.take();
    assert_eq!(heard.len(), 2);
    for input in heard {
        let api::Input::Stored { id, outcome: Ok(stored) } = input else { panic!("{input:?}") };
        assert!(id == 7 || id == 8);
        assert_eq!((stored.good, stored.needed, stored.of), (5, 4, 5));
        let proof = StoredProof::decode_exact(&stored.proof).unwrap();
        assert_eq!((proof.message, proof.expiry), (stored.item, stored.expiry));
    }
    assert!(world.client.is_idle());
}

#[test]
fn each_failure_is_what_the_messenger_calls_it() {
    let (mut world, script) = device(2, 3, MemoryVault::new());
    let it = mailbox(1);
    let commit = |last: u8| [&[7; 32][..], &[last]].concat();
    script.order(store(1, target(&it, COMMITS), &commit(1)));
    world.pass(Span::from_secs(1));
    script.order(store(2, target(&it, COMMITS), &commit(2)));
    let wrong = Target { write: Some(it.read.clone()), ..target(&it, BOXES) };
    script.order(store(3, wrong, b"no"));
    world.pass(Span::from_secs(1));
    for node in 0..3 {
        world.vanish(node);
    }
    script.order(store(4, target(&it, BOXES), b"nobody"));
    script.order(api::Effect::Read { id: 5, from: source(&it) });
    assert!(!world.client.is_idle(), "what is about to begin is not idle");
    world.pass(Span::from_secs(60));
    let mut outcomes = BTreeMap::new();
    for input in script.take() {
        match input {
            api::Input::Stored { id, outcome } => outcomes.insert(id, outcome.err()),
            api::Input::Read { id, outcome } => outcomes.insert(id, outcome.err()),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(outcomes[&1], None);
    assert_eq!(outcomes[&2], Some(NetFailure::SlotTaken));
    assert!(matches!(outcomes[&3], Some(NetFailure::Refused(_))), "{outcomes:?}");
    assert!(matches!(outcomes[&4], Some(NetFailure::Unreachable(_))), "{outcomes:?}");
    assert!(matches!(outcomes[&5], Some(NetFailure::Unreachable(_))), "{outcomes:?}");
    assert!(world.client.is_idle(), "nothing is on its way any more");
}

#[test]
fn reading_collects_every_page_once() {
    let (mut world, script) = device(3, 3, MemoryVault::new());
    let it = mailbox(1);
    let large = vec![1; 70_000];
    let mut sent: Vec<MessageId> = (0..40u8)
        .map(|number| put(&mut world, &it, &[&large[..], &[number]].concat()).id)
        .collect();
    script.order(api::Effect::Read { id: 1, from: source(&it) });
    let nobody = Source { rule: it.rule(), read: None, namespace: MANIFESTS };
    script.order(api::Effect::Read { id: 2, from: nobody });
    world.pass(Span::from_secs(5));
    let mut heard = script.take();
    heard.sort_by_key(|input| match input {
        api::Input::Read { id, .. } => *id,
        other => panic!("{other:?}"),
    });
    let api::Input::Read { outcome: Ok(items), .. } = &heard[0] else { panic!("{heard:?}") };
    let mut read: Vec<MessageId> = items.iter().map(|item| item.id).collect();
    sent.sort();
    read.sort();
    assert_eq!(read, sent);
    let api::Input::Read { outcome: Err(NetFailure::Missing), .. } = &heard[1] else {
        panic!("{:?}", heard[1])
    };
}

#[test]
fn reading_goes_on_after_a_restart_where_the_vault_says() {
    let (mut world, script) = device(4, 3, MemoryVault::new());
    let (it, other) = (mailbox(1), mailbox(2));
    let watch = |boxes: &[&Mailbox]| {
        let sources = boxes.iter().map(|it| (it.address(), source(it))).collect();
        api::Effect::Watch { sources }
    };
    let first = put(&mut world, &it, b"first");
    put(&mut world, &other, b"of another");
    script.order(watch(&[&it, &other]));
    world.pass(Span::from_secs(2));
    assert_eq!(arrived(&script.take()).len(), 2);
    // What was taken and where reading goes on are in the same vault.
    let vault = world.client.vault.clone();
    let reader_key = |of: &Mailbox| Table::Reader.key(&[of.address().as_bytes()]);
    let reader = InboxReader::decode_exact(&vault.get(&reader_key(&it)).unwrap()).unwrap();
    assert_eq!(reader.seen(), 1);
    assert!(vault.get(&Table::Seen.key(&[first.id.as_bytes()])).is_some());

    // Another run of the program; the nodes have what they had.
    let (mut again, script) = device(4, 3, vault);
    put(&mut again, &it, b"first");
    let second = put(&mut again, &it, b"second");
    script.order(watch(&[&it]));
    again.pass(Span::from_secs(2));
    assert_eq!(arrived(&script.take()), [(it.address(), second.id)]);
    assert!(again.client.vault.get(&reader_key(&other)).is_none(), "not watched, not remembered");
}

#[test]
fn programs_have_commands_of_their_own() {
    let (mut world, script) = device(5, 3, MemoryVault::new());
    let it = mailbox(1);
    let items = vec![session_client::NewItem {
        namespace: BOXES,
        ttl: Span::from_days(1),
        data: ItemBytes::new(&b"mine"[..]).unwrap(),
    }];
    // The messenger uses the same number, and nobody is confused.
    script.order(store(1, target(&it, BOXES), b"the messenger's"));
    let command = Command::Deposit { rule: it.rule(), token: it.write.clone(), items };
    world.command(command);
    let subscribe = Command::Subscribe {
        from: Inbox::Mailbox { rule: it.rule(), token: it.read.clone() },
        namespaces: vec![BOXES],
        reader: Box::default(),
    };
    world.command(subscribe);
    world.pass(Span::from_secs(2));
    let mut done: Vec<_> = world
        .client
        .said
        .iter()
        .filter_map(|effect| match effect {
            talk::Effect::Done { id, result } => Some((*id, result.clone())),
            _ => None,
        })
        .collect();
    done.sort_by_key(|(id, _)| *id);
    assert!(
        matches!(&done[..], [(1, Ok(Answer::Stored(_))), (2, Err(Error::Invalid(_)))]),
        "{done:?}"
    );
    assert!(matches!(&script.take()[..], [api::Input::Stored { id: 1, outcome: Ok(_) }]));
}

#[test]
fn how_far_mailboxes_are_read_is_told_when_all_are() {
    let (mut world, script) = device(7, 3, MemoryVault::new());
    let (one, other) = (mailbox(1), mailbox(2));
    let sources = [&one, &other].map(|it| (it.address(), source(it)));
    script.order(api::Effect::Watch { sources: sources.into_iter().collect() });
    let told = |script: &Script| {
        let heard = std::mem::take(&mut script.0.borrow_mut().heard);
        heard.into_iter().find_map(|it| match it {
            api::Input::CaughtUp { at } => Some(at),
            _ => None,
        })
    };
    world.pass(Span::from_secs(2));
    let first = told(&script).expect("both were read");
    assert!(first >= START);
    // Nobody answers any more: it gets no later.
    for node in 0..3 {
        world.vanish(node);
    }
    world.pass(Span::from_secs(600));
    assert!(told(&script).is_none_or(|at| at < first + Span::from_secs(120)));
}
