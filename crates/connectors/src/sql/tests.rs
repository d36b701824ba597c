use std::time::Duration;

use session_protocol::workload::oracle::Fault;
use tempfile::TempDir;

use super::statement::{BadStatement, check};
use super::{Database, Error, Query, numeric, rows};

mod cluster;
mod postgres;

const QUICK: Duration = Duration::from_secs(10);

fn query<'a>(statement: &'a str, values: &'a [&'a str]) -> Query<'a> {
    Query { statement, values, timeout: QUICK, bytes_max: 32 * 1024 }
}

async fn text(database: &Database, query: Query<'_>) -> Result<String, Error> {
    let answer = database.ask(query).await?;
    assert_eq!((answer.status, answer.received), (200, answer.body.len() as u64));
    Ok(String::from_utf8(answer.body).unwrap())
}

#[test]
fn one_select_with_an_order_is_taken() {
    for (statement, given) in [
        ("SELECT a FROM t ORDER BY a", 0),
        ("  select a from t order by a desc limit 5 ; ", 0),
        ("WITH x AS (SELECT 1 AS a) SELECT a FROM x ORDER\n BY a", 0),
        ("SELECT a FROM t WHERE b = $1 AND c < $2 ORDER BY a", 2),
        ("SELECT 'DROP TABLE t; -- it''s a text' AS \"update\" FROM t ORDER BY 1", 0),
        ("SELECT a::text, substring(b FROM 1 FOR 2) FROM t ORDER BY a", 0),
        ("SELECT a FROM t UNION SELECT b FROM u ORDER BY a", 0),
        ("SELECT last_update, updated FROM t ORDER BY last_update", 0),
    ] {
        assert_eq!(check(statement, given), Ok(()), "{statement}");
    }
}

#[test]
fn everything_else_is_refused_by_name() {
    use BadStatement as Bad;
    let not = |word: &str| Bad::NotASelect { word: word.to_owned() };
    let writes = |word: &str| Bad::Writes { word: word.to_owned() };
    for (statement, given, why) in [
        ("", 0, Bad::Empty),
        (" \n", 0, Bad::Empty),
        ("DELETE FROM t", 0, not("DELETE")),
        ("(SELECT 1 ORDER BY 1)", 0, not("something else")),
        ("PRAGMA user_version", 0, not("PRAGMA")),
        ("SELECT 1 ORDER BY 1; DROP TABLE t", 0, Bad::Several),
        ("SELECT 1 ORDER BY 1;;", 0, Bad::Several),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x ORDER BY 1", 0, writes("DELETE")),
        ("SELECT a INTO u FROM t ORDER BY a", 0, writes("INTO")),
        ("SELECT a FROM t ORDER BY a FOR UPDATE", 0, writes("UPDATE")),
        ("SELECT a FROM t ORDER BY a FOR SHARE", 0, writes("FOR SHARE")),
        ("SELECT a FROM t ORDER BY a FOR KEY SHARE", 0, writes("FOR KEY")),
        ("SELECT a FROM t", 0, Bad::NoOrder),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a) x", 0, Bad::NoOrder),
        ("SELECT row_number() OVER (ORDER BY a) FROM t", 0, Bad::NoOrder),
        ("SELECT 'ORDER BY' FROM t", 0, Bad::NoOrder),
        ("SELECT a FROM t ORDER BY a UNION SELECT b FROM u", 0, Bad::NoOrder),
        ("SELECT 'a FROM t ORDER BY 1", 0, Bad::Unclosed { what: "a text in quotes" }),
        ("SELECT \"a FROM t ORDER BY 1", 0, Bad::Unclosed { what: "a name in quotes" }),
        ("SELECT (a FROM t ORDER BY 1", 0, Bad::Unclosed { what: "a parenthesis" }),
        (
            "SELECT a) FROM t ORDER BY 1",
            0,
            Bad::NotTaken { what: "a parenthesis that nothing opened" },
        ),
        ("SELECT a -- ORDER BY a", 0, Bad::NotTaken { what: "a comment" }),
        ("SELECT a /* x */ FROM t ORDER BY a", 0, Bad::NotTaken { what: "a comment" }),
        ("SELECT $x$;$x$ ORDER BY 1", 0, Bad::NotTaken { what: "a quote of dollars" }),
        ("SELECT $$;$$ ORDER BY 1", 0, Bad::NotTaken { what: "a quote of dollars" }),
        ("SELECT E'\\'' ORDER BY 1", 0, Bad::NotTaken { what: "a text with a prefix" }),
        ("SELECT U&'x' ORDER BY 1", 0, Bad::NotTaken { what: "a text with a prefix" }),
        ("SELECT `a` FROM t ORDER BY 1", 0, Bad::NotTaken { what: "a name in ` or [ ]: use \"" }),
        ("SELECT ? ORDER BY 1", 0, Bad::NotTaken { what: "a parameter other than $1, $2, …" }),
        ("SELECT :a ORDER BY 1", 0, Bad::NotTaken { what: "a parameter other than $1, $2, …" }),
        ("SELECT $1 ORDER BY 1", 0, Bad::Parameters { used: 1, given: 0 }),
        ("SELECT 1 ORDER BY 1", 1, Bad::Parameters { used: 0, given: 1 }),
        ("SELECT '$1' ORDER BY 1", 1, Bad::Parameters { used: 0, given: 1 }),
    ] {
        assert_eq!(check(statement, given), Err(why), "{statement}");
    }
}

