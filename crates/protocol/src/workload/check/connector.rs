//! Rules of each connector.

use super::super::manifest::{Connector, Egress, EvmQuery, Header, HttpMethod};
use super::{Checked, Place, REDIRECTS_MAX, Wrong, host, name, range};

/// Headers that are the connector's own.
const OWN_HEADERS: [&str; 14] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "idempotency-key",
    "accept-encoding",
    "proxy-authorization",
    "proxy-connection",
    "cookie",
];

/// Returns the field in which a connector has its templates, for errors.
pub(super) const fn template_field(connector: &Connector) -> &'static str {
    match connector {
        Connector::Http { .. } | Connector::Evm { .. } => "url",
        Connector::Sql { .. } => "statement",
        Connector::ObjectGet { .. } | Connector::ObjectPut { .. } => "key",
        Connector::Message { .. } => "to",
    }
}

/// Returns whether this is the name of a header, in lower case.
pub(super) fn is_header(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.bytes().all(good)
}

pub(super) fn check(place: &Place<'_>, connector: &Connector) -> Checked {
    match connector {
        Connector::Http { method, url, headers, redirects } => {
            reach(place, url)?;
            check_headers(place, headers)?;
            if *redirects > 0 && *method != HttpMethod::Get {
                return place.senseless("redirects", "only those of a GET are followed");
            }
            range(&format!("{}.redirects", place.field), *redirects, 0, REDIRECTS_MAX)
        }
        Connector::Evm { url, query, .. } => {
            reach(place, url)?;
            evm(place, query)
        }
        Connector::Sql { database, statement, parameters } => {
            name(&format!("{}.database", place.field), database)?;
            let bad = parameters.iter().find(|parameter| !super::template::is_name(parameter));
            if let Some(bad) = bad {
                return Err(place.at("parameters", Wrong::Name { name: bad.to_string() }));
            }
            sql(place, statement, parameters.len())
        }
        Connector::ObjectGet { store, key } | Connector::ObjectPut { store, key, .. } => {
            name(&format!("{}.store", place.field), store)?;
            if key.is_empty() || key.starts_with('/') {
                return place.senseless("key", "it must not be empty or begin with /");
            }
            match connector {
                Connector::ObjectPut { content_type, .. } if !content_type.contains('/') => {
                    place.senseless("content_type", "it must be like text/plain")
                }
                _ => Ok(()),
            }
        }
        Connector::Message { to } if to.is_empty() => place.senseless("to", "it is empty"),
        Connector::Message { .. } => Ok(()),
    }
}

/// Checks that an address leads where the workload may reach.
fn reach(place: &Place<'_>, url: &str) -> Checked {
    let to = host::place(url).map_err(|wrong| place.at("url", wrong))?;
    let egress = &place.manifest.egress;
    let Some(host) = to.host else {
        if egress.is_empty() {
            return place.senseless("url", "its host is a parameter, and egress lists no host");
        }
        return Ok(());
    };
    let (host, port) = (host.to_owned(), to.port);
    let listed = egress.iter().find(|listed| *listed.host == host && listed.port == port);
    match listed {
        None => Err(place.at("url", Wrong::NotInEgress { host, port })),
        Some(Egress { plain: false, .. }) if to.plain => {
            Err(place.at("url", Wrong::Plain { host, port }))
        }
        Some(_) => Ok(()),
    }
}

fn check_headers(place: &Place<'_>, headers: &[Header]) -> Checked {
    let mut seen = std::collections::BTreeSet::new();
    for header in headers {
        if !is_header(&header.name) {
            return place.senseless("headers", "names of headers are in lower case");
        }
        if OWN_HEADERS.contains(&&*header.name) {
            return place.senseless("headers", "a header that the connector sets itself");
        }
        if !seen.insert(&header.name) {
            return Err(place.at("headers", Wrong::Twice { what: header.name.to_string() }));
        }
        if header.value.chars().any(char::is_control) {
            return place.senseless("headers", "a value holds a control character");
        }
    }
    Ok(())
}

fn evm(place: &Place<'_>, query: &EvmQuery) -> Checked {
    let good = |address: &str| {
        let digits = address.strip_prefix("0x").unwrap_or_default();
        let whole = digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        whole || address.contains('{')
    };
    const ADDRESS: &str = "an address of an account is 0x and 40 hex digits";
    match query {
        EvmQuery::Block => Ok(()),
        EvmQuery::Balance { address } if !good(address) => place.senseless("address", ADDRESS),
        EvmQuery::Balance { .. } => Ok(()),
        EvmQuery::Call { to, .. } if !good(to) => place.senseless("to", ADDRESS),
        EvmQuery::Call { function, .. } => {
            let lists = function.matches('(').count() >= 2 && function.ends_with(')');
            if lists {
                return Ok(());
            }
            place.senseless("function", "it must be like balanceOf(address)(uint256)")
        }
    }
}

/// What a database is asked is checked again by its connector, and by the role it has there.
fn sql(place: &Place<'_>, statement: &str, parameters: usize) -> Checked {
    let words = statement.to_ascii_lowercase();
    let mut words = words.split_ascii_whitespace();
    if !matches!(words.next(), Some("select" | "with")) {
        return place.senseless("statement", "only a SELECT reads");
    }
    if statement.contains(';') {
        return place.senseless("statement", "one statement, without ;");
    }
    let rest: Vec<&str> = words.collect();
    if !rest.windows(2).any(|pair| pair[0].ends_with("order") && pair[1] == "by") {
        return place.senseless("statement", "without ORDER BY members see rows in any order");
    }
    for part in statement.split('$').skip(1) {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        let known = digits.parse().is_ok_and(|number: usize| (1..=parameters).contains(&number));
        if !known {
            return place
                .senseless("statement", "a $ must be followed by the number of one of parameters");
        }
    }
    Ok(())
}
