use session_core::SeededEntropy;

use super::*;

struct Pair {
    alice: Identity,
    bob: Identity,
    rng: SeededEntropy,
}

impl Pair {
    fn new() -> Self {
        Self {
            alice: Identity::from_seed(&[1; 32]),
            bob: Identity::from_seed(&[2; 32]),
            rng: SeededEntropy::new(42),
        }
    }

    fn seal(&mut self, content: &[u8]) -> Vec<u8> {
        seal(&self.alice, self.bob.public(), b"context", content, &mut self.rng).expect("fits")
    }

    fn refused(&self, bytes: &[u8]) -> bool {
        open(&self.bob, b"context", bytes).expect_err("altered") == EnvelopeError::NotOpened
    }
}

/// Seals a body of the test's choosing with a right key: what a malicious sender can do.
fn seal_body(
    pair: &mut Pair,
    body: impl FnOnce(&KemCiphertext, &mut SeededEntropy) -> Vec<u8>,
) -> Vec<u8> {
    let (ciphertext, secret) = pair.bob.public().kem().encapsulate(&mut pair.rng);
    let key = content_key(&secret, pair.bob.public(), &ciphertext);
    let body = body(&ciphertext, &mut pair.rng);
    let nonce = [7; NONCE_SIZE];
    let sealed = aead::seal(&key, &nonce, &associated_data(b"context"), &body);
    [&[VERSION], &ciphertext.as_bytes()[..], &nonce, &sealed].concat()
}

/// The body of an honest envelope from `sender`, whose signature is over `signed_for`.
fn body(
    sender: &Identity,
    signed_for: &PublicIdentity,
    ciphertext: &KemCiphertext,
    content: &[u8],
    rng: &mut SeededEntropy,
) -> Vec<u8> {
    let signed = transcript(sender.public(), signed_for, ciphertext, b"context", content);
    let signature = sender.sign(Domain::EnvelopeSignature, &signed, rng);
    let mut out = sender.public().to_bytes();
    signature.encode(&mut out);
    length(content).encode(&mut out);
    out.extend_from_slice(content);
    let size = sealed_size(content.len()).expect("fits");
    out.resize(size - OUTER - TAG_SIZE, 0);
    out
}

#[test]
fn golden_bytes() {
    let mut pair = Pair::new();
    let sealed = pair.seal(b"golden");
    assert_eq!(sealed.len(), 7_680);
    assert_eq!(hex::encode(&sealed[..8]), "01a623d71ab43b23");
    assert_eq!(
        hex::encode(crate::hash::blake3(&sealed)),
        "5890adf062a03b4fe8eeaffce623ea77f5c5fbf36f74ba167ab540ce544e530b"
    );
    let opened = open(&pair.bob, b"context", &sealed).expect("opens");
    assert_eq!(&*opened.content, b"golden");
}

#[test]
fn opens_for_the_recipient_and_proves_the_sender() {
    let mut pair = Pair::new();
    for size in [0, 1, 101, 102, 103, 1_000, 9_000, 30_000, 60_000, MAX_CONTENT] {
        let content = vec![0xab; size];
        let sealed = pair.seal(&content);
        assert_eq!(Some(sealed.len()), sealed_size(size));
        let opened = open(&pair.bob, b"context", &sealed).expect("opens");
        assert_eq!(opened.sender, *pair.alice.public());
        assert_eq!(opened.content.into_vec(), content);
    }
}

#[test]
fn sizes_are_buckets_up_to_the_largest_item() {
    assert_eq!(sealed_size(0), Some(7_680));
    assert_eq!(sealed_size(MAX_CONTENT), Some(MAX_SEALED));
    assert_eq!(sealed_size(MAX_CONTENT + 1), None);
    let mut buckets: Vec<usize> = (0..=MAX_CONTENT).filter_map(sealed_size).collect();
    assert!(buckets.is_sorted());
    assert!(buckets.iter().enumerate().all(|(content, size)| OVERHEAD + content <= *size));
    buckets.dedup();
    assert_eq!(buckets.len(), 36, "few enough sizes to hide in: {buckets:?}");
}

#[test]
fn the_sender_is_not_visible_from_outside() {
    let mut pair = Pair::new();
    let sealed = pair.seal(b"hello");
    let alice = pair.alice.public();
    let id = alice.account_id();
    for secret in [&id.as_bytes()[..8], &alice.dsa().as_bytes()[..8], &alice.kem().as_bytes()[..8]]
    {
        assert!(!sealed.windows(8).any(|window| window == secret));
    }
    // The same message twice looks different from the KEM ciphertext on.
    assert_ne!(pair.seal(b"hello")[1..], sealed[1..]);
}

#[test]
fn a_flipped_bit_is_refused() {
    let mut pair = Pair::new();
    let sealed = pair.seal(b"hello");
    let positions = (1..OUTER).step_by(13).chain((OUTER..sealed.len()).step_by(331));
    for at in positions.chain([sealed.len() - 1]) {
        let mut altered = sealed.clone();
        altered[at] ^= 1 << (at % 8);
        assert!(pair.refused(&altered), "byte {at}");
    }
    for got in [0, 2, 255] {
        let mut altered = sealed.clone();
        altered[0] = got;
        let error = open(&pair.bob, b"context", &altered).expect_err("version");
        assert_eq!(error, EnvelopeError::Version { got });
    }
}

