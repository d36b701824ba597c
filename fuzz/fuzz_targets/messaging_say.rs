//! Whatever another member says, or a device tells the others, is refused or has one form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use session_core::{Decode, Encode};
use session_messaging::group::Agreed;
use session_messaging::say::{Copied, Said, Say};

fn canonical<T: Decode + Encode>(bytes: &[u8]) -> Option<T> {
    let value = T::decode_exact(bytes).ok()?;
    assert_eq!(value.to_bytes(), bytes, "accepted, but not what encoding produces");
    Some(value)
}

/// What own devices repeat holds something said, as bytes: it is read one deep, never deeper.
fn said(bytes: &[u8]) {
    let Some(Said { say: Say::Copy { copy }, .. }) = canonical(bytes) else { return };
    if let Copied::Said { said, .. } = *copy {
        drop(canonical::<Said>(&said));
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 4 {
        0 => said(bytes),
        1 => drop(canonical::<Say>(bytes)),
        2 => drop(canonical::<Copied>(bytes)),
        _ => drop(canonical::<Agreed>(bytes)),
    }
});
