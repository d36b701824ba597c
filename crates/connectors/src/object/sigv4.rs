//! Signatures of AWS, version 4: what proves to an object store who asks.

use aws_lc_rs::hmac;
use session_core::{Time, sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A moment as signatures write it: `20130524T000000Z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment(String);

impl Moment {
    pub(super) fn new(time: Time) -> Self {
        let seconds = time.as_millis() / 1000;
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        Self(format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z"))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    fn day(&self) -> &str {
        self.0.split('T').next().unwrap_or_default()
    }
}

/// Returns year, month and day of a day since 1970: years begin in March, so that the day that
/// some of them have more is their last.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

/// Who asks, and of what.
pub(super) struct Scope<'a> {
    pub(super) access_key: &'a str,
    pub(super) secret_key: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// What is signed of a request.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// Escaped as it is sent.
    pub(super) path: &'a str,
    /// Escaped, and its parameters in order.
    pub(super) query: &'a str,
    /// Names in lower case and ascending, `host` among them; values without blanks around them.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body, in hex.
    pub(super) body: &'a str,
}

impl Scope<'_> {
    /// Returns the value of the `Authorization` header.
    pub(super) fn sign(&self, request: &Signed<'_>, moment: &Moment) -> String {
        let Self { access_key, secret_key, region, service } = self;
        let day = moment.day();
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let (canonical, names) = request.canonical();
        let hash = hex::encode(sha256(canonical.as_bytes()));
        let text = format!("{ALGORITHM}\n{}\n{scope}\n{hash}", moment.text());
        let secret = zeroize::Zeroizing::new(format!("AWS4{secret_key}"));
        let mut key = mac(secret.as_bytes(), day);
        for part in [region, *service, "aws4_request"] {
            key = mac(key.as_ref(), part);
        }
        let signature = hex::encode(mac(key.as_ref(), &text));
        format!(
            "{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={names}, \
             Signature={signature}"
        )
    }
}

impl Signed<'_> {
    /// Returns the text that is hashed, and the names of the headers in it.
    fn canonical(&self) -> (String, String) {
        let Self { method, path, query, headers, body } = self;
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        (format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{body}"), names)
    }
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

#[cfg(test)]
mod tests;
