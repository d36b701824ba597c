//! `session contact`: whom one knows.

use serde_json::{Value, json};
use session_core::AccountId;
use session_crypto::AccountRef;
use session_messaging::account::{self, Contact as Known};
use session_messaging::messenger::Messenger;
use session_messaging::messenger::api::{Answer, Command};
use session_messaging::safety;
use session_messaging::say::{DeviceId, Peer, Standing};
use session_protocol::manifest::{Manifest, SignedManifest};
use session_runtime::http::client::Endpoint;
use session_sdk::Session;

use crate::anchored::{self, Anchored};
use crate::args::Contact;
use crate::chat::show;
use crate::desk;
use crate::exit::{Code, Failure, Result};
use crate::home::Home;
use crate::local_chain;
use crate::out::{self, Out};

pub(crate) async fn run(home: &Home, out: Out, command: &Contact) -> Result<()> {
    match command {
        Contact::List { requests } => list(home, out, *requests),
        Contact::Show { account } => show_one(home, out, account.0).await,
        Contact::Add { account, name } => {
            desk::with(home, async |session| {
                compared(home, out, session, account.0).await?;
                set(session, account.0, Standing::Accepted, name.clone(), None).await?;
                report(session, out, account.0).await
            })
            .await
        }
        Contact::Accept { account } => stand(home, out, account.0, Standing::Accepted).await,
        Contact::Block { account } => stand(home, out, account.0, Standing::Blocked).await,
        Contact::Unblock { account } => stand(home, out, account.0, Standing::Accepted).await,
        Contact::Name { account, name } => {
            desk::with(home, async |session| {
                let standing = standing(session, account.0).await?;
                set(session, account.0, standing, Some(name.clone()), None).await?;
                report(session, out, account.0).await
            })
            .await
        }
        Contact::Verify { account, number, not } => {
            verify(home, out, account.0, number.as_deref(), *not).await
        }
        Contact::Safety { account } => {
            desk::with(home, async |session| {
                let (number, ..) = compared(home, out, session, account.0).await?;
                print_number(out, account.0, &number);
                Ok(())
            })
            .await
        }
    }
}

fn list(home: &Home, out: Out, requests: bool) -> Result<()> {
    let vault = desk::open_vault(home)?;
    let wanted = |it: &Known| !requests || it.standing == Standing::Stranger;
    let contacts: Vec<_> = account::contacts(&vault).into_iter().filter(wanted).collect();
    if contacts.is_empty() {
        out.remark(if requests { "no requests" } else { "no contacts yet" });
    }
    contacts.iter().for_each(|it| print(out, it));
    Ok(())
}

fn print(out: Out, it: &Known) {
    let id = AccountRef(it.account).to_string();
    let verified = if it.is_verified() { "  verified" } else { "" };
    out.result(
        || format!("{id}  {}{verified}  {}", show::standing(it.standing), out::one_line(&it.name)),
        || json(it),
    );
}

/// Returns a contact as an object.
pub(crate) fn json(it: &Known) -> Value {
    json!({ "account": AccountRef(it.account).to_string(), "name": &*it.name,
            "standing": show::standing(it.standing), "verified": it.is_verified() })
}

async fn standing(session: &Session, account: AccountId) -> Result<Standing> {
    let found = desk::view(session, move |vault| account::contact(vault, &account)).await?;
    found.map(|it| it.standing).ok_or_else(|| {
        Failure::not_found("nobody of this id is known: 'session contact add' adds somebody")
    })
}

async fn stand(home: &Home, out: Out, account: AccountId, standing: Standing) -> Result<()> {
    desk::with(home, async |session| {
        set(session, account, standing, None, None).await?;
        session.sync_until_idle().await.map_err(desk::failure)?;
        report(session, out, account).await
    })
    .await
}

/// Decides about an account.
pub(crate) async fn set(
    session: &Session,
    account: AccountId,
    standing: Standing,
    name: Option<String>,
    verified: Option<bool>,
) -> Result<()> {
    let command = Command::SetContact { account, standing, name, verified };
    session.command(command).await.map(drop).map_err(desk::failure)
}

async fn report(session: &Session, out: Out, account: AccountId) -> Result<()> {
    let found = desk::view(session, move |vault| account::contact(vault, &account)).await?;
    found.iter().for_each(|it| print(out, it));
    Ok(())
}

/// Fetches what an account publishes; returns the safety number and the newest manifest.
pub(crate) async fn look_up(
    session: &Session,
    account: AccountId,
) -> Result<(String, Box<SignedManifest>)> {
    match session.command(Command::LookUp { account }).await.map_err(desk::failure)? {
        Answer::Account { safety_number, manifest } => Ok((safety_number, manifest)),
        _ => Err(Failure::failed("the messenger answered something else than was asked")),
    }
}

/// As [`look_up`], compared with the chain where one is known. What the chain contradicts is not
/// taken for the account's.
async fn compared(
    home: &Home,
    out: Out,
    session: &Session,
    account: AccountId,
) -> Result<(String, Box<SignedManifest>, Option<Anchored>)> {
    let (number, manifest) = look_up(session, account).await?;
    let shown = std::slice::from_ref(&*manifest);
    let anchored = anchored::compare(home, out, &account, shown).await;
    match anchored.filter(Anchored::is_bad) {
        Some(bad) => Err(Failure::refused(bad.sentence())),
        None => Ok((number, manifest, anchored)),
    }
}

