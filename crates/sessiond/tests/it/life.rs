//! Start, health, stop.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use session_core::{Entropy as _, SeededEntropy};

use crate::support::{Node, Place, request, sessiond};

#[test]
fn says_its_version_with_one_dash_and_two() {
    for flag in ["-version", "--version"] {
        let output = sessiond(&[flag]).output().unwrap();
        assert!(output.status.success());
        let expected = format!("sessiond {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }
}

#[test]
fn keygen_keeps_the_keys_it_made() {
    let place = Place::new();
    let key = place.data_dir().join("node.key");
    let mode = std::fs::metadata(&key).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let (first, second) = (place.keygen(), place.keygen());
    assert!(first.stdout.starts_with(b"[[node]]\nid = \""));
    assert_eq!(first.stdout, second.stdout);
}

#[test]
fn runs_with_the_flags_of_the_seed_alone() {
    // The seed's flags know no port 0: take one that was free a moment ago.
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = port.to_string();
    let args = ["-listen", &port, "-data-dir", "", "-max-sessions", "7", "-bootstrap", ""];
    let mut command = sessiond(&args);
    let node = Node::start({
        command.args(["-http", "127.0.0.1:0"]);
        command
    });
    assert_eq!(node.udp.to_string(), port);
    let health = request(node.http, "GET", "/health", "", b"").json();
    assert_eq!((&health["status"], &health["network"]), (&"ok".into(), &"solo".into()));
}

#[test]
fn stops_cleanly_on_sigterm_and_at_the_end_of_stdin() {
    let place = Place::new();
    let mut node = place.start();
    node.signal(Signal::TERM);
    let (status, took) = node.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");

    let args = place.args();
    let mut command = sessiond(&[]);
    command.args(args).arg("-stop-with-stdin").stdin(Stdio::piped());
    let mut node = Node::start(command);
    assert!(node.is_running());
    node.close_stdin();
    let (status, took) = node.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn an_open_subscription_does_not_delay_the_stop() {
    use crate::support::{Owner, open};
    use session_core::{List, Namespace};
    use session_protocol::owner::OwnerAction;
    let place = Place::new();
    let mut node = place.start();
    let namespaces = List::new(vec![Namespace(0)]).unwrap();
    let action = OwnerAction::Subscribe { namespaces, audience: place.node_id() };
    let mut params = Owner::new(1).prove(action);
    params["namespaces"] = serde_json::json!([0]);
    let call = serde_json::json!({"id": 1, "method": "subscribe", "params": params});
    let body = call.to_string();
    let _held = open(node.http, "POST", "/rpc", "application/json", body.as_bytes());
    node.signal(Signal::TERM);
    let (status, took) = node.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn health_and_metrics_tell_what_is() {
    let place = Place::new();
    let node = place.start();
    let answer = request(node.http, "GET", "/health", "", b"");
    let health = answer.json();
    assert_eq!((answer.status, &health["status"]), (200, &"ok".into()), "{health}");
    assert_eq!(health["node"], place.node_id().to_string());
    for (field, expected) in [("members", 1), ("members_up", 1), ("quorum", 1), ("items", 0)] {
        assert_eq!(health[field], expected, "{field} of {health}");
    }

    let answer = request(node.http, "GET", "/metrics", "", b"");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    let mut samples = 0;
    for line in answer.text().lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a sample is a name and a value");
        assert!(name.starts_with("session_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        samples += 1;
    }
    assert!(samples > 50, "{samples} samples");
    assert!(answer.text().contains("\nsession_members_up 1\n"));
}

#[test]
fn garbage_on_the_port_changes_nothing() {
    let place = Place::new();
    let mut node = place.start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut rng = SeededEntropy::new(1);
    for round in 0..2000 {
        let mut garbage = vec![0; 1 + round % 1400];
        rng.fill(&mut garbage);
        // A long header of QUIC now and then, to get past the first check.
        if round % 3 == 0 {
            garbage[0] |= 0xc0;
        }
        socket.send_to(&garbage, node.udp).unwrap();
    }
    let health = request(node.http, "GET", "/health", "", b"").json();
    assert_eq!(health["status"], "ok");
    assert!(node.is_running());
}
