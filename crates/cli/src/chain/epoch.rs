//! Epochs, their beacons, and the swarms.

use serde_json::{Value, json};
use session_core::SwarmId;
use session_protocol::placement::{moved_between, moved_by_modulo};
use session_rpc::network_file::swarm_id;

use super::rpc::{Answer, Rpc};
use super::show::short;
use crate::exit::Result;
use crate::out::{Out, harmless, rows};

pub(super) async fn epoch(rpc: &Rpc, out: Out, number: Option<u64>) -> Result<()> {
    let params = number.map_or_else(|| json!({}), |number| json!({ "epoch": number }));
    let epoch = rpc.call("GetEpoch", params).await?;
    let phase = match epoch.maybe_text("phase")? {
        Some(phase) => format!(", {phase} quarter"),
        None => ", over".to_owned(),
    };
    let mut lines = rows(&[
        ("epoch", format!("{}{phase}", epoch.number("epoch")?)),
        ("time", format!("{} to {}", epoch.text("start")?, epoch.text("end")?)),
        ("beacon", format!("{}, {}", epoch.text("beacon")?, epoch.text("mode")?)),
        ("before", epoch.text("previousBeacon")?.to_owned()),
        ("randomness", epoch.text("randomness")?.to_owned()),
        ("attesters", attesters(&epoch)?),
        ("swarms", format!("the same since epoch {}", epoch.number("swarmsSince")?)),
    ]);
    if epoch.has("dealers") {
        lines.push_str(&dealers(&epoch)?);
    }
    out.result(|| harmless(&lines), || epoch.json());
    Ok(())
}

fn attesters(epoch: &Answer) -> Result<String> {
    let root = epoch.text("attestersRoot")?;
    match epoch.texts("attesters")?.len() {
        0 => Ok(format!("root {root}")),
        members => Ok(format!("{members}, root {root}")),
    }
}

/// The beacon of the next epoch, dealer by dealer.
fn dealers(epoch: &Answer) -> Result<String> {
    let dealers = epoch.list("dealers")?;
    let needed = epoch.number("acknowledgementsNeeded")?;
    let mut lines = format!(
        "\nthe beacon of the next epoch: {} dealers, {needed} acknowledgements make a dealing count\n\
         \u{20}\u{20}dealer            key  dealt  held by  acknowledged  revealed  shown",
        dealers.len()
    );
    let yes = |dealer: &Answer, field| dealer.flag(field).map(|yes| if yes { "yes" } else { "-" });
    for dealer in &dealers {
        lines.push_str(&format!(
            "\n  {}  {:<3}  {:<5}  {:<7}  {:<12}  {:<8}  {}",
            short(dealer, "nodeId")?,
            yes(dealer, "hasKey")?,
            yes(dealer, "dealt")?,
            dealer.number("acknowledgedBy")?,
            yes(dealer, "acknowledged")?,
            dealer.maybe_text("revealed")?.unwrap_or("-"),
            dealer.number("sharesShown")?,
        ));
    }
    Ok(lines)
}

pub(super) async fn swarms(rpc: &Rpc, out: Out) -> Result<()> {
    let answer = rpc.call("GetSwarms", json!({})).await?;
    let swarms = answer.list("swarms")?;
    let ids = swarms.iter().map(id).collect::<Result<Vec<_>>>()?;
    let moves = Moves::of(&ids);
    let mut lines = format!(
        "{} swarms since epoch {}, full with {} members",
        swarms.len(),
        answer.number("swarmsSince")?,
        answer.number("swarmSize")?
    );
    for swarm in &swarms {
        let members = swarm.list("members")?;
        lines.push_str(&format!(
            "\n{}  {} of all inboxes, {} members",
            swarm.text("swarmId")?,
            percent(swarm.number("sharePerMillion")?),
            members.len()
        ));
        for member in &members {
            let uptime = member.number("uptimeScore")?;
            lines.push_str(&format!(
                "\n  {}  {:<15}  since epoch {:<5}  up {:>3}.{:02} %  {}",
                short(member, "nodeId")?,
                member.text("status")?,
                member.number("since")?,
                uptime / 100,
                uptime % 100,
                member.text("endpoint")?,
            ));
        }
    }
    for former in answer.list("moved")? {
        lines.push_str(&format!(
            "\nat the last turn {} left {}",
            short(&former, "nodeId")?,
            former.text("swarmId")?
        ));
    }
    lines.push_str(&moves.text());
    out.result(
        || harmless(&lines),
        || {
            let mut object = answer.json();
            object["moves"] = moves.to_json();
            object
        },
    );
    Ok(())
}

