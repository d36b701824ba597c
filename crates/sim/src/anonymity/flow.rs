//! Packets on their way: clients, nodes, and what each link carries.

use std::collections::VecDeque;

use super::agenda::Agenda;
use super::draw::{Draw, Micros, SECOND, finish};
use super::people::People;
use super::trace::{Book, Dice, Mark, Pool};
use super::{Mode, Traffic};

/// How long an exit keeps a request that waits for something to read.
const WAIT: Micros = 60 * SECOND;

/// How many of the packets of cover come back.
const LOOPS: f64 = 7.0 / 8.0;

/// Links take between this and this, always the same for the same two ends.
const LINK: (Micros, Micros) = (10_000, 90_000);

/// Hops of a path that hides its ends.
pub(super) const HOPS_MAX: usize = 3;

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    Store { lane: u32, message: u32 },
    Wait { lane: u32 },
    Drop,
    Loop,
}

#[derive(Debug)]
struct Packet {
    client: u32,
    aim: Aim,
    path: [u32; HOPS_MAX],
    delays: [Micros; HOPS_MAX],
    /// The hop that it is at, or on its way to.
    at: usize,
    back: bool,
    /// Tells a packet from an earlier one in the same place.
    serial: u64,
    marks: Vec<Mark>,
    /// The messages in an answer.
    brings: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A client says something to a contact of its.
    Say {
        client: u32,
    },
    /// A client says something to the one it chats with.
    Chat {
        pair: u32,
    },
    /// It is time for a packet of a client.
    Turn {
        client: u32,
    },
    Arrive {
        packet: u32,
    },
    Leave {
        packet: u32,
    },
    Home {
        packet: u32,
    },
    /// What was stored has reached the member that a reader waits at.
    Push {
        lane: u32,
    },
    Answer {
        packet: u32,
    },
    Expire {
        packet: u32,
        serial: u64,
    },
}

/// A message, from the first packet of its sender to the last one of its reader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) from: u32,
    pub(super) to: u32,
    /// When its author was done.
    pub(super) said: Micros,
    /// When its packet left.
    pub(super) sent: Micros,
    pub(super) read: Option<Micros>,
    /// Whether its packet is followed.
    followed: bool,
}

impl Message {
    /// Returns how long it took until it was read.
    pub(super) fn seconds(&self) -> Option<f64> {
        Some((self.read? - self.said) as f64 / SECOND as f64)
    }
}

/// A mailbox of today: who reads it, where it lies, and who is asked about it.
#[derive(Debug, Default)]
struct Lane {
    swarm: u32,
    waits: Option<u32>,
    unread: Vec<u32>,
    marks: Vec<Mark>,
}

/// Which packets the observer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// One message in so many that are said from this time on and until that; trails are owned by
    /// messages.
    Messages { one_in: u32, from: Micros, until: Micros },
    /// All messages of those who chat; trails are owned by chats.
    Chats,
    /// All packets of those who chat.
    AllOfChats,
}

/// The network in motion.
pub(super) struct Flow<'a> {
    traffic: &'a Traffic,
    people: &'a People,
    watched: Watched,
    dice: Dice,
    draw: Draw,
    now: Micros,
    agenda: Agenda<Event>,
    serial: u64,
    packets: Vec<Packet>,
    free: Vec<u32>,
    pools: Vec<Pool>,
    /// What each client has ready to send.
    queues: Vec<VecDeque<u32>>,
    lanes: Vec<Lane>,
    shares: Vec<Mark>,
    pub(super) messages: Vec<Message>,
    pub(super) book: Book,
    /// How many packets went through nodes.
    pub(super) passed: u64,
}

