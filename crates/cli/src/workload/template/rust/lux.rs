//! What a program may import from `lux_session_v1`. The whole interface: docs/wire/guest-abi.md.

#![allow(dead_code)]

mod host {
    #[link(wasm_import_module = "lux_session_v1")]
    unsafe extern "C" {
        pub fn read(ptr: *const u8, len: usize, out: *mut u8, cap: usize) -> usize;
        pub fn write(ptr: *const u8, len: usize, out: *mut u8, cap: usize) -> usize;
        pub fn state_get(key: *const u8, key_len: usize, out: *mut u8, cap: usize) -> usize;
        pub fn state_put(key: *const u8, key_len: usize, ptr: *const u8, len: usize);
        pub fn emit(receiver: *const u8, ptr: *const u8, len: usize);
        pub fn log(ptr: *const u8, len: usize);
        pub fn random(out: *mut u8, len: usize);
        pub fn now() -> i64;
        pub fn abort(ptr: *const u8, len: usize);
        pub fn input(out: *mut u8, cap: usize) -> usize;
        pub fn output(ptr: *const u8, len: usize);
        pub fn checkpoint(ptr: *const u8, len: usize);
    }
}

type Ask = unsafe extern "C" fn(*const u8, usize, *mut u8, usize) -> usize;

/// Answers of this size are read at once; longer ones take a second call.
const GUESS: usize = 4096;

fn ask(function: Ask, request: &str) -> Result<Vec<u8>, String> {
    let mut out = vec![0; GUESS];
    let length = unsafe { function(request.as_ptr(), request.len(), out.as_mut_ptr(), GUESS) };
    if length > GUESS {
        out.resize(length, 0);
        unsafe { function(core::ptr::null(), 0, out.as_mut_ptr(), length) };
    }
    out.truncate(length);
    match out.split_first() {
        Some((0, value)) => Ok(value.to_vec()),
        Some((_, why)) => Err(String::from_utf8_lossy(why).into_owned()),
        None => Err("an empty answer".to_owned()),
    }
}

/// Reads the world; the request is JSON: `{"source":"price","params":{"symbol":"BTC"}}`.
pub fn read(request: &str) -> Result<Vec<u8>, String> {
    ask(host::read, request)
}

/// Changes the world: once, by one member. `body` or `body_base64` holds what is written.
pub fn write(request: &str) -> Result<Vec<u8>, String> {
    ask(host::write, request)
}

/// Returns the input of the session.
pub fn input() -> Vec<u8> {
    let length = unsafe { host::input(core::ptr::null_mut(), 0) };
    let mut out = vec![0; length];
    unsafe { host::input(out.as_mut_ptr(), length) };
    out
}

/// Sets what the session ends with; the last one counts.
pub fn output(bytes: &[u8]) {
    unsafe { host::output(bytes.as_ptr(), bytes.len()) }
}

/// Writes a line of the log.
pub fn log(line: &str) {
    unsafe { host::log(line.as_ptr(), line.len()) }
}

/// Ends the session as failed.
pub fn abort(why: &str) -> ! {
    unsafe { host::abort(why.as_ptr(), why.len()) };
    unreachable!("the session ended")
}

/// Returns the time on which the committee agreed last, in milliseconds.
pub fn now() -> i64 {
    unsafe { host::now() }
}

/// Fills bytes with randomness, the same for every member.
pub fn random(out: &mut [u8]) {
    unsafe { host::random(out.as_mut_ptr(), out.len()) }
}

/// Returns what is kept under a key.
pub fn get(key: &[u8]) -> Option<Vec<u8>> {
    let length =
        unsafe { host::state_get(key.as_ptr(), key.len(), core::ptr::null_mut(), 0) };
    if length == u32::MAX as usize {
        return None;
    }
    let mut out = vec![0; length];
    unsafe { host::state_get(key.as_ptr(), key.len(), out.as_mut_ptr(), length) };
    Some(out)
}

/// Keeps something under a key.
pub fn put(key: &[u8], value: &[u8]) {
    unsafe { host::state_put(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
}

/// Says that a message was delivered; the session relays its receipt.
pub fn emit(receiver: &[u8; 32], message: &[u8]) {
    unsafe { host::emit(receiver.as_ptr(), message.as_ptr(), message.len()) }
}

/// Goes on as new: `run` is called again, with fresh fuel and with what was kept.
pub fn checkpoint() -> ! {
    unsafe { host::checkpoint(core::ptr::null(), 0) };
    unreachable!("the program begins again")
}
