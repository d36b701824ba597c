use std::net::{IpAddr, Ipv4Addr};

use session_core::{Span, Time};

use super::{Addresses, Block, NoRoom};
use crate::limits::{Budget, Limits, Rate};

fn table(addresses_max: usize) -> Addresses {
    let client = Budget { frames: Rate { per_second: 4, burst: 20 }, bytes: Rate::UNLIMITED };
    Addresses::new(&Limits {
        clients_max: 3,
        handshakes_max: 2,
        address_connections_max: 2,
        addresses_max,
        client,
        ..Limits::default()
    })
}

fn block(number: u32) -> Block {
    Block::of(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)))
}

fn at(millis: u64) -> Time {
    Time::from_millis(1_000_000 + millis)
}

#[test]
fn an_address_is_remembered_until_its_bucket_is_full() {
    let mut addresses = table(100);
    assert_eq!(addresses.open(at(0), block(1)), Ok(()));
    assert_eq!(addresses.take(at(0), block(1), 16, 0), Ok(()));
    addresses.close(block(1));
    // It costs 4, and 4 come in a second.
    assert_eq!(addresses.open(at(999), block(1)), Err(NoRoom::Rate(Span::from_millis(1))));
    assert_eq!(addresses.len(), 1);
    assert_eq!(addresses.open(at(4_999), block(2)), Ok(()));
    assert_eq!(addresses.len(), 2);
    assert_eq!(addresses.open(at(5_000), block(3)), Ok(()));
    assert_eq!(addresses.len(), 2, "the first is rested and forgotten");
}

#[test]
fn an_address_has_so_many_connections() {
    let mut addresses = table(100);
    for _ in 0..2 {
        assert_eq!(addresses.open(at(0), block(1)), Ok(()));
    }
    assert_eq!(addresses.open(at(0), block(1)), Err(NoRoom::Connections));
    addresses.close(block(1));
    assert_eq!(addresses.open(at(0), block(1)), Ok(()));
}

#[test]
fn a_full_table_forgets_whoever_is_rested_first() {
    let mut addresses = table(0); // raised to what the connections need: 6
    for number in 0..6 {
        assert_eq!(addresses.open(at(0), block(number)), Ok(()));
        assert_eq!(addresses.take(at(0), block(number), u64::from(number), 0), Ok(()));
        addresses.close(block(number));
    }
    assert_eq!(addresses.len(), 6);
    for number in 6..1_000 {
        assert_eq!(addresses.open(at(0), block(number)), Ok(()));
        addresses.close(block(number));
        assert!(addresses.len() <= 6);
    }
    // Those who used most are remembered longest.
    assert_eq!(addresses.take(at(0), block(5), 12, 0), Err(Span::from_millis(250)));
}

#[test]
fn connected_addresses_are_never_forgotten() {
    let mut addresses = table(0);
    assert_eq!(addresses.open(at(0), block(1)), Ok(()));
    assert_eq!(addresses.take(at(0), block(1), 16, 0), Ok(()));
    for number in 2..100 {
        assert_eq!(addresses.open(at(0), block(number)), Ok(()));
        addresses.close(block(number));
    }
    assert_eq!(addresses.take(at(0), block(1), 1, 0), Err(Span::from_millis(250)));
}
