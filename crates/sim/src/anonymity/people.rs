//! Who knows whom, who chats, and through whom they enter.

use super::Traffic;
use super::draw::Draw;

/// Two people who write to each other all the while; the first one is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chat {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) lane: u32,
}

/// The clients.
///
/// Contacts are neighbours on rings in random order, so that everybody has as many and all of them
/// know each other. The lane of a contact is the mailbox that one reads and the other writes to.
pub(super) struct People {
    contacts: u32,
    clients: u32,
    decoys: bool,
    neighbours: Vec<u32>,
    guards: Vec<[u32; 2]>,
    chats: Vec<Chat>,
    chat_of: Vec<Option<u32>>,
}

impl People {
    pub(super) fn new(traffic: &Traffic, chats: u32, seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let (clients, contacts) = (traffic.clients, traffic.contacts);
        let mut neighbours = vec![0; (clients * contacts) as usize];
        for ring in (0..contacts).step_by(2) {
            let order = draw.shuffled(clients);
            for (one, next) in order.iter().zip(order.iter().cycle().skip(1)) {
                neighbours[(one * contacts + ring) as usize] = *next;
                neighbours[(next * contacts + ring + 1) as usize] = *one;
            }
        }
        let guards = (0..clients).map(|_| {
            let first = draw.below(traffic.nodes);
            [first, draw.other(traffic.nodes, &[first])]
        });
        let guards = guards.collect();
        let chat_of = vec![None; clients as usize];
        let mut people = Self {
            contacts,
            clients,
            decoys: traffic.decoys > 0.0,
            neighbours,
            guards,
            chats: Vec::new(),
            chat_of,
        };
        people.pair(chats);
        people
    }

    fn pair(&mut self, chats: u32) {
        let mut busy = vec![false; self.clients as usize];
        for from in 0..self.clients {
            let lane = self.lane_to(from, 0);
            let to = self.reader(lane);
            if self.chats.len() == chats as usize {
                return;
            }
            if !busy[from as usize] && !busy[to as usize] {
                (busy[from as usize], busy[to as usize]) = (true, true);
                let number = u32::try_from(self.chats.len()).expect("fewer than clients");
                self.chat_of[from as usize] = Some(number);
                self.chats.push(Chat { from, to, lane });
            }
        }
    }

    pub(super) fn contacts(&self) -> u32 {
        self.contacts
    }

    pub(super) fn lanes(&self) -> u32 {
        self.lane_of_decoys(if self.decoys { self.clients } else { 0 })
    }

    pub(super) fn reader(&self, lane: u32) -> u32 {
        let first = self.lane_of_decoys(0);
        if lane < first { lane / self.contacts } else { lane - first }
    }

    /// Returns the lane that `client` writes to and reads itself.
    pub(super) fn lane_of_decoys(&self, client: u32) -> u32 {
        self.clients * self.contacts + client
    }

    /// Returns the lane that `client` writes to for its contact of this number.
    pub(super) fn lane_to(&self, client: u32, contact: u32) -> u32 {
        let other = self.neighbours[(client * self.contacts + contact) as usize];
        other * self.contacts + (contact ^ 1)
    }

    pub(super) fn guards(&self, client: u32) -> [u32; 2] {
        self.guards[client as usize]
    }

    pub(super) fn chats(&self) -> &[Chat] {
        &self.chats
    }

    /// Returns the chat that `client` began.
    pub(super) fn chat_of(&self, client: u32) -> Option<u32> {
        self.chat_of[client as usize]
    }
}