impl<'a> Flow<'a> {
    pub(super) fn new(
        traffic: &'a Traffic,
        people: &'a People,
        watched: Watched,
        least: f64,
        seed: u64,
    ) -> Self {
        let mut draw = Draw::new(seed);
        let swarms = traffic.nodes / traffic.swarm;
        let lanes = people.lanes();
        let lane = |_| Lane { swarm: draw.below(swarms), ..Lane::default() };
        let lanes: Vec<Lane> = (0..lanes).map(lane).collect();
        let mut flow = Self {
            traffic,
            people,
            watched,
            dice: Dice::new(least, seed + 1),
            draw,
            now: 0,
            agenda: Agenda::new(),
            serial: 0,
            packets: Vec::new(),
            free: Vec::new(),
            pools: (0..traffic.nodes).map(|_| Pool::default()).collect(),
            queues: (0..traffic.clients).map(|_| VecDeque::new()).collect(),
            lanes,
            shares: Vec::new(),
            messages: Vec::new(),
            book: Book::default(),
            passed: 0,
        };
        flow.begin();
        flow
    }

    /// Begins in the middle of things: everybody waits at every mailbox.
    fn begin(&mut self) {
        for lane in 0..self.people.lanes() {
            let packet = self.build(self.people.reader(lane), Aim::Wait { lane });
            self.packets[packet as usize].at = self.hops() - 1;
            self.lanes[lane as usize].waits = Some(packet);
            let serial = self.packets[packet as usize].serial;
            let left = self.draw.below(60_000_000).into();
            self.after(left, Event::Expire { packet, serial });
        }
        for client in 0..self.traffic.clients {
            self.next(Event::Say { client });
            self.next(Event::Turn { client });
        }
        for pair in 0..self.people.chats().len() {
            self.next(Event::Chat { pair: u32::try_from(pair).expect("chats are few") });
        }
    }

    /// Lets everything happen until `time`.
    pub(super) fn run(&mut self, time: Micros) {
        while let Some((due, event)) = self.agenda.next(time) {
            self.now = due;
            self.handle(event);
        }
        self.now = time;
    }

    pub(super) fn now(&self) -> Micros {
        self.now
    }

    fn hops(&self) -> usize {
        hops(self.traffic.mode)
    }

    fn after(&mut self, wait: Micros, event: Event) {
        self.agenda.add(self.now + wait, event);
    }