#[test]
fn decimals_and_days_are_exact() {
    let decimal = |words: &[u16]| {
        numeric::decimal(&words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>())
    };
    let weight = |weight: i16| u16::from_be_bytes(weight.to_be_bytes());
    let good = |words: &[u16]| decimal(words).unwrap();
    assert_eq!(good(&[0, 0, 0, 0]), "0");
    assert_eq!(good(&[0, 0, 0, 2]), "0.00");
    assert_eq!(good(&[2, 1, 0x4000, 0, 1, 2345]), "-12345");
    assert_eq!(good(&[1, 2, 0, 0, 7]), "700000000");
    assert_eq!(good(&[2, 0, 0, 3, 1, 5000]), "1.500");
    assert_eq!(good(&[1, weight(-2), 0, 8, 42]), "0.00000042");
    assert_eq!(good(&[0, 0, 0xc000, 0]), "NaN");
    assert_eq!(good(&[0, 0, 0xf000, 0]), "-Infinity");
    for bad in [&[1_u16, 0, 0, 0][..], &[0, 0, 0], &[1, 0, 0, 0, 10_000], &[0, 0, 1, 0]] {
        assert_eq!(decimal(bad), None, "{bad:?}");
    }
    assert_eq!(numeric::decimal(&[0; 9]), None);
    for (days, text) in [
        (0, "2000-01-01"),
        (59, "2000-02-29"),
        (60, "2000-03-01"),
        (-1, "1999-12-31"),
        (-10_957, "1970-01-01"),
        (8826, "2024-03-01"),
        (36_583, "2100-02-28"),
        (36_584, "2100-03-01"),
        (i32::MAX, "infinity"),
    ] {
        assert_eq!(numeric::date(days), text);
    }
    assert_eq!(numeric::timestamp(-1, "Z"), "1999-12-31T23:59:59.999999Z");
    assert_eq!(numeric::timestamp(1_500_000, ""), "2000-01-01T00:00:01.5");
    assert_eq!(rows::float(0.1), "0.1");
    assert_eq!(rows::float(f64::NEG_INFINITY), "-Infinity");
}

#[test]
fn addresses_say_what_they_need() {
    let why = |address| Database::parse(address).unwrap_err().to_string();
    assert!(why("mysql://x").contains("must begin with"));
    assert!(why("postgresql://u@localhost/x?sslmode=require").contains("not supported"));
    assert!(why("postgresql://u@db.example.org/x").contains("db.example.org is not this machine"));
    assert!(why("postgresql://u@127.0.0.1:port/x").contains("not an address"));
    for good in [
        "postgresql://u:secret@127.0.0.1:5432/x",
        "postgresql://u@[::1]/x",
        "postgresql://u@%2Frun%2Fpostgresql/x",
        "postgresql://u@db.example.org/x?sslmode=disable",
        "sqlite:/data/x.db",
    ] {
        let database = Database::parse(good).unwrap();
        assert!(!format!("{database:?}").contains("secret"));
    }
}

