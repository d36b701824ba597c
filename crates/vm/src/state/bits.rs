//! Keys as bits: for each byte a 1 and its eight bits, highest first; behind the last byte zeros.

/// Returns which side of a node for `bit` a key belongs to: 0 is left, 1 is right.
pub(super) fn side(key: &[u8], bit: u16) -> usize {
    let (byte, within) = (usize::from(bit / 9), bit % 9);
    match key.get(byte) {
        None => 0,
        Some(_) if within == 0 => 1,
        Some(byte) => usize::from(byte >> (8 - within) & 1),
    }
}

/// Returns the first bit in which two keys differ, one of which is in a state.
pub(super) fn first_difference(a: &[u8], b: &[u8]) -> Option<u16> {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let within = match (a.get(same), b.get(same)) {
        (None, None) => return None,
        (Some(a), Some(b)) => 1 + (a ^ b).leading_zeros() as usize,
        _ => 0,
    };
    Some(u16::try_from(9 * same + within).expect("the key in a state is short"))
}
