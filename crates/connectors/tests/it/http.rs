//! HTTP: answers of every shape.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use session_core::Digest;
use session_protocol::workload::manifest::HttpMethod;
use session_protocol::workload::oracle::{Fault, RawAnswer};
use tokio_rustls::TlsAcceptor;

use crate::ask::{Ask, Names, node, node_for};
use crate::server::{Act, Seen, Server, answer, ok};

/// Asks a server with this script for `/`.
async fn asked(
    change: impl FnOnce(Ask) -> Ask,
    script: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static,
) -> Result<RawAnswer, Fault> {
    let server = Server::start(script).await;
    let port = server.port();
    let ask = Ask::get(format!("http://api.test:{port}/")).egress("api.test", port, true);
    change(ask).to(&node_for(port)).await
}

fn same(ask: Ask) -> Ask {
    ask
}

fn sent(bytes: impl AsRef<[u8]>) -> Vec<Act> {
    vec![Act::Send(bytes.as_ref().to_vec())]
}

#[tokio::test]
async fn an_answer_arrives_whole() {
    let answer = asked(same, |_| answer(404, "X-Kind: a\r\ncontent-type: t\r\n", "none")).await;
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (404, b"none".as_slice()));
    assert!(answer.headers.contains(&("x-kind".to_owned(), "a".to_owned())));
    assert!(answer.received > 4);
    assert!(!answer.headers.iter().any(|(name, _)| name == "content-length"));
}

#[tokio::test]
async fn a_request_says_what_the_manifest_says_and_no_more() {
    let server = Server::start(|_| ok("")).await;
    let port = server.port();
    let headers = [("accept", "{kind}/json"), ("x-version", "2")];
    let url = format!("http://API.test:{port}/v1/{{symbol}}?in={{unit}}");
    let ask = Ask::http(HttpMethod::Get, url, &headers, 0)
        .egress("api.test", port, true)
        .with("kind", "application")
        .with("symbol", "BTC/USD")
        .with("unit", "$ & €");
    ask.to(&node_for(port)).await.unwrap();
    let seen = &server.seen()[0];
    assert_eq!((&*seen.method, &*seen.target), ("GET", "/v1/BTC%2FUSD?in=%24%20%26%20%E2%82%AC"));
    let mut headers: Vec<_> =
        seen.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    headers.sort_unstable();
    let host = format!("api.test:{port}");
    assert_eq!(
        headers,
        [
            ("accept", "application/json"),
            ("accept-encoding", "gzip, deflate"),
            ("host", &*host),
            ("user-agent", "lux-session/1"),
            ("x-version", "2"),
        ]
    );
}

#[tokio::test]
async fn members_may_get_different_answers() {
    let count = Arc::new(Mutex::new(0));
    let server = Server::start(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        ok(count.to_string())
    })
    .await;
    let port = server.port();
    let ask = Ask::get(format!("http://api.test:{port}/")).egress("api.test", port, true);
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(ask.to(&node_for(port)).await.unwrap().body);
    }
    assert_eq!(answers, [b"1", b"2", b"3"]);
}

#[tokio::test]
async fn a_late_answer_is_none() {
    let late = |_: &Seen| vec![Act::Wait(Duration::from_secs(30)), Act::Hang];
    assert_eq!(asked(|ask| ask.timeout_ms(100), late).await, Err(Fault::Timeout));
}

