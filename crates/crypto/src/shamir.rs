//! Shamir's secret sharing over GF(2^8), byte by byte, in constant time.
//!
//! *Provided:* any `threshold` shares give the secret, fewer say nothing about it. *Not provided:*
//! any check that shares belong together: whoever reconstructs must check the outcome, as
//! `session-protocol`'s beacon does.
//!
//! The field is that of AES (x^8 + x^4 + x^3 + x + 1). The share of a secret for point x, in
//! 1..=255, is the polynomial's value there; the secret is its value at 0.

/// Multiplies in the field; time does not depend on the values.
const fn multiply(mut left: u8, mut right: u8) -> u8 {
    let mut product = 0;
    let mut bit = 0;
    while bit < 8 {
        product ^= left & (right & 1).wrapping_neg();
        left = (left << 1) ^ (0x1b & (left >> 7).wrapping_neg());
        right >>= 1;
        bit += 1;
    }
    product
}

/// Returns the inverse, left^254; that of 0 is 0.
const fn invert(value: u8) -> u8 {
    let mut power = value;
    let mut result = 1;
    let mut step = 0;
    while step < 7 {
        power = multiply(power, power);
        result = multiply(result, power);
        step += 1;
    }
    result
}

/// Returns the share for point `x` of the polynomial with these coefficients, the secret first.
#[must_use]
pub fn share(coefficients: &[[u8; 32]], x: u8) -> [u8; 32] {
    let mut out = [0; 32];
    for coefficient in coefficients.iter().rev() {
        for (out, byte) in out.iter_mut().zip(coefficient) {
            *out = multiply(*out, x) ^ byte;
        }
    }
    out
}

/// Returns the value at 0 of the polynomial through these points, whose first parts must differ.
#[must_use]
pub fn reconstruct(shares: &[(u8, [u8; 32])]) -> [u8; 32] {
    let mut secret = [0; 32];
    for (x, share) in shares {
        let mut weight = 1;
        for (other, _) in shares.iter().filter(|(other, _)| other != x) {
            weight = multiply(weight, multiply(*other, invert(other ^ x)));
        }
        for (out, byte) in secret.iter_mut().zip(share) {
            *out ^= multiply(*byte, weight);
        }
    }
    secret
}

#[cfg(test)]
mod tests;
