//! PostgreSQL: one connection for each question, which reads and is gone.

use std::error::Error as StdError;
use std::pin::pin;

use bytes::BytesMut;
use futures_util::TryStreamExt as _;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Row};

use super::numeric;
use super::rows::{self, Rows, Value};
use super::{BadDatabase, Error, Query};

type Wrong = Box<dyn StdError + Sync + Send>;

/// Reads an address of PostgreSQL.
pub(super) fn parse(address: &str) -> Result<Config, BadDatabase> {
    let mut config: Config =
        address.parse().map_err(|error| BadDatabase::Address(detail(&error)))?;
    match config.get_ssl_mode() {
        SslMode::Disable => {}
        SslMode::Prefer => {
            if let Some(host) = config.get_hosts().iter().find_map(elsewhere) {
                return Err(BadDatabase::Open { host });
            }
            config.ssl_mode(SslMode::Disable);
        }
        _ => return Err(BadDatabase::Tls),
    }
    config.application_name("sessiond");
    Ok(config)
}

/// Returns the name of a host that is not this machine.
fn elsewhere(host: &Host) -> Option<String> {
    let Host::Tcp(name) = host else { return None };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse();
    let here = address.map_or(name == "localhost", |ip: std::net::IpAddr| ip.is_loopback());
    (!here).then(|| name.clone())
}

pub(super) async fn ask(config: &Config, query: Query<'_>) -> Result<Vec<u8>, Error> {
    let connected = config.connect(NoTls).await;
    let (mut client, connection) = connected.map_err(|error| Error::Unreachable(detail(&error)))?;
    // It ends when the client is dropped; what went wrong with it, the client is told.
    let running = tokio::spawn(connection);
    let answer = select(&mut client, &query).await;
    drop(client);
    running.abort();
    answer
}

async fn select(client: &mut Client, query: &Query<'_>) -> Result<Vec<u8>, Error> {
    let explain = |error: tokio_postgres::Error| explain(&error, query);
    let timeout = query.timeout.as_millis().max(1);
    let setup = format!(
        "SET default_transaction_read_only = on; SET statement_timeout = {timeout}; \
         SET lock_timeout = {timeout}; SET idle_in_transaction_session_timeout = {timeout}; \
         SET timezone = 'UTC'; SET standard_conforming_strings = on"
    );
    client.batch_execute(&setup).await.map_err(explain)?;
    let role = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let superuser = client.query_opt(role, &[]).await.map_err(explain)?;
    if superuser.is_some_and(|row| row.get(0)) {
        return Err(Error::Superuser);
    }
    let transaction = client.build_transaction().read_only(true).start().await.map_err(explain)?;
    let statement = transaction.prepare(query.statement).await.map_err(explain)?;
    let columns: Vec<&str> = statement.columns().iter().map(|column| column.name()).collect();
    let mut rows = Rows::new(&columns, query.bytes_max)?;
    let values: Vec<AsText<'_>> = query.values.iter().map(|value| AsText(value)).collect();
    let selected = transaction.query_raw(&statement, values.iter()).await.map_err(explain)?;
    let mut selected = pin!(selected);
    while let Some(row) = selected.try_next().await.map_err(explain)? {
        rows.push(read(&row)?)?;
    }
    rows.finish()
}

fn read(row: &Row) -> Result<Vec<Value>, Error> {
    let mut values = Vec::with_capacity(row.len());
    for (place, column) in row.columns().iter().enumerate() {
        let raw: Option<Raw<'_>> =
            row.try_get(place).map_err(|error| Error::Refused(detail(&error)))?;
        let read = raw.map_or(Some(Value::Null), |Raw(bytes)| value(column.type_(), bytes));
        values.push(read.ok_or_else(|| Error::Column {
            column: column.name().to_owned(),
            kind: column.type_().name().to_owned(),
        })?);
    }
    Ok(values)
}

/// Returns a value in the form of the wire; `None` if it has no one form as text.
fn value(kind: &Type, bytes: &[u8]) -> Option<Value> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok().map(Value::Text);
    Some(match *kind {
        Type::BOOL => Value::Bool(bytes == [1]),
        Type::INT2 => Value::Integer(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        Type::INT4 => Value::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        Type::OID => Value::Integer(u32::from_be_bytes(bytes.try_into().ok()?).into()),
        Type::INT8 => Value::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
        Type::FLOAT4 => {
            let number = f32::from_be_bytes(bytes.try_into().ok()?);
            // The shortest text of the small float, not of the large one that equals it.
            let large =
                if number.is_finite() { number.to_string().parse().ok()? } else { number.into() };
            Value::Text(rows::float(large))
        }
        Type::FLOAT8 => Value::Text(rows::float(f64::from_be_bytes(bytes.try_into().ok()?))),
        Type::NUMERIC => Value::Text(numeric::decimal(bytes)?),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON | Type::XML => {
            text(bytes)?
        }
        // A version comes before the text.
        Type::JSONB => match bytes.split_first()? {
            (1, rest) => text(rest)?,
            _ => return None,
        },
        Type::BYTEA => Value::Bytes(bytes.to_vec()),
        Type::UUID => Value::Text(numeric::uuid(bytes)?),
        Type::DATE => Value::Text(numeric::date(i32::from_be_bytes(bytes.try_into().ok()?))),
        Type::TIMESTAMP => {
            Value::Text(numeric::timestamp(i64::from_be_bytes(bytes.try_into().ok()?), ""))
        }
        Type::TIMESTAMPTZ => {
            Value::Text(numeric::timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "Z"))
        }
        ref kind if matches!(kind.kind(), tokio_postgres::types::Kind::Enum(_)) => text(bytes)?,
        _ => return None,
    })
}

/// A value as it is on the wire, of any type.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, bytes: &'a [u8]) -> Result<Self, Wrong> {
        Ok(Self(bytes))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A parameter that the server reads as text, whatever its type is there.
#[derive(Debug)]
struct AsText<'a>(&'a str);

impl ToSql for AsText<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Wrong> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

fn explain(error: &tokio_postgres::Error, query: &Query<'_>) -> Error {
    match error.code() {
        Some(&SqlState::QUERY_CANCELED | &SqlState::LOCK_NOT_AVAILABLE) => {
            Error::Timeout { limit: query.timeout }
        }
        Some(_) => Error::Refused(detail(error)),
        None if error.is_closed() => Error::Unreachable(detail(error)),
        None => Error::Refused(detail(error)),
    }
}

/// Returns an error with what is behind it: its own text alone says little.
fn detail(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
