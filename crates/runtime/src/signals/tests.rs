use std::process::Command;
use std::time::Duration;

use tokio::time::timeout;

/// Signals reach the whole process, so one test covers both in turn.
#[tokio::test]
async fn both_signals_are_noticed_and_named() {
    for (flag, name) in [("-TERM", "SIGTERM"), ("-INT", "SIGINT")] {
        let asked = super::stop_asked().unwrap();
        let status = Command::new("kill").args([flag, &std::process::id().to_string()]).status();
        assert!(status.unwrap().success());
        assert_eq!(timeout(Duration::from_secs(10), asked).await.unwrap(), name);
    }
}
