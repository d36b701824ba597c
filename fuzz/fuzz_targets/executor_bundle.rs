//! Bundles are canonical, in bytes and as texts; none of anybody's making makes the verifier panic,
//! and none without a quorum's signatures is taken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use session_core::{Decode as _, Encode as _, Inline};
use session_crypto::fake::FakeVerifier;
use session_executor::bundle::{Bundle, Ground, from_json, to_json, verify};

fn judge(bundle: &Bundle) {
    let ground = Ground { verifier: &FakeVerifier, workers: &Inline, known: None };
    if let Ok(verdict) = verify(bundle, &ground) {
        assert!(verdict.signatures > 0, "nobody signed it");
        assert!(!verdict.trusted.is_empty());
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    if kind % 2 == 0 {
        let Ok(bundle) = Bundle::decode_exact(bytes) else { return };
        assert_eq!(bundle.to_bytes(), bytes, "accepted, but not what encoding produces");
        let text = to_json(&bundle);
        assert_eq!(from_json(&text).as_ref(), Ok(&bundle));
        judge(&bundle);
    } else if let Ok(text) = core::str::from_utf8(bytes) {
        if let Ok(bundle) = from_json(text) {
            assert_eq!(to_json(&bundle), text);
        }
    }
});
