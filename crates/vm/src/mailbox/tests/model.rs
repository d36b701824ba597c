//! Random calls, commits and crashes against a model that says what must be there.

use session_core::Entropy;

use super::*;

const PEOPLE: u64 = 4;
const STEPS: u32 = 600;
const SEEDS: u64 = 30;

#[derive(Clone, Debug)]
struct Talk {
    members: Vec<u64>,
    proved: Vec<bool>,
    counters: Vec<u64>,
    /// Text and expiry, by sequence.
    messages: Vec<(Vec<u8>, Time)>,
    closed: bool,
    expires: Time,
}

impl Talk {
    fn status(&self, now: Time) -> Status {
        match () {
            () if self.closed => Status::Closed,
            () if now >= self.expires => Status::Expired,
            () if self.proved.contains(&false) => Status::Pending,
            () => Status::Active,
        }
    }

    fn refusal(&self, now: Time) -> Option<Refusal> {
        match self.status(now) {
            Status::Closed => Some(Refusal::Closed),
            Status::Expired => Some(Refusal::Expired),
            _ => None,
        }
    }

    fn held(&self, now: Time) -> usize {
        self.messages.iter().filter(|(_, expiry)| *expiry > now).count()
    }
}

#[derive(Clone, Debug, Default)]
struct Model(BTreeMap<ConversationId, Talk>);

struct Run {
    world: World,
    people: Vec<FakeIdentity>,
    choice: SeededEntropy,
    model: Model,
    durable: Model,
}

impl Run {
    fn below(&mut self, bound: u64) -> u64 {
        self.choice.below(bound)
    }

    fn some_talk(&mut self) -> Option<(ConversationId, Talk)> {
        let count = self.model.0.len() as u64;
        let at = usize::try_from(self.choice.below(count)).expect("small");
        self.model.0.iter().nth(at).map(|(id, talk)| (*id, talk.clone()))
    }

    fn create(&mut self) {
        let first = self.below(PEOPLE);
        let count = 1 + self.below(PEOPLE);
        let members: Vec<u64> = (0..count).map(|step| (first + step) % PEOPLE).collect();
        let proved: Vec<bool> = members.iter().map(|_| self.choice.below(2) == 0).collect();
        let invitations = members.iter().zip(&proved).map(|(member, proved)| {
            let person = &self.people[usize::try_from(*member).expect("small")];
            if *proved { introduce(person) } else { invite(person) }
        });
        let made = self.world.create(invitations.collect()).expect("is in order");
        let talk = Talk {
            counters: vec![0; members.len()],
            members,
            proved,
            messages: Vec::new(),
            closed: false,
            expires: self.world.now + TTL,
        };
        assert_eq!(made.status, talk.status(self.world.now));
        assert!(self.model.0.insert(made.conversation, talk).is_none(), "an id came twice");
    }

    fn send(&mut self) {
        let Some((id, mut talk)) = self.some_talk() else { return };
        let at = usize::try_from(self.below(talk.members.len() as u64)).expect("small");
        let from = self.people[usize::try_from(talk.members[at]).expect("small")].clone();
        let expected = talk.counters[at];
        // Mostly the right counter, sometimes one before or after it.
        let counter = match self.below(8) {
            0 => expected.saturating_sub(1),
            1 => expected + 1,
            _ => expected,
        };
        let text = self.choice.bytes32().to_vec();
        let now = self.world.now;
        let request = self.world.signed(id, &from, counter, &text);
        let request = SendRequest { key: Some(from.public().dsa().clone()), ..request };
        let result = self.world.submit(request).map(|sent| sent.sequence);
        let held = talk.held(now) as u64;
        let wanted = if let Some(refusal) = talk.refusal(now) {
            Err(refusal)
        } else if counter < expected {
            Err(Refusal::Replayed { expected, got: counter })
        } else if counter > expected {
            Err(Refusal::CounterGap { expected, got: counter })
        } else if held >= self.world.config.messages_max {
            Err(Refusal::Limit { field: "messages", got: held + 1, limit: held })
        } else {
            Ok(talk.messages.len() as u64)
        };
        assert_eq!(result, wanted);
        if wanted.is_ok() {
            talk.counters[at] += 1;
            talk.proved[at] = true;
            talk.messages.push((text, now + RETENTION));
            self.model.0.insert(id, talk);
        }
    }