fn id(swarm: &Answer) -> Result<SwarmId> {
    swarm_id(swarm.text("swarmId")?).ok_or_else(|| swarm.wrong(&"swarmId: it must be hex digits"))
}

/// What part of all inboxes moves when the swarms change by one, of a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    swarm: SwarmId,
    nearest: u64,
    /// With the seed's function, the place modulo the number of swarms.
    seed: u64,
}

/// The changes that move most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moves {
    /// When a swarm splits.
    added: Option<Move>,
    /// When one is taken away.
    removed: Option<Move>,
}

impl Moves {
    fn of(swarms: &[SwarmId]) -> Self {
        let change = |swarm, after: &[SwarmId]| Move {
            swarm,
            nearest: moved_between(swarms, after),
            seed: moved_by_modulo(swarms, after),
        };
        let added = swarms.iter().map(|swarm| {
            let new = beside(*swarm, swarms);
            change(new, &[swarms, &[new]].concat())
        });
        let removed = swarms.iter().filter(|_| swarms.len() > 1).map(|swarm| {
            let others = swarms.iter().copied().filter(|other| other != swarm);
            change(*swarm, &others.collect::<Vec<_>>())
        });
        Self {
            added: added.max_by_key(|moved| moved.nearest),
            removed: removed.max_by_key(|moved| moved.nearest),
        }
    }

    fn text(&self) -> String {
        let line = |what: &str, moved: Option<Move>| match moved {
            None => String::new(),
            Some(Move { swarm, nearest, seed }) => format!(
                "\n{what} ({swarm}) would move {} of all inboxes, with the seed's modulo {}",
                percent(nearest),
                percent(seed)
            ),
        };
        line("one swarm more", self.added) + &line("one swarm less", self.removed)
    }

    fn to_json(self) -> Value {
        let one = |moved: Option<Move>| {
            moved.map(|Move { swarm, nearest, seed }| {
                json!({ "swarmId": swarm.to_string(), "nearestPerMillion": nearest,
                        "seedPerMillion": seed })
            })
        };
        json!({ "added": one(self.added), "removed": one(self.removed) })
    }
}

fn percent(per_million: u64) -> String {
    format!("{}.{:02} %", per_million / 10_000, per_million % 10_000 / 100)
}

/// Returns where a swarm that splits puts the new one: in the middle of the wider gap beside it.
fn beside(swarm: SwarmId, swarms: &[SwarmId]) -> SwarmId {
    let others = || swarms.iter().filter(|other| **other != swarm);
    let after = others().map(|other| other.0.wrapping_sub(swarm.0)).min().unwrap_or(u64::MAX);
    let before = others().map(|other| swarm.0.wrapping_sub(other.0)).min().unwrap_or(u64::MAX);
    if after >= before {
        SwarmId(swarm.0.wrapping_add(after / 2))
    } else {
        SwarmId(swarm.0.wrapping_sub(before / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_moves_one_share_and_the_modulo_almost_everything() {
        let two = [SwarmId(0), SwarmId(1 << 63)];
        let Moves { added, removed } = Moves::of(&two);
        let (added, removed) = (added.unwrap(), removed.unwrap());
        // A third swarm in the middle of one half takes a quarter of the ring.
        assert!(added.nearest.abs_diff(250_000) < 2 && added.seed > 600_000, "{added:?}");
        assert!(removed.nearest.abs_diff(500_000) < 2, "{removed:?}");
        let alone = Moves::of(&two[..1]);
        assert!(alone.added.unwrap().nearest.abs_diff(500_000) < 2, "{alone:?}");
        assert_eq!((alone.removed, Moves::of(&[]).added), (None, None));
    }
}
