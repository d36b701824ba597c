use clap::{CommandFactory as _, Parser as _};
use session_core::{AccountId, Span};
use session_crypto::AccountRef;
use session_messaging::say::{GroupId, Peer};

use super::{TimerSpan, Where, place};
use crate::args::Cli;

#[test]
fn every_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn conversations_are_named_in_three_ways() {
    let account = AccountId::from([7; 32]);
    let id = AccountRef(account).to_string();
    assert_eq!(place(&id), Ok(Where::Peer(Peer::Account { account })));
    assert_eq!(place("12"), Ok(Where::Thread(12)));
    assert_eq!(place("group:AbCd"), Ok(Where::GroupStart("abcd".to_owned())));
    let whole = place(&format!("group:{}", "0a".repeat(32)));
    assert_eq!(whole, Ok(Where::Peer(Peer::Group { group: GroupId { bytes: [10; 32] } })));
    for wrong in ["", "group:", "group:xyz", "07ab", "-1", "99999999999", &id[..65]] {
        assert!(place(wrong).is_err(), "{wrong}");
    }
    let long = format!("group:{}", "a".repeat(65));
    assert!(place(&long).is_err());
}

#[test]
fn timers_are_spans_or_off() {
    assert_eq!("off".parse(), Ok(TimerSpan(None)));
    assert_eq!("1d".parse(), Ok(TimerSpan(Some(Span::from_secs(86_400)))));
    assert!("never".parse::<TimerSpan>().is_err());
}

#[test]
fn what_is_said_is_not_a_flag() {
    let id = AccountRef(AccountId::from([7; 32])).to_string();
    for line in [
        &["chat", "send", &id, "hello", "--until", "delivered"][..],
        &["chat"],
        &["chat", "search", "two", "words", "--limit", "3"],
        &["bot", "--stream", "--", "python3", "bot.py", "--fast"],
        &["group", "role", "group:ab", &id, "admin"],
        &["chat", "forget", "1", "--all"],
        &["--profile", "work", "--read-receipts", "chat", "read"],
    ] {
        let parsed = Cli::try_parse_from([&["session"], line].concat());
        assert!(parsed.is_ok(), "{line:?}: {:?}", parsed.err());
    }
    for line in [
        &["chat", "forget", "1"][..],
        &["chat", "timer", "1", "soon"],
        &["bot"],
        &["account", "restore", "abandon", "ability"],
    ] {
        assert!(Cli::try_parse_from([&["session"], line].concat()).is_err(), "{line:?}");
    }
}
