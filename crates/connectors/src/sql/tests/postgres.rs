use std::time::Duration;

use session_protocol::workload::oracle::Fault;

use super::cluster::Cluster;
use super::{Database, query, text};

const SETUP: &str = "
    CREATE TABLE trades (id int8, price numeric, at timestamptz, day date, coin text, raw bytea,
        big bool, ratio float8, small float4, body jsonb, who uuid, tags text[]);
    INSERT INTO trades VALUES
        (1, 12345678901234567890.123456789012345678, '2024-02-29 12:00:00.25+02', '2024-02-29',
         'it''s', '\\x00ff', true, 0.1, 0.1, '{\"b\": 1, \"a\": 1.10}',
         '00112233-4455-6677-8899-aabbccddeeff', '{a}'),
        (2, -0.00000042, '-infinity', '1999-12-31', 'b\\', '', false, 'NaN', 1e10, 'null', NULL, NULL),
        (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    CREATE SEQUENCE counter;
    CREATE ROLE reader LOGIN;
    CREATE ROLE writer LOGIN;
    GRANT SELECT ON trades TO reader;
    GRANT ALL ON trades, counter TO writer;
    CREATE FUNCTION sneak() RETURNS int LANGUAGE plpgsql AS
        $$ BEGIN DELETE FROM trades; RETURN 1; END $$;
    CREATE FUNCTION escape() RETURNS int LANGUAGE plpgsql AS
        $$ BEGIN SET transaction_read_only = off; DELETE FROM trades; RETURN 1; END $$;
";

// One cluster: starting it takes longer than everything that is asked of it.
#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_read_exactly_and_only_read() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.order(SETUP);
    let reader = Database::parse(&cluster.address("reader")).unwrap();
    rows_are_exact(&reader).await;
    parameters_are_bound(&reader).await;
    limits_hold(&reader).await;
    what_has_no_one_text_is_named(&reader).await;
    nothing_is_written(&cluster).await;
    who_may_do_everything_is_refused(&cluster).await;
}

async fn rows_are_exact(reader: &Database) {
    let columns = "id, price, at, day, coin, raw, big, ratio, small, body, who";
    let statement = format!("SELECT {columns} FROM trades ORDER BY id DESC");
    let nothing = "null,";
    assert_eq!(
        text(reader, query(&statement, &[])).await.unwrap(),
        format!(
            "[{{\"id\":3,\"price\":{nothing}\"at\":{nothing}\"day\":{nothing}\"coin\":{nothing}\
             \"raw\":{nothing}\"big\":{nothing}\"ratio\":{nothing}\"small\":{nothing}\
             \"body\":{nothing}\"who\":null}},\
             {{\"id\":2,\"price\":\"-0.00000042\",\"at\":\"-infinity\",\"day\":\"1999-12-31\",\
             \"coin\":\"b\\\\\",\"raw\":\"0x\",\"big\":false,\"ratio\":\"NaN\",\
             \"small\":\"10000000000\",\"body\":\"null\",\"who\":null}},\
             {{\"id\":1,\"price\":\"12345678901234567890.123456789012345678\",\
             \"at\":\"2024-02-29T10:00:00.25Z\",\"day\":\"2024-02-29\",\"coin\":\"it's\",\
             \"raw\":\"0x00ff\",\"big\":true,\"ratio\":\"0.1\",\"small\":\"0.1\",\
             \"body\":\"{{\\\"a\\\": 1.10, \\\"b\\\": 1}}\",\
             \"who\":\"00112233-4455-6677-8899-aabbccddeeff\"}}]"
        )
    );
    // What our decoder makes of numbers is what the database itself makes of them.
    let both = "SELECT n, n::text AS t FROM (VALUES (0.0), (1e20), (-99999999.00010000), (1e-12), \
                (10000.0001), (0.1000)) AS v(n) ORDER BY n";
    let rows: serde_json::Value =
        serde_json::from_str(&text(reader, query(both, &[])).await.unwrap()).unwrap();
    for row in rows.as_array().unwrap() {
        assert_eq!(row["n"], row["t"]);
    }
}

