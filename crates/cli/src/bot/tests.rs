//! Which messages the program is told of.

use session_core::{AccountId, Span, Text, Time};
use session_messaging::say::{self, DeviceId, Say, SayId};
use session_messaging::vault::MemoryVault;

use super::*;

fn hear(vault: &mut MemoryVault, thread: ThreadId, number: u64) {
    let now = Time::from_millis(1_000_000) + Span::from_secs(number);
    let mut id = [1; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let say = Say::Text { body: Text::new(format!("{number}")).unwrap(), reply_to: None };
    let said = say::Said { id: SayId(id), sent_at: now, say };
    let (author, device) = (AccountId::from([7; 32]), DeviceId::default());
    thread::apply(vault, now, thread, author, device, false, &said, &[]);
}

#[test]
fn a_backlog_is_told_from_its_oldest_message_on() {
    let mut vault = MemoryVault::new();
    let threads: Vec<ThreadId> = [7, 8]
        .map(|number| {
            let peer = Peer::Account { account: AccountId::from([number; 32]) };
            let thread = thread::open_thread(&mut vault, &peer, Time::from_millis(1));
            thread::set_standing(&mut vault, thread, Standing::Accepted);
            thread
        })
        .into();
    let backlog = NEW_MAX as u64 * 3 / 2;
    for number in 0..backlog {
        let thread = threads[usize::from(number % 5 == 0)];
        hear(&mut vault, thread, number);
    }
    let mut texts = Vec::new();
    loop {
        let news = unseen(&vault);
        if news.is_empty() {
            break;
        }
        assert!(news.len() <= NEW_MAX);
        for told in news {
            texts.push(told.line["text"].as_str().unwrap().to_owned());
            let read = thread::mark_read(
                &mut vault,
                Time::from_millis(9_999_999),
                told.thread,
                told.message.place,
            );
            assert_eq!(read.len(), 1, "only what was told counts as read");
        }
    }
    assert_eq!(texts, (0..backlog).map(|number| number.to_string()).collect::<Vec<_>>());
}