/// As [`first_words`], with the chain that this home knows.
pub(crate) async fn compare_first(
    home: &Home,
    out: Out,
    session: &Session,
    peer: Peer,
) -> Result<()> {
    let warning = first_words(local_chain::known(home)?, session, peer).await?;
    warning.iter().for_each(|warning| out.warn(warning));
    Ok(())
}

/// As [`compared`], before the first words to an account where a chain is known: once there is a
/// conversation, its keys say who it is. Who cannot be reached now is written to without, and so is
/// whom the chain could not be asked about: that is returned as a warning.
pub(crate) async fn first_words(
    chain: Option<Endpoint>,
    session: &Session,
    peer: Peer,
) -> Result<Option<String>> {
    let (Peer::Account { account }, Some(chain)) = (peer, chain) else { return Ok(None) };
    if desk::view(session, move |vault| Messenger::talks_with(vault, &peer)).await? {
        return Ok(None);
    }
    let manifest = match look_up(session, account).await {
        Ok((_, manifest)) => manifest,
        Err(failure) if failure.code == Code::Network => {
            return Ok(Some(anchored::not_compared(&failure)));
        }
        Err(failure) => return Err(failure),
    };
    let shown = std::slice::from_ref(&*manifest);
    match anchored::compare_with(chain, &account, shown).await {
        Ok(bad) if bad.is_bad() => Err(Failure::refused(bad.sentence())),
        Ok(_) => Ok(None),
        Err(failure) => Ok(Some(anchored::not_compared(&failure))),
    }
}

/// Returns the classical account that a manifest is linked with; both keys have signed that.
pub(crate) fn legacy(manifest: &Manifest) -> Option<String> {
    Some(manifest.legacy.as_ref()?.id()?.to_string())
}

async fn show_one(home: &Home, out: Out, account: AccountId) -> Result<()> {
    desk::with(home, async |session| {
        let (number, manifest, anchored) = compared(home, out, session, account).await?;
        let known = desk::view(session, move |vault| account::contact(vault, &account)).await?;
        let (digest, manifest) = (manifest.digest().to_string(), &manifest.manifest);
        let legacy = legacy(manifest);
        let devices = manifest.devices.iter();
        let devices: Vec<(String, String)> =
            devices.map(|it| (DeviceId(it.id).to_string(), it.name.to_string())).collect();
        let id = AccountRef(account).to_string();
        out.result(
            || {
                let name = known.as_ref().map(|it| it.name.to_string()).unwrap_or_default();
                let standing =
                    known.as_ref().map_or("not a contact", |it| show::standing(it.standing));
                let verified = known.as_ref().is_some_and(Known::is_verified);
                let safety = if verified { "compared" } else { "not compared" };
                let mut rows = vec![
                    ("account", id.clone()),
                    ("name", name),
                    ("standing", standing.to_owned()),
                    ("safety number", safety.to_owned()),
                    ("manifest", format!("number {} {digest}", manifest.seq)),
                    ("chain", anchored.map(|it| it.sentence()).unwrap_or_default()),
                    ("linked 05", legacy.clone().unwrap_or_default()),
                ];
                rows.extend(devices.iter().map(|(id, name)| ("device", format!("{id} {name}"))));
                out::rows(&rows)
            },
            || {
                let devices =
                    devices.iter().map(|(id, name)| json!({ "device": id, "name": name }));
                json!({ "account": id, "contact": known.as_ref().map(json),
                        "safety_number": digits(&number), "manifest_seq": manifest.seq,
                        "manifest": digest, "anchor": anchored.map(|it| it.json()),
                        "legacy": legacy, "devices": devices.collect::<Vec<_>>() })
            },
        );
        Ok(())
    })
    .await
}

fn print_number(out: Out, account: AccountId, number: &str) {
    let digits = digits(number);
    out.result(
        || {
            let groups = safety::in_groups(&digits);
            let groups: Vec<&str> = groups.split(' ').collect();
            let rows: Vec<String> = groups.chunks(4).map(|row| row.join(" ")).collect();
            format!(
                "{}\n\nif the other sees the same number, nobody is in between: compare it in person \
                 or on the telephone, then 'session contact verify {}'",
                rows.join("\n"),
                AccountRef(account)
            )
        },
        || json!({ "account": AccountRef(account).to_string(), "safety_number": digits }),
    );
}

fn digits(number: &str) -> String {
    number.chars().filter(char::is_ascii_digit).collect()
}

async fn verify(
    home: &Home,
    out: Out,
    account: AccountId,
    number: Option<&str>,
    not: bool,
) -> Result<()> {
    desk::with(home, async |session| {
        let standing = standing(session, account).await?;
        if !not {
            let (own, ..) = compared(home, out, session, account).await?;
            if number.is_some_and(|number| digits(number) != digits(&own)) {
                return Err(Failure::refused(format!(
                    "that is not the number that is shown here, which is {}: somebody may be in \
                     between",
                    safety::in_groups(&digits(&own))
                )));
            }
        }
        set(session, account, standing, None, Some(!not)).await?;
        report(session, out, account).await
    })
    .await
}
