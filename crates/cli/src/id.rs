//! `session id`: make, show, back up.

use std::path::Path;

use serde_json::json;
use session_core::{Decode, Encode};
use session_crypto::{AccountRef, Identity, PublicIdentity};

use crate::args::Id;
use crate::exit::{Failure, Result};
use crate::home::{self, Home};
use crate::out::Out;

/// Says what a public key file is, before the keys in hex.
const PUBLIC_HEADER: &str = "lux-session public identity v1";

pub(crate) fn run(home: &Home, out: Out, command: &Id) -> Result<()> {
    match command {
        Id::New { plain, force } => new(home, out, *plain, *force),
        Id::Show => show(home, out),
        Id::Export { file, public, plain } => export(home, out, file, *public, *plain),
        Id::Import { file, plain, force } => import(home, out, file, *plain, *force),
    }
}

fn new(home: &Home, out: Out, plain: bool, force: bool) -> Result<()> {
    let identity = Identity::generate(&mut crate::person::entropy()?);
    home.save_identity(&identity, plain, force)?;
    print_identity(home, out, identity.public(), "new identity");
    Ok(())
}

fn show(home: &Home, out: Out) -> Result<()> {
    let identity = home.identity()?;
    if home::readable_by_others(&home.identity_path()) {
        out.warn(&format!("{} can be read by others: chmod 600", home.identity_path().display()));
    }
    print_identity(home, out, identity.public(), "identity");
    Ok(())
}

fn print_identity(home: &Home, out: Out, public: &PublicIdentity, what: &str) {
    let account = AccountRef(public.account_id());
    let path = home.identity_path();
    out.result(
        || format!("{account}\n{what} in {}; give the line above to others", path.display()),
        || {
            json!({
                "id": account.to_string(),
                "cb58": public.account_id().to_cb58(),
                "file": path,
            })
        },
    );
}

fn export(home: &Home, out: Out, file: &Path, public: bool, plain: bool) -> Result<()> {
    let identity = home.identity()?;
    let bytes = if public {
        let keys = hex::encode(identity.public().to_bytes());
        format!("{PUBLIC_HEADER}\n{keys}\n").into_bytes()
    } else {
        home.encode(&identity, plain)?
    };
    home::write_output(file, &bytes)?;
    if file != Path::new("-") {
        let what = if public { "public keys" } else { "identity, secret keys included," };
        out.result(
            || format!("{what} written to {}", file.display()),
            || json!({ "file": file, "public": public }),
        );
    }
    Ok(())
}

fn import(home: &Home, out: Out, file: &Path, plain: bool, force: bool) -> Result<()> {
    let bytes = home::read_input(file)?;
    if let Some(keys) = bytes.strip_prefix(PUBLIC_HEADER.as_bytes()) {
        let keys = public_keys(keys).map_err(|why| {
            Failure::usage(format!("{}: not a public identity: {why}", file.display()))
        })?;
        home.save_contact(&keys)?;
        let account = AccountRef(keys.account_id());
        out.result(
            || format!("{account}\npublic keys remembered; 'session send' uses them"),
            || json!({ "contact": account.to_string() }),
        );
        return Ok(());
    }
    let identity = home.decode(file, &bytes)?;
    home.save_identity(&identity, plain, force)?;
    print_identity(home, out, identity.public(), "identity imported");
    Ok(())
}

/// Returns what follows the first line of a public key file, or the whole of another text.
pub(crate) fn without_header(text: &str) -> &str {
    text.trim().strip_prefix(PUBLIC_HEADER).unwrap_or(text).trim()
}

fn public_keys(text: &[u8]) -> Result<PublicIdentity, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?.trim();
    let bytes = hex::decode(text).map_err(|error| error.to_string())?;
    PublicIdentity::decode_exact(&bytes).map_err(|error| error.to_string())
}
