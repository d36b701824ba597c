use std::io::Write;
use std::sync::{Arc, Mutex};

use super::{LoggingError, filter, subscriber};

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(flag: Option<&str>, variable: Option<&str>) -> String {
    let memory = Memory::default();
    let writer = memory.clone();
    let subscriber = subscriber(filter(flag, variable).unwrap(), move || writer.clone());
    tracing::subscriber::with_default(subscriber, || {
        tracing::debug!("a detail");
        tracing::info!(port = 9651, "listening");
        tracing::warn!(target: "quinn", "a warning from below");
        tracing::info!(target: "quinn", "chatter from below");
    });
    let bytes = memory.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_default_shows_our_life_cycle_and_warnings_from_below() {
    let text = logged(None, None);
    assert!(text.contains("INFO") && text.contains("listening port=9651"), "{text}");
    assert!(text.contains("a warning from below"));
    assert!(!text.contains("chatter") && !text.contains("a detail"));
    assert!(!text.contains('\u{1b}'), "no colour codes");
}

#[test]
fn the_flag_beats_the_variable_and_an_empty_variable_is_none() {
    assert!(logged(None, Some("debug")).contains("a detail"));
    assert_eq!(logged(Some("error"), Some("debug")), "");
    assert!(logged(None, Some("")).contains("listening"));
}

#[test]
fn a_malformed_filter_is_named() {
    let error = filter(Some("info,=="), None).unwrap_err();
    assert!(matches!(&error, LoggingError::Filter { filter, .. } if filter == "info,=="));
    assert!(error.to_string().contains("info,=="));
}
