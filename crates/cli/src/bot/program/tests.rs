use std::ffi::OsString;
use std::time::Duration;

use serde_json::json;

use super::{Once, Stream, next_line};

fn shell(script: &str) -> Vec<OsString> {
    ["sh", "-c", script].map(OsString::from).to_vec()
}

async fn once(script: &str) -> Result<Vec<Option<String>>, String> {
    let command = shell(script);
    let once = Once { command: &command, limit: Duration::from_secs(2) };
    let answers =
        once.run(&json!({ "text": "hello" })).await.map_err(|failure| failure.to_string())?;
    Ok(answers.into_iter().map(|answer| answer.text).collect())
}

#[tokio::test]
async fn a_program_answers_what_it_is_told() {
    assert_eq!(once("cat").await, Ok(vec![Some("hello".to_owned())]));
    assert_eq!(once("true").await, Ok(vec![]));
    // It need not read what it is told.
    assert_eq!(
        once(r#"echo '{"text":"a"}'; echo; echo '{"text":"b"}'"#).await.map(|it| it.len()),
        Ok(2)
    );
}

#[tokio::test]
async fn what_goes_too_far_says_nothing() {
    for (script, why) in [
        (r#"echo '{"text":"a"}'; exit 3"#, "failed"),
        ("sleep 60", "took over"),
        ("yes", "over 1048576 bytes"),
        ("echo hello", "no answer"),
        (r#"for i in $(seq 33); do echo '{"text":"a"}'; done"#, "33 answers"),
    ] {
        let said = once(script).await.expect_err(script);
        assert!(said.contains(why), "{script}: {said}");
    }
    let missing = vec![OsString::from("/no/such/program")];
    let once = Once { command: &missing, limit: Duration::from_secs(2) };
    let failure = once.run(&json!({})).await.expect_err("there is none");
    assert!(failure.to_string().contains("/no/such/program"));
}

#[tokio::test]
async fn a_program_that_stays_hears_and_answers() {
    let mut stream = Stream::start(&shell("cat")).expect("it starts");
    for text in ["one", "two"] {
        stream.tell(&json!({ "text": text, "thread": 1 })).await.expect("it listens");
        let answer = stream.next().await.expect("it answers").expect("it lives");
        assert_eq!((answer.text.as_deref(), answer.thread), (Some(text), Some(1)));
    }
    assert_eq!(stream.finish(Duration::from_secs(2)).await, []);
    let mut ended = Stream::start(&shell("true")).expect("it starts");
    assert_eq!(ended.next().await.expect("no failure"), None);
}

#[tokio::test]
async fn a_line_has_an_end() {
    let long = vec![b'x'; 200_000];
    let failure = next_line(&mut &long[..], &mut Vec::new()).await.expect_err("too long");
    assert!(failure.to_string().contains("a line over"));
    let mut begun = b"be".to_vec();
    let line = next_line(&mut &b"gun\nnext"[..], &mut begun).await.expect("a line");
    assert_eq!(line.as_deref(), Some("begun\n"));
    assert!(begun.is_empty());
}
