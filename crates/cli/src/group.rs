//! `session group`: make groups and look after them.

use serde_json::{Value, json};
use session_core::AccountId;
use session_crypto::AccountRef;
use session_messaging::group::{self, Role};
use session_messaging::messenger::api::{Answer, Command};
use session_messaging::say::{Disappear, GroupId, Peer, Standing};
use session_messaging::thread::{self, Summary};
use session_messaging::vault::Vault;
use session_sdk::Session;

use crate::args::{Group, RoleArg, Where};
use crate::chat::show;
use crate::desk::{self, Names};
use crate::exit::{Failure, Result};
use crate::home::Home;
use crate::out::{self, Out};

pub(crate) async fn run(home: &Home, out: Out, command: &Group) -> Result<()> {
    let change = match command {
        Group::Create { name, members, history } => {
            let members = members.iter().map(|it| it.0).collect();
            return create(home, out, name, members, *history).await;
        }
        Group::List => return list(home, out),
        Group::Accept { group } => {
            return decide(home, out, group, Standing::Accepted, "accepted").await;
        }
        Group::Decline { group } => {
            return decide(home, out, group, Standing::Blocked, "declined").await;
        }
        Group::Show { group } => return show_one(home, out, group),
        Group::Rotate { group } => return rotate(home, out, group).await,
        Group::Invite { group, accounts } => {
            let accounts = accounts.iter().map(|it| it.0).collect();
            (group, Change::Invite(accounts))
        }
        Group::Remove { group, account } => (group, Change::Remove(account.0)),
        Group::Leave { group } => (group, Change::Leave),
        Group::Rename { group, name } => (group, Change::Name(name.clone())),
        Group::Role { group, account, role } => {
            let role = match role {
                RoleArg::Member => Role::Member,
                RoleArg::Admin => Role::Admin,
            };
            (group, Change::Role(account.0, role))
        }
    };
    apply(home, out, change.0, change.1).await
}

/// What is changed about a group.
enum Change {
    Invite(Vec<AccountId>),
    Remove(AccountId),
    Leave,
    Name(String),
    Role(AccountId, Role),
}

impl Change {
    fn command(self, group: GroupId, own: AccountId) -> Command {
        match self {
            Self::Invite(accounts) => Command::Invite { group, accounts },
            Self::Remove(account) => Command::Remove { group, account },
            Self::Leave => Command::Remove { group, account: own },
            Self::Name(name) => {
                Command::ChangeGroup { group, name: Some(name), role: None, disappear: None }
            }
            Self::Role(account, role) => Command::ChangeGroup {
                group,
                name: None,
                role: Some((account, role)),
                disappear: None,
            },
        }
    }
}

async fn create(
    home: &Home,
    out: Out,
    name: &str,
    members: Vec<AccountId>,
    history: u16,
) -> Result<()> {
    desk::with(home, async |session| {
        let (group, thread, missing) = make(session, name, members, history).await?;
        session.sync_until_idle().await.map_err(desk::failure)?;
        for (account, why) in &missing {
            out.warn(&format!("{} is not in it: {why}", AccountRef(*account)));
        }
        let id = hex::encode(group.bytes);
        out.result(
            || format!("group:{id}\nmade; 'session chat send {} TEXT' talks to it", thread.number),
            || {
                let missing = missing.iter();
                let missing = missing.map(
                    |(who, why)| json!({ "account": AccountRef(*who).to_string(), "why": why }),
                );
                json!({ "group": id, "thread": thread.number,
                        "missing": missing.collect::<Vec<_>>() })
            },
        );
        Ok(())
    })
    .await
}

/// Makes a group; returns it, and who could not be added.
pub(crate) async fn make(
    session: &Session,
    name: &str,
    members: Vec<AccountId>,
    history: u16,
) -> Result<(GroupId, thread::ThreadId, Vec<(AccountId, String)>)> {
    let command = Command::CreateGroup { name: name.to_owned(), members, history };
    match session.command(command).await.map_err(desk::failure)? {
        Answer::Group { group, thread, missing } => Ok((group, thread, missing)),
        _ => Err(Failure::failed("the messenger answered something else than was asked")),
    }
}

/// Who is in a group, and what they agreed on.
pub(crate) struct Roster {
    pub(crate) name: String,
    pub(crate) epoch: u64,
    pub(crate) disappear: Disappear,
    pub(crate) members: Vec<(AccountId, Role)>,
}

/// Returns who is in a group; nothing unless this account is.
pub(crate) fn roster(vault: &dyn Vault, group: &GroupId) -> Option<Roster> {
    let agreed = group::agreed(vault, group)?;
    let (epoch, _) = group::epoch(vault, group)?;
    let members = group::members(vault, group);
    let own = session_messaging::account::account(vault)?;
    let (name, disappear) = (agreed.name.to_string(), agreed.disappear);
    let inside = members.iter().any(|(account, _)| *account == own);
    inside.then_some(Roster { name, epoch, disappear, members })
}

