use super::{invert, multiply, reconstruct, share};

#[test]
fn the_field_is_that_of_aes() {
    // FIPS 197, 4.2: {57} x {83} = {c1}, {57} x {13} = {fe}.
    assert_eq!(multiply(0x57, 0x83), 0xc1);
    assert_eq!(multiply(0x57, 0x13), 0xfe);
    for value in 1..=255 {
        assert_eq!(multiply(value, invert(value)), 1, "{value}");
    }
    assert_eq!(invert(0), 0);
}

#[test]
fn any_threshold_of_shares_gives_the_secret_and_fewer_do_not() {
    let coefficients = [[7; 32], [99; 32], [200; 32]];
    let shares: Vec<_> = (1..=7).map(|x| (x, share(&coefficients, x))).collect();
    for a in 0..7 {
        for b in a + 1..7 {
            assert_ne!(reconstruct(&[shares[a], shares[b]]), [7; 32]);
            for c in b + 1..7 {
                assert_eq!(reconstruct(&[shares[c], shares[a], shares[b]]), [7; 32]);
            }
        }
    }
}
