use session_crypto::Signer as _;
use session_crypto::fake::FakeIdentity;

use super::*;

fn identity(byte: u8) -> PublicIdentity {
    FakeIdentity::new(&[byte; 32]).public().clone()
}

#[test]
fn both_see_the_same_sixty_digits() {
    let seen = number(&identity(1), &identity(2));
    assert_eq!(seen, number(&identity(2), &identity(1)));
    assert_eq!(seen.len(), DIGITS);
    assert!(seen.chars().all(|digit| digit.is_ascii_digit()));
    assert_eq!(seen, "883629898958444918201332104712234773491401583076548299308204");
}

#[test]
fn others_see_another() {
    let numbers: std::collections::BTreeSet<String> = (1..20)
        .flat_map(|one| (one..20).map(move |other| number(&identity(one), &identity(other))))
        .collect();
    assert_eq!(numbers.len(), 19 * 20 / 2);
}

#[test]
fn in_groups_of_five() {
    let seen = number(&identity(1), &identity(2));
    let shown = in_groups(&seen);
    assert_eq!(shown.split(' ').count(), 12);
    assert!(shown.split(' ').all(|group| group.len() == GROUP));
    assert_eq!(shown.replace(' ', ""), seen);
}
