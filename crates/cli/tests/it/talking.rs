//! Conversations, by plain commands, through a real network.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use session_messaging::say::SayId;
use session_messaging::thread::{self, Body, ThreadId};
use session_messaging::vault::Vault;
use session_sdk::transfer::FileRef;
use session_sdk::{FileError, Options, Session};

use crate::chains::path;
use crate::harness::{Network, PATIENCE, Person, text, write_file};

/// Somebody with an account; returns the id too.
pub(crate) fn person(network: &Network, name: &str) -> (Person, String) {
    let person = Person::new(network.dir.path(), name, Some(&network.file()));
    let made = person.json(&["account", "new", "--plain"]);
    let id = made[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(made[0]["words"].as_array().expect("words").len(), 24);
    (person, id)
}

/// Reads until something is there that is wanted.
pub(crate) fn read_until(person: &Person, wanted: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    let mut seen = Vec::new();
    loop {
        for message in person.json(&["chat", "read"]) {
            if wanted(&message) {
                return message;
            }
            seen.push(message);
        }
        assert!(started.elapsed() < PATIENCE, "it did not come; what came: {seen:#?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

pub(crate) fn is_text(wanted: &'static str) -> impl Fn(&Value) -> bool {
    move |message| message["text"] == wanted
}

/// Accepts whoever wrote.
fn accept(person: &Person, id: &str) {
    person.json(&["contact", "accept", id]);
}

/// Two who know each other: bob has accepted alice.
pub(crate) fn friends(network: &Network) -> ((Person, String), (Person, String)) {
    let (alice, alice_id) = person(network, "alice");
    let (bob, bob_id) = person(network, "bob");
    alice.json(&["chat", "send", &bob_id, "first words"]);
    read_until(&bob, is_text("first words"));
    accept(&bob, &alice_id);
    bob.json(&["chat", "sync"]);
    ((alice, alice_id), (bob, bob_id))
}

#[test]
fn two_people_meet_and_talk() {
    let network = Network::start(10);
    let (alice, alice_id) = person(&network, "alice");
    let (bob, bob_id) = person(&network, "bob");

    // First contact while bob is away: stored, and a request on his side.
    let sent = alice.json(&["chat", "send", &bob_id, "hello bob"]);
    assert_eq!(sent[0]["status"]["stored"], true, "{sent:?}");
    let status = &sent[0]["status"];
    assert!(status["signed_by"].as_u64() >= status["quorum"].as_u64(), "{sent:?}");
    assert_eq!(status["delivered"], 0, "nobody has it yet: {sent:?}");
    let got = read_until(&bob, is_text("hello bob"));
    assert_eq!((&got["author"], &got["id"]), (&alice_id.clone().into(), &sent[0]["id"]));
    let requests = bob.json(&["contact", "list", "--requests"]);
    assert_eq!(requests[0]["account"], alice_id.as_str());
    accept(&bob, &alice_id);
    assert!(bob.json(&["contact", "list", "--requests"]).is_empty());

    // The answer, a reply to it; and alice learns that hers was delivered.
    let message = got["id"].as_str().expect("an id");
    bob.json(&["chat", "reply", &alice_id, &message[..8], "hello alice"]);
    let answer = read_until(&alice, is_text("hello alice"));
    assert_eq!(answer["reply_to"], message);

    // What was said before bob accepted is delivered since, and so is what is said now.
    let second = alice.json(&["chat", "send", &bob_id, "and again"]);
    read_until(&bob, is_text("and again"));
    wait_history(&alice, &bob_id, |all| {
        let delivered = |wanted: &Value| {
            all.iter().any(|it| it["id"] == *wanted && it["status"]["delivered"] == 1)
        };
        delivered(&sent[0]["id"]) && delivered(&second[0]["id"])
    });

    // Edit, react, unsend: each changes what is there, on the other side.
    let answer = answer["id"].as_str().expect("an id");
    bob.json(&["chat", "edit", &alice_id, answer, "hello, alice"]);
    alice.json(&["chat", "react", &bob_id, answer, "👍"]);
    alice.json(&["chat", "unsend", &bob_id, message]);
    wait_history(&alice, &bob_id, |all| all.iter().any(|it| it["text"] == "hello, alice"));
    let at_bobs = wait_history(&bob, &alice_id, |all| {
        all.iter().any(|it| it["unsent"] == true)
            && all.iter().any(|it| it["reactions"][0]["emoji"] == "👍")
    });
    assert!(at_bobs.iter().all(|it| it["text"] != "hello bob"), "{at_bobs:?}");

    // Both see the same safety number, and no other one is taken for it.
    let number = |of: &Person, other: &str| {
        of.json(&["contact", "safety", other])[0]["safety_number"].clone()
    };
    let digits = number(&alice, &bob_id);
    assert_eq!(digits, number(&bob, &alice_id));
    let digits = digits.as_str().expect("digits");
    assert_eq!(digits.len(), 60);
    let wrong: String = digits.chars().rev().collect();
    assert_eq!(alice.fails(&["contact", "verify", &bob_id, "--number", &wrong]).0, 4);
    assert_eq!(
        alice.json(&["contact", "verify", &bob_id, "--number", digits])[0]["verified"],
        true
    );

    // Found by its words, and only what is there.
    let found = bob.json(&["chat", "search", "alice"]);
    assert!(found.iter().any(|it| it["snippet"].as_str().is_some_and(|it| it.contains("alice"))));
    assert!(bob.json(&["chat", "search", "bob"]).is_empty(), "what was taken back is not found");
}

pub(crate) fn wait_history(
    person: &Person,
    of: &str,
    wanted: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let started = Instant::now();
    loop {
        person.json(&["chat", "sync"]);
        let all = person.json(&["chat", "history", of]);
        if wanted(&all) {
            return all;
        }
        assert!(started.elapsed() < PATIENCE, "{all:#?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn the_blocked_are_not_heard() {
    let network = Network::start(4);
    let ((alice, alice_id), (bob, bob_id)) = friends(&network);
    bob.json(&["contact", "block", &alice_id]);
    alice.json(&["chat", "send", &bob_id, "are you there?"]);
    bob.json(&["chat", "sync"]);
    assert!(bob.json(&["chat", "read"]).is_empty());
    let (code, said) = bob.fails(&["chat", "send", &alice_id, "no"]);
    assert_eq!(code, 4, "{said}");
    bob.json(&["contact", "unblock", &alice_id]);
    alice.json(&["chat", "send", &bob_id, "and now?"]);
    read_until(&bob, is_text("and now?"));
}

#[test]
fn three_people_have_a_group() {
    let network = Network::start(4);
    let ((alice, alice_id), (bob, bob_id)) = friends(&network);
    let (carol, carol_id) = person(&network, "carol");
    let made = alice.json(&["group", "create", "hikers", &bob_id, &carol_id]);
    assert_eq!(made[0]["missing"], Value::Array(Vec::new()), "{made:?}");
    let group = format!("group:{}", made[0]["group"].as_str().expect("an id"));

    alice.json(&["chat", "send", &group, "where to?"]);
    for member in [&bob, &carol] {
        let got = read_until(member, is_text("where to?"));
        assert_eq!(got["author"], alice_id.as_str());
    }
    carol.json(&["chat", "send", &group, "the lake"]);
    for member in [&alice, &bob] {
        read_until(member, is_text("the lake"));
    }
    let shown = bob.json(&["group", "show", &group]);
    assert_eq!(shown[0]["members"].as_array().map(Vec::len), Some(3), "{shown:?}");
    assert_eq!(shown[0]["name"], "hikers");

    // Only admins remove; and whoever is removed reads nothing more.
    assert_eq!(bob.fails(&["group", "remove", &group, &carol_id]).0, 4);
    alice.json(&["group", "remove", &group, &carol_id]);
    carol.json(&["chat", "sync"]);
    alice.json(&["chat", "send", &group, "just the two of us"]);
    read_until(&bob, is_text("just the two of us"));
    carol.json(&["chat", "sync"]);
    let seen = carol.json(&["chat", "history", &group]);
    assert!(seen.iter().all(|it| it["text"] != "just the two of us"), "{seen:?}");
}

#[test]
fn a_strangers_group_is_accepted_or_declined() {
    let network = Network::start(4);
    let (carol, _) = person(&network, "carol");
    let (bob, bob_id) = person(&network, "bob");
    let mut groups = Vec::new();
    for (name, words) in [("wanted", "please join"), ("unwanted", "buy this")] {
        let made = carol.json(&["group", "create", name, &bob_id]);
        let group = format!("group:{}", made[0]["group"].as_str().expect("an id"));
        let sent = carol.json(&["chat", "send", &group, words]);
        read_until(&bob, is_text(words));
        groups.push((group, sent[0]["id"].clone()));
    }
    let [(wanted, first), (unwanted, second)] = &groups[..] else { panic!() };
    let standing = |group: &str| {
        let all = bob.json(&["chat", "list"]);
        let found =
            all.iter().find(|it| group.ends_with(it["peer"]["group"].as_str().unwrap_or("-")));
        found.unwrap_or_else(|| panic!("{group} is not among {all:?}"))["standing"].clone()
    };
    assert_eq!((standing(wanted), standing(unwanted)), ("stranger".into(), "stranger".into()));
    bob.json(&["group", "accept", wanted]);
    bob.json(&["group", "decline", unwanted]);
    assert_eq!((standing(wanted), standing(unwanted)), ("accepted".into(), "blocked".into()));

    // What came before is delivered now; whoever declined tells nothing, and is gone.
    wait_history(&carol, wanted, |all| {
        all.iter().any(|it| it["id"] == *first && it["status"]["delivered"] == 1)
    });
    let started = Instant::now();
    while carol.json(&["group", "show", unwanted])[0]["members"].as_array().map(Vec::len) != Some(1)
    {
        carol.json(&["chat", "sync"]);
        assert!(started.elapsed() < PATIENCE, "bob is still in it");
    }
    let told = carol.json(&["chat", "history", unwanted]);
    let told = told.iter().find(|it| it["id"] == *second).expect("the message");
    assert_eq!(told["status"]["delivered"], 0);
    assert_eq!(bob.fails(&["group", "accept", unwanted]).0, 5, "there is no way back alone");
}

#[test]
fn a_file_that_is_taken_back_is_deleted_from_the_swarm() {
    let network = Network::start(4);
    let ((alice, _), (_, bob_id)) = friends(&network);
    let file = network.dir.path().join("photo.jpg");
    write_file(&file, 200_000);
    let sent = alice.json(&["chat", "file", &bob_id, path(&file)]);
    let id = sent[0]["id"].as_str().expect("an id");
    // Whoever kept what the message says can fetch the pieces without it.
    let thread = ThreadId { number: sent[0]["thread"].as_u64().expect("a thread") as u32 };
    let message = SayId(<[u8; 16]>::try_from(hex::decode(id).expect("hex")).expect("an id"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let nodes = session_sdk::Network::from_file(&network.file()).expect("a network");
    let open = || {
        runtime
            .block_on(Session::open(alice.home(), nodes.clone(), Options::default()))
            .expect("it opens")
    };
    let session = open();
    let find = move |vault: &dyn Vault| match thread::by_id(vault, thread, message)?.body {
        Body::File { manifest, route, .. } => Some(FileRef { manifest, route }),
        _ => None,
    };
    let kept = runtime.block_on(session.view(find)).expect("it runs").expect("a file");
    let into = network.dir.path().join("kept");
    runtime.block_on(session.save(&kept, &into, |_| {})).expect("the pieces are there");
    runtime.block_on(session.stop());
    alice.json(&["chat", "unsend", &bob_id, id]);
    let session = open();
    let again = network.dir.path().join("again");
    let saved = runtime.block_on(session.save(&kept, &again, |_| {}));
    assert!(matches!(saved, Err(FileError::Gone { missing: 1.. })), "{saved:?}");
    runtime.block_on(session.stop());
}

#[test]
fn files_arrive_whole() {
    let network = Network::start(10);
    let ((alice, _), (bob, alice_id_from_bob)) = {
        let ((alice, alice_id), (bob, _)) = friends(&network);
        ((alice, ()), (bob, alice_id))
    };
    let dir = network.dir.path();
    let file = dir.join("photo.jpg");
    let bytes = write_file(&file, 300_000);
    let bob_id = bob.json(&["account", "show"])[0]["id"].as_str().expect("an id").to_owned();
    let sent = alice.json(&["chat", "file", &bob_id, path(&file), "--caption", "the sea"]);
    assert_eq!(sent[0]["bytes"], 300_000);
    let got = read_until(&bob, |it| it["file"] == "photo.jpg");
    assert_eq!(got["caption"], "the sea");
    let into = dir.join("saved");
    let id = got["id"].as_str().expect("an id");
    bob.json(&["chat", "save", &alice_id_from_bob, id, "--into", path(&into)]);
    assert_eq!(fs::read(into.join("photo.jpg")).expect("it was saved"), bytes);
    assert_eq!(alice.fails(&["chat", "file", &bob_id, path(dir)]).0, 2, "a folder is no file");
}

#[test]
fn a_backup_brings_messages_back() {
    let network = Network::start(4);
    let ((alice, alice_id), (bob, bob_id)) = friends(&network);
    alice.json(&["chat", "send", &bob_id, "remember this"]);
    read_until(&bob, is_text("remember this"));
    let gone = alice.json(&["chat", "send", &bob_id, "not this"])[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    alice.json(&["chat", "forget", &bob_id, &gone]);

    let dir = network.dir.path();
    let (secret, file) = (dir.join("passphrase"), dir.join("backup"));
    fs::write(&secret, "correct horse\n").expect("it is written");
    alice.json(&["--passphrase-file", path(&secret), "backup", "export", path(&file)]);

    // Another machine, from the words and the backup.
    let words = alice.json(&["account", "words", "--show"])[0]["words"].clone();
    let words: Vec<_> =
        words.as_array().expect("words").iter().map(|it| it.as_str().expect("text")).collect();
    let again = Person::new(dir, "alice-again", Some(&network.file()));
    let restored = restore(&again, &words.join(" "));
    assert_eq!(restored["id"], alice_id.as_str());
    let wrong = dir.join("wrong");
    fs::write(&wrong, "incorrect horse\n").expect("it is written");
    let refused =
        again.fails(&["--passphrase-file", path(&wrong), "backup", "import", path(&file)]);
    assert_eq!(refused.0, 4, "{}", refused.1);
    again.json(&["--passphrase-file", path(&secret), "backup", "import", path(&file)]);
    let history = again.json(&["chat", "history", &bob_id]);
    assert!(history.iter().any(|it| it["text"] == "remember this"), "{history:?}");
    assert!(history.iter().all(|it| it["text"] != "not this"), "{history:?}");

    // A wrong word is named, and nothing is made.
    let mut typo = words.clone();
    typo[3] = "xyzzy";
    let nobody = Person::new(dir, "nobody", Some(&network.file()));
    let (code, said) = try_restore(&nobody, &typo.join(" "));
    assert_eq!(code, Some(2));
    assert!(said.contains("word 4"), "{said}");
}

fn try_restore(person: &Person, words: &str) -> (Option<i32>, String) {
    let mut command = person.command(&["--json", "account", "restore", "--plain"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("session starts");
    child.stdin.take().expect("piped").write_all(words.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = if output.status.success() { &output.stdout } else { &output.stderr };
    (output.status.code(), text(said))
}

fn restore(person: &Person, words: &str) -> Value {
    let (code, said) = try_restore(person, words);
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&said).expect("JSON")
}

#[test]
fn a_bot_answers() {
    let network = Network::start(4);
    let (alice, _) = person(&network, "alice");
    let (bot, bot_id) = person(&network, "bot");
    // Says what it hears in one answer, and replies to it; needs nothing but a shell.
    let script = r#"read -r line; text=$(printf '%s' "$line" | sed -n 's/.*"text":"\([a-z ]*\)".*/\1/p'); printf '{"text":"you said %s","reply":true}\n{"react":"👍"}\n' "$text""#;
    let args = ["bot", "--accept", "--count", "1", "--", "sh", "-c", script];
    let running = bot.command(&args).stdout(Stdio::null()).spawn().expect("session starts");
    let mut running = Guard(running);
    let sent = alice.json(&["chat", "send", &bot_id, "good morning"]);
    let id = sent[0]["id"].as_str().expect("an id");
    let answer = read_until(&alice, is_text("you said good morning"));
    assert_eq!(answer["reply_to"], id);
    assert!(running.0.wait().expect("it ends").success());
    wait_history(&alice, &bot_id, |all| {
        all.iter().any(|it| it["id"] == id && it["reactions"][0]["emoji"] == "👍")
    });
}

/// Ends a program however the test ends.
struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_second_device_joins_and_is_revoked() {
    let network = Network::start(4);
    let ((alice, alice_id), (bob, bob_id)) = friends(&network);
    let phone = Person::new(network.dir.path(), "phone", Some(&network.file()));
    let args = ["--json", "device", "request", &alice_id, "--plain", "--device", "phone"];
    let waiting = phone.command(&args).stdout(Stdio::piped()).spawn().expect("session starts");
    let mut waiting = Guard(waiting);
    let mut lines = {
        use std::io::BufRead;
        std::io::BufReader::new(waiting.0.stdout.take().expect("piped")).lines()
    };
    let shown: Value =
        serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
    alice.json(&[
        "device",
        "add",
        shown["request"].as_str().expect("a request"),
        "--name",
        "phone",
    ]);
    assert!(waiting.0.wait().expect("it ends").success());

    let devices = alice.json(&["device", "list"]);
    assert_eq!(devices.len(), 2, "{devices:?}");
    assert_eq!(alice.json(&["account", "audit"])[0]["findings"], Value::Array(Vec::new()));
    // The phone follows once alice has let it into her conversations.
    alice.json(&["chat", "sync"]);
    phone.json(&["chat", "sync"]);
    bob.json(&["chat", "send", &alice_id, "to both of you"]);
    read_until(&phone, is_text("to both of you"));
    // Read on one device is read on all.
    wait_history(&alice, &bob_id, |all| all.iter().any(|it| it["text"] == "to both of you"));
    assert!(alice.json(&["chat", "read"]).is_empty());
    phone.json(&["chat", "send", &bob_id, "from the phone"]);
    read_until(&bob, is_text("from the phone"));
    wait_history(&alice, &bob_id, |all| all.iter().any(|it| it["text"] == "from the phone"));

    let phone_id =
        devices.iter().find(|it| it["name"] == "phone").expect("it is listed")["device"].clone();
    alice.json(&["device", "revoke", phone_id.as_str().expect("an id")]);
    alice.json(&["chat", "sync"]);
    bob.json(&["chat", "send", &alice_id, "only to one"]);
    read_until(&alice, is_text("only to one"));
    // Whether it still may read or not: it opens nothing new.
    let _ = phone.output(&["chat", "sync"]);
    let history = phone.json(&["chat", "history", &bob_id]);
    assert!(history.iter().all(|it| it["text"] != "only to one"), "{history:?}");
}

#[test]
fn profiles_are_apart() {
    let network = Network::start(4);
    let (person_, id) = person(&network, "alice");
    person_.json(&["profile", "new", "work"]);
    assert_eq!(person_.fails(&["profile", "new", "work"]).0, 2);
    assert_eq!(person_.fails(&["profile", "new", "../work"]).0, 2);
    assert_eq!(person_.fails(&["--profile", "work", "account", "show"]).0, 5);
    let other = person_.json(&["--profile", "work", "account", "new", "--plain"])[0]["id"].clone();
    assert_ne!(other, id.as_str());
    assert_eq!(person_.json(&["account", "show"])[0]["id"], id.as_str());
    person_.json(&["profile", "use", "work"]);
    assert_eq!(person_.json(&["account", "show"])[0]["id"], other);
    person_.json(&["profile", "use", "-"]);
    assert_eq!(person_.json(&["account", "show"])[0]["id"], id.as_str());
    assert_eq!(person_.fails(&["profile", "use", "play"]).0, 5);
}

#[test]
fn wrong_use_is_told_in_one_sentence() {
    let network = Network::start(4);
    let (alice, id) = person(&network, "alice");
    for (args, code, why) in [
        (&["chat", "send", "07zz", "x"][..], 2, "group:"),
        (&["chat", "send", &id, "  "], 2, "empty"),
        (&["chat", "history", "99"], 5, "no conversation 99"),
        (&["chat", "history", "group:abcd"], 5, "no group abcd"),
        (&["account", "new", "--plain"], 2, "already"),
        (&["account", "words"], 2, "--show"),
        (&["chat"], 2, "terminal"),
        (&["contact", "accept", "07"], 2, "07"),
    ] {
        let (got, said) = alice.fails(args);
        assert_eq!(got, code, "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    }
    let nobody = Person::new(network.dir.path(), "nobody", Some(&network.file()));
    let (code, said) = nobody.fails(&["chat", "list"]);
    assert_eq!(code, 5);
    assert!(said.contains("session account new"), "{said}");
}
