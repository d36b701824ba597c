//! `session backup`: contacts and messages in one encrypted file.
//!
//! The file is how the passphrase becomes a key, then what [`backup::export`] writes under it.

use std::path::Path;

use serde_json::json;
use session_core::{Decode, Domain, Encode};
use session_crypto::SymmetricKey;
use session_crypto::passphrase::Stretch;
use session_messaging::backup;

use crate::args::Backup;
use crate::desk;
use crate::exit::{Failure, Result};
use crate::home::{self, Home};
use crate::out::Out;
use crate::person;

/// A backup of a million messages fits.
const BYTES_MAX: u64 = 4 << 30;

pub(crate) fn run(home: &Home, out: Out, command: &Backup) -> Result<()> {
    match command {
        Backup::Export { file } => export(home, out, file),
        Backup::Import { file } => import(home, out, file),
    }
}

fn export(home: &Home, out: Out, file: &Path) -> Result<()> {
    let vault = desk::open_vault(home)?;
    let mut rng = person::entropy()?;
    let stretch = Stretch::generate(&mut rng);
    let key = key(&stretch, &home.new_passphrase()?)?;
    let mut bytes = stretch.to_bytes();
    bytes.extend(backup::export(&vault, &key, &mut rng, person::now()));
    home::write_output(file, &bytes)?;
    if file != Path::new("-") {
        out.result(
            || {
                format!(
                    "{} bytes written to {}: contacts and messages, not the account itself, which is \
                     in its 24 words",
                    bytes.len(),
                    file.display()
                )
            },
            || json!({ "file": file, "bytes": bytes.len() }),
        );
    }
    Ok(())
}

fn import(home: &Home, out: Out, file: &Path) -> Result<()> {
    let mut vault = desk::open_vault(home)?;
    let bytes = home::read_input_up_to(file, BYTES_MAX)?;
    let (head, rest) = bytes
        .split_at_checked(Stretch::SIZE)
        .ok_or_else(|| Failure::refused(format!("{}: not a backup", file.display())))?;
    let stretch = Stretch::decode_exact(head)
        .map_err(|error| Failure::refused(format!("{}: not a backup: {error}", file.display())))?;
    let key = key(&stretch, &home.passphrase("passphrase of the backup")?)?;
    vault.begin().map_err(Failure::failed)?;
    let report = match backup::import(&mut vault, &key, person::now(), rest) {
        Ok(report) => report,
        Err(error) => {
            vault.rollback();
            return Err(Failure::refused(format!("{}: {error}", file.display())));
        }
    };
    vault.commit().map_err(Failure::failed)?;
    out.result(
        || {
            format!(
                "taken back: {} messages in {} new conversations, {} other entries; {} messages were \
                 here already, {} stay deleted",
                report.messages, report.threads, report.rows, report.known, report.gone
            )
        },
        || {
            json!({ "messages": report.messages, "threads": report.threads, "rows": report.rows,
                    "known": report.known, "gone": report.gone,
                    "made_at_ms": report.made_at.as_millis() })
        },
    );
    Ok(())
}

fn key(stretch: &Stretch, passphrase: &str) -> Result<SymmetricKey> {
    stretch.key(Domain::Backup, passphrase.as_bytes()).map_err(Failure::usage)
}
