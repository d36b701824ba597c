//! An equivalent of an onion request of the existing network, `aes-gcm`, written from its format; it is
//! not that program, and the crates are ours. For each hop: X25519, HMAC-SHA256 with the key "LOKI"
//! for the key of AES-256-GCM, and behind the ciphertext the JSON that says where it goes next.

use std::hint::black_box;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64ct::{Base64, Encoding as _};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::{BODY, HOPS, median};

const IV: usize = 12;

fn key(secret: &StaticSecret, public: &PublicKey) -> Aes256Gcm {
    let mut mac = <Hmac<Sha256> as hmac::Mac>::new_from_slice(b"LOKI").expect("any length");
    mac.update(secret.diffie_hellman(public).as_bytes());
    Aes256Gcm::new_from_slice(&mac.finalize().into_bytes()).expect("32 bytes")
}

fn seal(cipher: &Aes256Gcm, plain: &[u8]) -> Vec<u8> {
    // What the operating system would draw; each key is used once.
    let iv = [9; IV];
    let sealed = cipher.encrypt(Nonce::from_slice(&iv), plain).expect("it is short");
    [&iv[..], &sealed].concat()
}

/// Length, ciphertext, and what says how to go on.
fn combined(ciphertext: &[u8], json: &Value) -> Vec<u8> {
    let length = u32::try_from(ciphertext.len()).expect("short").to_le_bytes();
    [&length[..], ciphertext, json.to_string().as_bytes()].concat()
}

fn split(combined: &[u8]) -> (&[u8], Value) {
    let (length, rest) = combined.split_first_chunk().expect("a length");
    let (inner, json) = rest.split_at(u32::from_le_bytes(*length) as usize);
    (inner, serde_json::from_slice(json).expect("JSON"))
}

/// What a client posts to the first hop.
fn build(hops: &[PublicKey]) -> Vec<u8> {
    let body = Base64::encode_string(&[7; BODY]);
    let params = json!({ "pubkey": "05".repeat(33), "data": body, "timestamp": 1, "ttl": 1 });
    let request = json!({ "method": "store", "params": params }).to_string();
    let mut payload = combined(request.as_bytes(), &json!({ "headers": "" }));
    for (index, public) in hops.iter().enumerate().rev() {
        let secret = StaticSecret::random();
        let sealed = seal(&key(&secret, public), &payload);
        let mine = hex::encode(PublicKey::from(&secret).as_bytes());
        let mut route = json!({ "ephemeral_key": mine, "enc_type": "aes-gcm" });
        if index > 0 {
            route["destination"] = hex::encode(public.as_bytes()).into();
        }
        payload = combined(&sealed, &route);
    }
    payload
}

/// What the next node is sent: a dictionary of bytes.
fn dictionary(data: &[u8], ephemeral: &[u8], hop: usize) -> Vec<u8> {
    let mut out = format!("d4:data{}:", data.len()).into_bytes();
    out.extend_from_slice(data);
    out.extend_from_slice(b"8:enc_type7:aes-gcm13:ephemeral_key32:");
    out.extend_from_slice(ephemeral);
    out.extend_from_slice(format!("6:hop_noi{hop}ee").as_bytes());
    out
}

/// What a hop does: open, read where it goes, write what goes on.
fn step(secret: &StaticSecret, data: &[u8], ephemeral: &[u8], hop: usize) -> Vec<u8> {
    let public = PublicKey::from(<[u8; 32]>::try_from(ephemeral).expect("32 bytes"));
    let (iv, sealed) = data.split_at(IV);
    let payload = Payload { msg: sealed, aad: &[] };
    let plain = key(secret, &public).decrypt(Nonce::from_slice(iv), payload).expect("it opens");
    let (inner, json) = split(&plain);
    let _to = hex::decode(json["destination"].as_str().expect("a node")).expect("hex");
    let next = hex::decode(json["ephemeral_key"].as_str().expect("a key")).expect("hex");
    dictionary(inner, &next, hop + 1)
}

pub(crate) fn run() {
    let secrets: Vec<StaticSecret> = (0..HOPS).map(|_| StaticSecret::random()).collect();
    let publics: Vec<PublicKey> = secrets.iter().map(PublicKey::from).collect();
    let build_time = median(|| drop(black_box(build(&publics))));
    let posted = build(&publics);
    let first = || {
        let (data, json) = split(black_box(&posted));
        let mine = hex::decode(json["ephemeral_key"].as_str().expect("a key")).expect("hex");
        step(&secrets[0], data, &mine, 0)
    };
    let hop_time = median(|| drop(black_box(first())));
    let second = first();
    // From the dictionary on: what the second hop sends the third.
    let data = &second[format!("d4:data{}:", length_of(&second)).len()..][..length_of(&second)];
    let at = second.len() - 32 - b"6:hop_noi1ee".len();
    let third = step(&secrets[1], data, &second[at..at + 32], 1);
    let answer = json!({ "status": 200, "body": { "hf": [19, 0], "t": 1, "swarm": {} } });
    let answer =
        Base64::encode_string(&seal(&key(&secrets[2], &publics[0]), answer.to_string().as_bytes()));
    println!(
        "| the existing network's scheme | {build_time:.0} | {hop_time:.0} | {}, {}, {} | {}, and what is read |",
        posted.len(),
        second.len(),
        third.len(),
        answer.len()
    );
}

/// Reads the number before the bytes of a dictionary.
fn length_of(dictionary: &[u8]) -> usize {
    let digits = dictionary[b"d4:data".len()..].split(|byte| *byte == b':').next();
    std::str::from_utf8(digits.expect("a number")).expect("digits").parse().expect("a number")
}
