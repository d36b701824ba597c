use session_core::testing::check_codec;

use super::*;

#[test]
fn the_bytes_of_the_tables() {
    let stamp = Stamp { format: FORMAT, chain: [0xaa; 32].into(), genesis: [0xbb; 32].into() };
    let golden =
        format!("0001 # format\n{} # chain\n{} # genesis", "aa".repeat(32), "bb".repeat(32));
    check_codec(&stamp, &golden);
    check_codec(&Place { height: 258, index: 3 }, "0000000000000102 # height\n00000003 # index");
}

#[test]
fn the_keys_of_the_tables() {
    let hex = |key: Vec<u8>| hex::encode(key);
    assert_eq!(hex(block_key(&[0x11; 32].into())), format!("62{}", "11".repeat(32)));
    assert_eq!(hex(transaction_key(&[0x22; 32].into())), format!("74{}", "22".repeat(32)));
    assert_eq!(hex(height_key(258)), "680000000000000102");
    // Blocks lie in the order of their heights.
    assert!(height_key(255) < height_key(256));
    // No table reaches into another.
    let tables = [b"b", b"h", b"t", STAMP_KEY, LAST_KEY, STATE_PREFIX, EXTRA_PREFIX];
    for (index, table) in tables.iter().enumerate() {
        assert!(tables[..index].iter().all(|other| !other.starts_with(table)));
    }
}

#[test]
fn a_format_is_read_whatever_follows() {
    assert_eq!(format_of(&[0, 9, 1, 2, 3]), Ok(9));
    assert!(format_of(&[0]).is_err());
}

#[test]
fn the_last_of_two_blocks_is_the_last() {
    let mut batch = Batch::new();
    put_block(&mut batch, &[1; 32].into(), 1, b"one");
    put_block(&mut batch, &[2; 32].into(), 2, b"two");
    let last = batch.changes().find(|(key, _)| *key == LAST_KEY);
    assert_eq!(last, Some((LAST_KEY, Some(&[2; 32][..]))));
    let changes = Changes::from([(vec![7], Some(vec![8])), (vec![9], None)]);
    put_changes(&mut batch, &changes);
    let state: Vec<_> = batch.changes().filter(|(key, _)| key.starts_with(STATE_PREFIX)).collect();
    assert_eq!(state, [(&b"s\x07"[..], Some(&[8][..])), (&b"s\x09"[..], None)]);
}
