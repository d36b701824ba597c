//! Objects: a store in this process that checks signatures with an implementation of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use session_connectors::Connectors;
use session_core::{Blob, Digest, sha256};
use session_protocol::workload::manifest::Connector;
use session_protocol::workload::oracle::Fault;

use crate::ask::{Ask, Names, text};
use crate::server::{Act, Seen, Server, answer};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// An object with the key of the write that made it.
type Objects = Arc<Mutex<BTreeMap<String, (Vec<u8>, String)>>>;

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
    aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// Checks a request as a store does: from what arrived, not from what was meant.
fn is_signed(seen: &Seen) -> bool {
    let authorization = seen.header("authorization").unwrap_or_default();
    let field = |name: &str| {
        let at = authorization.find(&format!("{name}="))? + name.len() + 1;
        authorization[at..].split(", ").next().map(str::to_owned)
    };
    let (Some(credential), Some(names), Some(signature)) =
        (field("Credential"), field("SignedHeaders"), field("Signature"))
    else {
        return false;
    };
    let parts: Vec<&str> = credential.split('/').collect();
    let ["AKIDEXAMPLE", day, "eu-test-1", "s3", "aws4_request"] = parts[..] else { return false };
    let must = ["host", "x-amz-content-sha256", "x-amz-date"];
    let signs = |name: &str| names.split(';').any(|one| one == name);
    // Every header of the protocol must be signed, not only the required ones.
    let all = seen.headers.iter().filter(|(name, _)| name.starts_with("x-amz-"));
    if !must.iter().all(|name| signs(name)) || !all.clone().all(|(name, _)| signs(name)) {
        return false;
    }
    if seen.header("x-amz-content-sha256") != Some(&*hex::encode(sha256(&seen.body))) {
        return false;
    }
    let mut canonical = format!("{}\n{}\n\n", seen.method, seen.target);
    for name in names.split(';') {
        let Some(value) = seen.header(name) else { return false };
        canonical += &format!("{name}:{value}\n");
    }
    canonical += &format!("\n{names}\n{}", hex::encode(sha256(&seen.body)));
    let date = seen.header("x-amz-date").unwrap();
    let scope = format!("{day}/eu-test-1/s3/aws4_request");
    let hash = hex::encode(sha256(canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
    let key = mac(format!("AWS4{SECRET}").as_bytes(), day);
    let key = mac(&mac(&mac(&key, "eu-test-1"), "s3"), "aws4_request");
    signature == hex::encode(mac(&key, &text)) && date.starts_with(day)
}

fn store(objects: &Objects, seen: &Seen) -> Vec<Act> {
    if !is_signed(seen) {
        return answer(403, "", "<Error><Code>SignatureDoesNotMatch</Code></Error>");
    }
    let mut objects = objects.lock().unwrap();
    let there = objects.get(&seen.target).cloned();
    match (&*seen.method, there) {
        ("PUT", Some(_)) if seen.header("if-none-match") == Some("*") => answer(412, "", "there"),
        ("PUT", _) => {
            let key = seen.header("x-amz-meta-write-key").unwrap_or_default().to_owned();
            objects.insert(seen.target.clone(), (seen.body.clone(), key));
            answer(200, "etag: \"e\"\r\n", "")
        }
        ("GET", Some((body, _))) => answer(200, "etag: \"e\"\r\n", body),
        ("HEAD", Some((_, key))) => {
            let head = format!(
                "HTTP/1.1 200 x\r\ncontent-length: 99\r\nx-amz-meta-write-key: {key}\r\n\r\n"
            );
            vec![Act::Send(head.into_bytes())]
        }
        _ => answer(404, "", "<Error><Code>NoSuchKey</Code></Error>"),
    }
}

struct World {
    objects: Objects,
    server: Server,
}

impl World {
    async fn new() -> Self {
        let objects = Objects::default();
        let shared = objects.clone();
        let server = Server::start(move |seen| store(&shared, seen)).await;
        Self { objects, server }
    }

    fn node(&self, writes: bool, secret: &str) -> Connectors {
        let port = self.server.port();
        let config = format!(
            "allow_private = [\"s3.test:{port}\"]\n[stores.archive]\n\
             endpoint = \"http://s3.test:{port}\"\nregion = \"eu-test-1\"\nbucket = \"results\"\n\
             access_key = \"AKIDEXAMPLE\"\nsecret_key = \"{secret}\"\nsession_token = \"tok\"\n\
             writes = {writes}"
        );
        let names = Names::default().answer("s3.test", "127.0.0.1");
        crate::ask::node(&config).with_resolver(Arc::new(names))
    }

    async fn put(&self, ask: &Ask) -> Result<(u16, String), Fault> {
        let answer = ask.to(&self.node(true, SECRET)).await?;
        Ok((answer.status, String::from_utf8(answer.body).unwrap()))
    }
}

fn get(key: &str) -> Ask {
    Ask::new(Connector::ObjectGet { store: text("archive"), key: text(key) })
}

fn put(key: &str, body: &[u8], write_key: u8, if_absent: bool) -> Ask {
    let content_type = text("text/plain");
    let connector =
        Connector::ObjectPut { store: text("archive"), key: text(key), content_type, if_absent };
    let mut ask = Ask::new(connector);
    ask.call.body = Blob::new(body.to_vec()).unwrap();
    ask.write_key = Some(Digest::from([write_key; 32]));
    ask
}

#[tokio::test]
async fn an_object_is_written_and_read() {
    let world = World::new().await;
    let written = world.put(&put("day {day}/a+b.txt", b"hello", 1, false).with("day", "1")).await;
    let hash = hex::encode(sha256(b"hello"));
    assert_eq!(written, Ok((200, format!("{{\"bytes\":5,\"sha256\":\"{hash}\"}}"))));
    assert_eq!(world.server.seen()[0].target, "/results/day%201/a%2Bb.txt");
    assert_eq!(world.server.seen()[0].header("content-type"), Some("text/plain"));
    let answer = get("day 1/a+b.txt").to(&world.node(false, SECRET)).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"hello".as_slice()));
    let missing = get("none").to(&world.node(false, SECRET)).await.unwrap();
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn a_wrong_key_is_refused_by_the_store() {
    let world = World::new().await;
    let answer = get("a").to(&world.node(false, "another")).await.unwrap();
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn if_absent_leaves_what_is_there() {
    let world = World::new().await;
    assert_eq!(world.put(&put("a", b"one", 1, true)).await.unwrap().0, 200);
    assert_eq!(world.put(&put("a", b"two", 2, true)).await.unwrap().0, 412);
    assert_eq!(world.objects.lock().unwrap()["/results/a"].0, b"one");
    assert_eq!(world.put(&put("a", b"two", 2, false)).await.unwrap().0, 200);
    assert_eq!(world.objects.lock().unwrap()["/results/a"].0, b"two");
}

#[tokio::test]
async fn a_repeated_write_if_absent_has_one_effect_and_one_answer() {
    // The second writer does not know that the first one wrote.
    let world = World::new().await;
    let first = world.put(&put("a", b"one", 1, true)).await.unwrap();
    let second = world.put(&put("a", b"one", 1, true)).await.unwrap();
    assert_eq!(first, second);
    let methods: Vec<_> = world.server.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["PUT", "PUT", "HEAD"]);
    // Another write of the same bytes is another write.
    assert_eq!(world.put(&put("a", b"one", 2, true)).await.unwrap().0, 412);
}

#[tokio::test]
async fn stores_are_written_only_if_the_operator_says_so() {
    let world = World::new().await;
    let refused = put("a", b"one", 1, true).to(&world.node(false, SECRET)).await;
    assert_eq!(refused, Err(Fault::Denied));
    assert_eq!(world.server.connections(), 0);
}

#[tokio::test]
async fn unknown_stores_and_keys_that_climb_are_refused() {
    let world = World::new().await;
    let node = world.node(true, SECRET);
    let unknown = Ask::new(Connector::ObjectGet { store: text("other"), key: text("a") });
    assert_eq!(unknown.to(&node).await, Err(Fault::NotSetUp));
    for key in ["../secrets", "a/../../secrets", "a/./b", ""] {
        assert_eq!(get(key).to(&node).await, Err(Fault::Denied), "{key}");
    }
    assert_eq!(world.server.connections(), 0);
}

#[tokio::test]
async fn a_large_object_is_refused() {
    let world = World::new().await;
    world.put(&put("a", &[b'x'; 2000], 1, false)).await.unwrap();
    let ask = get("a").bytes_max(1999);
    assert_eq!(ask.to(&world.node(false, SECRET)).await, Err(Fault::TooLarge));
}
