//! What does not start says why in one line, and with its exit code.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{Place, sessiond};

/// Runs a command that must fail, and returns its exit code and the line it leaves.
fn refused(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout, "", "it claims to listen");
    let last = stderr.lines().last().unwrap_or_default();
    let line = last.strip_prefix("sessiond: ").unwrap_or_else(|| panic!("no reason in {stderr:?}"));
    (output.status.code().expect("it ended by itself"), line.to_owned())
}

fn at(place: &Place) -> Command {
    let mut command = sessiond(&[]);
    command.args(place.args());
    command
}

#[test]
fn wrong_flags() {
    for (args, expected) in [
        (&["-listen", "nowhere"][..], "--listen: "),
        (&["--max-sessions", "0"], "--max-sessions: "),
        (&["-bootstrap", "a:1,b"], "--bootstrap: "),
        (&["--colour"], "--colour"),
        (&["-listen", "127.0.0.1:0", "-http", ""], "--listen: port 0: "),
    ] {
        let (code, line) = refused(&mut sessiond(args));
        assert_eq!(code, 2, "{line}");
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn a_busy_port() {
    let place = Place::new();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap().to_string();
    let network = place.network_file();
    let network = network.to_str().unwrap();
    let data = place.data_dir();
    let data = data.to_str().unwrap();
    let args =
        ["-listen", &address, "-http", "127.0.0.1:0", "-network", network, "-data-dir", data];
    let (code, line) = refused(&mut sessiond(&args));
    assert_eq!((code, line), (1, format!("--listen: address {address} is in use")));

    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let args =
        ["-listen", "127.0.0.1:0", "-http", &address, "-network", network, "-data-dir", data];
    let (code, line) = refused(&mut sessiond(&args));
    assert_eq!((code, line), (1, format!("--http: address {address} is in use")));
}

#[test]
fn a_bad_key_file() {
    let place = Place::new();
    let key = place.data_dir().join("node.key");
    let good = std::fs::read(&key).unwrap();

    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let (code, line) = refused(&mut at(&place));
    assert_eq!(code, 2);
    assert!(line.contains("may be read by others"), "{line}");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();

    let mut flipped = good.clone();
    flipped[5000] ^= 1;
    for bad in [&b""[..], b"garbage", &good[..good.len() - 1], &flipped, &[0; 100_000]] {
        std::fs::write(&key, bad).unwrap();
        let (code, line) = refused(&mut at(&place));
        assert_eq!(code, 2, "{line}");
        assert!(line.contains("node.key"), "{line}");
    }
}

#[test]
fn an_encrypted_key_file_without_its_passphrase() {
    let place = Place::new();
    let data = place.path().join("other");
    let data = data.to_str().unwrap();
    let args = ["keygen", "--data-dir", data, "--address", "127.0.0.1:1"];
    let made = sessiond(&args).env("SESSION_PASSPHRASE", "sesame").output().unwrap();
    assert!(made.status.success());
    let again = sessiond(&args).env("SESSION_PASSPHRASE", "sesame").output().unwrap();
    assert_eq!(made.stdout, again.stdout);
    let (code, line) = refused(&mut sessiond(&args));
    assert_eq!(code, 2);
    assert!(line.contains("SESSION_PASSPHRASE"), "{line}");
    let (_, line) = refused(sessiond(&args).env("SESSION_PASSPHRASE", "open"));
    assert!(line.contains("wrong passphrase"), "{line}");
}

#[test]
fn a_bad_network_file() {
    let place = Place::new();
    let good = std::fs::read_to_string(place.network_file()).unwrap();
    let other = Place::new();
    for (text, expected) in [
        (String::new(), "network: it is missing"),
        ("network = [".to_owned(), "not TOML"),
        (good.replace("127.0.0.1:1", "127.0.0.1"), "node[0].address: "),
        (good.replace(&place.node_id().to_string(), &"0".repeat(64)), "node[0].id: "),
        (good.replace("\"test\"", "\"test\"\nplacement = \"mod\""), "placement"),
        (std::fs::read_to_string(other.network_file()).unwrap(), "is not a node of the network"),
    ] {
        std::fs::write(place.network_file(), text).unwrap();
        let (code, line) = refused(&mut at(&place));
        assert_eq!(code, 2, "{line}");
        assert!(line.contains(expected), "{line}");
    }
    std::fs::remove_file(place.network_file()).unwrap();
    let (code, line) = refused(&mut at(&place));
    assert_eq!(code, 2);
    assert!(line.contains("network.toml"), "{line}");
}

#[test]
fn an_unusable_data_directory() {
    let place = Place::new();
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    let args = ["-listen", "127.0.0.1:0", "-data-dir", file.to_str().unwrap()];
    let (code, line) = refused(&mut sessiond(&args));
    assert_eq!(code, 2);
    assert!(line.starts_with("the data directory: "), "{line}");

    // Where the store should be there is a file.
    std::fs::write(place.data_dir().join("store"), "").unwrap();
    let (code, line) = refused(&mut at(&place));
    assert_eq!(code, 2);
    assert!(line.starts_with("the data directory: "), "{line}");
}

#[test]
fn two_nodes_in_one_data_directory() {
    let place = Place::new();
    let _running = place.start();
    let (code, line) = refused(&mut at(&place));
    assert_eq!(code, 2);
    assert!(line.contains("in use by another process"), "{line}");
}
