//! An epoch, and the beacon of the next one as far as it is.

use serde_json::Value;
use session_core::{Epoch, NodeId, Time};
use session_protocol::beacon::acknowledgements;
use session_protocol::chain::transaction::bit;
use session_protocol::chain::view::BeaconMode;
use session_protocol::roster::Roster;
use session_protocol::schedule::{Phase, Schedule};
use session_rpc::vm::ErrorCode;
use session_rpc::vm::api;
use session_rpc::vm::result::{self, EpochPhase, Revealing, Shape as _};
use session_vm::query;
use session_vm::records::{
    Acknowledgements, Ballots, BeaconKeys, Dealers, Dealings, EpochRecord, Only, Params,
    PastEpochs, Reveals, ShownShares,
};
use session_vm::state::State;

use super::Answer;
use crate::http::App;

pub(super) fn epoch(app: &App, call: &api::GetEpoch) -> Answer {
    let chain = app.engine().chain();
    let state = chain.state();
    let now = app.engine().now().max(chain.last_accepted().time);
    let current = query::epoch(state);
    let wanted = call.epoch.map_or(current.number, Epoch);
    if wanted == current.number {
        return Ok(current_reply(state, &current, now));
    }
    let past = query::get::<PastEpochs>(state, &wanted);
    let past = past.ok_or_else(|| ErrorCode::UnknownEpoch.error())?;
    Ok(reply(&past, &query::params(state)).to_json())
}

fn reply(epoch: &EpochRecord, params: &Params) -> result::EpochReply {
    let schedule = Schedule { start: epoch.start, length: params.epoch };
    result::EpochReply {
        epoch: epoch.number,
        start: epoch.start,
        end: schedule.end(),
        phases: Phase::ALL.map(|phase| schedule.begin(phase).as_millis()).to_vec(),
        randomness: epoch.randomness,
        beacon: epoch.beacon,
        previous_beacon: epoch.previous_beacon,
        mode: mode(epoch.mode),
        attesters_root: epoch.attesters,
        swarms_since: epoch.swarms_since,
        phase: None,
        attesters: None,
        dealers: None,
        acknowledgements_needed: None,
        ballots: None,
        nodes: None,
        swarms: None,
        stake: None,
        supply: None,
        treasury: None,
    }
}

fn current_reply(state: &State, epoch: &EpochRecord, now: Time) -> Value {
    let params = query::params(state);
    let seats: Vec<_> = query::active_nodes(state).collect();
    let swarms: std::collections::BTreeSet<_> = seats.iter().map(|(swarm, _)| *swarm).collect();
    let stake = seats.iter().filter_map(|(_, id)| query::node(state, id));
    let examiners = usize::from(params.duties.examiners);
    let roster = Roster::new(&epoch.randomness, epoch.number, &seats, examiners);
    let dealers = dealers(state, Epoch(epoch.number.0 + 1));
    let schedule = Schedule { start: epoch.start, length: params.epoch };
    result::EpochReply {
        phase: Some(phase(schedule.phase(now))),
        attesters: Some(roster.attesters()),
        acknowledgements_needed: Some(acknowledgements(dealers.len()) as u64),
        dealers: Some(dealers),
        ballots: Some(query::entries::<Ballots>(state).count() as u64),
        nodes: Some(seats.len() as u64),
        swarms: Some(swarms.len() as u64),
        stake: Some(stake.map(|(_, node)| node.stake.0).fold(0, u64::saturating_add)),
        supply: Some(query::supply(state).0),
        treasury: Some(query::treasury(state).0),
        ..reply(epoch, &params)
    }
    .to_json()
}

fn dealers(state: &State, next: Epoch) -> Vec<result::Dealer> {
    let list = query::get::<Dealers>(state, &Only {}).unwrap_or_default().dealers;
    let acknowledged: Vec<_> = query::entries::<Acknowledgements>(state).collect();
    let shown: Vec<_> = query::entries::<ShownShares>(state).map(|(at, _)| at.dealer).collect();
    let places = (0_u16..).zip(list.iter());
    let dealer = |(place, node): (u16, &NodeId)| {
        let keys = query::get::<BeaconKeys>(state, node).unwrap_or_default();
        let holders = acknowledged.iter().filter(|(_, dealings)| bit(dealings, place.into()));
        let revealed = query::get::<Reveals>(state, &place);
        let good = |contribution: Option<_>| match contribution {
            Some(_) => Revealing::Good,
            None => Revealing::Bad,
        };
        result::Dealer {
            node: *node,
            has_key: keys.at(next).is_some(),
            dealt: query::get::<Dealings>(state, &place).is_some(),
            acknowledged_by: holders.count() as u64,
            acknowledged: acknowledged.iter().any(|(holder, _)| *holder == place),
            revealed: revealed.map(|revealed| good(revealed.contribution)),
            shares_shown: shown.iter().filter(|dealer| **dealer == place).count() as u64,
        }
    };
    places.map(dealer).collect()
}

pub(crate) const fn mode(mode: BeaconMode) -> result::BeaconMode {
    match mode {
        BeaconMode::Shared => result::BeaconMode::Shared,
        BeaconMode::Revealed => result::BeaconMode::Revealed,
        BeaconMode::Degraded => result::BeaconMode::Degraded,
        BeaconMode::Genesis => result::BeaconMode::Genesis,
    }
}

pub(crate) const fn phase(phase: Phase) -> EpochPhase {
    match phase {
        Phase::Deal => EpochPhase::Deal,
        Phase::Ack => EpochPhase::Ack,
        Phase::Reveal => EpochPhase::Reveal,
        Phase::Recover => EpochPhase::Recover,
    }
}
