use super::*;

const KEYS: [&[u8]; 9] =
    [&[1], &[1, 0], &[1, 7], &[1, 7, 3], &[2], &[2, 255], &[255], &[255, 255], &[255, 255, 1]];

/// What [`Vault::scan`] promises, said in the slowest way.
fn expected(prefix: &[u8], from: &[u8], backwards: bool) -> Vec<&'static [u8]> {
    let mut keys: Vec<_> = KEYS.into_iter().filter(|key| key.starts_with(prefix)).collect();
    if backwards {
        keys.reverse();
        keys.retain(|key| from.is_empty() || *key <= from);
    } else {
        keys.retain(|key| *key >= from);
    }
    keys
}

#[test]
fn scans_show_what_is_there_in_both_directions() {
    let mut vault = MemoryVault::new();
    for key in KEYS {
        vault.put(key, key);
    }
    let places = KEYS.into_iter().chain([&[] as &[u8], &[0], &[1, 5], &[3], &[255, 255, 255]]);
    for prefix in places.clone() {
        for from in places.clone() {
            for backwards in [false, true] {
                let all = expected(prefix, from, backwards);
                for limit in 0..=all.len() {
                    let mut shown = Vec::new();
                    vault.scan(prefix, from, backwards, &mut |key, value| {
                        assert_eq!(key, value);
                        shown.push(key.to_vec());
                        shown.len() < limit
                    });
                    let many = limit.max(1).min(all.len());
                    assert_eq!(shown, all[..many], "{prefix:?} {from:?} {backwards}");
                }
            }
        }
    }
}
