//! Questions to the outside world, each in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use session_connectors::{Connectors, Request};
use session_daemon::Input;
use session_executor::Outcome;
use session_executor::facts::{Facts, Fetch, Purpose};
use session_protocol::Membership;
use session_protocol::workload::manifest::{Connector, Source};
use session_protocol::workload::oracle::{Fault, Observation, OracleCall, Pin, RawAnswer};
use session_protocol::workload::template::{Escape, render};
use tokio::sync::{Semaphore, mpsc};

use super::Done;
use super::courier::{Courier, Letter};
use super::runners::{Observers, Raw};

/// Questions under way at once.
const ASKED_MAX: usize = 512;

/// Asks the world.
pub(super) struct World {
    inside: Arc<Inside>,
    done: mpsc::Sender<Done>,
}

struct Inside {
    connectors: Connectors,
    courier: Courier,
    observers: Observers,
    turns: Semaphore,
}

impl World {
    pub(super) fn new(
        connectors: Connectors,
        courier: Courier,
        observers: Observers,
        done: mpsc::Sender<Done>,
    ) -> Self {
        let turns = Semaphore::new(ASKED_MAX);
        Self { inside: Arc::new(Inside { connectors, courier, observers, turns }), done }
    }

    /// Notes who the nodes are now.
    pub(super) fn membership(&self, membership: Arc<dyn Membership>) {
        self.inside.courier.membership(membership);
    }

    /// Begins to ask. The loop hears of the answer.
    pub(super) fn fetch(&self, fetch: Box<Fetch>) {
        let (inside, done) = (Arc::clone(&self.inside), self.done.clone());
        tokio::spawn(async move {
            let (session, request) = (fetch.facts.session, fetch.request);
            let outcome = inside.outcome(&fetch).await;
            let failed = is_failure(&outcome);
            let input = Input::Fetched { session, request, outcome };
            // Nobody is left to tell when the node stops.
            drop(done.send(Done { input, failed }).await);
        });
    }
}

fn is_failure(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Observed { observation, .. } => matches!(observation, Observation::Failed { .. }),
        Outcome::Pinned(pin) => pin.is_err(),
        Outcome::Confirmed(confirmed) => confirmed.is_err(),
    }
}

impl Inside {
    async fn outcome(&self, fetch: &Fetch) -> Outcome {
        // Never closed: without a turn nothing is asked.
        let Ok(_turn) = self.turns.acquire().await else {
            return observed(Observation::Failed { fault: Fault::NotSetUp }, 0);
        };
        let sources = &fetch.facts.workload.manifest.sources;
        let source = sources.get(usize::from(fetch.call.source));
        match (fetch.purpose, source) {
            (Purpose::Observe { pin }, Some(source)) => self.observe(fetch, source, pin).await,
            (Purpose::Write { key: _ }, Some(source)) => self.observe(fetch, source, None).await,
            (Purpose::Pin, Some(source)) => {
                Outcome::Pinned(self.connectors.pin(self.request(fetch, source, None)).await)
            }
            (Purpose::Confirm, Some(source)) => {
                Outcome::Confirmed(self.confirm(fetch, source).await)
            }
            // The manifest was checked against the call before.
            (Purpose::Pin, None) => Outcome::Pinned(Err(Fault::NotSetUp)),
            (Purpose::Confirm, None) => Outcome::Confirmed(Err(Fault::NotSetUp)),
            (_, None) => observed(Observation::Failed { fault: Fault::NotSetUp }, 0),
        }
    }

    async fn observe(&self, fetch: &Fetch, source: &Source, pin: Option<Pin>) -> Outcome {
        let answer = match &source.connector {
            Connector::Message { to } => self.send(fetch, source, to).await,
            _ => self.connectors.ask(self.request(fetch, source, pin)).await,
        };
        let received = answer.as_ref().map_or(0, |answer| answer.received);
        observed(self.see(&fetch.facts, source, answer).await, received)
    }

    async fn send(&self, fetch: &Fetch, source: &Source, to: &str) -> Result<RawAnswer, Fault> {
        let Purpose::Write { key } = fetch.purpose else { return Err(Fault::NotSetUp) };
        let to = render(to, &fetch.call.parameters, Escape::None).map_err(|_| Fault::Denied)?;
        let letter = Letter {
            chain: fetch.facts.chain,
            session: fetch.facts.session,
            step: fetch.step,
            workload: &fetch.facts.workload.manifest.name,
            to: &to,
            body: &fetch.call.body,
            key,
        };
        let limit = Duration::from_millis(source.timeout.as_millis());
        let sent = tokio::time::timeout(limit, self.courier.send(letter)).await;
        sent.unwrap_or(Err(Fault::Timeout))
    }

    /// Reads what was written, with the parameters of the write.
    async fn confirm(&self, fetch: &Fetch, source: &Source) -> Result<(), Fault> {
        let sources = &fetch.facts.workload.manifest.sources;
        let confirm = source.confirm.as_ref().ok_or(Fault::NotSetUp)?;
        let place = sources.iter().position(|source| source.name == confirm.source);
        let place = place.ok_or(Fault::NotSetUp)?;
        let reading = &sources[place];
        let call = OracleCall {
            source: u16::try_from(place).map_err(|_| Fault::NotSetUp)?,
            parameters: fetch.call.parameters.clone(),
            body: session_core::Blob::default(),
        };
        let request = Request { call: &call, ..self.request(fetch, reading, None) };
        let answer = self.connectors.ask(Request { write_key: None, ..request }).await;
        match self.see(&fetch.facts, reading, answer).await {
            Observation::Value { bytes } if !confirm.equals_body || bytes == fetch.call.body => {
                Ok(())
            }
            Observation::Value { .. } => Err(Fault::NotConfirmed),
            Observation::Failed { fault } => Err(fault),
        }
    }

    fn request<'a>(&self, fetch: &'a Fetch, source: &'a Source, pin: Option<Pin>) -> Request<'a> {
        let write_key = match fetch.purpose {
            Purpose::Write { key } => Some(key),
            _ => None,
        };
        Request {
            manifest: &fetch.facts.workload.manifest,
            source,
            call: &fetch.call,
            pin,
            write_key,
            bytes_left: fetch.bytes_left,
        }
    }

    async fn see(
        &self,
        facts: &Arc<Facts>,
        source: &Source,
        answer: Result<RawAnswer, Fault>,
    ) -> Observation {
        let raw = Raw { facts: Arc::clone(facts), source: source.clone(), answer };
        self.observers.observe(raw).await
    }
}

const fn observed(observation: Observation, received: u64) -> Outcome {
    Outcome::Observed { observation, received }
}
