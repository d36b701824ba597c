//! Hex, many bytes at a time: keys, signatures and messages are most of what calls carry.
//!
//! Plain loops without branches, so that the compiler works on 32 digits at once.

/// Returns the bytes of hex digits in either case; `None` when there is an odd number of them, or
/// something else among them.
pub(crate) fn decode(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let (mut bytes, mut wrong) = (vec![0; digits.len() / 2], false);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let ((high, high_wrong), (low, low_wrong)) = (value(pair[0]), value(pair[1]));
        *byte = high << 4 | low;
        wrong |= high_wrong | low_wrong;
    }
    (!wrong).then_some(bytes)
}

/// Returns the hex digits of bytes, in lower case.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut digits = vec![0; bytes.len() * 2];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = digit(byte >> 4);
        pair[1] = digit(byte & 15);
    }
    String::from_utf8(digits).expect("digits are ASCII")
}

/// Returns the value of a digit, and whether it is none.
fn value(character: u8) -> (u8, bool) {
    let digit = character.wrapping_sub(b'0');
    let letter = (character | 0x20).wrapping_sub(b'a');
    let value = if digit < 10 { digit } else { letter.wrapping_add(10) };
    (value, (digit >= 10) & (letter >= 6))
}

fn digit(value: u8) -> u8 {
    value + if value < 10 { b'0' } else { b'a' - 10 }
}

#[cfg(test)]
mod tests;
