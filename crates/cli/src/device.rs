//! `session device`: the devices of the account.

use serde_json::{Value, json};
use session_messaging::account::{self, OwnDevice};
use session_messaging::messenger::api::Command;
use session_sdk::NewAccount;

use crate::args::Device;
use crate::desk;
use crate::exit::{Failure, Result};
use crate::home::Home;
use crate::out::{self, Out};

pub(crate) async fn run(home: &Home, out: Out, command: &Device) -> Result<()> {
    match command {
        Device::List => list(home, out),
        Device::Request { account, device, plain } => {
            request(home, out, account.0, device, *plain).await
        }
        Device::Add { request, name } => add(home, out, request, name).await,
        Device::Revoke { device } => revoke(home, out, device).await,
    }
}

/// Returns a device as an object.
pub(crate) fn json(device: &OwnDevice) -> Value {
    json!({ "device": device.id.to_string(), "name": &*device.name, "here": device.here,
            "added_ms": device.added.as_millis() })
}

fn list(home: &Home, out: Out) -> Result<()> {
    let vault = desk::open_vault(home)?;
    for device in account::devices(&vault) {
        let here = if device.here { "  (this one)" } else { "" };
        out.result(
            || format!("{}  {}{here}", device.id, out::harmless(&device.name)),
            || json(&device),
        );
    }
    Ok(())
}

async fn request(
    home: &Home,
    out: Out,
    account: session_core::AccountId,
    device: &str,
    plain: bool,
) -> Result<()> {
    let new = NewAccount::Device { account, device: device.to_owned() };
    let session = crate::account::make(home, new, plain).await?;
    let linked = async {
        let request = session.device_request().await.map_err(desk::failure)?;
        out.result(
            || {
                format!(
                    "{request}\n\non a device that holds the keys of the account: \
                     session device add '{request}'\n… waiting; Ctrl-C stops, and 'session chat sync' \
                     waits again"
                )
            },
            || json!({ "request": request }),
        );
        tokio::select! {
            linked = session.linked() => linked.map_err(desk::failure)?,
            _ = tokio::signal::ctrl_c() => {
                return Err(Failure::failed("nobody has added this device yet"));
            }
        }
        // Its key packages must be there before others can let it into conversations.
        session.sync_until_idle().await.map_err(desk::failure)
    }
    .await;
    if linked.is_ok() {
        out.result(
            || "this device belongs to the account now".to_owned(),
            || json!({ "linked": true }),
        );
    }
    session.stop().await;
    linked
}

async fn add(home: &Home, out: Out, request: &str, name: &str) -> Result<()> {
    let request = desk::text(request)?.trim().to_owned();
    desk::with(home, async |session| {
        let command = Command::AddDevice { request, name: name.to_owned() };
        session.command(command).await.map_err(desk::failure)?;
        session.sync_until_idle().await.map_err(desk::failure)?;
        out.result(|| format!("added {name}"), || json!({ "added": name }));
        Ok(())
    })
    .await
}

async fn revoke(home: &Home, out: Out, start: &str) -> Result<()> {
    let start = start.to_lowercase();
    desk::with(home, async |session| {
        let devices = desk::view(session, account::devices).await?;
        let mut found = devices.iter().filter(|it| it.id.to_string().starts_with(&start));
        let device = match (found.next(), found.next()) {
            (Some(device), None) => device,
            (None, _) => return Err(Failure::not_found(format!("there is no device {start}"))),
            _ => return Err(Failure::usage(format!("there are several devices {start}"))),
        };
        let command = Command::RevokeDevice { device: device.id };
        session.command(command).await.map_err(desk::failure)?;
        session.sync_until_idle().await.map_err(desk::failure)?;
        out.result(
            || format!("{} is excluded; conversations draw new keys without it", device.id),
            || json!({ "revoked": device.id.to_string() }),
        );
        Ok(())
    })
    .await
}