async fn parameters_are_bound(reader: &Database) {
    let statement = "SELECT id FROM trades WHERE id > $1 AND coin <> $2 AND price < $3 ORDER BY id";
    let values = ["1", "x'; DROP TABLE trades; --", "1.5"];
    assert_eq!(text(reader, query(statement, &values)).await.unwrap(), r#"[{"id":2}]"#);
    let wrong = text(reader, query(statement, &["one", "", "1"])).await.unwrap_err();
    assert_eq!(Fault::from(&wrong), Fault::Malformed, "{wrong}");
    assert!(wrong.to_string().contains("invalid input syntax"), "{wrong}");
}

async fn limits_hold(reader: &Database) {
    let mut slow = query("SELECT pg_sleep(30)::text AS s ORDER BY s", &[]);
    slow.timeout = Duration::from_millis(200);
    let late = text(reader, slow).await.unwrap_err();
    assert_eq!(Fault::from(&late), Fault::Timeout, "{late}");
    let series = "SELECT n FROM generate_series(1, 10001) AS g(n) ORDER BY n";
    let mut rows = query(series, &[]);
    rows.bytes_max = 1 << 20;
    let many = text(reader, rows).await.unwrap_err();
    assert_eq!(many.to_string(), "the answer has more than 10000 rows");
    let large = text(reader, query(series, &[])).await.unwrap_err();
    assert_eq!(Fault::from(&large), Fault::TooLarge, "{large}");
}

async fn what_has_no_one_text_is_named(reader: &Database) {
    let list = text(reader, query("SELECT tags FROM trades ORDER BY id", &[])).await.unwrap_err();
    let said = "column tags has type _text: cast it to text in the statement";
    assert_eq!(list.to_string(), said);
    let cast = query("SELECT tags::text AS tags FROM trades WHERE id = 1 ORDER BY 1", &[]);
    assert_eq!(text(reader, cast).await.unwrap(), r#"[{"tags":"{a}"}]"#);
    let same = query("SELECT id, id FROM trades ORDER BY id", &[]);
    let same = text(reader, same).await.unwrap_err();
    assert!(same.to_string().contains("two columns are called id"), "{same}");
}

/// The second fence: a role that may write, and statements that pass the first.
async fn nothing_is_written(cluster: &Cluster) {
    let writer = Database::parse(&cluster.address("writer")).unwrap();
    for statement in [
        "SELECT sneak() AS s ORDER BY s",
        "SELECT escape() AS s ORDER BY s",
        "SELECT nextval('counter') AS s ORDER BY s",
        "SELECT set_config('transaction_read_only', 'off', false) AS s, sneak() AS t ORDER BY s",
    ] {
        let error = text(&writer, query(statement, &[])).await.unwrap_err();
        assert_eq!(Fault::from(&error), Fault::Malformed, "{statement}: {error}");
        let said = error.to_string();
        assert!(said.contains("read-only") || said.contains("read-write"), "{statement}: {said}");
    }
    let count = query("SELECT count(*) AS c FROM trades ORDER BY c", &[]);
    assert_eq!(text(&writer, count).await.unwrap(), r#"[{"c":3}]"#);
}

async fn who_may_do_everything_is_refused(cluster: &Cluster) {
    let one = query("SELECT 1 AS a ORDER BY a", &[]);
    let root = Database::parse(&cluster.address("root")).unwrap();
    let error = text(&root, one).await.unwrap_err();
    assert_eq!(Fault::from(&error), Fault::NotSetUp, "{error}");
    let nobody = Database::parse(&cluster.address("stranger")).unwrap();
    let error = text(&nobody, one).await.unwrap_err();
    assert_eq!(Fault::from(&error), Fault::Unreachable, "{error}");
    let gone = Database::parse("postgresql://reader@127.0.0.1:1/x").unwrap();
    let error = text(&gone, one).await.unwrap_err();
    assert_eq!(Fault::from(&error), Fault::Unreachable, "{error}");
}
