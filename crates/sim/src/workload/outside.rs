//! The outside world: answers that differ, change, fail and take their time, and a target of writes
//! that does the same thing once however often it is asked.

use std::collections::BTreeMap;

use session_core::{Digest, Entropy, SeededEntropy, SessionId, Span, Time};
use session_executor::facts::{Fetch, Purpose};
use session_protocol::workload::oracle::{Fault, RawAnswer, write_key};

/// What comes back, and how long it takes.
pub(crate) enum Reply {
    Answer(Result<RawAnswer, Fault>),
    Confirmed(Result<(), Fault>),
}

/// The world.
pub(crate) struct Outside {
    rng: SeededEntropy,
    /// Of 100 questions, how many go wrong.
    pub(crate) trouble: u64,
    /// Whether the target does not know its keys. No story has it: it is there to show that the
    /// invariants find it.
    pub(crate) keyless: bool,
    /// What was answered for each key.
    written: BTreeMap<Digest, String>,
    /// How often each write had an effect.
    effects: BTreeMap<(SessionId, u32), u32>,
    pub(crate) counts: Counts,
}

/// What the world was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads.
    pub reads: u64,
    /// Writes, with those that only repeated.
    pub writes: u64,
    /// Writes that had an effect.
    pub effects: u64,
    /// Questions without an answer.
    pub failed: u64,
}

impl Outside {
    pub(crate) fn new(rng: SeededEntropy, trouble: u64) -> Self {
        let (written, effects) = (BTreeMap::new(), BTreeMap::new());
        Self { rng, trouble, keyless: false, written, effects, counts: Counts::default() }
    }

    /// Returns the writes that had more than one effect.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = (&(SessionId, u32), &u32)> {
        self.effects.iter().filter(|(_, times)| **times > 1)
    }

    /// Answers a member; what it writes is done whether it hears the answer or not.
    pub(crate) fn ask(&mut self, node: usize, fetch: &Fetch, now: Time) -> (Span, Reply) {
        let source = &fetch.facts.workload.manifest.sources[usize::from(fetch.call.source)];
        let (takes, timeout) = (self.takes(), source.timeout);
        let (late, at) = (takes > timeout, now + takes);
        let reply = match fetch.purpose {
            Purpose::Write { key } => {
                self.counts.writes += 1;
                // Lost on the way there: nothing happens. On the way back: it has happened.
                let refused = self.goes_wrong();
                let answer =
                    if refused { Err(Fault::Unreachable) } else { Ok(self.write(fetch, key)) };
                let lost = late || self.goes_wrong();
                Reply::Answer(if lost { Err(Fault::Timeout) } else { answer })
            }
            Purpose::Confirm => {
                let there = self.written.contains_key(&write_key(&fetch.facts.session, fetch.step));
                let fault = if there { Fault::Unreachable } else { Fault::NotConfirmed };
                let fails = late || !there || self.goes_wrong();
                Reply::Confirmed(if fails { Err(fault) } else { Ok(()) })
            }
            Purpose::Observe { .. } | Purpose::Pin => {
                self.counts.reads += 1;
                let answer = self.read(node, &source.name, at);
                Reply::Answer(if late { Err(Fault::Timeout) } else { answer })
            }
        };
        if matches!(&reply, Reply::Answer(Err(_)) | Reply::Confirmed(Err(_))) {
            self.counts.failed += 1;
        }
        (takes.min(timeout), reply)
    }

    fn takes(&mut self) -> Span {
        let slow = self.rng.below(100) < self.trouble;
        Span::from_millis(if slow { self.rng.below(6_000) } else { 20 + self.rng.below(300) })
    }

    fn goes_wrong(&mut self) -> bool {
        self.rng.below(100) < self.trouble
    }

    fn write(&mut self, fetch: &Fetch, key: Digest) -> RawAnswer {
        let number = self.written.len();
        let Self { written, effects, counts, keyless, .. } = self;
        if *keyless {
            written.remove(&key);
        }
        let answer = written.entry(key).or_insert_with(|| {
            *effects.entry((fetch.facts.session, fetch.step)).or_default() += 1;
            counts.effects += 1;
            format!("paid, receipt {number}")
        });
        good(answer.clone())
    }

    fn read(&mut self, node: usize, source: &str, at: Time) -> Result<RawAnswer, Fault> {
        if self.goes_wrong() {
            return match self.rng.below(4) {
                0 => Err(Fault::Unreachable),
                1 => Ok(RawAnswer { status: 503, ..good("later".into()) }),
                2 => Ok(good("x".repeat(4096))),
                _ => Ok(good("{ no number }".into())),
            };
        }
        let seconds = at.as_millis() / 1000;
        let dice = self.rng.below(100);
        Ok(good(match source {
            "price" => format!("{}.{dice}", 1000 + seconds % 7),
            // A page changes, and some caches are behind.
            "page" => format!("edition {}", seconds / 5 - u64::from(dice < 5)),
            "vote" => (if dice < 70 { "yes" } else { "no" }).into(),
            "list" => format!("item {node}"),
            "fields" => format!(
                "{{\"price\":{dice},\"name\":\"gold\",\"mood\":\"{}\",\"id\":{node}}}",
                if dice < 80 { "calm" } else { "wild" }
            ),
            "clean" => format!("same{dice}"),
            _ => format!("only {node} saw {dice}"),
        }))
    }
}

fn good(body: String) -> RawAnswer {
    let received = 100 + body.len() as u64;
    RawAnswer { status: 200, headers: Vec::new(), body: body.into_bytes(), received }
}
