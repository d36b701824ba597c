//! SQLite: a file of the operator's, opened for reading only.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement};

use super::rows::{self, Rows, Value};
use super::{Error, Query};

/// Instructions between two looks at the clock.
const PROGRESS_EVERY: i32 = 1000;

/// What is asked, on its way to the thread that may wait.
struct Order {
    path: PathBuf,
    statement: String,
    values: Vec<String>,
    timeout: Duration,
    bytes_max: usize,
}

pub(super) async fn ask(path: &Path, query: Query<'_>) -> Result<Vec<u8>, Error> {
    let Query { statement, values, timeout, bytes_max } = query;
    let order = Order {
        path: path.to_owned(),
        statement: statement.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        timeout,
        bytes_max,
    };
    let asked = tokio::task::spawn_blocking(move || order.perform()).await;
    asked.unwrap_or_else(|_| Err(Error::Unreachable("the query's thread ended".to_owned())))
}

impl Order {
    #[allow(clippy::disallowed_methods)] // a stopwatch
    fn perform(&self) -> Result<Vec<u8>, Error> {
        let begun = Instant::now();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags)
            .map_err(|error| Error::Unreachable(error.to_string()))?;
        let limit = self.timeout;
        connection
            .busy_timeout(limit)
            .and_then(|()| connection.pragma_update(None, "query_only", true))
            .and_then(|()| connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0).map(drop))
            .and_then(|()| {
                let late = move || begun.elapsed() > limit;
                connection.progress_handler(PROGRESS_EVERY, Some(late)).map(drop)
            })
            .map_err(|error| Error::Unreachable(error.to_string()))?;
        self.select(&connection).map_err(|error| self.explain(error))?
    }

    /// The outer error is the database's, the inner one ours.
    fn select(&self, connection: &Connection) -> rusqlite::Result<Result<Vec<u8>, Error>> {
        let mut statement = connection.prepare(&self.statement)?;
        if !statement.readonly() {
            return Ok(Err(Error::Refused("it does not only read".to_owned())));
        }
        self.bind(&mut statement)?;
        let columns = statement.column_count();
        let names: Vec<&str> = statement.column_names().collect();
        let mut rows = match Rows::new(&names, self.bytes_max) {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(error)),
        };
        let mut selected = statement.raw_query();
        while let Some(row) = selected.next()? {
            let mut values = Vec::with_capacity(columns);
            for column in 0..columns {
                values.push(match value(row.get_ref(column)?) {
                    Ok(value) => value,
                    Err(error) => return Ok(Err(error)),
                });
            }
            if let Err(error) = rows.push(values) {
                return Ok(Err(error));
            }
        }
        Ok(rows.finish())
    }

    fn bind(&self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        for (place, value) in self.values.iter().enumerate() {
            if let Some(index) = statement.parameter_index(&format!("${}", place + 1))? {
                statement.raw_bind_parameter(index, value)?;
            }
        }
        Ok(())
    }

    fn explain(&self, error: rusqlite::Error) -> Error {
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted | ErrorCode::DatabaseBusy) => {
                Error::Timeout { limit: self.timeout }
            }
            Some(ErrorCode::CannotOpen | ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Error::Unreachable(error.to_string())
            }
            _ => Error::Refused(error.to_string()),
        }
    }
}

fn value(value: ValueRef<'_>) -> Result<Value, Error> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Text(rows::float(number)),
        ValueRef::Text(text) => Value::Text(
            String::from_utf8(text.to_vec())
                .map_err(|_| Error::Refused("a text is not UTF-8".to_owned()))?,
        ),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    })
}