#[tokio::test]
async fn a_slow_trickle_is_cut_off() {
    // A byte every 10 ms would take for ever, and no single wait is long.
    let slow = |_: &Seen| {
        let mut acts = sent("HTTP/1.1 200 x\r\ncontent-length: 10000\r\n\r\n");
        for _ in 0..10_000 {
            acts.extend([Act::Wait(Duration::from_millis(10)), Act::Send(b"x".to_vec())]);
        }
        acts
    };
    assert_eq!(asked(|ask| ask.timeout_ms(200), slow).await, Err(Fault::Timeout));
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let slow = |_: &Seen| {
        let trickle = (0..10_000)
            .flat_map(|_| [Act::Wait(Duration::from_millis(10)), Act::Send(b"x: y\r\n".to_vec())]);
        sent("HTTP/1.1 200 x\r\n").into_iter().chain(trickle).collect()
    };
    assert_eq!(asked(|ask| ask.timeout_ms(200), slow).await, Err(Fault::Timeout));
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let port = Server::start(|_| ok("")).await.port();
    tokio::task::yield_now().await;
    let ask = Ask::get(format!("http://api.test:{port}/")).egress("api.test", port, true);
    assert_eq!(ask.to(&node_for(port)).await, Err(Fault::Unreachable));
    let ask = Ask::get(format!("http://unknown.test:{port}/")).egress("unknown.test", port, true);
    assert_eq!(ask.to(&node_for(port)).await, Err(Fault::Unreachable));
}

#[tokio::test]
async fn truncated_answers_are_none() {
    for part in [
        "",
        "HTTP/1.1 200 x\r\ncontent-le",
        "HTTP/1.1 200 x\r\ncontent-length: 10\r\n\r\nfive!",
        "HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfive!\r\n",
    ] {
        let answer = asked(same, move |_| sent(part)).await;
        assert_eq!(answer, Err(Fault::Unreachable), "{part:?}");
    }
}

#[tokio::test]
async fn wrong_lengths_are_refused() {
    for head in [
        "content-length: 3\r\ncontent-length: 4\r\n",
        "content-length: +4\r\n",
        "content-length: 99999999999999999999999\r\n",
        "content-length: -1\r\n",
    ] {
        let bytes = format!("HTTP/1.1 200 x\r\n{head}\r\nbody");
        let answer = asked(same, move |_| sent(&bytes)).await;
        assert_eq!(answer, Err(Fault::Malformed), "{head:?}");
    }
    // What comes after the stated length is not part of the answer.
    let longer =
        asked(same, |_| sent("HTTP/1.1 200 x\r\ncontent-length: 4\r\n\r\nbodyHTTP/1.1 500")).await;
    assert_eq!(longer.unwrap().body, b"body");
}

#[tokio::test]
async fn what_is_not_http_is_malformed() {
    for bytes in
        ["SSH-2.0-OpenSSH_9\r\n\r\n", "HTTP/1.1 2xx x\r\n\r\n", "HTTP/1.1 200 x\r\na b: c\r\n\r\n"]
    {
        let answer = asked(same, move |_| sent(bytes)).await;
        assert_eq!(answer, Err(Fault::Malformed), "{bytes:?}");
    }
    let upgraded = "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(asked(same, move |_| sent(upgraded)).await, Err(Fault::Malformed));
}

#[tokio::test]
async fn large_heads_are_refused() {
    let long = format!("x-long: {}\r\n", "y".repeat(64 << 10));
    assert_eq!(asked(same, move |_| answer(200, &long, "")).await, Err(Fault::TooLarge));
    let many: String = (0..200).map(|index| format!("x-{index}: y\r\n")).collect();
    assert_eq!(asked(same, move |_| answer(200, &many, "")).await, Err(Fault::TooLarge));
    let endless = |_: &Seen| vec![Act::Send(b"HTTP/1.1 100 x\r\n\r\n".repeat(100_000))];
    assert_eq!(asked(same, endless).await, Err(Fault::TooLarge));
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let limit = |ask: Ask| ask.bytes_max(1000);
    assert_eq!(asked(limit, |_| ok(vec![b'x'; 1000])).await.unwrap().body.len(), 1000);
    assert_eq!(asked(limit, |_| ok(vec![b'x'; 1001])).await, Err(Fault::TooLarge));
    // Without a length that could be believed.
    let chunked = |_: &Seen| {
        let mut acts = sent("HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n");
        acts.resize(5000, Act::Send(b"a\r\n0123456789\r\n".to_vec()));
        acts
    };
    assert_eq!(asked(limit, chunked).await, Err(Fault::TooLarge));
    let until_the_end = |_: &Seen| {
        let mut acts = sent("HTTP/1.1 200 x\r\n\r\n");
        acts.push(Act::Send(vec![b'x'; 5000]));
        acts
    };
    assert_eq!(asked(limit, until_the_end).await, Err(Fault::TooLarge));
}

