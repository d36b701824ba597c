use session_messaging::say::{Say, SayId};

use super::Answer;

const ID: SayId = SayId([7; 16]);

fn say(line: &str, about: Option<SayId>) -> Result<Say, String> {
    Answer::read(line).and_then(|it| it.say(about)).map_err(|failure| failure.to_string())
}

#[test]
fn answers_are_texts_and_reactions() {
    let Ok(Say::Text { body, reply_to: None }) = say(r#"{"text":"hi"}"#, Some(ID)) else {
        panic!("a text that answers nothing");
    };
    assert_eq!(&*body, "hi");
    let reply = say(r#"{"text":"hi","reply":true}"#, Some(ID));
    assert!(matches!(reply, Ok(Say::Text { reply_to: Some(ID), .. })));
    let other = format!(r#"{{"react":"👍","to":"{}","thread":3}}"#, "08".repeat(16));
    let other = say(&other, Some(ID));
    assert!(matches!(other, Ok(Say::React { to: SayId(to), on: true, .. }) if to == [8; 16]));
    let react = say(r#"{"react":"👍"}"#, Some(ID));
    assert!(matches!(react, Ok(Say::React { to: ID, .. })));
}

#[test]
fn everything_else_is_refused() {
    for (line, why) in [
        ("hello", "no answer"),
        ("{}", "\"text\""),
        (r#"{"text":"a","react":"b"}"#, "\"text\""),
        (r#"{"text":"a","shell":"rm"}"#, "unknown field"),
        (r#"{"text":" "}"#, "empty"),
        (r#"{"text":"a","to":"xyz"}"#, "\"to\""),
        (r#"{"react":"a"}"#, "\"to\" is missing"),
    ] {
        let said = say(line, None).expect_err(line);
        assert!(said.contains(why), "{line}: {said}");
    }
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(70_000));
    assert!(say(&long, None).is_err());
}
