//! The numbers that docs/wire/README.md lists are those of the code.

use std::collections::BTreeSet;

use session_protocol::Kind;

const README: &str = include_str!("../../../../docs/wire/README.md");

/// Returns code and name of every row of the table of frame kinds.
fn documented() -> Vec<(u8, String)> {
    let (_, section) = README.split_once("## Frame kinds").expect("the section is there");
    section
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            Some((cells.next()?.parse().ok()?, cells.next()?.to_owned()))
        })
        .collect()
}

#[test]
fn kinds_are_those_of_the_documentation() {
    let kinds: Vec<_> = Kind::ALL.iter().map(|kind| (kind.code(), format!("{kind:?}"))).collect();
    assert_eq!(kinds, documented());
    assert_eq!(kinds.len(), 22);
}

#[test]
fn kinds_are_unique() {
    let codes: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.code()).collect();
    assert_eq!(codes.len(), Kind::ALL.len());
    for kind in Kind::ALL {
        assert_eq!(Kind::from_code(kind.code()), Some(*kind));
    }
}

#[test]
fn the_first_twelve_are_those_of_the_reference() {
    let codes: Vec<_> = Kind::ALL.iter().map(|kind| kind.code()).take(12).collect();
    assert_eq!(codes, (0..12).collect::<Vec<_>>());
}