#[tokio::test]
async fn chunks_of_one_byte_do_not_get_around_the_bound() {
    let tiny = |_: &Seen| {
        let mut bytes = b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        bytes.extend(b"1\r\nx\r\n".repeat(40_000));
        vec![Act::Send(bytes)]
    };
    assert_eq!(asked(|ask| ask.bytes_max(50_000), tiny).await, Err(Fault::TooLarge));
}

#[tokio::test]
async fn a_session_receives_no_more_than_it_may() {
    let left = |bytes| move |ask: Ask| Ask { bytes_left: bytes, ..ask };
    assert_eq!(asked(left(100), |_| ok(vec![b'x'; 101])).await, Err(Fault::Exhausted));
    assert_eq!(asked(left(0), |_| ok("")).await, Err(Fault::Exhausted));
    assert!(asked(left(101), |_| ok(vec![b'x'; 101])).await.is_ok());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn packed_answers_are_unpacked() {
    let text = b"the same, the same, the same".as_slice();
    for (encoding, packed) in
        [("gzip", gzip(text)), ("deflate", zlib(text)), ("deflate", raw_deflate(text))]
    {
        let head = format!("content-encoding: {encoding}\r\n");
        let answer = asked(same, move |_| answer(200, &head, &packed)).await.unwrap();
        assert_eq!(answer.body, text, "{encoding}");
        assert!(!answer.headers.iter().any(|(name, _)| name == "content-encoding"));
    }
}

#[tokio::test]
async fn bombs_do_not_go_off() {
    let zeros = vec![0; 64 << 20];
    let bombs =
        [("gzip", gzip(&zeros)), ("deflate", zlib(&zeros)), ("deflate", raw_deflate(&zeros))];
    for (encoding, bomb) in bombs {
        let head = format!("content-encoding: {encoding}\r\n");
        assert!(bomb.len() < 100_000);
        let limit = |ask: Ask| ask.bytes_max(100_000);
        let exploded = asked(limit, move |_| answer(200, &head, &bomb)).await;
        assert_eq!(exploded, Err(Fault::TooLarge), "{encoding}");
    }
}

#[tokio::test]
async fn broken_or_unknown_packing_is_malformed() {
    let mut cut = gzip(b"the same, the same, the same");
    cut.truncate(cut.len() - 9);
    for (encoding, body) in
        [("gzip", cut), ("gzip", b"no".to_vec()), ("br", b"x".to_vec()), ("gzip, gzip", gzip(b"x"))]
    {
        let head = format!("content-encoding: {encoding}\r\n");
        let answer = asked(same, move |_| answer(200, &head, &body)).await;
        assert_eq!(answer, Err(Fault::Malformed), "{encoding}");
    }
}

#[tokio::test]
async fn a_repeated_write_has_one_effect() {
    // A target that honours keys; the first writer hears nothing of what it did.
    let ledger = Arc::new(Mutex::new(BTreeMap::<String, String>::new()));
    let effects = ledger.clone();
    let server = Server::start(move |seen| {
        let key = seen.header("idempotency-key").unwrap().to_owned();
        let mut ledger = ledger.lock().unwrap();
        let first = !ledger.contains_key(&key);
        let next = format!("order {}", ledger.len() + 1);
        let order = ledger.entry(key).or_insert(next).clone();
        if first { vec![] } else { ok(order) }
    })
    .await;
    let port = server.port();
    let mut ask = Ask::post(format!("http://api.test:{port}/pay"), b"{\"amount\":5}")
        .egress("api.test", port, true);
    assert_eq!(ask.to(&node_for(port)).await, Err(Fault::Unreachable), "the first writer");
    let second = ask.to(&node_for(port)).await.unwrap();
    let third = ask.to(&node_for(port)).await.unwrap();
    assert_eq!((second.body.as_slice(), third.body.as_slice()), (&b"order 1"[..], &b"order 1"[..]));
    assert_eq!(effects.lock().unwrap().len(), 1, "exactly one effect");
    let seen = server.seen();
    assert_eq!(seen[0].header("idempotency-key"), Some(&*"07".repeat(32)));
    assert!(seen.iter().all(|seen| seen.method == "POST" && seen.body == b"{\"amount\":5}"));
    // Another step is another effect.
    ask.write_key = Some(Digest::from([8; 32]));
    assert_eq!(ask.to(&node_for(port)).await, Err(Fault::Unreachable));
    assert_eq!(effects.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_write_is_sent_once() {
    // The client must not try again by itself, whatever happens to the connection.
    let server = Server::start(|_| vec![]).await;
    let port = server.port();
    let ask = Ask::post(format!("http://api.test:{port}/"), b"x").egress("api.test", port, true);
    assert_eq!(ask.to(&node_for(port)).await, Err(Fault::Unreachable));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_write_needs_its_key() {
    let server = Server::start(|_| ok("")).await;
    let port = server.port();
    let ask = Ask::post(format!("http://api.test:{port}/"), b"x").egress("api.test", port, true);
    let ask = Ask { write_key: None, ..ask };
    assert_eq!(ask.to(&node_for(port)).await, Err(Fault::Malformed));
    assert_eq!(server.connections(), 0);
}

/// A server's TLS for `api.test`, and the root that vouches for it as PEM.
fn tls() -> (TlsAcceptor, String) {
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["api.test".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &root).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    (Arc::new(config).into(), pem(root.der()))
}

fn pem(der: &[u8]) -> String {
    use base64ct::{Base64, Encoding as _};
    let text = Base64::encode_string(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[tokio::test]
async fn tls_needs_a_trusted_certificate_for_the_name() {
    let (acceptor, root) = tls();
    let server = Server::start_tls(acceptor, |_| ok("secure")).await;
    let port = server.port();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("root.pem"), root).unwrap();
    let opened = format!("allow_private = [\"api.test:{port}\", \"other.test:{port}\"]\n");
    let names = || {
        let names = Names::default().answer("api.test", "127.0.0.1");
        Arc::new(names.answer("other.test", "127.0.0.1"))
    };
    let trusting = format!("{opened}roots = [\"root.pem\"]");
    let trusting = session_connectors::Config::parse(&trusting, folder.path()).unwrap();
    let trusting = session_connectors::Connectors::new(trusting).with_resolver(names());
    let ask = |host: &str| Ask::get(format!("https://{host}:{port}/")).egress(host, port, false);
    assert_eq!(ask("api.test").to(&trusting).await.unwrap().body, b"secure");
    assert_eq!(ask("other.test").to(&trusting).await, Err(Fault::Unreachable), "another's name");
    let strict = node(&opened).with_resolver(names());
    assert_eq!(ask("api.test").to(&strict).await, Err(Fault::Unreachable), "an unknown root");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_redirect_never_leaves_tls() {
    let (acceptor, root) = tls();
    let plain = Server::start(|_| ok("in the clear")).await;
    let location = format!("http://api.test:{}/", plain.port());
    let server = Server::start_tls(acceptor, move |_| crate::server::redirect(&location)).await;
    let (port, plain_port) = (server.port(), plain.port());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("root.pem"), root).unwrap();
    let config = format!(
        "allow_private = [\"api.test:{port}\", \"api.test:{plain_port}\"]\nroots = [\"root.pem\"]"
    );
    let config = session_connectors::Config::parse(&config, folder.path()).unwrap();
    let node = session_connectors::Connectors::new(config)
        .with_resolver(Arc::new(Names::default().answer("api.test", "127.0.0.1")));
    let ask = Ask::get(format!("https://api.test:{port}/"))
        .redirects(2)
        .egress("api.test", port, false)
        .egress("api.test", plain_port, true);
    assert_eq!(ask.to(&node).await, Err(Fault::Denied));
    assert_eq!((server.seen().len(), plain.connections()), (1, 0));
}
