use session_core::{InboxAddress, Span, Time};
use session_protocol::request::Refusal;

use super::{ACCOUNT_MAX, REUSE_MAX, Reuse};

const NOW: Time = Time::from_millis(1_700_000_000_000);

fn account(number: usize) -> InboxAddress {
    InboxAddress::from(numbered(number))
}

fn numbered(number: usize) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    bytes
}

#[test]
fn an_account_has_a_share() {
    let mut reuse = Reuse::default();
    for n in 0..ACCOUNT_MAX {
        assert_eq!(reuse.note(account(0), numbered(n), NOW, NOW), Ok(()));
    }
    let over = reuse.note(account(0), numbered(ACCOUNT_MAX), NOW, NOW);
    assert!(matches!(over, Err(Refusal::RateLimited { .. })));
    assert_eq!(reuse.note(account(1), numbered(ACCOUNT_MAX), NOW, NOW), Ok(()));
    assert_eq!(reuse.note(account(0), numbered(0), NOW, NOW), Err(Refusal::SignatureReused));
    // A share is free again when its signatures are too old to be used.
    let later = NOW + Span::from_secs(61);
    reuse.purge(later);
    assert_eq!(reuse.note(account(0), numbered(ACCOUNT_MAX), later, later), Ok(()));
}

#[test]
fn throwaway_accounts_block_nobody_and_free_no_signature() {
    let mut reuse = Reuse::default();
    let (mine, first) = (account(usize::MAX), numbered(usize::MAX));
    assert_eq!(reuse.note(mine, first, NOW, NOW), Ok(()));
    // One signature each, twice what the table holds, in 20 seconds.
    let mut now = NOW;
    for n in 0..2 * REUSE_MAX {
        now = NOW + Span::from_millis(1 + n as u64 * 20_000 / (2 * REUSE_MAX) as u64);
        assert_eq!(reuse.note(account(n), numbered(n), now, now), Ok(()), "{n}");
    }
    assert!(reuse.used.len() <= REUSE_MAX);
    assert_eq!((reuse.used.len(), reuse.held.len()), (reuse.by_age.len(), reuse.held.len()));
    // The first one is forgotten, and refused all the same; a new one is taken.
    assert!(matches!(reuse.note(mine, first, NOW, now), Err(Refusal::Clock { .. })));
    assert_eq!(reuse.note(mine, numbered(usize::MAX - 1), now, now), Ok(()));
}

#[test]
fn clocks_that_are_ahead_cannot_keep_the_table_full() {
    let mut reuse = Reuse::default();
    let ahead = NOW + Span::from_secs(60);
    let mut refused = 0;
    for n in 0..2 * REUSE_MAX {
        refused += usize::from(reuse.note(account(n), numbered(n), ahead, NOW).is_err());
    }
    assert!(refused > REUSE_MAX);
    for n in 0..2 * REUSE_MAX {
        let now = NOW + Span::from_millis(1 + n as u64 / 10);
        let number = 2 * REUSE_MAX + n;
        assert_eq!(reuse.note(account(number), numbered(number), now, now), Ok(()), "{n}");
        let again = reuse.note(account(number), numbered(number), now, now);
        assert_eq!(again, Err(Refusal::SignatureReused));
    }
}