#[test]
fn a_truncated_or_longer_envelope_is_refused() {
    let mut pair = Pair::new();
    let sealed = pair.seal(b"hello");
    let cuts = (0..sealed.len()).step_by(101).chain([1, OUTER - 1, OUTER, OUTER + TAG_SIZE - 1]);
    for cut in cuts.chain([sealed.len() - 1, sealed.len() - 512]) {
        assert!(pair.refused(&sealed[..cut]), "cut at {cut}");
    }
    assert!(pair.refused(&[&*sealed, &[0]].concat()));
    assert!(pair.refused(&[&*sealed, &[0; 512]].concat()));
}

#[test]
fn a_copy_in_another_context_is_refused() {
    let mut pair = Pair::new();
    let sealed = pair.seal(b"hello");
    for context in [&b""[..], b"Context", b"context ", b"contex"] {
        let error = open(&pair.bob, context, &sealed).expect_err("another context");
        assert_eq!(error, EnvelopeError::NotOpened);
    }
}

#[test]
fn an_envelope_for_somebody_else_is_refused() {
    let mut pair = Pair::new();
    let sealed = pair.seal(b"hello");
    let carol = Identity::from_seed(&[3; 32]);
    for other in [&carol, &pair.alice] {
        let error = open(other, b"context", &sealed).expect_err("not for them");
        assert_eq!(error, EnvelopeError::NotOpened);
    }
}

#[test]
fn a_re_addressed_message_is_refused() {
    // Bob takes the signed content that Alice sent to Carol, and encrypts it anew, to himself.
    let mut pair = Pair::new();
    let carol = Identity::from_seed(&[3; 32]);
    let alice = Identity::from_seed(&[1; 32]);
    let forged = seal_body(&mut pair, |ciphertext, rng| {
        body(&alice, carol.public(), ciphertext, b"pay him", rng)
    });
    assert!(pair.refused(&forged));
}

#[test]
fn a_signature_over_another_encapsulation_is_refused() {
    let mut pair = Pair::new();
    let (alice, bob) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let forged = seal_body(&mut pair, |_, rng| {
        let (another, _) = bob.public().kem().encapsulate(rng);
        body(&alice, bob.public(), &another, b"old news", rng)
    });
    assert!(pair.refused(&forged));
}

#[test]
fn a_claimed_sender_is_refused() {
    // Mallory signs, and writes Alice's keys beside it.
    let mut pair = Pair::new();
    let mallory = Identity::from_seed(&[4; 32]);
    let (alice, bob) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let forged = seal_body(&mut pair, |ciphertext, rng| {
        let mut out = body(&mallory, bob.public(), ciphertext, b"it is me", rng);
        out[..PublicIdentity::SIZE].copy_from_slice(&alice.public().to_bytes());
        out
    });
    assert!(pair.refused(&forged));
}

#[test]
fn what_sealing_would_not_produce_is_refused() {
    let (alice, bob) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let change = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut pair = Pair::new();
        let bytes = seal_body(&mut pair, |ciphertext, rng| {
            let mut out = body(&alice, bob.public(), ciphertext, b"hello", rng);
            change(&mut out);
            out
        });
        open(&bob, b"context", &bytes)
    };
    change(&|_| {}).expect("unchanged, it opens");
    let refused = |how: &dyn Fn(&mut Vec<u8>)| {
        assert_eq!(change(how).expect_err("refused"), EnvelopeError::NotOpened);
    };
    refused(&|body| *body.last_mut().expect("padding") = 1);
    refused(&|body| body.extend_from_slice(&[0; 512]));
    refused(&|body| body.truncate(INNER + 5));
    refused(&|body| body.truncate(INNER - 1));
    refused(&|body| body.clear());
    refused(&|body| body[INNER - 4..INNER].copy_from_slice(&[0xff; 4]));
    refused(&|body| body[INNER - 1] = 6);
    refused(&|body| body[..3].copy_from_slice(&[0xff; 3]));
}

#[test]
fn too_long_is_refused_with_the_limit() {
    let mut pair = Pair::new();
    let (alice, bob) = (&pair.alice, pair.bob.public());
    let long = vec![0; MAX_CONTENT + 1];
    assert_eq!(
        seal(alice, bob, b"", &long, &mut pair.rng),
        Err(EnvelopeError::ContentTooLong { got: MAX_CONTENT + 1, limit: MAX_CONTENT })
    );
    let error = EnvelopeError::ContextTooLong { got: MAX_CONTEXT + 1, limit: MAX_CONTEXT };
    let context = [0; MAX_CONTEXT + 1];
    assert_eq!(seal(alice, bob, &context, b"", &mut pair.rng), Err(error));
    assert_eq!(open(&pair.bob, &context, b"").expect_err("too long"), error);
}

#[test]
fn content_is_not_printed() {
    let mut pair = Pair::new();
    let sealed = pair.seal(b"hello");
    let opened = open(&pair.bob, b"context", &sealed).expect("opens");
    assert!(format!("{opened:?}").ends_with("content: Content(5 bytes) }"), "{opened:?}");
}