struct File {
    dir: TempDir,
}

impl File {
    fn new() -> Self {
        let file = Self { dir: TempDir::new().unwrap() };
        let connection = rusqlite::Connection::open(file.path()).unwrap();
        let setup = "CREATE TABLE coins (name TEXT, price REAL, supply INTEGER, icon BLOB);
             INSERT INTO coins VALUES ('lux', 0.1, 9007199254740993, x'00ff'),
                 ('a\"b\n\u{1}', NULL, -1, NULL), ('zoo', 1e300, 7, x'');";
        connection.execute_batch(setup).unwrap();
        file
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("coins.db")
    }

    fn database(&self) -> Database {
        Database::parse(&format!("sqlite:{}", self.path().display())).unwrap()
    }
}

#[tokio::test]
async fn sqlite_gives_rows_in_order_and_exactly() {
    let file = File::new();
    let all = query("SELECT supply, name, price, icon FROM coins ORDER BY name", &[]);
    let large = format!("1{}", "0".repeat(300));
    assert_eq!(
        text(&file.database(), all).await.unwrap(),
        format!(
            "[{{\"supply\":-1,\"name\":\"a\\\"b\\n\\u0001\",\"price\":null,\"icon\":null}},\
             {{\"supply\":9007199254740993,\"name\":\"lux\",\"price\":\"0.1\",\"icon\":\"0x00ff\"}},\
             {{\"supply\":7,\"name\":\"zoo\",\"price\":\"{large}\",\"icon\":\"0x\"}}]"
        )
    );
    let some = "SELECT name FROM coins WHERE supply > $2 AND name <> $1 ORDER BY name";
    let answer = text(&file.database(), query(some, &["zoo' OR '1'='1", "6"])).await.unwrap();
    assert_eq!(answer, r#"[{"name":"lux"},{"name":"zoo"}]"#);
    let none = query("SELECT name FROM coins WHERE supply = 3 ORDER BY 1", &[]);
    assert_eq!(text(&file.database(), none).await.unwrap(), "[]");
}

#[tokio::test]
async fn sqlite_is_only_read_and_never_for_long() {
    let file = File::new();
    let database = file.database();
    let fault = async |query| {
        let error = text(&database, query).await.unwrap_err();
        (Fault::from(&error), error.to_string())
    };
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                   SELECT count(*) AS c FROM n ORDER BY c";
    let mut slow = query(endless, &[]);
    slow.timeout = Duration::from_millis(100);
    assert_eq!(fault(slow).await.0, Fault::Timeout);

    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001) \
                SELECT i FROM n ORDER BY 1";
    let mut rows = query(many, &[]);
    rows.bytes_max = 1 << 30;
    assert_eq!(fault(rows).await, (Fault::TooLarge, "the answer has more than 10000 rows".into()));
    let mut bytes = query("SELECT name FROM coins ORDER BY name", &[]);
    bytes.bytes_max = 10;
    assert_eq!(fault(bytes).await, (Fault::TooLarge, "the answer has more than 10 bytes".into()));

    let same = query("SELECT name, price AS name FROM coins ORDER BY 1", &[]);
    assert!(fault(same).await.1.contains("two columns are called name"));
    let unknown = fault(query("SELECT x FROM coins ORDER BY 1", &[])).await;
    assert_eq!(unknown.0, Fault::Malformed);
    assert!(unknown.1.contains("no such column"), "{}", unknown.1);
    let extension = fault(query("SELECT load_extension('x') ORDER BY 1", &[])).await;
    assert_eq!(extension.0, Fault::Malformed);
    let gone = Database::sqlite(&file.dir.path().join("gone.db"));
    let error = text(&gone, query("SELECT 1 AS a ORDER BY a", &[])).await.unwrap_err();
    assert_eq!(Fault::from(&error), Fault::Unreachable);
    assert!(!file.dir.path().join("gone.db").exists());
}
