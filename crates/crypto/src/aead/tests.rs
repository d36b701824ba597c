use super::{NONCE_SIZE, TAG_SIZE, apply_keystream, seal};
use crate::SymmetricKey;

#[test]
fn the_key_stream_is_what_sealing_adds() {
    let (key, nonce) = (SymmetricKey::from([7; 32]), [9; NONCE_SIZE]);
    let plain: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let sealed = seal(&key, &nonce, b"any", &plain);
    let ciphertext = &sealed[..sealed.len() - TAG_SIZE];
    for offset in [0, 1, 63, 64, 65, 500, 999, 1000] {
        let mut bytes = plain[offset..].to_vec();
        apply_keystream(&key, &nonce, offset, &mut bytes);
        assert_eq!(bytes, ciphertext[offset..], "from {offset}");
        apply_keystream(&key, &nonce, offset, &mut bytes);
        assert_eq!(bytes, plain[offset..], "and back from {offset}");
    }
}