    fn act(&mut self) {
        let Some((id, mut talk)) = self.some_talk() else { return };
        let at = usize::try_from(self.below(talk.members.len() as u64)).expect("small");
        let from = self.people[usize::try_from(talk.members[at]).expect("small")].clone();
        let closes = self.below(6) == 0;
        let action = if closes { Action::Close } else { Action::Accept };
        let result = self.world.act(id, &from, action);
        if let Some(refusal) = talk.refusal(self.world.now) {
            assert_eq!(result, Err(refusal));
            return;
        }
        talk.closed = closes;
        talk.proved[at] |= !closes;
        assert_eq!(result, Ok(talk.status(self.world.now)));
        self.model.0.insert(id, talk);
    }

    fn commit(&mut self) {
        self.world.store.commit_now();
        self.durable = self.model.clone();
    }

    fn crash(&mut self) {
        self.world.store.crash();
        let report = self.world.reload();
        assert_eq!((report.rolled_back, report.damaged), (0, 0));
        self.world.store.commit_now();
        self.model = self.durable.clone();
        self.forget();
    }

    fn pass(&mut self) {
        let seconds = self.below(900);
        self.world.now = self.world.now + Span::from_secs(seconds);
        self.world.tick();
        self.forget();
    }

    fn forget(&mut self) {
        let now = self.world.now;
        self.model.0.retain(|_, talk| talk.expires + RETENTION > now);
    }

    fn check(&self) {
        let now = self.world.now;
        assert_eq!(self.world.mailbox.counts().conversations, self.model.0.len() as u64);
        for (id, talk) in &self.model.0 {
            let view = self.world.mailbox.get(id, now).expect("nothing is lost");
            assert_eq!(view.status(), talk.status(now));
            assert_eq!(view.next_sequence(), talk.messages.len() as u64);
            assert!(view.participants().map(|of| of.counter).eq(talk.counters.iter().copied()));
            let wanted: BTreeMap<u64, Vec<u8>> = (0..)
                .zip(&talk.messages)
                .filter(|(_, (_, expiry))| *expiry > now)
                .map(|(sequence, (text, _))| (sequence, text.clone()))
                .collect();
            assert_eq!(self.world.texts(*id), wanted);
        }
    }
}

fn run(seed: u64) -> (u64, u64) {
    let people = (0..PEOPLE).map(person).collect();
    let choice = SeededEntropy::new(seed);
    let (model, durable) = (Model::default(), Model::default());
    let mut run = Run { world: World::new(), people, choice, model, durable };
    run.world.store.commit_now();
    for step in 0..STEPS {
        match run.below(20) {
            0..2 => run.create(),
            2..13 => run.send(),
            13..15 => run.act(),
            15..17 => run.commit(),
            17 => run.crash(),
            _ => run.pass(),
        }
        if step % 10 == 0 {
            run.check();
        }
    }
    run.check();
    let messages = run.model.0.values().map(|talk| talk.messages.len() as u64).sum();
    (run.model.0.len() as u64, messages)
}

#[test]
fn any_order_of_calls_and_crashes_keeps_what_it_promised() {
    let (mut talks, mut messages) = (0, 0);
    for seed in 0..SEEDS {
        let (of_talks, of_messages) = run(seed);
        talks += of_talks;
        messages += of_messages;
    }
    assert!(talks > SEEDS * 5 && messages > SEEDS * 20, "{talks} {messages}: too little happened");
}