    /// Plans the next of events that come at random.
    fn next(&mut self, event: Event) {
        let every = match event {
            Event::Say { .. } => Some(self.traffic.say_every),
            Event::Chat { .. } => Some(self.traffic.chat_every),
            Event::Turn { .. } => self.traffic.pace,
            _ => None,
        };
        if let Some(every) = every {
            let wait = self.draw.wait(every);
            self.after(wait, event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Say { client } => {
                self.next(event);
                let contact = self.draw.below(self.people.contacts());
                self.say(client, self.people.lane_to(client, contact));
            }
            Event::Chat { pair } => {
                self.next(event);
                let chat = self.people.chats()[pair as usize];
                self.say(chat.from, chat.lane);
            }
            Event::Turn { client } => {
                self.next(event);
                let packet = match self.queues[client as usize].pop_front() {
                    Some(packet) => packet,
                    None => self.cover(client),
                };
                self.send(packet);
            }
            Event::Arrive { packet } => self.arrive(packet),
            Event::Leave { packet } => self.leave(packet),
            Event::Home { packet } => self.home(packet),
            Event::Push { lane } => self.push(lane),
            Event::Answer { packet } => self.answer(packet),
            Event::Expire { packet, serial } => self.expire(packet, serial),
        }
    }

    fn say(&mut self, from: u32, lane: u32) {
        let followed = match self.watched {
            Watched::Messages { one_in, from, until } => {
                (from..until).contains(&self.now) && self.draw.below(one_in) == 0
            }
            Watched::Chats | Watched::AllOfChats => self.people.chat_of(from).is_some(),
        };
        let message = self.written(from, lane, followed);
        let packet = self.build(from, Aim::Store { lane, message });
        self.leave_in_turn(packet);
    }

    /// Notes a message, and returns its number.
    fn written(&mut self, from: u32, lane: u32, followed: bool) -> u32 {
        let (to, said) = (self.people.reader(lane), self.now);
        self.messages.push(Message { from, to, said, sent: said, read: None, followed });
        u32::try_from(self.messages.len() - 1).expect("a run is short")
    }

    /// Makes a packet that nobody needs.
    fn cover(&mut self, client: u32) -> u32 {
        let aim = if self.draw.chance(self.traffic.decoys) {
            let lane = self.people.lane_of_decoys(client);
            Aim::Store { lane, message: self.written(client, lane, false) }
        } else if self.draw.chance(LOOPS) {
            Aim::Loop
        } else {
            Aim::Drop
        };
        self.build(client, aim)
    }

    /// Makes a packet with a path of its own: guard, middle, and a member of the swarm.
    fn build(&mut self, client: u32, aim: Aim) -> u32 {
        let nodes = self.traffic.nodes;
        let exit = match aim {
            Aim::Store { lane, .. } | Aim::Wait { lane } => {
                let first = self.lanes[lane as usize].swarm * self.traffic.swarm;
                first + self.draw.below(self.traffic.swarm)
            }
            Aim::Drop | Aim::Loop => self.draw.below(nodes),
        };
        let path = if self.hops() == 1 {
            [exit, exit, exit]
        } else {
            let [one, other] = self.people.guards(client);
            let second = if one == exit { true } else { other != exit && self.draw.chance(0.5) };
            let guard = if second { other } else { one };
            [guard, self.draw.other(nodes, &[guard, exit]), exit]
        };
        let delays = [0; HOPS_MAX].map(|_| self.draw.wait(self.traffic.delay));
        self.serial += 1;
        let serial = self.serial;
        let (marks, brings) = (Vec::new(), Vec::new());
        let packet =
            Packet { client, aim, path, delays, at: 0, back: false, serial, marks, brings };
        match self.free.pop() {
            Some(place) => {
                self.packets[place as usize] = packet;
                place
            }
            None => {
                self.packets.push(packet);
                u32::try_from(self.packets.len() - 1).expect("links hold fewer")
            }
        }
    }

    /// Sends a packet when it is its turn, where there are turns.
    fn leave_in_turn(&mut self, packet: u32) {
        match self.traffic.pace {
            Some(_) => {
                let client = self.packets[packet as usize].client;
                self.queues[client as usize].push_back(packet);
            }
            None => self.send(packet),
        }
    }

    fn send(&mut self, packet: u32) {
        let Packet { client, path, aim, .. } = self.packets[packet as usize];
        let mut owner = match self.watched {
            Watched::AllOfChats => self.people.chat_of(client),
            Watched::Messages { .. } | Watched::Chats => None,
        };
        if let Aim::Store { message, .. } = aim {
            let said = &mut self.messages[message as usize];
            said.sent = self.now;
            owner = match self.watched {
                Watched::Messages { .. } => said.followed.then_some(message),
                Watched::Chats => self.people.chat_of(client).filter(|_| said.followed),
                Watched::AllOfChats => owner,
            };
        }
        if let Some(owner) = owner {
            let mark = self.book.follow(owner, self.now);
            self.packets[packet as usize].marks.push(mark);
        }
        let link = self.link(self.traffic.nodes + client, path[0]);
        self.after(link, Event::Arrive { packet });
    }

    fn link(&self, one: u32, other: u32) -> Micros {
        let (low, high) = (u64::from(one.min(other)), u64::from(one.max(other)));
        // A number of its own for each two ends.
        let mixed = finish((low << 32 | high).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        LINK.0 + mixed % (LINK.1 - LINK.0)
    }

    fn arrive(&mut self, packet: u32) {
        let Packet { path, delays, at, ref mut marks, .. } = self.packets[packet as usize];
        self.pools[path[at] as usize].enter(marks);
        marks.clear();
        self.after(delays[at], Event::Leave { packet });
    }

    fn leave(&mut self, packet: u32) {
        self.passed += 1;
        let last = self.hops() - 1;
        let Packet { client, aim, path, at, back, .. } = self.packets[packet as usize];
        let home = back && at == 0;
        let goes_on = if back { at != 0 } else { at != last };
        let stored = !home && !goes_on && matches!(aim, Aim::Store { .. });
        // At these places in its way what is followed is at its exit, and at its reader's guard.
        let (turn, end) = (last, 2 * last + 1);
        let fits = |stage: u8| match usize::from(stage) {
            stage if stage == turn => stored,
            stage if stage == end => home,
            _ => goes_on,
        };
        let mut shares = std::mem::take(&mut self.shares);
        self.pools[path[at] as usize].leave(&mut self.dice, fits, &mut shares);
        shares.iter_mut().for_each(|share| share.stage += 1);
        if home {
            let marks = &mut self.packets[packet as usize].marks;
            marks.append(&mut shares);
            let link = self.link(self.traffic.nodes + client, path[0]);
            self.after(link, Event::Home { packet });
        } else if goes_on {
            let next = if back { at - 1 } else { at + 1 };
            let place = &mut self.packets[packet as usize];
            place.at = next;
            place.marks.append(&mut shares);
            let link = self.link(path[at], path[next]);
            self.after(link, Event::Arrive { packet });
        } else {
            self.deliver(packet, &shares);
        }
        shares.clear();
        self.shares = shares;
    }

    /// A request is at its exit.
    fn deliver(&mut self, packet: u32, shares: &[Mark]) {
        let Packet { aim, path, serial, .. } = self.packets[packet as usize];
        let here = path[self.hops() - 1];
        match aim {
            Aim::Drop => self.free.push(packet),
            Aim::Loop => self.answer(packet),
            Aim::Wait { lane } => {
                let place = &mut self.lanes[lane as usize];
                place.waits = Some(packet);
                if place.unread.is_empty() {
                    self.after(WAIT, Event::Expire { packet, serial });
                } else {
                    self.push(lane);
                }
            }
            Aim::Store { lane, message } => {
                let place = &mut self.lanes[lane as usize];
                place.unread.push(message);
                place.marks.extend(self.book.store(shares));
                if let Some(waits) = place.waits {
                    let there = self.packets[waits as usize].path[self.hops() - 1];
                    let link = if there == here { 0 } else { self.link(here, there) };
                    self.after(link, Event::Push { lane });
                }
                // Seven of ten have answered when the slowest links but three have.
                self.after(LINK.0 + LINK.1, Event::Answer { packet });
            }
        }
    }

    fn push(&mut self, lane: u32) {
        let place = &mut self.lanes[lane as usize];
        if !place.unread.is_empty()
            && let Some(packet) = place.waits.take()
        {
            self.answer(packet);
        }
    }

    fn expire(&mut self, packet: u32, serial: u64) {
        let place = &self.packets[packet as usize];
        if let Aim::Wait { lane } = place.aim
            && place.serial == serial
            && self.lanes[lane as usize].waits == Some(packet)
        {
            self.lanes[lane as usize].waits = None;
            self.answer(packet);
        }
    }

    /// An exit answers; the answer waits at each hop as long as the request did.
    fn answer(&mut self, packet: u32) {
        let last = self.hops() - 1;
        let place = &mut self.packets[packet as usize];
        (place.back, place.at) = (true, last);
        let (node, delay) = (place.path[last], place.delays[last]);
        let pool = &mut self.pools[node as usize];
        if let Aim::Wait { lane } = place.aim {
            // The observer is told which answer brings what was stored.
            let lane = &mut self.lanes[lane as usize];
            pool.enter(&lane.marks);
            lane.marks.clear();
            place.brings.append(&mut lane.unread);
        } else {
            pool.enter(&[]);
        }
        self.after(delay, Event::Leave { packet });
    }

    /// An answer is back at its client.
    fn home(&mut self, packet: u32) {
        let place = &mut self.packets[packet as usize];
        for mark in place.marks.drain(..) {
            self.book.reach(mark, place.client, !place.brings.is_empty());
        }
        for message in place.brings.drain(..) {
            self.messages[message as usize].read = Some(self.now);
        }
        let (client, aim) = (place.client, place.aim);
        self.free.push(packet);
        if let Aim::Wait { .. } = aim {
            let packet = self.build(client, aim);
            self.leave_in_turn(packet);
        }
    }
}

fn hops(mode: Mode) -> usize {
    match mode {
        Mode::Direct => 1,
        Mode::Onion | Mode::Mix => HOPS_MAX,
    }
}
