use std::collections::BTreeMap;

use session_core::{Entropy, SeededEntropy};

use super::*;

fn entry(id: ConversationId) -> Entry {
    Entry {
        id,
        created: Time::ZERO,
        expires: Time::ZERO,
        keep_until: Time::ZERO,
        closed: None,
        next: 0,
        first: 0,
        last_expiry: Time::ZERO,
        members: Box::new([]),
        extras: None,
        invited: 0,
        compat: false,
        dirty: false,
        told: false,
    }
}

#[test]
fn the_index_agrees_with_a_map_however_ids_collide() {
    let mut rng = SeededEntropy::new(1);
    let mut entries = Entries::default();
    let mut map: BTreeMap<ConversationId, Slot> = BTreeMap::new();
    for step in 0..20_000u64 {
        // Few different homes, so that runs are long, wrap around and interleave.
        let mut id = [0; 32];
        id[7] = u8::try_from(rng.below(6)).expect("small").wrapping_sub(3);
        id[31] = u8::try_from(rng.below(40)).expect("small");
        let id = ConversationId::from(id);
        let account = AccountId::from(*id.as_bytes());
        assert_eq!(entries.slot(&id), map.get(&id).copied(), "at step {step}");
        if let Some(slot) = map.remove(&id) {
            assert!(entries.remove(slot, Time::ZERO, [account].into_iter()).is_some());
        } else if map.len() < 120 {
            let slot = entries.insert(entry(id), Time::ZERO, [account].into_iter());
            map.insert(id, slot);
        }
        assert_eq!(entries.len(), map.len());
        assert_eq!((entries.due.len(), entries.by_account.len()), (map.len(), map.len()));
    }
    assert!(map.iter().all(|(id, slot)| entries.slot(id) == Some(*slot)));
    assert_eq!(entries.after(None, None).count(), map.len());
}