fn group_of(vault: &dyn Vault, wanted: &Where) -> Result<GroupId> {
    match desk::place(vault, wanted)?.peer {
        Peer::Group { group } => Ok(group),
        Peer::Account { .. } => Err(Failure::usage("that is a conversation of two, not a group")),
    }
}

async fn apply(home: &Home, out: Out, wanted: &Where, change: Change) -> Result<()> {
    desk::with(home, async |session| {
        let wanted = wanted.clone();
        let group = desk::view(session, move |vault| group_of(vault, &wanted)).await??;
        let command = change.command(group, session.account());
        session.command(command).await.map_err(desk::failure)?;
        session.sync_until_idle().await.map_err(desk::failure)?;
        let (names, roster) =
            desk::view(session, move |vault| (Names::load(vault), roster(vault, &group))).await?;
        print(out, group, None, roster, &names);
        Ok(())
    })
    .await
}

/// Accepts or declines a group.
async fn decide(
    home: &Home,
    out: Out,
    wanted: &Where,
    standing: Standing,
    done: &str,
) -> Result<()> {
    desk::with(home, async |session| {
        let wanted = wanted.clone();
        let group = desk::view(session, move |vault| group_of(vault, &wanted)).await??;
        let command = Command::SetGroup { group, standing };
        session.command(command).await.map_err(desk::failure)?;
        session.sync_until_idle().await.map_err(desk::failure)?;
        let id = hex::encode(group.bytes);
        out.result(
            || format!("group:{id} is {done}"),
            || json!({ "group": id, "standing": show::standing(standing) }),
        );
        Ok(())
    })
    .await
}

async fn rotate(home: &Home, out: Out, wanted: &Where) -> Result<()> {
    desk::with(home, async |session| {
        let wanted = wanted.clone();
        let peer = desk::view(session, move |vault| desk::place(vault, &wanted)).await??.peer;
        session.command(Command::Rotate { peer }).await.map_err(desk::failure)?;
        out.result(|| "new keys are in use".to_owned(), || json!({ "rotated": true }));
        Ok(())
    })
    .await
}

fn list(home: &Home, out: Out) -> Result<()> {
    let vault = desk::open_vault(home)?;
    let names = Names::load(&vault);
    let groups = thread::threads(&vault);
    let mut groups = groups.iter().filter(|it| matches!(it.peer, Peer::Group { .. })).peekable();
    if groups.peek().is_none() {
        out.remark("no groups yet: 'session group create NAME ID…' makes one");
    }
    for summary in groups {
        let Peer::Group { group } = summary.peer else { continue };
        out.result(
            || {
                let id = hex::encode(&group.bytes[..8]);
                let title = out::harmless(&show::title(summary, &names));
                format!(
                    "{:>3}  group:{id}  {title}  {} members",
                    summary.id.number, summary.members
                )
            },
            || show::summary_json(summary, &names),
        );
    }
    Ok(())
}

fn show_one(home: &Home, out: Out, wanted: &Where) -> Result<()> {
    let vault = desk::open_vault(home)?;
    let group = group_of(&vault, wanted)?;
    let thread = thread::thread_of(&vault, &Peer::Group { group });
    let summary = thread.and_then(|thread| thread::summary(&vault, thread));
    print(out, group, summary.as_ref(), roster(&vault, &group), &Names::load(&vault));
    Ok(())
}

fn print(
    out: Out,
    group: GroupId,
    summary: Option<&Summary>,
    roster: Option<Roster>,
    names: &Names,
) {
    let id = hex::encode(group.bytes);
    let Some(roster) = roster else {
        out.result(
            || format!("group:{id}\nyou are not in it"),
            || json!({ "group": id, "member": false }),
        );
        return;
    };
    out.result(
        || {
            let mut rows = vec![
                ("group", format!("group:{id}")),
                ("name", roster.name.clone()),
                ("epoch", roster.epoch.to_string()),
                ("disappear", show::disappear(roster.disappear)),
            ];
            for (account, role) in &roster.members {
                let id = AccountRef(*account);
                rows.push(("member", format!("{id} {} {}", show::role(*role), names.of(account))));
            }
            out::rows(&rows)
        },
        || {
            let members: Vec<Value> = roster
                .members
                .iter()
                .map(|(who, role)| {
                    json!({ "account": AccountRef(*who).to_string(), "role": show::role(*role) })
                })
                .collect();
            json!({ "group": id, "member": true, "thread": summary.map(|it| it.id.number),
                    "name": roster.name, "epoch": roster.epoch,
                    "disappear": show::disappear(roster.disappear), "members": members })
        },
    );
}
