use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const WORLD: &str = r#"
    [[store]]
    name = "reports"

    [[route]]
    host = "api.example.com"
    path = "/price?of=btc"
    per_node = ["one", "two"]

    [[route]]
    path = "/page"
    over_time = ["old", "new"]

    [[route]]
    method = "POST"
    path = "/hook/*"
    status = 201
    lost_answers = 1
"#;

#[test]
fn scripts_that_make_no_sense_are_refused_with_the_reason() {
    let refused = [
        ("[[route]]\npath = \"x\"", "does not begin with /"),
        ("[[route]]\npath = \"/\"\nstatus = 99", "status: 99"),
        ("[[route]]\npath = \"/\"\nmethod = \"get\"", "method"),
        ("[[route]]\npath = \"/\"\nbodi = \"\"", "bodi"),
        ("[[route]]\npath = \"/\"\ndelay_ms = 200000", "delay_ms"),
        ("[[route]]\npath = \"/\"\nper_node = [\"\"]\nover_time = [\"\"]", "do not go together"),
        ("[[database]]\nname = \"x\"", "script"),
        ("[[store]]\nname = \"A\"", "small letters"),
    ];
    for (text, why) in refused {
        let said = World::parse(text).unwrap_err();
        assert!(said.contains(why), "{text}: {said}");
    }
    assert_eq!(World::parse(WORLD).unwrap().route.len(), 3);
}

/// Asks the world as a node does, over a socket: status and body.
async fn ask(world: &Served, node: usize, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    let length = body.len();
    let request = format!(
        "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{NODE_HEADER}: {node}\r\n\
         idempotency-key: {}\r\ncontent-length: {length}\r\n\r\n{body}",
        if body.is_empty() { "" } else { "k1" }
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn nodes_see_what_the_script_says_and_writes_are_counted() {
    let world = Served::start(World::parse(WORLD).unwrap()).await.unwrap();
    let price = "GET /-/api.example.com/price?of=btc";
    for (node, price_seen) in ["one", "two", "two"].into_iter().enumerate() {
        assert_eq!(ask(&world, node, price, "").await, (200, price_seen.to_owned()));
    }
    assert_eq!(world.divergent().len(), 1);
    for page in ["old", "new", "new"] {
        assert_eq!(ask(&world, 0, "GET /-/h/page", "").await, (200, page.to_owned()));
    }
    // Another node begins at the beginning; another host is not played.
    assert_eq!(ask(&world, 1, "GET /-/h/page", "").await, (200, "old".to_owned()));
    assert_eq!(ask(&world, 1, "GET /-/else/price?of=btc", "").await.0, 404);
    assert_eq!(world.misses(), ["GET else/price?of=btc"]);

    // It happened, although the first answer says otherwise; the second writer changes nothing.
    assert_eq!(ask(&world, 0, "POST /-/h/hook/a", "x").await.0, 503);
    assert_eq!(ask(&world, 1, "POST /-/h/hook/a", "x").await.0, 201);
    assert_eq!(ask(&world, 1, "POST /-/h/hook/b", "").await.0, 400);
    let writes = world.writes();
    assert_eq!((writes.len(), writes[0].requests, writes[0].effects), (1, 2, 1));
    assert_eq!((&*writes[0].target, &*writes[0].body), ("POST h/hook/a", &b"x"[..]));

    // The object store keeps what it is given, and tells a copy from a change.
    assert_eq!(ask(&world, 0, "GET /reports/a.csv", "").await.0, 404);
    for _ in 0..2 {
        assert_eq!(ask(&world, 0, "PUT /reports/a.csv", "1,2").await.0, 200);
    }
    assert_eq!(ask(&world, 2, "GET /reports/a.csv", "").await, (200, "1,2".to_owned()));
    let put = world.writes().into_iter().find(|write| write.target.starts_with("PUT")).unwrap();
    assert_eq!((put.requests, put.effects), (2, 1));
}
